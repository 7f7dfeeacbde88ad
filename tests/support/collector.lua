-- A collector of spans: takes requests of OTLP/HTTP in JSON and keeps what they hold.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local socket = require "socket"
local wait = require "tests.support.wait"

local collector = {}
local methods = {}
methods.__index = methods

-- port: that one; else a free one.
function collector.listen(port)
    local self = setmetatable({requests = {}, list = {}, statuses = {}}, methods)
    self.listener = assert(socket.bind("127.0.0.1", port or 0))
    self.port = select(2, self.listener:getsockname())
    self.url = ("http://127.0.0.1:%d"):format(self.port)
    return bridge.track(self)
end

-- Its next answers: statuses, or {status =, headers = whole lines, body =, chunked = true: its body
-- says where it ends}; then 200 again.
function methods:answer(...)
    self.statuses = {...}
end

-- The values of OTLP's lists of attributes by name.
local function attributes_of(list)
    local attributes = {}
    for _, attribute in ipairs(list) do
        local value = attribute.value
        local number = value.intValue and tonumber(value.intValue)
        attributes[attribute.key] = value.stringValue or number or value.boolValue
    end
    return attributes
end

local function keep(self, body)
    for _, resource in ipairs(body.resourceSpans) do
        self.resource = attributes_of(resource.resource.attributes)
        for _, scope in ipairs(resource.scopeSpans) do
            for _, span in ipairs(scope.spans) do
                self.list[#self.list + 1] = {
                    trace = span.traceId, id = span.spanId, parent = span.parentSpanId, name = span.name,
                    kind = span.kind, began = span.startTimeUnixNano, ended = span.endTimeUnixNano,
                    attributes = attributes_of(span.attributes), status = span.status.code,
                }
            end
        end
    end
end

-- Takes one request, if one comes within that time.
local function take(self, seconds)
    local request, peer = http.accept(self.listener, seconds)
    if not request then
        return
    end
    request.body = json.decode(request.body)
    local answer = table.remove(self.statuses, 1) or 200
    answer = type(answer) == "number" and {status = answer} or answer
    request.status, request.time = answer.status, socket.gettime()
    local body = answer.body or ""
    peer:send(("HTTP/1.1 %d Whatever\r\n%s%s\r\n%s"):format(answer.status, answer.headers or "",
        answer.chunked and "" or ("Content-Length: %d\r\n"):format(#body), body))
    peer:close()
    self.requests[#self.requests + 1] = request
    if request.status == 200 then
        keep(self, request.body)
    end
end

-- Those of `name` (nil: any) in that trace (nil: any), once there are `count`.
function methods:spans(name, trace, count)
    local found
    wait.eventually(function()
        take(self, 0.05)
        found = {}
        for _, span in ipairs(self.list) do
            if (not name or span.name == name) and (not trace or span.trace == trace) then
                found[#found + 1] = span
            end
        end
        return #found >= (count or 1)
    end, nil, ("%d spans %s of trace %s"):format(count or 1, name or "", trace or "any"))
    return found
end

-- The one span of that name.
function methods:span(name, trace)
    local found = self:spans(name, trace)
    assert(#found == 1, ("%d spans %s"):format(#found, name))
    return found[1]
end

-- Takes requests until there have been so many.
function methods:expect_requests(count)
    wait.eventually(function()
        take(self, 0.05)
        return #self.requests >= count
    end, nil, count .. " requests")
end

function methods:close()
    self.listener:close()
end

return collector
