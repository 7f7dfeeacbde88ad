-- What is written in a message or a header: made to collide, to nest, to be long, or to be shown where it does harm.
local http = require "tests.support.http"
local process = require "tests.support.process"
local tools = require "tests.abuse.tools"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local function envelope(fields)
    return websocket.frame({payload = '{"type":"envelope","envelope":' .. fields .. "}"})
end

local numbers = 0

-- A JSON object with keys that have the same sparse hash in LuaJIT, whatever its seed: the bytes that it looks at (four
-- at the start, the end, the middle and a quarter) and the length are the same in all.
local function colliding(count)
    local out = {}
    for index = 1, count do
        numbers = numbers + 1
        out[index] = ('"%s%012d%s":1'):format(("k"):rep(36), numbers, ("k"):rep(16))
    end
    return "{" .. table.concat(out, ",") .. "}"
end

local function spread(count)
    local out = {}
    for index = 1, count do
        numbers = numbers + 1
        out[index] = ('"%012d%s":1'):format(numbers, ("k"):rep(52))
    end
    return "{" .. table.concat(out, ",") .. "}"
end

local READS = [[
    return {route = function(envelope)
        local count = 0
        for _ in pairs(envelope.payload) do
            count = count + 1
        end
        return nil
    end}
]]

-- Seconds that the bridge takes for so many envelopes with such payloads.
local function time_of(client, make, count)
    local frames = {}
    for index = 1, count do
        frames[index] = envelope(('{"to":"reader","payload":%s}'):format(make(4000)))
    end
    local bytes, began = table.concat(frames), wait.now()
    client:send_bytes(bytes)
    client:send_frame({opcode = websocket.PING, payload = "end"})
    repeat
        local message = assert(client:receive(30))
    until message.type == "pong"
    return wait.now() - began
end

-- Bytes that must not be anywhere raw, from C0, DEL and C1.
local EVIL = "\1\7\27[31m\r\n\127"
local EVIL_JSON = "\\u0001\\u0007\\u001b[31m\\r\\n\\u007f\\u009b"

local function is_clean(text)
    return not text:find("[%z\1-\8\11-\31\127]") and not text:find("\194[\128-\159]")
end

return {
    {
        name = "hash collisions: agents' keys in a script", bound = "as fast as other keys",
        script = READS, config = {script = {budgetMs = 1000}, performance = {worker_threads = 1}},
        run = function(server, till)
            local client = websocket.agent(server, "attacker")
            local plain, evil = time_of(client, spread, 20), time_of(client, colliding, 20)
            while not tools.over(till) do
                evil = (evil + time_of(client, colliding, 20)) / 2
            end
            return ("80,000 keys in %.0f ms, others in %.0f ms"):format(evil * 1000, plain * 1000),
                tools.figure(server, 'luaduct_script_overruns_total{hook="route"}') == 0
        end,
    },
    {
        name = "hash collisions: clientIds, recipients, taskIds", bound = "keyed hashes",
        run = function(server, till)
            local client, count = websocket.agent(server, "attacker"), 0
            repeat
                local frames = {}
                for index = 1, 500 do
                    count = count + 1
                    frames[index] = envelope(('{"to":"%s%08d%s","taskId":"%s%08d%s","intent":"task.assign"}'):format(
                        ("k"):rep(36), count % 5000, ("k"):rep(20), ("k"):rep(36), count, ("k"):rep(20)))
                end
                client:send_bytes(table.concat(frames))
                tools.drain({client.stream}, 0)
            until tools.over(till)
            return ("%d envelopes"):format(count), true
        end,
    },
    {
        name = "control bytes in ids, roles, labels and headers", bound = "never raw in logs, JSON or metrics",
        config = {log = {level = "debug"}, http = {rateMax = 0}},
        run = function(server, till)
            local fine = websocket.agent(server, "fine")
            repeat
                for _, field in ipairs({"clientId", "role"}) do
                    local client = websocket.connect(server)
                    client:send_text(('{"type":"register","clientId":"a","%s":"%s"}'):format(field, EVIL_JSON))
                    assert(client:receive(5))
                    client:close()
                end
                local client = websocket.connect(server)
                client:send_text(('{"type":"register","clientId":"b","labels":["%s"],"tools":["%s"],"intents":["%s"]}')
                    :format(EVIL_JSON, EVIL_JSON, EVIL_JSON))
                assert(client:receive(5))
                client:close()
                for _, field in ipairs({"to", "from", "intent", "taskId", "channel", "id", "replyTo", "priority"}) do
                    fine:send_bytes(envelope(('{"to":"fine","%s":"%s"}'):format(field, EVIL_JSON)))
                end
                fine:send_bytes(websocket.frame({payload = '{"type":"' .. EVIL_JSON .. '"}'}))
                tools.drain({fine.stream}, 0.05)
                for _, header in ipairs({"Origin", "Host", "X-Forwarded-For", "Authorization", "User-Agent"}) do
                    local connection = http.connect(server)
                    connection:send_bytes(("GET /health%s HTTP/1.1\r\nHost: localhost\r\n%s: %s\r\n\r\n"):format(
                        header == "Host" and "/\27[31m" or "", header, EVIL:gsub("[\r\n]", "")))
                    connection:receive()
                    connection:close()
                end
                http.request(server, {path = "/history?agentId=%1b%5b31m&intent=%0d%0a"})
                http.request(server, {path = "/nowhere%1b%5b31m"})
            until tools.over(till)
            local shown = {}
            for _, path in ipairs({"/metrics", "/agents", "/history", "/tasks", "/health", "/api/status", "/alerts"}) do
                shown[#shown + 1] = http.request(server, {path = path, headers = {Accept = "text/plain"}}).body
            end
            shown[#shown + 1] = server.log_file and process.read_file(server.log_file) or server:log()
            for index, text in ipairs(shown) do
                if not is_clean(text) then
                    return "raw control bytes in output " .. index, false
                end
            end
            return "none raw in 7 outputs and the log", true
        end,
    },
    {
        name = "nesting", bound = "limits.jsonDepth",
        run = function(server, till)
            local client = websocket.agent(server, "deep")
            local frame = envelope('{"payload":' .. ("["):rep(400000) .. "}")
            local count = 0
            repeat
                client:send_bytes(frame)
                local message = client:receive(5)
                if not message or not (message.payload or ""):find('"too_deep"', 1, true) then
                    return "one was not refused", false
                end
                count = count + 1
            until tools.over(till)
            return ("%d of 400,000 levels refused"):format(count), true
        end,
    },
    {
        name = "headers: too long, too many", bound = "http.headerBytes",
        config = {http = {rateMax = 0}},
        run = function(server, till)
            local requests = {
                "GET /" .. ("x"):rep(1000000) .. " HTTP/1.1\r\n", "GET / HTTP/1.1\r\nX: " .. ("x"):rep(1000000),
                "GET / HTTP/1.1\r\n" .. ("X: y\r\n"):rep(100000), ("x"):rep(1000000), ("\r\n"):rep(500000),
            }
            local count = 0
            repeat
                for _, request in ipairs(requests) do
                    local connection = http.connect(server)
                    connection:send_bytes(request)
                    local line = connection.stream:read_line(wait.deadline(5))
                    if line and not line:match("^HTTP/1.1 4[03][01] ") then
                        return "answered " .. line, false
                    end
                    connection:close()
                    count = count + 1
                end
            until tools.over(till)
            return ("%d refused"):format(count), true
        end,
    },
}
