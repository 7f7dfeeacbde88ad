-- Scripts and configuration replaced while the bridge serves: what is taken up, what is refused and changes nothing,
-- what survives, and that no envelope is lost for it.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local process = require "tests.support.process"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

-- A route that marks what passes with a word.
local function marking(word, more)
    return (more or "") .. ([[
        return {route = function(envelope) envelope.channel = %q end}
    ]]):format(word)
end

local function write_script(server, text)
    process.write_file(server.folder .. "/script.lua", text)
end

local function reload(server, order)
    return http.post(server, "/admin/reload", order or {})
end

local function reload_to(server, text)
    write_script(server, text)
    local body, answer = reload(server)
    assert.equal(200, answer.status, answer.body)
    return body
end

local function refused(server, text)
    write_script(server, text)
    local body, answer = reload(server)
    assert.equal(422, answer.status, answer.body)
    assert.equal("reload_failed", body.code)
    return body.error
end

local function version(server)
    return http.get(server, "/health").scriptVersion.number
end

-- Which word an envelope from alice to bob carries now.
local function word(alice, bob)
    alice:send_envelope({to = "bob"})
    return bob:receive_envelope().channel
end

local function pair_on(server)
    return websocket.agent(server, "alice"), websocket.agent(server, "bob")
end

describe("a reload", function()
    after_each(bridge.clean)

    it("takes up a changed script, for connections that stay open", function()
        local server = bridge.start({script = marking("old")})
        local alice, bob = pair_on(server)
        assert.equal("old", word(alice, bob))
        local before = http.get(server, "/health").scriptVersion

        local answer = reload_to(server, marking("new"))

        assert.equal("new", word(alice, bob))
        assert.equal(2, answer.version)
        assert.equal(1, answer.previous)
        local after = http.get(server, "/health").scriptVersion
        assert.equal(2, after.number)
        assert.equal(answer.hash, after.hash)
        assert.not_equal(before.hash, after.hash)
    end)

    it("comes by SIGHUP too, and the log says so", function()
        local server = bridge.start({script = marking("old")})
        local alice, bob = pair_on(server)
        write_script(server, marking("new"))
        server:signal("SIGHUP")
        wait.eventually(function() return version(server) == 2 end)
        assert.equal("new", word(alice, bob))
        server:wait_log("SIGHUP: version 2 of the scripts")
    end)

    it("takes up a module that the script requires", function()
        local server = bridge.start({
            script = [[local words = require "words" return {route = function(envelope)
                envelope.channel = words.one end}]],
            files = {["words.lua"] = [[return {one = "old"}]]},
        })
        local alice, bob = pair_on(server)
        assert.equal("old", word(alice, bob))
        process.write_file(server.folder .. "/words.lua", [[return {one = "new"}]])
        local _, answer = reload(server)
        assert.equal(200, answer.status)
        assert.equal("new", word(alice, bob))
    end)

    it("follows the file when script.watch says so", function()
        local server = bridge.start({script = marking("old"), config = {script = {watch = true}}})
        local alice, bob = pair_on(server)
        write_script(server, marking("new"))
        wait.eventually(function() return version(server) == 2 end)
        assert.equal("new", word(alice, bob))
        -- The way of an editor: a new file takes the old one's place.
        process.write_file(server.folder .. "/script.lua.new", marking("newer"))
        assert(os.rename(server.folder .. "/script.lua.new", server.folder .. "/script.lua"))
        wait.eventually(function() return version(server) == 3 end)
        assert.equal("newer", word(alice, bob))
    end)

    it("takes up keys that can change, and names those that need a restart", function()
        local server = bridge.start({script = marking("old")})
        local path = server.folder .. "/config.lua"
        local config = bridge.config({
            script = {path = "script.lua"}, history = {limit = 7}, environment = "staging", agents = {maxQueue = 5},
        })
        config.listen = {wsPort = 0, httpPort = 0}
        process.write_file(path, bridge.config_text(config))

        local body, answer = reload(server)

        assert.equal(200, answer.status, answer.body)
        table.sort(body.restartNeeded)
        assert.same({"agents.maxQueue", "history.limit"}, body.restartNeeded)
        assert.equal("staging", http.get(server, "/health").environment)
        server:wait_log("a restart is needed for")
    end)

    it("returns to a version that is kept", function()
        local server = bridge.start({script = marking("one")})
        local alice, bob = pair_on(server)
        reload_to(server, marking("two"))
        reload_to(server, marking("three"))

        local body, answer = reload(server, {to = 1})

        assert.equal(200, answer.status, answer.body)
        assert.equal(1, body.version)
        assert.equal("one", word(alice, bob))
        assert.equal(1, version(server))
        local unknown, why = reload(server, {to = 99})
        assert.equal(404, why.status)
        assert.match("no version 99", unknown.error)
    end)

    it("keeps the last five versions, and says what each has done", function()
        local server = bridge.start({script = marking("v1")})
        local alice, bob = pair_on(server)
        for i = 2, 8 do
            reload_to(server, marking("v" .. i))
            word(alice, bob)
        end
        local versions = http.get(server, "/admin/scripts").versions
        assert.is_true(#versions >= 5 and #versions <= 6)
        assert.equal(8, versions[1].number)
        assert.equal("current", versions[1].use)
        assert.equal("kept", versions[2].use)
        assert.is_true(versions[2].hooks.route.calls > 0)
        assert.equal(0, versions[2].hooks.route.errors)
        assert.equal(server.folder .. "/script.lua", versions[1].files[1])
    end)
end)

describe("a reload that is refused", function()
    after_each(bridge.clean)

    it("says file and line, and changes nothing", function()
        local server = bridge.start({script = marking("old")})
        local alice, bob = pair_on(server)

        assert.match("script%.lua:2: .*", refused(server, "local x = 1\nlocal y = = 2"))
        assert.match("script%.lua:1: no good", refused(server, "error('no good')"))
        assert.match("expected the script to return a table", refused(server, "return 7"))

        assert.equal("old", word(alice, bob))
        assert.equal(1, version(server))
    end)

    it("has tried every hook once", function()
        local server = bridge.start({script = marking("old")})
        for _, hook in ipairs({"route", "on_register", "on_undeliverable", "on_disconnect", "on_reload"}) do
            local why = refused(server, ("return {%s = function()\n return nobody.home end}"):format(hook))
            assert.match("script%.lua:2: .*'nobody'", why)
            assert.match("trial call of " .. hook, why)
        end
        assert.equal(1, version(server))
    end)

    it("stops a hook that never ends", function()
        local server = bridge.start({script = marking("old"), config = {script = {budgetMs = 20}}})
        local alice, bob = pair_on(server)
        assert.match("script%.lua:1: ", refused(server, "return {route = function() while true do end end}"))
        assert.equal("old", word(alice, bob))
    end)

    it("does not come from a script that waits, logs, or asks who is there", function()
        local server = bridge.start({script = marking("old")})
        reload_to(server, [[return {route = function(envelope, bridge)
            print("called")
            luaduct.log.warn("called")
            luaduct.sleep(5)
            local sum = luaduct.workers.execute({operation = "sort", data = {items = {2, 1}}})
            envelope.channel = tostring(#sum.items) .. #bridge.agents()
        end}]])
        assert.is_nil(server:log():find("called", 1, true))
        assert.equal(2, version(server))
    end)

    it("names what a config lacks", function()
        local server = bridge.start({script = marking("old")})
        process.write_file(server.folder .. "/config.lua", "return {listen = {wsport = 1}}")
        local body, answer = reload(server)
        assert.equal(422, answer.status)
        assert.match("listen%.wsport: unknown key", body.error)
    end)

    it("answers a body that is wrong", function()
        local server = bridge.start({script = marking("old")})
        for body, expected in pairs({
            ['{"to":"x"}'] = "to: expected the number of a version",
            ['{"nothing":1}'] = "expected to, canary or shadow as a key",
            ['{"canary":{}}'] = "canary: expected percent, label or id",
            ['{"canary":{"percent":0}}'] = "canary.percent: expected a number from 0.01 to 100, got 0",
            ['[1]'] = "the body: expected an object",
        }) do
            local said, answer = http.post(server, "/admin/reload", body)
            assert.equal(400, answer.status, answer.body)
            assert.truthy(said.error:find(expected, 1, true), said.error)
        end
    end)
end)

describe("luaduct.state", function()
    after_each(bridge.clean)

    local COUNTING = [[
        luaduct.state.count = luaduct.state.count or 0
        return {route = function(envelope)
            luaduct.state.count = luaduct.state.count + 1
            envelope.channel = "%s" .. luaduct.state.count
        end%s}
    ]]

    local function start(script)
        return bridge.start({script = script, config = {performance = {worker_threads = 1}}})
    end

    it("is what the next version finds", function()
        local server = start(COUNTING:format("a", ""))
        local alice, bob = pair_on(server)
        word(alice, bob)
        assert.equal("a2", word(alice, bob))
        reload_to(server, COUNTING:format("b", ""))
        assert.equal("b3", word(alice, bob))
    end)

    it("goes through on_reload, which may change it", function()
        local server = start(COUNTING:format("a", ""))
        local alice, bob = pair_on(server)
        word(alice, bob)
        reload_to(server, COUNTING:format("b", [[, on_reload = function(previous, state)
            state.count = state.count * 100 + previous end]]))
        assert.equal("b102", word(alice, bob))
    end)

    it("refuses the reload, naming the key, when it holds more than plain data", function()
        local server = start([[return {route = function(envelope)
            luaduct.state.fine, luaduct.state.callback = 1, function() end end}]])
        local alice, bob = pair_on(server)
        word(alice, bob)
        assert.match("script%.lua: luaduct%.state%.callback: cannot pass a function to the next version",
            refused(server, marking("new")))
        assert.equal(1, version(server))
    end)

    it("refuses the reload when it is over its bound", function()
        local server = bridge.start({
            script = [[return {route = function() luaduct.state.small, luaduct.state.big = 1, ("x"):rep(3000) end}]],
            config = {performance = {worker_threads = 1}, script = {stateBytes = 2048}},
        })
        local alice, bob = pair_on(server)
        word(alice, bob)
        local why = refused(server, marking("new"))
        assert.match("more than 2048 bytes %(script%.stateBytes%)", why)
        assert.match("luaduct%.state%.big", why)
    end)

    it("takes a table, and nothing else can be set in luaduct", function()
        local server = start([[return {route = function(envelope)
            luaduct.state = {word = "kept"}
            local good, why = pcall(function() luaduct.state = 1 end)
            local other, reason = pcall(function() luaduct.sleep = 1 end)
            envelope.channel = luaduct.state.word .. tostring(good) .. tostring(other)
            envelope.payload = {why = why, reason = reason}
        end}]])
        local alice, bob = pair_on(server)
        alice:send_envelope({to = "bob"})
        local seen = bob:receive_envelope()
        assert.equal("keptfalsefalse", seen.channel)
        assert.match("expected a table, got a number", seen.payload.why)
        assert.match("read%-only", seen.payload.reason)
    end)
end)

describe("hooks that wait through a reload", function()
    after_each(bridge.clean)

    it("end in the version that they began in", function()
        local server = bridge.start({
            script = [[return {route = function(envelope)
                if envelope.intent == "wait" then
                    while not luaduct.state.open do luaduct.sleep(2) end
                elseif envelope.intent == "open" then luaduct.state.open = true end
                envelope.channel = "old"
            end}]],
            config = {performance = {worker_threads = 1}},
        })
        local alice, bob = pair_on(server)
        alice:send_envelope({id = "waits", to = "bob", intent = "wait"})
        wait.eventually(function()
            return http.get(server, "/admin/scripts").versions[1].hooks.route.calls == 1
        end)
        reload_to(server, [[return {route = function(envelope) envelope.channel = "new" end}]])
        local carol = websocket.agent(server, "carol")
        carol:send_envelope({to = "bob"})
        assert.equal("new", bob:receive_envelope().channel)
        -- Nobody opens the old version's gate: after five seconds its envelope goes by the default rule.
        local late = bob:receive_envelope(15)
        assert.equal("waits", late.id)
        assert.equal("default", late.channel)
        server:wait_log("a newer version of the scripts is in use")
    end)
end)

describe("users' operations", function()
    after_each(bridge.clean)

    it("are taken up with the scripts", function()
        local server = bridge.start({
            script = [[luaduct.workers.register("double", "double.lua") return {}]],
            files = {["double.lua"] = "return function(data) return data.x * 2 end"},
        })
        local function double()
            return http.post(server, "/workers/execute", {operation = "double", data = {x = 21}}).result
        end
        assert.equal(42, double())
        process.write_file(server.folder .. "/double.lua", "return function(data) return data.x * 3 end")
        local _, answer = reload(server)
        assert.equal(200, answer.status, answer.body)
        assert.equal(63, double())
        process.write_file(server.folder .. "/double.lua", "return function(data return 1 end")
        local body, broken = reload(server)
        assert.equal(422, broken.status)
        assert.match("double%.lua:1: ", body.error)
        assert.equal(63, double())
    end)
end)

describe("reloads under traffic", function()
    after_each(bridge.clean)

    it("lose nothing and reorder nothing, bad scripts among them", function()
        local server = bridge.start({script = marking("v")})
        local alice, bob = pair_on(server)
        local sent, seen = 0, 0
        for round = 1, 30 do
            for _ = 1, 40 do
                sent = sent + 1
                alice:send_envelope({id = "e" .. sent, to = "bob"})
            end
            write_script(server, round % 3 == 0 and "return {route = function() error('bad') end}"
                or marking("v" .. round))
            local _, answer = reload(server)
            assert.equal(round % 3 == 0 and 422 or 200, answer.status, answer.body)
            for _ = 1, 40 do
                seen = seen + 1
                assert.equal("e" .. seen, bob:receive_envelope().id)
            end
        end
        assert.equal(21, version(server))
    end)
end)
