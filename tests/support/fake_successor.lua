-- The text of a program that stands in for a new version of the bridge, and does as `how` says once it has been started
-- for a hand-over. It takes the place of the file that the bridge was started from.
--
-- how: "ends" (before a word), "sleeps", "refuses" with a text, "babbles", or after READY: "leaves" (when it is to be
-- given all), "takes" (all, and then leaves), "reads nothing", "says nothing" (when it has all).
return function(how)
    return ([[
#!/usr/bin/env luajit
local ffi = require "ffi"
ffi.cdef "long write(int, const void *, unsigned long); long read(int, void *, unsigned long); unsigned sleep(unsigned);"
local how, fd = %q, tonumber(os.getenv("LUADUCT_HANDOVER"))
if how == "ends" then os.exit(3) end
local function record(kind, text)
    local bytes = ffi.new("uint32_t[2]", {#text, kind})
    ffi.C.write(fd, bytes, 8)
    ffi.C.write(fd, text, #text)
end
local buffer = ffi.new("char[?]", 65536)
local function wait_for_more() return ffi.C.read(fd, buffer, 65536) end
if how == "sleeps" then ffi.C.sleep(60) end
if how == "refuses" then record(3, "\15\0\0\0\0\0\0\0I will not do it") os.exit(0) end
if how == "babbles" then ffi.C.write(fd, ("x"):rep(100), 100) ffi.C.sleep(60) end
wait_for_more()
record(2, "")
wait_for_more()
if how == "takes" then record(5, "") end
if how == "leaves" or how == "takes" then os.exit(0) end
ffi.C.sleep(60)
]]):format(how)
end
