-- The access policy: what rules decide, how they are loaded, and what a refusal looks like.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local process = require "tests.support.process"
local tokens = require "tests.support.tokens"
local websocket = require "tests.support.websocket"

local PEOPLE = {
    boss = {token = "boss", roles = {"planner"}, clientIds = {"boss"}, agentRoles = {"planner"}},
    worker = {token = "worker", roles = {"worker"}, clientIds = {"w-*"}, labels = {"eu"}},
    plain = {token = "plain", clientIds = {"plain"}},
    agent = {token = "agent", roles = {"agent"}, clientIds = {"a"}},
    reader = {token = "reader", roles = {"reader"}},
    ops = {token = "ops", roles = {"admin"}, clientIds = {"ops"}},
}

local function start(rules, options)
    options = options or {}
    local config = options.config or {}
    config.auth = config.auth or {}
    if options.people ~= false then
        config.auth.tokens = "tokens"
    end
    config.policies = rules and {access = "access.lua"} or nil
    return bridge.start({
        config = config, script = options.script,
        files = {tokens = tokens.file(PEOPLE), ["access.lua"] = rules or ""},
    })
end

local function agent(server, id, fields)
    fields = fields or {}
    fields.authToken = fields.authToken or id
    return websocket.agent(server, id, fields)
end

-- Whether the envelope is taken; each has an id of its own so that answers are told apart.
local function sends(client, envelope)
    envelope.id = envelope.id or tostring(math.random(2 ^ 50))
    client:send_envelope(envelope)
    client:send_envelope({id = "probe", to = "nobody-here", intent = "probe"})
    local message = client:receive_json()
    if message.type == "error" and message.id == envelope.id then
        assert.equal("forbidden", message.code)
        client:receive_json()
        return false
    end
    return true
end

local function status(server, path, token, method)
    if method == "POST" then
        return select(2, http.post(server, path, {}, tokens.bearer(token))).status
    end
    return select(2, http.get(server, path, tokens.bearer(token))).status
end

describe("access rules", function()
    after_each(bridge.clean)

    local DENY_PROBE = 'deny { send = "probe" }\n' -- so that each probe is answered

    it("decide who may send which intent to whom; the first that fits does", function()
        local server = start(DENY_PROBE .. [[
            deny { role = "worker", send = "task.secret" }
            allow { role = "worker", send = "task.*", to = { "boss", "w-*" } }
            allow { role = "planner", send = true }
        ]])
        local boss = agent(server, "boss", {role = "planner"})
        local worker = agent(server, "w-1", {authToken = "worker"})

        assert.is_true(sends(worker, {to = "boss", intent = "task.done"}))
        assert.is_true(sends(worker, {to = "w-2", intent = "task.done"}))
        assert.is_false(sends(worker, {to = "ops", intent = "task.done"}))
        assert.is_false(sends(worker, {to = "boss", intent = "task.secret"}))
        assert.is_false(sends(worker, {to = "boss", intent = "chat"}))
        assert.is_false(sends(worker, {to = "boss"}))
        assert.equal("task.done", boss:receive_envelope().intent)
    end)

    it("decide who may broadcast, apart from sending", function()
        local server = start([[
            allow { role = "planner", broadcast = "news.*" }
            allow { role = "worker", send = "*" }
        ]])
        local boss = agent(server, "boss", {role = "planner"})
        local worker = agent(server, "w-1", {authToken = "worker"})

        boss:send_envelope({id = "e1", intent = "news.today"})
        assert.equal("e1", worker:receive_envelope().id)
        boss:send_envelope({id = "e2", intent = "gossip"})
        assert.equal("e2", boss:expect_error("forbidden").id)
        worker:send_envelope({id = "e3", intent = "news.today"})
        assert.equal("e3", worker:expect_error("forbidden").id)
        worker:send_envelope({id = "e4", to = "boss"})
        assert.equal("e4", boss:receive_envelope().id)
        boss:send_envelope({id = "e5", to = "w-1"})
        assert.equal("e5", boss:expect_error("forbidden").id)
    end)

    it("know people by kind, name, label, clientId and registered role", function()
        local server = start(DENY_PROBE .. [[
            allow { kind = "shared", agentRole = "scribe", send = "a" }
            allow { name = { "bo*", "ops" }, send = "b" }
            allow { label = "eu", agent = "w-1", send = "c" }
            deny { kind = "shared", send = "*" }
        ]], {config = {auth = {token = "shared"}}})
        local scribe = agent(server, "s", {authToken = "shared", role = "scribe"})
        local other = agent(server, "t", {authToken = "shared"})
        local boss = agent(server, "boss", {role = "planner"})
        local first, second = agent(server, "w-1", {authToken = "worker"}), agent(server, "w-2", {authToken = "worker"})

        assert.is_true(sends(scribe, {to = "x", intent = "a"}))
        assert.is_false(sends(other, {to = "x", intent = "a"}))
        assert.is_true(sends(boss, {to = "x", intent = "b"}))
        assert.is_false(sends(first, {to = "x", intent = "b"}))
        assert.is_true(sends(first, {to = "x", intent = "c"}))
        assert.is_false(sends(second, {to = "x", intent = "c"}))
    end)

    it("give the same answer again and again, however many there are", function()
        local server = start(DENY_PROBE .. [[
            for i = 1, 40 do
                deny { role = "worker", send = "task.secret", to = "w-" .. i }
                allow { role = "worker", send = { "task.*", "chat" }, to = "w-" .. i }
            end
        ]])
        local worker = agent(server, "w-99", {authToken = "worker"})

        for _ = 1, 3 do
            for i = 38, 42 do
                assert.equal(i <= 40, sends(worker, {to = "w-" .. i, intent = "task.done"}))
                assert.is_false(sends(worker, {to = "w-" .. i, intent = "task.secret"}))
                assert.equal(i <= 40, sends(worker, {to = "w-" .. i, intent = "chat"}))
            end
        end
    end)

    it("hold over HTTP too", function()
        local server = start('allow { role = "planner", send = "task.*", to = "w-*", broadcast = "news" }')
        local function post(path, envelope)
            local body, answer = http.post(server, path, envelope, tokens.bearer("boss"))
            return answer.status, body.code
        end

        assert.same({202}, {post("/send", {to = "w-1", intent = "task.a"})})
        assert.same({403, "forbidden"}, {post("/send", {to = "ops", intent = "task.a"})})
        assert.same({403, "forbidden"}, {post("/send", {to = "w-1", intent = "chat"})})
        assert.same({202}, {post("/broadcast", {intent = "news"})})
        assert.same({403, "forbidden"}, {post("/broadcast", {intent = "task.a"})})
        assert.same({403, "forbidden"}, {post("/broadcast", {intent = "task.a", to = "w-1"})})
    end)

    it("decide who may see what", function()
        local server = start([[
            allow { role = "worker", see = { "agents", "tasks" } }
            allow { role = "planner", see = "history" }
            deny { name = "ops", see = "events" }
        ]])

        for path, expected in pairs({
            ["/agents"] = {200, 403, 200}, ["/tasks"] = {200, 403, 200}, ["/history"] = {403, 200, 200},
            ["/api/status"] = {403, 403, 200}, ["/optimization"] = {403, 403, 200}, ["/alerts"] = {403, 403, 200},
            ["/metrics/history"] = {403, 403, 200},
            ["/health"] = {200, 200, 200}, ["/metrics"] = {403, 403, 200},
        }) do
            local found = {status(server, path, "worker"), status(server, path, "boss"), status(server, path, "ops")}
            assert.same(expected, found, path)
        end
        assert.equal(403, status(server, "/events", "worker"))
        local headers = tokens.bearer("worker")
        headers.Accept = "text/plain"
        assert.equal(200, select(2, http.get(server, "/metrics", headers)).status)
    end)

    it("decide who administers; the role admin does without a rule", function()
        local server = start([[
            allow { name = "boss", admin = true }
            deny { role = "admin", admin = true }
        ]])
        assert.equal(202, status(server, "/admin/gc", "boss", "POST"))
        assert.equal(403, status(server, "/admin/gc", "ops", "POST"))
        assert.equal(403, status(server, "/admin/scripts", "worker"))

        local other = start("")
        assert.equal(202, status(other, "/admin/gc", "ops", "POST"))
        assert.equal(403, status(other, "/admin/gc", "boss", "POST"))
    end)

    it("decide about tasks by envelope as about a message to bridge", function()
        local server = start([[
            allow { role = "planner", send = "bridge.execute", to = "bridge" }
        ]], {config = {phase2 = {workerPool = {allowRoles = {"planner", "agent"}}}}})
        local boss = agent(server, "boss", {role = "planner"})
        local worker = agent(server, "w-1", {authToken = "worker"})
        local task = {intent = "bridge.execute", payload = {operation = "sha256", data = "x"}}

        worker:send_envelope(task)
        worker:expect_error("forbidden")
        boss:send_envelope(task)
        assert.not_equal("forbidden", boss:receive_json().code)
    end)

    it("about an agent hold for who speaks for it over HTTP", function()
        local server = start([[
            deny { agent = "w-1", send = "secret" }
            deny { agentRole = "planner", send = "plan" }
            deny { agent = "w-1", broadcast = "*" }
            allow { send = "*", broadcast = "*" }
        ]])
        local function post(path, token, from, intent)
            local envelope = {from = from, intent = intent, to = path == "/send" and "x" or nil}
            return select(2, http.post(server, path, envelope, tokens.bearer(token))).status
        end

        assert.equal(403, post("/send", "worker", "w-1", "secret"))
        assert.equal(202, post("/send", "worker", "w-2", "secret"))
        assert.equal(202, post("/send", "worker", "w-1", "other"))
        assert.equal(403, post("/broadcast", "worker", "w-1", "other"))
        assert.equal(403, post("/send", "boss", "boss", "plan"))
        assert.equal(202, post("/send", "boss", nil, "plan"))
        agent(server, "boss", {role = "planner"})
        assert.equal(403, post("/send", "ops", "boss", "plan"))
        assert.equal(202, post("/send", "ops", "a", "plan"))
    end)

    it("give nothing to who only says that it is somebody, where anybody may", function()
        local server = start([[
            allow { agent = "boss", send = "secret" }
            deny { send = "secret" }
        ]], {config = {agents = {verifyFrom = false}}})
        local function post(token)
            local envelope = {from = "boss", to = "x", intent = "secret"}
            return select(2, http.post(server, "/send", envelope, tokens.bearer(token))).status
        end

        assert.equal(403, post("agent"))
        assert.equal(202, post("boss"))
    end)

    describe("that are built in", function()
        it("let agents send, readers read, admins everything, and others nothing", function()
            local server = start()
            local plain, ops = agent(server, "plain"), agent(server, "ops")
            local sender = agent(server, "a", {authToken = "agent"})

            sender:send_envelope({id = "e1", to = "ops"})
            sender:send_envelope({id = "e2"})
            assert.equal("e1", ops:receive_envelope().id)
            assert.equal("e2", ops:receive_envelope().id)
            ops:send_envelope({id = "e3", to = "a"})
            assert.equal("e3", sender:receive_envelope().id)
            assert.equal("e2", plain:receive_envelope().id)
            plain:send_envelope({id = "e4", to = "a"})
            assert.equal("e4", plain:expect_error("forbidden").id)
            plain:send_envelope({id = "e5"})
            assert.equal("e5", plain:expect_error("forbidden").id)

            for _, path in ipairs({"/agents", "/history", "/tasks", "/api/status", "/optimization", "/alerts"}) do
                assert.same({403, 403, 200, 200}, {status(server, path, "plain"), status(server, path, "agent"),
                    status(server, path, "reader"), status(server, path, "ops")}, path)
            end
            assert.equal(403, status(server, "/admin/gc", "reader", "POST"))
            assert.equal(202, status(server, "/admin/gc", "ops", "POST"))
        end)

        it("leave the shared token and a bridge without credentials as they were", function()
            local open = start(nil, {people = false})
            local client = websocket.agent(open, "x")
            client:send_envelope({id = "e1", to = "x"})
            assert.equal("e1", client:receive_envelope().id)
            assert.equal(200, select(2, http.get(open, "/history")).status)
            assert.equal(202, select(2, http.post(open, "/admin/gc", {})).status)

            local shared = start(nil, {people = false, config = {auth = {token = "s"}}})
            client = websocket.agent(shared, "x", {authToken = "s"})
            client:send_envelope({id = "e1", to = "x"})
            assert.equal("e1", client:receive_envelope().id)
            assert.equal(200, status(shared, "/history", "s"))
            assert.equal(403, status(shared, "/admin/gc", "s", "POST"))
        end)
    end)

    it("may be about nobody, where no credential is configured; the socket is always an administrator", function()
        local server = start([[
            deny { kind = "nobody", broadcast = "*", admin = true, see = "history" }
            deny { admin = true }
        ]], {people = false, config = {listen = {admin = "admin.sock"}}})
        local client = websocket.agent(server, "x")

        client:send_envelope({id = "e1"})
        assert.equal("e1", client:expect_error("forbidden").id)
        assert.equal(403, select(2, http.post(server, "/admin/gc", {})).status)
        assert.equal(403, select(2, http.get(server, "/history")).status)
        assert.equal(200, select(2, http.get(server, "/agents")).status)
        local result = bridge.luaduct({"reload", "--url", "unix:" .. server.folder .. "/admin.sock"})
        assert.equal(0, result)
    end)

    it("hold for envelopes of a connection that has not registered, where that is allowed", function()
        local server = start('deny { kind = "nobody", send = "secret" }', {
            people = false, config = {mode = "original"},
        })
        local client = websocket.connect(server)

        client:send_envelope({id = "e1", to = "x", intent = "secret"})

        assert.equal("e1", client:expect_error("forbidden").id)
    end)

    it("count what they refuse, and say it in the log", function()
        local server = start("", {config = {log = {format = "json"}}})
        local plain = agent(server, "plain")
        plain:send_envelope({to = "a", intent = "chat"})
        plain:expect_error("forbidden")
        plain:send_envelope({intent = "chat"})
        plain:expect_error("forbidden")
        status(server, "/history", "plain")
        status(server, "/admin/gc", "plain", "POST")
        status(server, "/agents", "wrong")

        local denied = http.get(server, "/metrics", tokens.bearer("ops")).messages.denied

        assert.same({1, 1, 1, 1, 1}, {denied.send, denied.broadcast, denied.see, denied.admin, denied.credential})
        local text = select(2, http.get(server, "/metrics", {Accept = "text/plain"})).body
        assert.truthy(text:find('luaduct_denied_total{what="send"} 1', 1, true), text)
        server:wait_log("refused (send) to token:plain: chat")
        server:wait_log("refused (see) to token:plain: history")
    end)

    it("change with a reload, for agents that are connected too", function()
        local server = start('allow { send = "*" }')
        local plain = agent(server, "plain")
        plain:send_envelope({id = "e1", to = "plain"})
        assert.equal("e1", plain:receive_envelope().id)

        process.write_file(server.folder .. "/access.lua", 'deny { send = "*" }')
        server:signal("SIGHUP")
        server:wait_log("version 2 of the scripts")
        plain:send_envelope({id = "e2", to = "plain"})

        assert.equal("e2", plain:expect_error("forbidden").id)
    end)

    it("that are wrong refuse the reload, with file and line, and the old ones hold on", function()
        local server = start('allow { send = "*" }')
        local plain = agent(server, "plain")

        process.write_file(server.folder .. "/access.lua", "-- mine\nallow { sent = true }")
        server:signal("SIGHUP")
        server:wait_log("access.lua:2: there is nothing like sent in a rule")
        plain:send_envelope({id = "e1", to = "plain"})

        assert.equal("e1", plain:receive_envelope().id)
    end)

    for text, expected in pairs({
        ["allow { send = 5 }"] = "access.lua:1: send: expected a text of 1 to 256 bytes without control characters",
        ["\nallow {}"] = "access.lua:2: the rule says nothing: expected send, broadcast, see or admin",
        ["deny { to = 'x' }"] = "access.lua:1: to: expected send beside it",
        ["return { { name = 'a', value = 'agents', above = 1 } }"] =
            "access.lua: expected calls of allow and deny, and nothing returned, got a table",
        ["deny { see = 'everything' }"] = "access.lua:1: see: expected agents, history, tasks, status, events or *",
        ["deny { kind = 'bot', admin = true }"] = "access.lua:1: kind: expected one of nobody, shared, token, jwt",
        ["deny { admin = 1 }"] = "access.lua:1: admin: expected true",
        ["deny 'all'"] = "access.lua:1: expected one table, such as allow",
        ["deny { 'all' }"] = "access.lua:1: a rule is no list",
        ["deny { send = {} }"] = "access.lua:1: send: expected 1 to 256 texts",
        ["deny { send = { a = 'b' } }"] = "access.lua:1: send: expected 1 to 256 texts",
        ["deny { send = { 'a', b = 'c' } }"] = "access.lua:1: send: expected a list and nothing else in it",
        ["for i = 1, 1025 do allow { admin = true } end"] = "access.lua:1: expected at most 1024 rules",
        ["allow {"] = "access.lua:1: ",
        ["while true do end"] = "access.lua",
        ["os.execute('true')"] = "access.lua:1: ",
    }) do
        it("stop the start when they are wrong: " .. text:gsub("\n", " "), function()
            local code, errors = bridge.start_failing({
                config = {policies = {access = "access.lua"}}, files = {["access.lua"] = text},
            })
            assert.equal(1, code)
            assert.truthy(errors:find(expected, 1, true), errors)
        end)
    end

    it("are looked at by luaduct check, and those that come along are good", function()
        local path, folder = bridge.write({
            config = {policies = {access = "access.lua"}}, files = {["access.lua"] = "x("},
        })
        local code, _, errors = bridge.luaduct({"check", path})
        assert.equal(1, code)
        assert.truthy(errors:find("access.lua:1:", 1, true), errors)

        process.write_file(folder .. "/access.lua", process.read_file("config/policies/access.lua"))
        local output
        code, output, errors = bridge.luaduct({"check", path})
        assert.equal(0, code, errors)
        assert.truthy(output:find("access.lua: ok", 1, true), output)
    end)

    it("give a policy that makes sense where the shipped file is used as it is", function()
        local rules = process.read_file("config/policies/access.lua")
        local server = start(rules, {config = {auth = {token = "shared"}}})
        local boss = agent(server, "boss", {role = "planner"})
        local worker = agent(server, "w-1", {authToken = "worker"})

        boss:send_envelope({id = "e1", to = "w-1", intent = "task.assign"})
        assert.equal("e1", boss:expect_error("forbidden").id)
        boss:send_envelope({id = "e2", intent = "task.assign"})
        assert.equal("e2", worker:receive_envelope().id)
        local shared = agent(server, "z", {authToken = "shared"})
        shared:send_envelope({id = "e3"})
        shared:expect_error("forbidden")
        assert.equal(json.null, http.get(server, "/history", tokens.bearer("reader")).history[1].to)
    end)
end)

describe("what is refused to somebody who has no right to come in", function()
    after_each(bridge.clean)

    it("is logged with the address that limits count, a trusted proxy's client's too", function()
        local server = bridge.start({config = {
            auth = {token = "secret"}, limits = {trustedProxies = {"127.0.0.1"}},
        }})

        status(server, "/agents", "wrong")
        server:wait_log("refused (credential) from 127.0.0.1 to nobody: a request")
        local headers = {["X-Forwarded-For"] = "192.0.2.7", Authorization = "Bearer wrong"}
        assert.equal(401, select(2, http.get(server, "/agents", headers)).status)
        server:wait_log("refused (credential) from 192.0.2.7 to nobody: a request")
        websocket.connect(server):send_register("eve", {authToken = "wrong"})
        server:wait_log("refused (credential) from 127.0.0.1 to nobody: register")
        http.get(server, "/agents", {Origin = "https://elsewhere.example"})
        server:wait_log("refused (origin) from 127.0.0.1 to nobody: https://elsewhere.example")
    end)
end)
