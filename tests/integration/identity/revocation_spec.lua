-- A credential that was revoked does not stay valid because of a script: a reload that is refused takes up credentials
-- and access rules nevertheless, and says so.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local process = require "tests.support.process"
local socket = require "socket"
local tokens = require "tests.support.tokens"
local upgrade = require "tests.support.upgrade"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

-- Good for the envelopes of its users, and not for the sample of a trial call.
local PICKY = 'return {route = function(e) if e.payload.job.kind == "x" then return nil end end}'
local ADMIN = {token = "ops", roles = {"admin"}, clientIds = {"ops"}}
local VIEWER = {token = "viewer", roles = {"reader"}}
local EVE = {token = "eve", clientIds = {"eve"}}
local ops = tokens.bearer("ops")

describe("a reload that is refused", function()
    after_each(bridge.clean)

    local function start(config, script)
        config = config or {}
        config.listen = {admin = "admin.sock"}
        config.auth = config.auth or {tokens = "tokens"}
        return bridge.start({config = config, script = script or "return {}", files = {
            tokens = tokens.file({ops = ADMIN, viewer = VIEWER, eve = EVE}),
            ["access.lua"] = 'allow { role = "reader", see = "*" }',
        }})
    end

    local function write(server, name, text)
        process.write_file(server.folder .. "/" .. name, text)
    end

    local function revoke(server)
        write(server, "tokens", tokens.file({ops = ADMIN, viewer = VIEWER}))
    end

    local function refused(server, code, order, bearer)
        local answer, raw = http.post(server, "/admin/reload", order or {}, bearer or ops)
        assert.equal(code, raw.status, raw.body)
        return answer.error
    end

    local function status(server, bearer)
        return select(2, http.get(server, "/agents", bearer)).status
    end

    local function expect_revoked(server, agent)
        agent:expect_error("unauthorized")
        agent:expect_close(1008)
        assert.equal(401, status(server, tokens.bearer("eve")))
    end

    it("for a trial call that its first scripts fail, too, ends what a revoked token let in", function()
        local server = start(nil, PICKY)
        server:wait_log("script.lua:1: ")
        local eve = websocket.agent(server, "eve", {authToken = "eve"})
        revoke(server)

        local text = refused(server, 422)

        assert.matches("script%.lua:1: .*trial call of route.*; credentials and access rules were taken up", text)
        expect_revoked(server, eve)
    end)

    it("for its configuration, or for another of its files, does so by the configuration in use", function()
        local server = start({policies = {access = "access.lua"}})
        local eve = websocket.agent(server, "eve", {authToken = "eve"})
        revoke(server)
        write(server, "access.lua", "nonsense")

        local text = refused(server, 422)

        assert.matches("access%.lua.*; not all that revokes was taken up", text)
        expect_revoked(server, eve)
        write(server, "access.lua", 'deny { name = "viewer", see = "*" }')
        write(server, "config.lua", "nonsense")
        assert.equal(200, status(server, tokens.bearer("viewer")))
        refused(server, 422)
        assert.equal(403, status(server, tokens.bearer("viewer")))
    end)

    it("takes the shared token of its configuration, which a return to an older version does not undo", function()
        local config = {listen = {admin = "admin.sock"}, script = {path = "script.lua"}}
        local function write_token(server, token)
            config.auth = {token = token, tokenIsAdmin = true}
            write(server, "config.lua", bridge.config_text(bridge.config(config)))
        end
        local server = start({auth = {token = "old", tokenIsAdmin = true}})
        write(server, "script.lua", "return nonsense +")
        write_token(server, "new")

        refused(server, 422, nil, tokens.bearer("old"))
        assert.same({401, 200}, {status(server, tokens.bearer("old")), status(server, tokens.bearer("new"))})

        write(server, "script.lua", "return {}")
        local answer, raw = http.post(server, "/admin/reload", {}, tokens.bearer("new"))
        assert.same({200, 2}, {raw.status, answer.version})
        write(server, "script.lua", "return nonsense +")
        write_token(server, "third")
        refused(server, 422, nil, tokens.bearer("new"))
        assert.equal(200, select(2, http.post(server, "/admin/reload", {to = 1}, tokens.bearer("third"))).status)
        assert.same({401, 200}, {status(server, tokens.bearer("new")), status(server, tokens.bearer("third"))})
    end)

    it("does not open the bridge", function()
        local server = start()
        write(server, "script.lua", "return nonsense +")
        write(server, "config.lua", bridge.config_text(bridge.config({script = {path = "script.lua"}})))

        refused(server, 422)

        assert.equal(401, status(server))
    end)

    it("does not take away access rules, nor let other origins in", function()
        local config = {listen = {admin = "admin.sock"}, auth = {tokens = "tokens"}, script = {path = "script.lua"}}
        local server = start({policies = {access = "access.lua"}})
        write(server, "access.lua", 'deny { name = "viewer", see = "*" }')
        http.post(server, "/admin/reload", {}, ops)
        assert.equal(403, status(server, tokens.bearer("viewer")))
        write(server, "script.lua", "return nonsense +")
        config.http = {corsOrigins = "*"}
        write(server, "config.lua", bridge.config_text(bridge.config(config)))

        refused(server, 422)

        assert.equal(403, status(server, tokens.bearer("viewer")))
        local answer = http.request(server, {path = "/health", headers = {Origin = "http://evil.example"}})
        assert.is_nil(answer.headers["access-control-allow-origin"])
    end)

    it("while a version is on trial does so, too", function()
        local server = start()
        local eve = websocket.agent(server, "eve", {authToken = "eve"})
        assert.equal(200, select(2, http.post(server, "/admin/reload", {canary = {percent = 1}}, ops)).status)
        revoke(server)

        refused(server, 409)

        expect_revoked(server, eve)
    end)
end)

describe("a token that is revoked while another process takes over", function()
    after_each(bridge.clean)

    it("is no good there", function()
        local server = bridge.start({config = {auth = {tokens = "tokens"}}, files = {tokens = tokens.file({eve = EVE})},
            script = "local till = os.clock() + 0.3 while os.clock() < till do end return {}"})
        assert.equal(200, select(2, http.get(server, "/health", tokens.bearer("eve"))).status)
        local said = #server:errors()
        server:signal("SIGUSR2")
        server:wait_log("handover_started") -- the new process reads the tokens before its scripts
        socket.sleep(0.15)
        process.write_file(server.folder .. "/tokens", tokens.file({ops = ADMIN}))
        local pid = assert(upgrade.outcome(server, said))
        server.expected_end = true
        local successor = bridge.adopt(server, pid)
        wait.eventually(function()
            return select(2, http.get(successor, "/history", tokens.bearer("eve"))).status == 401
        end, nil, "the token to be refused")
    end)
end)

describe("scripts that fail in a trial call", function()
    after_each(bridge.clean)

    it("are refused by check, and the start says where they do", function()
        local path = bridge.write({script = PICKY})

        local code, output, errors = bridge.luaduct({"check", path})
        assert.equal(1, code, output)
        assert.matches("script%.lua:1: attempt to index .* %(in a trial call of route%)", errors)
        local server = bridge.start({script = PICKY})
        server:wait_log("a reload of these scripts will be refused")
    end)

    it("are tried as the chain that they are", function()
        local path = bridge.write({
            config = {script = {path = {"first.lua", "second.lua"}}},
            files = {
                ["first.lua"] = 'return {route = function(envelope, bridge) return bridge.broadcast() end}',
                ["second.lua"] = PICKY,
            },
        })

        local code, _, errors = bridge.luaduct({"check", path})

        assert.equal(0, code, errors)
    end)
end)
