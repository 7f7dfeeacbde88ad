-- A raw HTTP/1.1 client: any bytes out, strict reading of answers, keep-alive and pipelining.
local bridge_support = require "tests.support.bridge"
local json = require "tests.support.json"
local socket = require "socket"
local stream = require "tests.support.stream"
local wait = require "tests.support.wait"

local http = {}
local methods = {}
methods.__index = methods

-- A connection to the bridge's HTTP port (or options.port), over bridge.connect where there is one
-- (tests/support/tls_stream.lua).
function http.connect(bridge, options)
    local port = options and options.port or bridge.http_port
    local connection = bridge_support.track((bridge.connect or stream.connect)(port, options))
    return setmetatable({stream = connection, port = port}, methods)
end

function methods:send_bytes(bytes)
    return self.stream:send(bytes)
end

-- request: method, path, headers (false leaves a default one out), body, version. Sends it and does not wait.
function methods:send_request(request)
    local headers = {Host = "127.0.0.1:" .. self.port}
    if request.body then
        headers["Content-Length"] = #request.body
        headers["Content-Type"] = "application/json"
    end
    for name, value in pairs(request.headers or {}) do
        headers[name] = value or nil
    end
    local lines = {("%s %s HTTP/%s"):format(request.method or "GET", request.path or "/", request.version or "1.1")}
    for name, value in pairs(headers) do
        lines[#lines + 1] = name .. ": " .. value
    end
    return self.stream:send(table.concat(lines, "\r\n") .. "\r\n\r\n" .. (request.body or ""))
end

local function read_chunked(self, deadline)
    local parts = {}
    while true do
        local line = assert(self.stream:read_line(deadline), "the chunked body broke off")
        local size = assert(tonumber(line:match("^(%x+)$") or "x", 16), "a bad chunk line: " .. line)
        if size == 0 then
            assert(self.stream:read_line(deadline) == "", "trailers are not expected")
            return table.concat(parts), #parts
        end
        parts[#parts + 1] = assert(self.stream:read(size, deadline))
        assert(self.stream:read(2, deadline) == "\r\n", "a chunk without its line end")
    end
end

-- The next answer: {status, headers (lower-case names), body, chunked}; nil and the reason when none comes. `head`:
-- it answers a HEAD request and has no body. An answer 100 is an answer of its own.
function methods:receive(head, seconds)
    local deadline = wait.deadline(seconds)
    local line, reason = self.stream:read_line(deadline)
    if not line then
        return nil, reason
    end
    local answer = {status = tonumber(line:match("^HTTP/1%.1 (%d%d%d) ")), headers = {}, body = ""}
    assert(answer.status, "not a status line: " .. line)
    while true do
        local header = assert(self.stream:read_line(deadline))
        if header == "" then
            break
        end
        local name, value = header:match("^([%w-]+):%s*(.-)%s*$")
        assert(name, "not a header: " .. header)
        local lower = name:lower()
        answer.headers[lower] = answer.headers[lower] and answer.headers[lower] .. ", " .. value or value
    end
    if head or answer.status == 100 or answer.status == 101 or answer.status == 204 then
        return answer
    end
    if answer.headers["transfer-encoding"] == "chunked" then
        answer.chunked = true
        answer.body, answer.chunks = read_chunked(self, deadline)
    elseif answer.headers["content-length"] then
        answer.body = assert(self.stream:read(tonumber(answer.headers["content-length"]), deadline))
    else
        answer.body = assert(self.stream:read_to_end(wait.left(deadline)))
    end
    return answer
end

function methods:request(request)
    local sent, reason = self:send_request(request)
    local answer, why = self:receive(request.method == "HEAD")
    if not answer then
        error(("no answer to %s %s: %s"):format(request.method or "GET", request.path or "/", reason or why), 2)
    end
    assert(sent or answer)
    return answer
end

-- True when the bridge has closed the connection, with nothing more sent before.
function methods:ended(seconds)
    return self.stream:read_to_end(seconds) == ""
end

function methods:half_close()
    self.stream:half_close()
end

function methods:close()
    self.stream:close()
end

-- The other way round: takes a request from whoever comes to this listener. Gives {line, headers, body} and the peer,
-- to be answered and closed; nothing when nobody comes within that time.
function http.accept(listener, seconds)
    if not socket.select({listener}, nil, seconds)[1] then
        return
    end
    local peer = assert(listener:accept())
    peer:settimeout(wait.left(wait.deadline()))
    local request = {line = assert(peer:receive("*l")), headers = {}}
    for header in function() return peer:receive("*l") end do
        if header == "" then
            break
        end
        local name, value = header:match("^([%w-]+): (.*)$")
        request.headers[name:lower()] = value
    end
    request.body = assert(peer:receive(tonumber(request.headers["content-length"])))
    return request, peer
end

-- One request on a connection of its own.
function http.request(bridge, request)
    local connection = http.connect(bridge, request)
    local answer = connection:request(request)
    connection:close()
    return answer
end

-- Decoded JSON, and the whole answer.
function http.get(bridge, path, headers)
    local answer = http.request(bridge, {path = path, headers = headers})
    local kind = answer.headers["content-type"] or ""
    return kind:find("json", 1, true) and json.decode(answer.body) or nil, answer
end

-- `body`: a table or raw text. Gives decoded JSON, and the whole answer.
function http.post(bridge, path, body, headers)
    local text = type(body) == "string" and body or json.encode(body)
    local answer = http.request(bridge, {method = "POST", path = path, body = text, headers = headers})
    return json.decode(answer.body), answer
end

return http
