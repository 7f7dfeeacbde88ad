-- A TCP connection with a buffer: read a line, a number of bytes, or whatever has come, each within a bound.
local socket = require "socket"
local wait = require "tests.support.wait"

local stream = {}
local methods = {}
methods.__index = methods
stream.methods = methods

-- Connects to 127.0.0.1 (or options.host). options.receive_buffer: bytes, for a peer that stalls early; options.from:
-- the address that it comes from.
function stream.connect(port, options)
    options = options or {}
    local host = options.host or "127.0.0.1"
    local tcp = host:find(":", 1, true) and socket.tcp6() or socket.tcp4()
    if options.receive_buffer then
        tcp:setoption("recv-buffer-size", options.receive_buffer)
    end
    if options.from then
        assert(tcp:bind(options.from, 0))
    end
    tcp:settimeout(wait.left(wait.deadline()))
    local ok, reason = tcp:connect(host, port)
    if not ok then
        tcp:close()
        error(("no connection to %s port %s: %s"):format(host, tostring(port), reason), 2)
    end
    tcp:setoption("tcp-nodelay", true)
    -- chunks: when each read came and how many bytes it brought, for tests about segments.
    return setmetatable({tcp = tcp, buffer = "", at = 1, ended = nil, chunks = {}, taken = 0}, methods)
end

-- Sends all of `bytes`; nil and the reason when the peer has closed.
function methods:send(bytes, seconds)
    local deadline = wait.deadline(seconds)
    local from = 1
    while from <= #bytes do
        self.tcp:settimeout(wait.left(deadline))
        local last, reason, partial = self.tcp:send(bytes, from)
        if not last then
            from = (partial or from - 1) + 1
            if reason ~= "timeout" or wait.left(deadline) == 0 then
                return nil, reason
            end
        else
            from = last + 1
        end
    end
    return true
end

-- Sends what the kernel takes at once; the number of bytes taken.
function methods:send_some(bytes)
    self.tcp:settimeout(0)
    local last, _, partial = self.tcp:send(bytes)
    return last or partial or 0
end

-- Waits for more bytes: true, or nil with "timeout" or "closed".
function methods:fill(deadline)
    if self.ended then
        return nil, "closed"
    end
    local ready = socket.select({self.tcp}, nil, wait.left(deadline))
    if not ready[1] then
        return nil, "timeout"
    end
    self.tcp:settimeout(0)
    local bytes, reason, partial = self.tcp:receive(262144)
    bytes = bytes or partial or ""
    if #bytes > 0 then
        self.buffer = self.buffer:sub(self.at) .. bytes
        self.at = 1
        self.chunks[#self.chunks + 1] = {at = wait.now(), bytes = #bytes}
        return true
    end
    if reason == "timeout" then
        return nil, "timeout"
    end
    self.ended = true
    return nil, "closed"
end

-- How many bytes have come and are not taken yet.
function methods:here()
    return #self.buffer - self.at + 1
end

function methods:take(count)
    local bytes = self.buffer:sub(self.at, self.at + count - 1)
    self.at = self.at + count
    self.taken = self.taken + count
    return bytes
end

-- Exactly `count` bytes, or nil and the reason.
function methods:read(count, deadline)
    while self:here() < count do
        local ok, reason = self:fill(deadline)
        if not ok then
            return nil, reason
        end
    end
    return self:take(count)
end

-- A line without its CRLF, or nil and the reason.
function methods:read_line(deadline)
    while true do
        local from = self.buffer:find("\r\n", self.at, true)
        if from then
            local line = self:take(from + 2 - self.at)
            return line:sub(1, -3)
        end
        local ok, reason = self:fill(deadline)
        if not ok then
            return nil, reason
        end
    end
end

-- Everything until the peer closes, or nil, "timeout" and what came.
function methods:read_to_end(seconds)
    local deadline = wait.deadline(seconds)
    while true do
        local ok, reason = self:fill(deadline)
        if not ok then
            if reason == "timeout" then
                return nil, reason, self.buffer:sub(self.at)
            end
            return self:take(self:here())
        end
    end
end

function methods:half_close()
    self.tcp:shutdown("send")
end

function methods:close()
    if not self.closed then
        self.closed = true
        self.tcp:close()
    end
end

return stream
