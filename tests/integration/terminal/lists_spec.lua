-- `luaduct status`, `agents`, `history`, `tasks`, `alerts` and `tail`: a running bridge, seen from a terminal.
local bridge = require "tests.support.bridge"
local dev_certs = require "tests.support.dev_certs"
local http = require "tests.support.http"
local json = require "tests.support.json"
local socket = require "socket"
local terminal = require "tests.support.terminal"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local RIGHT_TO_LEFT = "\226\128\174" -- U+202E: what comes after it would be written backwards

local function run(server, command, ...)
    local status, output, errors = bridge.luaduct({command, "--url", server:url(), ...})
    return status, output, errors
end

local function good(server, command, ...)
    local status, output, errors = run(server, command, ...)
    assert.equal(0, status, errors)
    assert.equal("", errors)
    return output
end

local function lines_of(text)
    local lines = {}
    for line in text:gmatch("[^\n]+") do
        lines[#lines + 1] = line
    end
    return lines
end

local function json_lines(text)
    local list = lines_of(text)
    for i, line in ipairs(list) do
        list[i] = json.decode(line)
    end
    return list
end

local function send(server, envelope)
    assert.equal(202, http.request(server, {method = "POST", path = "/send", body = json.encode(envelope)}).status)
end

-- The command, with something in the bridge's place that gives these answers, {status, body} by path.
local function answer_with(answers, command, ...)
    local listener = assert(socket.bind("127.0.0.1", 0))
    listener:settimeout(0.05)
    local _, port = listener:getsockname()
    local child = bridge.luaduct_start({command, "--url", "http://127.0.0.1:" .. port, ...})
    wait.eventually(function()
        local peer = listener:accept()
        if peer then
            peer:settimeout(5)
            local path = (peer:receive("*l") or ""):match("^GET (%S+)")
            while (peer:receive("*l") or "") ~= "" do -- its headers
            end
            local answer = answers[path] or answers[path:match("^[^?]*")]
            peer:send(("HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"):format(answer[1],
                #answer[2], answer[2]))
            peer:close()
        end
        return not child:is_running()
    end, nil, command .. " to end")
    listener:close()
    return child:status(), child:output(), child:errors()
end

local function assert_harmless(text)
    assert.is_nil(text:find("[%z\1-\9\11-\31\127]"), text)
    assert.is_nil(text:find("\194[\128-\159]"), text)
    assert.is_nil(text:find(RIGHT_TO_LEFT, 1, true), text)
end

describe("luaduct status", function()
    after_each(bridge.clean)

    it("shows on one screen how the bridge does", function()
        local server = bridge.start({script = "return {}"})
        local ann = websocket.agent(server, "ann")
        websocket.agent(server, "ben")
        send(server, {to = "ann"})
        ann:receive_envelope()

        local output = good(server, "status")

        assert.match("^luaduct %d+%.%d+%.%d+ at http://127%.0%.0%.1:%d+: ready\n", output)
        assert.match("\n  mode +enhanced, environment %S+, up for %d+s\n", output)
        assert.match("\n  agents +2 connected; envelopes: 0 in mailboxes, 1 in the history\n", output)
        assert.match("\n  messages +%d+/s; 1 accepted, %d delivered, 0 errors\n", output)
        assert.match("\n  latency +p50 [%d.]+ .?s, p90 [%d.]+ .?s, p99 [%d.]+ .?s, p99.9 [%d.]+ .?s\n", output)
        assert.match("\n  memory +[%d.]+ MiB of [%d.]+ .iB %([%d.]+ %%%), level low\n", output)
        assert.match("\n  scripts +version 1, hash %x+\n", output)
        assert.match("\n  workers +%d+ of %d+ busy; tasks: 0 wait, 0 done\n", output)
        assert.match("\n  alerts +none\n$", output)
        assert.is_nil(output:find("\27", 1, true))
        assert.is_true(#lines_of(output) <= 24)
    end)

    it("gives the bridge's own answers as JSON", function()
        local server = bridge.start()

        local answer = json.decode(good(server, "status", "--json"))

        assert.is_true(answer.ready)
        assert.equal("ok", answer.health.status)
        assert.equal(0, answer.metrics.messages.accepted)
        assert.same({}, answer.alerts)
    end)

    it("says of the original mode what is known there", function()
        local server = bridge.start({config = {mode = "original"}})

        assert.match("\n  mode +original, ", good(server, "status"))
    end)

    it("names the alerts that are active", function()
        local server = bridge.start({
            config = {alerts = {intervalMs = 20}, policies = {alerts = "policy.lua"}},
            files = {["policy.lua"] = [[return {
                {name = "few", value = "agents", below = 1}, {name = "quiet", value = "agents", below = 2},
                {name = "many", value = "agents", above = 9},
            }]]},
        })
        wait.eventually(function() return #http.get(server, "/alerts").alerts == 2 end, nil, "two alerts")

        local shown = good(server, "status"):match("\n  alerts +(.*)$")
        assert.match("few 0 is below 1\n", shown)
        assert.match("quiet 0 is below 2\n", shown)
        assert.equal(2, #lines_of(shown))
    end)

    it("exits 1 while the bridge is not ready, and says why", function()
        local answers = {
            ["/health"] = {200, '{"status":"ok","version":"9.8.7","connectedClients":5,"uptime":90061,"metrics":{}}'},
            ["/metrics"] = {200, '{"memoryOptimization":{"memoryPressure":{"level":"critical","used":1048576,'
                .. '"budget":2097152,"predictedSecondsToThreshold":75}}}'},
            ["/ready"] = {503, '{"error":"the bridge is short of memory","code":"overloaded"}'},
            ["/alerts"] = {200, '{"alerts":[]}'},
        }

        local status, output, errors = answer_with(answers, "status")

        assert.same({1, ""}, {status, errors})
        assert.match("^luaduct 9%.8%.7 at http://127%.0%.0%.1:%d+: not ready: the bridge is short of memory\n", output)
        assert.match("\n  mode +enhanced, environment , up for 1d01h\n", output)
        assert.match("\n  memory +1%.0 MiB of 2%.0 MiB %(50%.0 %%%), level critical, "
            .. "its threshold is 1m15s away\n", output)
        status, output = answer_with(answers, "status", "--json")
        assert.equal(1, status)
        assert.is_false(json.decode(output).ready)
    end)

    it("says so when what answers is no bridge", function()
        for _, body in ipairs({"hello", "[]", '{"agents":1}', '{"agents":[', ""}) do
            local everything = setmetatable({}, {__index = function() return {200, body} end})
            local status, output, errors = answer_with(everything, "agents")
            assert.same({1, ""}, {status, output})
            assert.match("^luaduct agents: what answered is no bridge[^\n]*\n$", errors)
            status, output, errors = answer_with(everything, "status")
            assert.equal(body == '{"agents":1}' and 0 or 1, status, output) -- an object that says nothing
            assert.equal(status, select(2, errors:gsub("what answered is no bridge", "")))
        end
    end)

    it("asks as whoever has the token, and says what is refused without", function()
        local server = bridge.start({config = {auth = {token = "secret-secret"}}})

        local status, output = run(server, "status")
        assert.equal(0, status)
        assert.match("\n  alerts +not shown, the bridge refused: ", output)

        local with_token = {env = {AI_BRIDGE_AUTH_TOKEN = "secret-secret"}}
        status, output = bridge.luaduct({"status", "--url", server:url()}, with_token)
        assert.equal(0, status)
        assert.match("\n  alerts +none\n", output)
    end)
end)

describe("luaduct agents", function()
    after_each(bridge.clean)

    it("shows who is connected, and what is counted of each", function()
        local server = bridge.start()
        local ann = websocket.agent(server, "ann", {role = "writer", labels = {"eu", "gpu"}, tools = {"search"}})
        websocket.agent(server, "ben")
        ann:send_envelope({to = "ann"})
        ann:receive_envelope()

        local lines = lines_of(good(server, "agents"))

        assert.match("^ID +ROLE +LABELS +MESSAGES +ERRORS +CONNECTED +LAST SEEN +TOOLS$", lines[1])
        table.sort(lines, function(a, b) return a < b end)
        assert.match("^ann +writer +eu, gpu +1 +0 +%d+s +[%d:]+ +search$", lines[2])
        assert.match("^ben +agent +%- +0 +0 +%d+s +[%d:]+ +%-$", lines[3])
    end)

    it("gives a line of JSON for each", function()
        local server = bridge.start()
        websocket.agent(server, "ann", {labels = {"eu"}})

        local list = json_lines(good(server, "agents", "--json"))

        assert.equal(1, #list)
        assert.equal("ann", list[1].id)
        assert.same({"eu"}, list[1].labels)
    end)

    it("fits into a terminal of any width", function()
        local server = bridge.start()
        websocket.agent(server, ("long-"):rep(30), {labels = {("wide"):rep(30)}})

        local screen = terminal.start({bridge.BINARY, "agents", "--url", server:url()}, {columns = 90})
        assert.equal(0, (screen:ended()))

        local lines = lines_of(screen:screen())
        assert.match("^ID", lines[1])
        assert.match("^long%-.*… +agent +wide.*…", lines[2])
        assert.equal(2, #lines)
    end)

    it("uses colour in a terminal, but not where NO_COLOR is set", function()
        local server = bridge.start()
        local command = {bridge.BINARY, "status", "--url", server:url()}

        local coloured = terminal.start(command)
        assert.equal(0, (coloured:ended()))
        local plain = terminal.start(command, {env = {NO_COLOR = "1"}})
        assert.equal(0, (plain:ended()))

        assert.truthy(coloured:screen(true):find("\27%[[%d;]*32m"))
        assert.is_nil(plain:screen(true):find("\27[", 1, true))
    end)
end)

describe("luaduct history", function()
    after_each(bridge.clean)

    local function start()
        local server = bridge.start()
        local ann = websocket.agent(server, "ann")
        websocket.agent(server, "ben")
        ann:send_envelope({id = "1", to = "ben", intent = "ask", taskId = "t 1", payload = {text = "hello"}})
        ann:send_envelope({id = "2", to = "ann", payload = {n = 1}})
        ann:send_envelope({id = "3", intent = "tell", taskId = "t2", timestamp = "2026-01-31T12:00:00Z"})
        wait.eventually(function() return #http.get(server, "/history").history == 3 end)
        return server
    end

    it("shows the newest envelopes, oldest first", function()
        local lines = lines_of(good(start(), "history"))

        assert.match("^[%d: -]+ ann → ben %[ask%]: hello$", lines[1])
        assert.match('^[%d: -]+ ann → ann: {"n":1}$', lines[2])
        assert.match("^2026%-01%-31 [%d:]+ ann → all %[tell%]: {}$", lines[3])
        assert.equal(3, #lines)
    end)

    it("has the filters of the HTTP API", function()
        local server = start()
        local function ids(...)
            local list = {}
            for i, envelope in ipairs(json_lines(good(server, "history", "--json", ...))) do
                list[i] = envelope.id
            end
            return table.concat(list, " ")
        end
        assert.equal("1 2 3", ids())
        assert.equal("3", ids("--limit", "1"))
        assert.equal("1", ids("--agent", "ben"))
        assert.equal("1", ids("--task", "t 1"))
        assert.equal("3", ids("--intent", "tell"))
        assert.equal("", ids("--intent", "tell", "--agent", "ben"))
    end)
end)

describe("luaduct tasks", function()
    after_each(bridge.clean)

    it("shows what the history says of each task", function()
        local server = bridge.start()
        send(server, {to = "ben", taskId = "t1", intent = "ask"})
        send(server, {to = "cat", taskId = "t1", intent = "tell"})

        local lines = lines_of(good(server, "tasks"))

        assert.match("^TASK +LAST UPDATE +INTENTS +PARTICIPANTS$", lines[1])
        assert.match("^t1 +[%d:]+ +ask, tell +api, ben, cat$", lines[2])
        assert.equal("t1", json_lines(good(server, "tasks", "--json"))[1].taskId)
    end)
end)

describe("luaduct alerts", function()
    after_each(bridge.clean)

    it("shows those that are active and those that are over", function()
        local server = bridge.start({config = {
            alerts = {intervalMs = 20, windowMs = 600, cooldownMs = 0, gcFrequency = {enabled = true, threshold = 1}},
        }})
        assert.match("^STATE +SEVERITY +NAME +TIMES +SINCE +UNTIL +TEXT\n$", good(server, "alerts"))
        http.post(server, "/admin/gc", "")
        wait.eventually(function() return #http.get(server, "/alerts").alerts > 0 end, nil, "an alert")

        assert.match("\n%l+ +WARN +gcFrequency +1 +[%d:]+ +%S+ +%S", good(server, "alerts"))
        assert.equal("gcFrequency", json_lines(good(server, "alerts", "--json"))[1].name)
    end)
end)

describe("luaduct tail", function()
    after_each(bridge.clean)

    local function tail(server, ...)
        local running = bridge.luaduct_start({"tail", "--url", server:url(), ...})
        wait.eventually(function() -- it listens once the bridge counts it
            local metrics = http.request(server, {path = "/metrics", headers = {Accept = "text/plain"}}).body
            return metrics:find("luaduct_event_listeners 1", 1, true)
        end, nil, "the tail to begin")
        return running
    end

    it("shows envelopes as they pass, and why one was not accepted", function()
        local server = bridge.start({script = [[return {route = function(envelope, bridge)
            if envelope.intent == "no" then return bridge.drop("not today") end
        end}]]})
        local ann = websocket.agent(server, "ann")
        local running = tail(server, "--count", "3")
        ann:send_envelope({to = "ann", payload = {text = "hello"}})
        ann:send_envelope({intent = "no", payload = {n = 1.10}})
        ann:send_envelope({payload = "x"})

        assert.equal(0, running:wait_exit())
        local lines = lines_of(running:output())
        assert.match("^[%d:]+ ann → ann: hello$", lines[1])
        assert.match('^dropped: not today  [%d:]+ ann → all %[no%]: {"n":1.1}$', lines[2])
        assert.match("^[%d:]+ ann → all: x$", lines[3])
    end)

    it("shows what its filters let through, as it was sent, with --json", function()
        local server = bridge.start()
        local ann = websocket.agent(server, "ann")
        local running = tail(server, "--agent", "ben", "--intent", "ask", "--json", "--count", "1")
        ann:send_text('{"type":"envelope","envelope":{"to":"cat","intent":"ask"}}')
        ann:send_text('{"type":"envelope","envelope":{"to":"ben"}}')
        ann:send_text('{"type":"envelope","envelope":{"to":"ben","intent":"ask","payload":1e400}}')

        assert.equal(0, running:wait_exit())
        assert.equal('{"to":"ben","intent":"ask","payload":1e400}\n', running:output())
    end)

    it("ends when the bridge does", function()
        local server = bridge.start()
        local running = tail(server)
        server:stop()
        running:wait_exit()
        assert.equal("", running:output())
    end)
end)

describe("what agents have said", function()
    after_each(bridge.clean)

    it("is harmless to a terminal", function()
        local server = bridge.start()
        local id = "ann" .. RIGHT_TO_LEFT .. "x"
        local ann = websocket.agent(server, id, {tools = {"t" .. RIGHT_TO_LEFT}})
        ann:send_envelope({
            to = id, taskId = "t" .. RIGHT_TO_LEFT, intent = "i" .. RIGHT_TO_LEFT,
            payload = {text = "p\27[31m\27]0;x\7\194\155m\194\133\r\127" .. RIGHT_TO_LEFT},
        })
        ann:receive_envelope()
        for _, command in ipairs({"agents", "history", "tasks", "status"}) do
            assert_harmless(good(server, command))
        end
        assert_harmless(good(server, "top", "--once", "--interval", "0.1"))
        local screen = terminal.start({bridge.BINARY, "history", "--json", "--url", server:url()}, {columns = 1000})
        assert.equal(0, (screen:ended()))
        assert.equal(id, json.decode(lines_of(screen:screen())[1]).from) -- escaped, and the same
        assert_harmless(screen:screen())
        assert.match("ann x", good(server, "agents"))
    end)
end)

describe("each of them", function()
    after_each(bridge.clean)

    local COMMANDS = {"status", "agents", "history", "tasks", "alerts", "tail", "top"}

    it("says in one line what to do when there is no bridge", function()
        for _, command in ipairs(COMMANDS) do
            local status, output, errors = bridge.luaduct({
                command, "--url", "http://127.0.0.1:1", command == "top" and "--once" or nil,
            })
            assert.same({1, ""}, {status, output})
            assert.match("^luaduct " .. command .. ": cannot reach the bridge at http://127%.0%.0%.1:1: [^\n]+; "
                .. "start one with `luaduct run`, or say where it is with %-%-url\n$", errors)
        end
    end)

    it("says why the bridge refused", function()
        local server = bridge.start({config = {auth = {token = "secret-secret"}}})
        for _, command in ipairs({"agents", "history", "tasks", "alerts", "tail"}) do
            local status, output, errors = run(server, command)
            assert.same({1, ""}, {status, output})
            assert.match("^luaduct " .. command .. ": the bridge refused %(401 unauthorized%): [^\n]+\n$", errors)
        end
    end)

    it("reaches the bridge over TLS, and by the socket for administration", function()
        local folder = dev_certs.certs()
        local server = bridge.start({config = {
            tls = {cert = folder .. "/server.pem", key = folder .. "/server.key"},
            listen = {admin = folder .. "/admin.socket"},
        }})
        local url = ("https://127.0.0.1:%d"):format(server.http_port)
        for _, command in ipairs({"status", "agents", "history", "tasks", "alerts", "top"}) do
            local once = command == "top" and "--once" or nil
            local status, _, errors = bridge.luaduct({command, "--url", "unix:" .. folder .. "/admin.socket", once})
            assert.same({0, ""}, {status, errors}, command)
            status, _, errors = bridge.luaduct({command, "--url", url, "--ca", folder .. "/ca.pem", once})
            assert.same({0, ""}, {status, errors}, command)
        end
        local status, _, errors = bridge.luaduct({"agents", "--url", url})
        assert.equal(1, status)
        assert.match("cannot reach the bridge at https://", errors)
    end)

    it("says in one line what is wrong with how it is used", function()
        for _, arguments in ipairs({
            {"status", "now"}, {"agents", "--limit", "1"}, {"history", "--limit", "0"}, {"tasks", "--task", "x"},
            {"alerts", "all"}, {"tail", "--count", "x"}, {"top", "--sort", "size"}, {"top", "--limit", "3"},
            {"top", "--interval", "0"}, {"top"}, {"status", "--ca", "x.pem"},
        }) do
            local status, output, errors = bridge.luaduct(arguments)
            assert.same({2, ""}, {status, output}, table.concat(arguments, " "))
            assert.match("^luaduct [^\n]+\n$", errors)
        end
    end)
end)
