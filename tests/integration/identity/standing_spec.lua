-- Who may come in and what he may do is what the newest configuration says: when somebody returns to an older version of
-- the scripts too, and for those who are in already.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local process = require "tests.support.process"
local tokens = require "tests.support.tokens"

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
            return { authenticate = function(shown) return shown.token == "x" and {name = "x", roles = {"admin"}} end }]])
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
