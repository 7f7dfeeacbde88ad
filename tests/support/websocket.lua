-- A WebSocket client that can also break the rules: raw frames, wrong masks, wrong lengths, half a message.
local bit = require "bit"
local bridge_support = require "tests.support.bridge"
local ffi = require "ffi"
local json = require "tests.support.json"
local mime = require "mime"
local stream = require "tests.support.stream"
local wait = require "tests.support.wait"

local websocket = {CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10}

local methods = {}
methods.__index = methods

local KEY = mime.b64("0123456789abcdef")

local function mask(payload, key)
    local bytes = ffi.new("uint8_t[?]", math.max(#payload, 1))
    ffi.copy(bytes, payload, #payload)
    local k = {[0] = key:byte(1), key:byte(2), key:byte(3), key:byte(4)}
    for index = 0, #payload - 1 do
        bytes[index] = bit.bxor(bytes[index], k[bit.band(index, 3)])
    end
    return ffi.string(bytes, #payload)
end

local function big_endian(number, width)
    local out = {}
    for index = width, 1, -1 do
        out[index] = string.char(number % 256)
        number = math.floor(number / 256)
    end
    return table.concat(out)
end

-- One frame as bytes. frame: opcode (default text), payload, fin (default true), rsv1, rsv2, rsv3, masked (default
-- true), key, length_width (0, 2 or 8: a longer form of the length than needed), length (a lie about it).
function websocket.frame(frame)
    local payload = frame.payload or ""
    local length = frame.length or #payload
    local width = frame.length_width or (length < 126 and 0 or length < 65536 and 2 or 8)
    local first = (frame.opcode or websocket.TEXT) + (frame.fin == false and 0 or 128) + (frame.rsv1 and 64 or 0) +
        (frame.rsv2 and 32 or 0) + (frame.rsv3 and 16 or 0)
    local masked = frame.masked ~= false
    local second = (masked and 128 or 0) + (width == 0 and length or width == 2 and 126 or 127)
    local head = string.char(first, second) .. (width > 0 and big_endian(length, width) or "")
    if not masked then
        return head .. payload
    end
    local key = frame.key or "\1\2\3\4"
    return head .. key .. mask(payload, key)
end

-- The request of an upgrade. options: path, headers (name to value, false leaves a default one out), port, method,
-- version.
function websocket.request(options)
    local headers = {
        ["Host"] = "127.0.0.1:" .. options.port, ["Upgrade"] = "websocket", ["Connection"] = "Upgrade",
        ["Sec-WebSocket-Key"] = KEY, ["Sec-WebSocket-Version"] = "13",
    }
    for name, value in pairs(options.headers or {}) do
        headers[name] = value or nil
    end
    local lines = {("%s %s HTTP/%s"):format(options.method or "GET", options.path or "/", options.version or "1.1")}
    for name, value in pairs(headers) do
        lines[#lines + 1] = name .. ": " .. value
    end
    return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

-- Attempts an upgrade, over bridge.connect where there is one (tests/support/tls_stream.lua): status, headers
-- (lower-case names), client. The client is there only for a 101; otherwise the headers come with the answer's body in
-- [""].
function websocket.upgrade(bridge, options)
    options = options or {}
    local port = options.port or bridge.ws_port
    local connection = bridge_support.track((bridge.connect or stream.connect)(port, options))
    local request = {
        port = port, path = options.path, headers = options.headers, method = options.method, version = options.version,
    }
    assert(connection:send(options.request or (websocket.request(request) .. (options.early or ""))))
    local deadline = wait.deadline(options.seconds)
    local line = connection:read_line(deadline)
    if not line then
        return nil, {}
    end
    local status = tonumber(line:match("^HTTP/1%.1 (%d%d%d)"))
    local headers = {}
    while true do
        local header = assert(connection:read_line(deadline))
        if header == "" then
            break
        end
        local name, value = header:match("^([^:]+):%s*(.-)%s*$")
        headers[name:lower()] = value
    end
    if status ~= 101 then
        headers[""] = connection:read(tonumber(headers["content-length"]) or 0, deadline)
        return status, headers
    end
    return status, headers, setmetatable({stream = connection, early = {}, answer_ping = true}, methods)
end

-- A connected client; raises when the upgrade is refused.
function websocket.connect(bridge, options)
    local status, headers, client = websocket.upgrade(bridge, options)
    if not client then
        error(("the upgrade was answered %s %s"):format(tostring(status), tostring(headers[""])), 2)
    end
    return client
end

-- Connects and registers; fields: of the register message. Gives the client, its `registered` message beside it.
function websocket.agent(bridge, id, fields, options)
    local client = websocket.connect(bridge, options)
    local registered = client:register(id, fields)
    return client, registered
end

function methods:send_bytes(bytes)
    return self.stream:send(bytes)
end

function methods:send_frame(frame)
    return self.stream:send(websocket.frame(frame))
end

function methods:send_text(text)
    return self:send_frame({payload = text})
end

function methods:send_json(value)
    return self:send_text(json.encode(value))
end

-- Sends an envelope: a table, or its raw text.
function methods:send_envelope(envelope)
    local text = type(envelope) == "string" and envelope or json.encode(envelope)
    return self:send_text('{"type":"envelope","envelope":' .. text .. "}")
end

-- The next frame as it is on the wire: fin, rsv1, opcode, payload; or nil and the reason.
function methods:receive_frame(deadline)
    deadline = deadline or wait.deadline()
    local head, reason = self.stream:read(2, deadline)
    if not head then
        return nil, reason
    end
    local first, second = head:byte(1, 2)
    assert(second < 128, "the server masked a frame")
    local length = second
    if second >= 126 then
        local extended = assert(self.stream:read(second == 126 and 2 or 8, deadline))
        length = 0
        for index = 1, #extended do
            length = length * 256 + extended:byte(index)
        end
    end
    local payload = length == 0 and "" or assert(self.stream:read(length, deadline))
    return {
        fin = first >= 128, rsv1 = bit.band(first, 64) ~= 0, reserved = bit.band(first, 48) ~= 0,
        opcode = bit.band(first, 15), payload = payload,
    }
end

-- The next message: {type = "text" | "binary" | "ping" | "pong", payload}, {type = "close", status, reason} or
-- {type = "ended"}; nil and "timeout" when none comes in time. Pings are answered and skipped while answer_ping is set.
function methods:receive(seconds)
    local deadline = wait.deadline(seconds)
    local parts, first
    while true do
        local frame, reason = self:receive_frame(deadline)
        if not frame then
            if reason == "closed" then
                return {type = "ended"}
            end
            return nil, reason
        end
        assert(not frame.reserved, "the server set a reserved bit")
        if frame.opcode == websocket.PING then
            if not self.answer_ping then
                return {type = "ping", payload = frame.payload}
            end
            self:send_frame({opcode = websocket.PONG, payload = frame.payload})
        elseif frame.opcode == websocket.PONG then
            return {type = "pong", payload = frame.payload}
        elseif frame.opcode == websocket.CLOSE then
            local high, low = frame.payload:byte(1, 2)
            return {type = "close", status = high and high * 256 + low, reason = frame.payload:sub(3)}
        else
            if parts then
                assert(frame.opcode == websocket.CONTINUATION, "the server broke into a message of its own")
                parts[#parts + 1] = frame.payload
            else
                first, parts = frame, {frame.payload}
            end
            if frame.fin then
                return {
                    type = first.opcode == websocket.TEXT and "text" or "binary", payload = table.concat(parts),
                    compressed = first.rsv1,
                }
            end
        end
    end
end

-- The next text message: decoded, and its raw text.
function methods:receive_json(seconds)
    local message, reason = self:receive(seconds)
    if not message then
        error("no message came: " .. reason, 2)
    end
    if message.type ~= "text" then
        error(("expected a text message, got %s %s %s"):format(message.type, tostring(message.status),
            tostring(message.reason or message.payload)), 2)
    end
    return json.decode(message.payload), message.payload
end

local function typed(self, expected)
    local message, raw = self:receive_json()
    if message.type ~= expected then
        error(("expected a message of type %s, got %s"):format(expected, raw:sub(1, 500)), 3)
    end
    return message, raw
end

-- Sends `register` and gives the answer, which must be `registered`.
function methods:register(id, fields)
    self:send_register(id, fields)
    local message, raw = typed(self, "registered")
    return message, raw
end

function methods:send_register(id, fields)
    local message = {type = "register", clientId = id}
    for name, value in pairs(fields or {}) do
        message[name] = value
    end
    return self:send_json(message)
end

-- The next message, which must be an envelope: decoded, and the raw text of the envelope alone.
function methods:receive_envelope()
    local message, raw = typed(self, "envelope")
    local _, fields = json.fields(raw)
    return message.envelope, fields.envelope
end

-- The same without decoding, for values that lua-cjson cannot read: raw text of each field of the envelope, by name.
function methods:receive_fields()
    local message = assert(self:receive())
    assert(message.type == "text", message.type)
    local _, outer = json.fields(message.payload)
    assert(outer.envelope, message.payload)
    local _, fields = json.fields(outer.envelope)
    return fields
end

-- The next message, which must be a refusal with this code.
function methods:expect_error(code)
    local message, raw = typed(self, "error")
    if message.code ~= code then
        error(("expected the code %s, got %s"):format(code, raw), 2)
    end
    return message
end

-- The next message, which must be a close frame with this status (or one of a list).
function methods:expect_close(status)
    local message, reason = self:receive()
    if not message then
        error("no close came: " .. reason, 2)
    end
    if message.type ~= "close" or message.status ~= status then
        error(("expected a close with %s, got %s %s %s"):format(status, message.type, tostring(message.status),
            tostring(message.reason or message.payload)), 2)
    end
    return message
end

-- Proves that everything this client sent so far has been looked at, and that nothing else was sent to it before.
function methods:expect_nothing()
    self:send_frame({opcode = websocket.PING, payload = "barrier"})
    local message, reason = self:receive()
    if not message then
        error("no pong came: " .. reason, 2)
    end
    if message.type ~= "pong" then
        error("expected nothing, got " .. message.type .. " " .. tostring(message.payload or message.status), 2)
    end
end

-- The close handshake from this side; gives the status that the server answered.
function methods:finish(status)
    self:send_frame({opcode = websocket.CLOSE, payload = status and big_endian(status, 2) or ""})
    local deadline = wait.deadline()
    while true do
        local message = self:receive(wait.left(deadline))
        assert(message, "the close was not answered")
        if message.type == "close" then
            return message.status
        end
        assert(message.type ~= "ended", "the connection ended without a close frame")
    end
end

-- Just gone, without a close frame.
function methods:close()
    self.stream:close()
end

return websocket
