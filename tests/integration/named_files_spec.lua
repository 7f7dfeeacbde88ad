-- Files that a person names: what is none, a pipe or a device, is said to be none and holds nobody up; and what a
-- config or a script does while it is loaded has an end.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local process = require "tests.support.process"

-- Backtracks for longer than anybody lives.
local EVIL = '("a"):rep(60):find(("a*"):rep(60) .. "b")\n'

local function pipe()
    local path = process.folder() .. "/pipe"
    assert.equal(0, (process.run({"mkfifo", path})))
    return path
end

describe("a pipe in the place of a file", function()
    after_each(bridge.clean)

    local KEYS = {
        ["script.path"] = function(path) return {script = {path = path}} end,
        ["auth.tokens"] = function(path) return {auth = {tokens = path}} end,
        ["auth.token"] = function(path) return {auth = {token = {file = path}}} end,
        ["auth.jwt.keys"] = function(path) return {auth = {jwt = {keys = path}}} end,
        ["policies.access"] = function(path) return {policies = {access = path}} end,
        ["policies.alerts"] = function(path) return {policies = {alerts = path}} end,
        ["tls.cert"] = function(path) return {tls = {cert = path, key = "/dev/zero"}} end,
    }
    for key, config in pairs(KEYS) do
        it("is refused as " .. key, function()
            local status, errors = bridge.start_failing({config = config(pipe())})
            assert.equal(1, status)
            assert.truthy(errors:find(key .. ": ", 1, true), errors)
            assert.truthy(errors:find("not a regular file", 1, true), errors)
        end)
    end

    it("is refused as a config, by check, and as --import", function()
        local status, _, errors = bridge.luaduct({"check", pipe()})
        assert.equal(1, status)
        assert.matches("not a regular file", errors)
        status, errors = bridge.start_failing({args = {"--import", pipe()}})
        assert.equal(1, status)
        assert.matches("not a regular file", errors)
    end)

    it("neither holds up a reload nor the end", function()
        local server = bridge.start({script = "return {}"})
        process.run({"rm", server.folder .. "/script.lua"})
        assert.equal(0, (process.run({"mkfifo", server.folder .. "/script.lua"})))

        local answer, raw = http.post(server, "/admin/reload", {})

        assert.equal(422, raw.status)
        assert.matches("not a regular file", answer.error)
        server:stop()
    end)
end)

describe("a pattern that backtracks without end, while a file is loaded,", function()
    after_each(bridge.clean)

    local function check(config_text, script)
        local path, folder = bridge.write({config_text = config_text, files = {["script.lua"] = script}})
        local status, _, errors = bridge.luaduct({"check", path, script and folder .. "/script.lua"}, {seconds = 60})
        assert.equal(1, status)
        return errors
    end

    it("is stopped in a config", function()
        assert.matches("config%.lua:1: stopped while matching a pattern", check(EVIL .. "return {}"))
    end)

    it("is stopped in a script", function()
        assert.matches("script%.lua:1: stopped while matching a pattern", check("return {}", EVIL .. "return {}"))
    end)
end)

describe("messages about files name them", function()
    after_each(bridge.clean)

    it("with the key, of tokens that are too large", function()
        local status, errors = bridge.start_failing({
            config = {auth = {tokens = "tokens"}}, files = {tokens = ("x"):rep(17 * 1024 * 1024)},
        })
        assert.equal(1, status)
        assert.matches("auth%.tokens: .*tokens: is larger than 16 MiB", errors)
    end)

    it("of a script that takes more memory than it may", function()
        local status, errors = bridge.start_failing({
            config = {script = {memoryLimit = "1MiB"}},
            script = "local t = {} for i = 1, 1e7 do t[i] = {i} end return {}",
        })
        assert.equal(1, status)
        assert.matches("script%.lua: not enough memory", errors)
    end)

    it("and check does not call a config good whose script is not", function()
        local path = bridge.write({script = "return 7"})
        local status, output = bridge.luaduct({"check", path})
        assert.equal(1, status)
        assert.is_nil(output:find("config.lua: ok", 1, true), output)
        local good, said = bridge.luaduct({"check", (bridge.write({script = "return {}"}))})
        assert.equal(0, good)
        assert.truthy(said:find("config.lua: ok", 1, true), said)
    end)
end)

describe("the socket of listen.admin", function()
    after_each(bridge.clean)

    it("is missed by a reload when its file is deleted", function()
        local server = bridge.start({config = {listen = {admin = "admin.sock"}}, script = "return {}"})
        process.run({"rm", server.folder .. "/admin.sock"})
        assert.equal(200, select(2, http.post(server, "/admin/reload", {})).status)
        server:wait_log("admin.sock is gone: only a restart makes it again")
    end)
end)

describe("a probe of this machine", function()
    after_each(bridge.clean)

    it("is answered whatever credential it shows, and how often", function()
        local server = bridge.start({config = {auth = {token = "secret"}, http = {rateMax = 2}}})
        for _ = 1, 6 do
            assert.equal(200, select(2, http.get(server, "/health", {Authorization = "Bearer wrong"})).status)
        end
    end)
end)
