-- Who may come in and what he may do is what the newest configuration says: when somebody returns to an older version
-- of the scripts too, and for those who are in already.
local bridge = require "tests.support.bridge"
local events = require "tests.support.events"
local http = require "tests.support.http"
local process = require "tests.support.process"
local tokens = require "tests.support.tokens"
local websocket = require "tests.support.websocket"

local SCRIPT = "return {}"

local function start(config, options)
    options = options or {}
    return bridge.start({config = config, script = options.script or SCRIPT, files = options.files})
end

local function write_config(server, config)
    config.script = {path = "script.lua"}
    process.write_file(server.folder .. "/config.lua", bridge.config_text(bridge.config(config)))
end

local function order(server, body, bearer)
    local answer, raw = http.post(server, "/admin/reload", body, bearer)
    assert.equal(200, raw.status, raw.body)
    return answer
end

-- Takes up another configuration; `bearer` is an administrator's by the old one.
local function reload(server, config, bearer)
    write_config(server, config)
    return order(server, {}, bearer)
end

local function status(server, path, headers)
    return select(2, http.get(server, path, headers)).status
end

describe("a return to an older version", function()
    after_each(bridge.clean)

    local new = tokens.bearer("new-secret")

    it("does not bring its shared token back, nor who is an administrator by it", function()
        local server = start({auth = {token = "old-secret", tokenIsAdmin = true}})
        reload(server, {auth = {token = "new-secret", tokenIsAdmin = true}}, tokens.bearer("old-secret"))

        assert.equal(1, order(server, {to = 1}, new).version)

        assert.equal(401, status(server, "/agents", tokens.bearer("old-secret")))
        assert.equal(200, status(server, "/agents", new))
    end)

    it("does not make administrators of those who are none any more", function()
        local server = start({listen = {admin = "a.sock"}, auth = {token = "secret", tokenIsAdmin = true}})
        reload(server, {listen = {admin = "a.sock"}, auth = {token = "secret"}}, tokens.bearer("secret"))

        local code, _, errors = bridge.luaduct({"reload", "--to", "1", "--url", "unix:" .. server.folder .. "/a.sock"})

        assert.equal(0, code, errors)
        assert.equal(403, select(2, http.post(server, "/admin/gc", {}, tokens.bearer("secret"))).status)
    end)

    it("does not open a bridge that asks for a credential by now", function()
        local server = start({})
        reload(server, {auth = {token = "new-secret", tokenIsAdmin = true}})

        order(server, {to = 1}, new)

        assert.equal(401, status(server, "/agents"))
        assert.equal(401, select(2, http.post(server, "/admin/gc", {})).status)
    end)

    it("nor when it has been on trial and is promoted", function()
        local server = start({})
        reload(server, {auth = {token = "new-secret", tokenIsAdmin = true}})

        order(server, {to = 1, canary = {percent = 100}}, new)
        assert.equal(401, status(server, "/agents"))
        assert.equal(200, select(2, http.post(server, "/admin/canary/promote", "", new)).status)

        assert.equal(401, status(server, "/agents"))
    end)

    it("is not promoted when its tokens cannot be read any more: it stays on trial, with the reason", function()
        local admin = {admin = {token = "admin-token", roles = {"admin"}}}
        local server = start({auth = {tokens = "tokens.jsonl"}}, {files = {["tokens.jsonl"] = tokens.file(admin)}})
        local bearer = tokens.bearer("admin-token")
        order(server, {canary = {percent = 100}}, bearer)
        process.write_file(server.folder .. "/tokens.jsonl", "nonsense")

        local answer, raw = http.post(server, "/admin/canary/promote", "", bearer)
        assert.equal(422, raw.status)
        assert.truthy(answer.error:find("tokens.jsonl", 1, true), answer.error)

        process.write_file(server.folder .. "/tokens.jsonl", tokens.file(admin))
        assert.equal(200, select(2, http.post(server, "/admin/canary/promote", "", bearer)).status)
    end)

    it("does not let origins in that are not listed any more", function()
        local origin = {Origin = "https://elsewhere.example"}
        local server = start({http = {corsOrigins = {"https://elsewhere.example"}}})
        assert.equal(200, status(server, "/agents", origin))
        reload(server, {})
        assert.equal(403, status(server, "/agents", origin))

        order(server, {to = 1})

        assert.equal(403, status(server, "/agents", origin))
    end)

    it("is refused when its scripts lack the hook that is asked by now", function()
        local server = start({listen = {admin = "admin.sock"}})
        process.write_file(server.folder .. "/script.lua", [[
            return { authenticate = function(shown)
                return shown.token == "x" and {name = "x", roles = {"admin"}}
            end }]])
        reload(server, {listen = {admin = "admin.sock"}, auth = {hook = true}})

        local answer, raw = http.post(server, "/admin/reload", {to = 1}, tokens.bearer("x"))

        assert.equal(422, raw.status)
        assert.truthy(answer.error:find("auth.hook", 1, true), answer.error)
        assert.equal(200, status(server, "/agents", tokens.bearer("x")))
    end)

    it("and a reload after it takes up what the configuration says then", function()
        local server = start({auth = {token = "old-secret", tokenIsAdmin = true}})
        reload(server, {auth = {token = "new-secret", tokenIsAdmin = true}}, tokens.bearer("old-secret"))
        order(server, {to = 1}, new)

        reload(server, {auth = {token = "third-secret", tokenIsAdmin = true}}, new)

        assert.equal(401, status(server, "/agents", new))
        assert.equal(200, status(server, "/agents", tokens.bearer("third-secret")))
    end)
end)

describe("a reload", function()
    after_each(bridge.clean)

    local ADMIN = {token = "ops", roles = {"admin"}, clientIds = {"ops"}}

    local function start_named(watcher, rules)
        return start({listen = {admin = "admin.sock"}, auth = {tokens = "tokens"},
            policies = rules and {access = "access.lua"} or nil},
            {files = {tokens = tokens.file({ops = ADMIN, watcher = watcher}), ["access.lua"] = rules or ""}})
    end

    local function rewrite(server, watcher)
        process.write_file(server.folder .. "/tokens", tokens.file({ops = ADMIN, watcher = watcher}))
        order(server, {}, tokens.bearer("ops"))
    end

    -- That the stream ends by itself, without what happens from now on.
    local function expect_ended(stream)
        local event, reason = stream:next()
        assert.is_nil(event)
        assert.equal("ended", reason)
    end

    it("ends the events of who may not see them any more, and no other's", function()
        local server = start_named({token = "w", roles = {"reader"}})
        local stream = events.listen(server, "/events", {headers = tokens.bearer("w")})
        local other = events.listen(server, "/events?kinds=agent", {headers = tokens.bearer("ops")})

        rewrite(server, {token = "w"})

        expect_ended(stream)
        websocket.agent(server, "ops", {authToken = "ops"})
        assert.equal("ops", other:wait_for("the agent", function(event) return event.kind == "agent" end).data.agent)
    end)

    it("ends the trace of who is no administrator any more, and events of kinds for administrators", function()
        local server = start_named({token = "w", roles = {"admin"}})
        local trace = events.listen(server, "/admin/trace", {headers = tokens.bearer("w")})
        local kinds = events.listen(server, "/events?kinds=trace,agent", {headers = tokens.bearer("w")})
        local plain = events.listen(server, "/events?kinds=agent", {headers = tokens.bearer("w")})

        rewrite(server, {token = "w", roles = {"reader"}})

        expect_ended(trace)
        expect_ended(kinds)
        websocket.agent(server, "ops", {authToken = "ops"})
        assert.equal("ops", plain:wait_for("the agent", function(event) return event.kind == "agent" end).data.agent)
    end)

    it("that changes the access policy ends what it does not allow", function()
        local server = start_named({token = "w"}, 'allow { name = "watcher", see = "events" }')
        local stream = events.listen(server, "/events", {headers = tokens.bearer("w")})

        process.write_file(server.folder .. "/access.lua", "")
        order(server, {}, tokens.bearer("ops"))

        expect_ended(stream)
    end)

    it("that takes auth.tokenIsAdmin ends the trace of who has the token", function()
        local server = start({auth = {token = "secret", tokenIsAdmin = true}})
        local trace = events.listen(server, "/admin/trace", {headers = tokens.bearer("secret")})

        reload(server, {auth = {token = "secret"}}, tokens.bearer("secret"))

        expect_ended(trace)
    end)

    it("that asks for a credential ends who has shown none: agents, listeners, the trace", function()
        local server = start({})
        local agent = websocket.agent(server, "early")
        local stream = events.listen(server, "/events")
        local trace = events.listen(server, "/admin/trace")

        reload(server, {auth = {token = "secret"}})

        agent:expect_error("unauthorized")
        agent:expect_close(1008)
        for _, one in ipairs({stream, trace}) do
            local event
            repeat
                event = one:next()
            until not event
        end
        websocket.agent(server, "late", {authToken = "secret"})
        local known = http.get(server, "/agents", tokens.bearer("secret")).agents
        assert.same({1, "late"}, {#known, known[1].id})
    end)

    it("that takes the shared token out ends who came in by it", function()
        local server = start({auth = {token = "secret", tokens = "tokens"}},
            {files = {tokens = tokens.file({ops = ADMIN})}})
        local agent = websocket.agent(server, "shared", {authToken = "secret"})
        local named = websocket.agent(server, "ops", {authToken = "ops"})

        reload(server, {auth = {tokens = "tokens"}}, tokens.bearer("ops"))

        agent:expect_error("unauthorized")
        agent:expect_close(1008)
        named:send_envelope({to = "ops", id = "e1"})
        assert.equal("e1", named:receive_envelope().id)
    end)

    -- A request whose head is there, and whose body is to come.
    local function begin_post(server, path, token)
        local connection = http.connect(server)
        connection:send_request({method = "POST", path = path, headers = {
            ["Content-Length"] = 2, Expect = "100-continue", Authorization = token and "Bearer " .. token,
        }})
        assert.equal(100, connection:receive().status)
        connection:send_bytes("{")
        return connection
    end

    local function finish_post(connection)
        connection:send_bytes("}")
        return connection:receive().status
    end

    it("counts for a request whose body comes after it", function()
        local server = start_named({token = "w", roles = {"admin"}})
        local demoted, kept = begin_post(server, "/admin/gc", "w"), begin_post(server, "/admin/gc", "ops")
        rewrite(server, {token = "w", roles = {"reader"}})
        assert.equal(403, finish_post(demoted))
        assert.equal(202, finish_post(kept))

        local revoked = begin_post(server, "/send", "w")
        rewrite(server, {token = "other"})
        assert.equal(401, finish_post(revoked))
    end)

    it("counts for a request without a credential too", function()
        local server = start({})
        local early = begin_post(server, "/admin/gc")

        reload(server, {auth = {token = "secret"}})

        assert.equal(401, finish_post(early))
    end)

    describe("while on_register waits", function()
        local WAITS = [[
            return { on_register = function(agent)
                if agent.id ~= "ops" then
                    while not luaduct.shared.get("go") do luaduct.sleep(0.01) end
                end
            end,
            route = function() luaduct.shared.set("go", true) end }
        ]]

        local function let_go(server, bearer)
            assert.equal(202, select(2, http.post(server, "/send", {to = "x"}, bearer)).status)
        end

        it("keeps out who may not be that agent any more, and lets in who may", function()
            local server = start({auth = {tokens = "tokens"}}, {script = WAITS, files = {tokens = tokens.file({
                ops = ADMIN, crew = {token = "crew", roles = {"agent"}, clientIds = {"*"}, agentRoles = {"*"}},
            })}})
            local lost, kept, role = websocket.connect(server), websocket.connect(server), websocket.connect(server)
            lost:send_register("boss", {authToken = "crew"})
            kept:send_register("crew-1", {authToken = "crew"})
            role:send_register("crew-2", {authToken = "crew", role = "scout"})
            for _, client in ipairs({lost, kept, role}) do -- its register has been read then
                client:send_frame({opcode = 9, payload = "p"})
                assert.equal("pong", client:receive().type)
            end

            process.write_file(server.folder .. "/tokens", tokens.file({
                ops = ADMIN, crew = {token = "crew", roles = {"agent"}, clientIds = {"crew-*"}},
            }))
            order(server, {}, tokens.bearer("ops"))
            let_go(server, tokens.bearer("ops"))

            lost:expect_error("forbidden")
            lost:expect_close(1008)
            role:expect_error("forbidden")
            assert.equal("registered", kept:receive_json().type)
        end)
    end)
end)
