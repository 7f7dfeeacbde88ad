-- The hook `authenticate`: a script that says who somebody is.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local process = require "tests.support.process"
local tokens = require "tests.support.tokens"
local websocket = require "tests.support.websocket"

local SCRIPT = [[
return {
    authenticate = function(credentials)
        if credentials.headers["x-api-key"] == "k1" then
            return {name = "by-key", roles = {"reader"}}
        elseif credentials.token == "alice!" then
            return {name = "alice", roles = {"agent"}, clientIds = {"alice"}, agentRoles = {"scout"}, labels = {"eu"},
                limits = {messagesPerSecond = 5}, expires = "2090-01-01T00:00:00Z"}
        elseif credentials.token == "over" then
            return {name = "over", expires = 1000}
        elseif credentials.token == "epoch" then
            return {name = "epoch", expires = "1970-01-01T00:00:00Z"}
        elseif credentials.token == "before" then
            return {name = "before", expires = "1969-12-31T23:59:59Z"}
        elseif credentials.token == "almost" then
            return {name = "almost", expires = 0.0009}
        elseif credentials.token == "no" then
            return false, "blocked"
        elseif credentials.token == "raise" then
            error("broken")
        elseif credentials.token == "nonsense" then
            return "alice"
        elseif credentials.token == "typo" then
            return {name = "x", role = {"admin"}}
        elseif credentials.token == "wait" then
            luaduct.sleep(1)
            return {name = "x", roles = {"admin"}}
        elseif credentials.token == "loop" then
            while true do end
        elseif credentials.token == "look" then
            assert(credentials.address == "127.0.0.1" and credentials.headers["x-two"] == "1, 2")
            assert(credentials.headers.authorization == nil and credentials.path == "/history")
            return {name = "looker", roles = {"reader"}}
        end
    end,
}]]

local function start(options)
    options = options or {}
    local config = options.config or {}
    config.auth = config.auth or {hook = true}
    return bridge.start({config = config, script = options.script or SCRIPT})
end

local function status(server, path, headers)
    return select(2, http.get(server, path, headers)).status
end

describe("the hook authenticate", function()
    after_each(bridge.clean)

    it("says who somebody is, by a token or by any header", function()
        local server = start()

        assert.equal(200, status(server, "/history", {["X-Api-Key"] = "k1"}))
        assert.equal(401, status(server, "/history", {["X-Api-Key"] = "k2"}))
        assert.equal(401, status(server, "/history"))
        assert.equal(401, status(server, "/history", tokens.bearer("unknown")))
        local client = websocket.connect(server)
        client:send_json({type = "register", authToken = "alice!"})
        local meta = client:receive_json().client
        assert.same({"alice", "scout", {"eu"}}, {meta.id, meta.role, meta.labels})
        client:send_envelope({id = "e1", to = "alice"})
        assert.equal("e1", client:receive_envelope().id)
    end)

    it("binds what it identifies", function()
        local server = start()
        local client = websocket.connect(server)

        client:send_register("bob", {authToken = "alice!"})

        client:expect_error("forbidden")
        client:expect_close(1008)
    end)

    it("sees address, path and headers, and the token only as the token", function()
        local server = start()
        local connection = http.connect(server)
        connection:send_bytes("GET /history HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer look\r\n" ..
            "X-Two: 1\r\nx-two: 2\r\n\r\n")
        assert.equal(200, connection:receive().status)
    end)

    it("fails closed: a mistake, an overrun, waiting and a no are all no", function()
        local server = start()
        for _, token in ipairs({"no", "raise", "nonsense", "typo", "wait", "loop", "over", "epoch", "before",
            "almost"}) do
            assert.equal(401, status(server, "/agents", tokens.bearer(token)), token)
            local client = websocket.connect(server)
            client:send_register("x", {authToken = token})
            client:expect_error("unauthorized")
            client:expect_close(1008)
        end
        server:wait_log("authenticate says no to 127.0.0.1: blocked")
        server:wait_log("expected nil, an identity (a table), or false and a reason, got a string")
        server:wait_log("there is nothing like role in an identity")
    end)

    it("is asked only where no other credential is known", function()
        local server = start({config = {auth = {hook = true, token = "shared"}}, script = [[
            return {authenticate = function(credentials)
                assert(credentials.token ~= "shared")
                return {name = "anybody", roles = {"reader"}}
            end}]]})

        assert.equal(200, status(server, "/agents", tokens.bearer("shared")))
        assert.equal(200, status(server, "/agents", tokens.bearer("other")))
        assert.is_nil(server:log():find("failed", 1, true))
    end)

    it("stops a start without it where auth.hook is true, and with it where that is false", function()
        local code, errors = bridge.start_failing({config = {auth = {hook = true}}, script = "return {}"})
        assert.equal(1, code)
        assert.truthy(errors:find("auth.hook: expected a script with the hook authenticate", 1, true), errors)
        code, errors = bridge.start_failing({script = SCRIPT})
        assert.equal(1, code)
        assert.truthy(errors:find("auth.hook: expected true, for a script has the hook authenticate", 1, true), errors)
        local path = bridge.write({config = {auth = {hook = true}}, script = "return {}"})
        local _
        code, _, errors = bridge.luaduct({"check", path})
        assert.equal(1, code)
        assert.truthy(errors:find("auth.hook: expected a script with the hook authenticate", 1, true), errors)
    end)

    it("cannot be lost by a reload", function()
        local server = start()

        process.write_file(server.folder .. "/script.lua", "return {}")
        server:signal("SIGHUP")

        server:wait_log("auth.hook: expected a script with the hook authenticate")
        assert.equal(401, status(server, "/history"))
    end)

    it("is tried before it comes into use", function()
        local server = start()

        process.write_file(server.folder .. "/script.lua",
            "return {authenticate = function(c) return c.nothing.there end}")
        server:signal("SIGHUP")

        server:wait_log("(in a trial call of authenticate)")
        assert.equal(200, status(server, "/history", {["X-Api-Key"] = "k1"}))
    end)
end)
