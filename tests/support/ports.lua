-- Ports for what cannot be told to take any that is free.
local socket = require "socket"
local unistd = require "posix.unistd"

local ports = {}

local LOWEST = 10000

-- The kernel gives the ports from here on to whoever asks for any, and to every connection that is opened.
local function first_given()
    local file = assert(io.open("/proc/sys/net/ipv4/ip_local_port_range"))
    local first = file:read("*n")
    file:close()
    return first
end

local next_place = unistd.getpid() * 97 -- test runs beside this one begin elsewhere

-- One that nobody listens on, that nobody is given meanwhile, and another one each time.
function ports.free()
    local count = first_given() - LOWEST
    assert(count > 1000, "no ports are left out of those that the kernel gives")
    while true do
        next_place = next_place + 1
        local port = LOWEST + next_place % count
        local probe = socket.bind("127.0.0.1", port)
        if probe then
            probe:close()
            return port
        end
    end
end

return ports
