-- The text of a program that stands in for a new version of the bridge, and does as `how` says once it has been started
-- for a hand-over. It takes the place of the file that the bridge was started from.
--
-- how: "ends" (before a word), "sleeps", "refuses" with a text, "babbles"; or after READY: "leaves" (when it is given
-- all), "lies" (that it has all, and leaves), "reads nothing".
return function(how)
    return ([[
#!/usr/bin/env luajit
local ffi = require "ffi"
ffi.cdef [=[

long write(int, const void *, unsigned long);
unsigned sleep(unsigned);
struct iovec { void *base; size_t length; };
struct msghdr { void *name; uint32_t name_length; struct iovec *parts; size_t count; void *control;
    size_t control_length; int flags; };
long recvmsg(int, struct msghdr *, int);
]=]
local how, fd = %q, tonumber(os.getenv("LUADUCT_HANDOVER"))
if how == "ends" then os.exit(3) end
local function record(kind, text)
    local bytes = ffi.new("uint32_t[2]", {#text, kind})
    ffi.C.write(fd, bytes, 8)
    ffi.C.write(fd, text, #text)
end
-- With the descriptors, which stay open.
local function wait_for_more()
    local buffer, control = ffi.new("char[65536]"), ffi.new("char[4096]")
    local part = ffi.new("struct iovec[1]", {{buffer, 65536}})
    ffi.C.recvmsg(fd, ffi.new("struct msghdr", {parts = part, count = 1, control = control, control_length = 4096}), 0)
end
if how == "sleeps" then ffi.C.sleep(60) end
if how == "refuses" then record(3, "\16\0\0\0\0\0\0\0I will not do it") os.exit(0) end
if how == "babbles" then ffi.C.write(fd, ("x"):rep(100), 100) ffi.C.sleep(60) end
wait_for_more()
record(2, "")
wait_for_more()
wait_for_more()
if how == "leaves" then os.exit(0) end
if how == "lies" then record(5, "") os.exit(0) end
ffi.C.sleep(60)
]]):format(how)
end
