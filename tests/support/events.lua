-- A listener to GET /events.
local http = require "tests.support.http"
local json = require "tests.support.json"
local wait = require "tests.support.wait"

local events = {}
local methods = {}
methods.__index = methods

-- Returns when the bridge has begun to answer. options: headers, receive_buffer.
function events.listen(bridge, path, options)
    local connection = http.connect(bridge, options)
    connection:send_request({path = path or "/events", headers = options and options.headers})
    local self = setmetatable({connection = connection, stream = connection.stream, text = ""}, methods)
    local deadline = wait.deadline()
    local line = assert(self.stream:read_line(deadline))
    assert(line:find("^HTTP/1%.1 200 "), "not the answer of a listener: " .. line)
    repeat
        line = assert(self.stream:read_line(deadline))
    until line == ""
    while not self.text:find("\n\n", 1, true) do
        assert(self:read_piece(deadline))
    end
    self.text = self.text:gsub("^.-\n\n", "", 1)
    return self
end

-- One chunk more; nil and why not: "ended" by the bridge's last chunk.
function methods:read_piece(deadline)
    local line, reason = self.stream:read_line(deadline)
    if not line then
        return nil, reason
    end
    local size = assert(tonumber(line, 16), "a bad chunk line: " .. line)
    if size == 0 then
        return nil, "ended"
    end
    self.text = self.text .. assert(self.stream:read(size, deadline))
    assert(self.stream:read(2, deadline) == "\r\n", "a chunk without its line end")
    return true
end

-- What comes next between two empty lines; nil and why there is none.
local function next_block(self, deadline)
    while true do
        local block, rest = self.text:match("^(.-)\n\n(.*)$")
        if block then
            self.text = rest
            return block
        end
        local ok, reason = self:read_piece(deadline)
        if not ok then
            return nil, reason
        end
    end
end

-- The next event {kind, id, data (decoded)}; nil and why there is none. Comments, by which the bridge says that it is
-- there, are passed over: on a slow machine there is one between any two events.
function methods:next(seconds)
    local deadline = wait.deadline(seconds)
    local block, reason
    repeat
        block, reason = next_block(self, deadline)
    until not block or block:sub(1, 1) ~= ":"
    return block and {
        kind = block:match("event: ([^\n]*)"), id = block:match("id: ([^\n]*)"),
        data = json.decode(block:match("data: ([^\n]*)")),
    }, reason
end

-- The text of the comment that must come next.
function methods:expect_comment()
    local block = assert(next_block(self, wait.deadline()))
    return assert(block:match("^: ?(.*)$"), "expected a comment, got " .. block)
end

-- The next event of which `holds` is true; others are passed over.
function methods:wait_for(what, holds)
    while true do
        local event, reason = self:next()
        if not event then
            error(("waited in vain for %s: %s"):format(what, reason), 2)
        end
        if holds(event) then
            return event
        end
    end
end

function methods:close()
    self.connection:close()
end

return events
