-- A service manager as far as a service sees it: a socket to which it tells how it is (sd_notify).
local bridge = require "tests.support.bridge"
local ffi = require "ffi"
local fcntl = require "posix.fcntl"
local process = require "tests.support.process"
local socket = require "posix.sys.socket"
local unistd = require "posix.unistd"
local wait = require "tests.support.wait"

-- Declared only once, for each test file loads its own copy of this module.
pcall(ffi.cdef, [[
    struct luaduct_test_name { unsigned short family; char path[108]; };
    int bind(int descriptor, const struct luaduct_test_name *name, unsigned length);
]])

local manager = {}
local methods = {}
methods.__index = methods

-- abstract: a name outside of the file system.
function manager.listen(options)
    local path = process.folder() .. "/notify"
    local self = setmetatable({told = {}}, methods)
    self.path = options and options.abstract and "@" .. path or path
    self:bind()
    return bridge.track(self)
end

-- Opens its socket, or another one in the place of it.
function methods:bind()
    if self.descriptor then
        unistd.close(self.descriptor)
        unistd.unlink(self.path)
    end
    self.descriptor = assert(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM, 0))
    local name = self.path:gsub("^@", "\0")
    local address = ffi.new("struct luaduct_test_name", {socket.AF_UNIX, name})
    assert(ffi.C.bind(self.descriptor, address, 2 + #name) == 0)
    fcntl.fcntl(self.descriptor, fcntl.F_SETFL, fcntl.O_NONBLOCK)
end

-- All that was told so far: a list of {READY = "1", STATUS = "…"}.
function methods:messages()
    while true do
        local text = socket.recv(self.descriptor, 4096)
        if not text then
            return self.told
        end
        local message = {}
        for name, value in text:gmatch("([%u_]+)=([^\n]*)\n") do
            message[name] = value
        end
        self.told[#self.told + 1] = message
    end
end

-- The first message from `from` on (default 1) that has this name, and its place.
function methods:expect(name, from)
    local found, place
    wait.eventually(function()
        local list = self:messages()
        for index = from or 1, #list do
            if list[index][name] then
                found, place = list[index], index
                return true
            end
        end
    end, nil, "the service to tell " .. name)
    return found, place
end

function methods:close()
    if self.descriptor then
        unistd.close(self.descriptor)
        self.descriptor = nil
    end
end

return manager
