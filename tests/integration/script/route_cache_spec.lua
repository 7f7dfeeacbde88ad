-- Routes that declare by which fields they decide: their decisions are kept, what they see is what they declare, and
-- nothing else changes.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local process = require "tests.support.process"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local BY_INTENT = [[
return {
    cache = {"to", "intent"},
    route = function(envelope, bridge)
        if envelope.intent == "work" then return bridge.any{role = "worker"} end
        if envelope.intent == "all" then return bridge.role("worker") end
        if envelope.intent == "echo" then return bridge.reply{you = "said " .. (envelope.to or "nothing")} end
        if envelope.intent == "spam" then return bridge.drop("no " .. envelope.intent, {tell = true}) end
    end,
}
]]

local function start(script, config)
    config = config or {}
    config.performance = config.performance or {}
    config.performance.worker_threads = config.performance.worker_threads or 1
    return bridge.start({script = script, config = config})
end

local function figures(server)
    return http.get(server, "/optimization").performance.routeCache
end

local function reload(server, script)
    process.write_file(server.folder .. "/script.lua", script)
    return http.post(server, "/admin/reload", "")
end

describe("a route that declares its fields", function()
    after_each(bridge.clean)

    it("is asked once for each of their values, and every envelope goes where it should", function()
        local server = start(BY_INTENT)
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        local worker = websocket.agent(server, "worker", {role = "worker"})
        for i = 1, 20 do
            alice:send_envelope({id = "d" .. i, to = "bob", payload = {number = i}})
            alice:send_envelope({id = "w" .. i, intent = "work", payload = {number = i}})
            alice:send_envelope({id = "e" .. i, intent = "echo"})
            alice:send_envelope({id = "s" .. i, intent = "spam"})
        end
        for i = 1, 20 do
            local direct, work = bob:receive_envelope(), worker:receive_envelope()
            assert.equal("d" .. i, direct.id)
            assert.equal(i, direct.payload.number)
            assert.equal("w" .. i, work.id)
            assert.equal(i, work.payload.number)
        end
        local replies, refusals = 0, 0
        for _ = 1, 40 do
            local message = alice:receive_json()
            if message.type == "error" then
                refusals = refusals + 1
                assert.same({"script_dropped", "s" .. refusals}, {message.code, message.id})
            else
                replies = replies + 1
                assert.same({"e" .. replies, "said nothing"},
                    {message.envelope.replyTo, message.envelope.payload.you})
            end
        end

        local cache = figures(server)
        assert.equal(76, cache.hits)
        assert.equal(4, cache.misses)
        assert.equal(0.95, cache.hitRate)
        assert.equal(4, cache.entries)
        assert.is_true(cache.bytes > 0)
        local text = http.request(server, {path = "/metrics", headers = {Accept = "text/plain"}}).body
        assert.truthy(text:find('luaduct_route_cache_lookups_total{outcome="hit"} 76', 1, true), text)
        assert.truthy(text:find('luaduct_route_cache_lookups_total{outcome="miss"} 4', 1, true))
        assert.truthy(text:find("luaduct_route_cache_entries 4", 1, true))
        -- The mode decides where the script returned nil: 4 calls of the script, 20 of the mode.
        assert.truthy(text:find('luaduct_script_calls_total{hook="route"} 24', 1, true))
        assert.equal(76, http.get(server, "/metrics").performance.routeCache.hits)
    end)

    it("selects among those who are there now", function()
        local server = start(BY_INTENT, {performance = {worker_threads = 2}})
        local alice = websocket.agent(server, "alice")
        alice:send_envelope({id = "1", intent = "all"})
        assert.equal("no_recipient", alice:receive_json().code)
        local first = websocket.agent(server, "first", {role = "worker"})
        alice:send_envelope({id = "2", intent = "all"})
        assert.equal("2", first:receive_envelope().id)
        first:close()
        local second = websocket.agent(server, "second", {role = "worker"})
        alice:send_envelope({id = "3", intent = "all"})
        assert.equal("3", second:receive_envelope().id)
        assert.equal(1, figures(server).misses)
    end)

    it("may ask who is there, and is asked again when somebody has come, gone or changed", function()
        local server = start([[
            return {
                cache = {"intent"},
                route = function(envelope, bridge)
                    local names = {}
                    for _, agent in ipairs(bridge.agents{label = "seen"}) do names[#names + 1] = agent.id end
                    table.sort(names)
                    return bridge.reply{names = table.concat(names, " "), role = (bridge.agent("bob") or {}).role}
                end,
            }]], {performance = {worker_threads = 2}})
        local alice = websocket.agent(server, "alice")
        local function ask(number)
            alice:send_envelope({id = "q" .. number, intent = "who"})
            return alice:receive_envelope().payload
        end
        assert.same({names = ""}, ask(1))
        assert.same({names = ""}, ask(2))
        local bob = websocket.agent(server, "bob", {labels = {"seen"}, role = "coder"})
        assert.same({names = "bob", role = "coder"}, ask(3))
        assert.same({names = "bob", role = "coder"}, ask(4))
        bob:register("bob", {labels = {"seen"}, role = "boss"})
        assert.same({names = "bob", role = "boss"}, ask(5))
        bob:close()
        wait.eventually(function()
            return http.get(server, "/health").connectedClients == 1
        end, nil, "bob to be gone")
        assert.same({names = ""}, ask(6))
        local cache = figures(server)
        assert.equal(2, cache.hits)
        assert.equal(3, cache.outdated)
    end)

    it("is refused what changes with every message", function()
        local server = start([[return {cache = {}, route = function(envelope, bridge)
            return bridge.reply(bridge.agent("alice").openTasks)
        end}]], {script = {onError = "drop"}})
        local alice = websocket.agent(server, "alice")
        alice:send_envelope({id = "1"})
        assert.equal("script_failed", alice:receive_json().code)
        server:wait_log("script.lua:2: agent.openTasks: not in a route that declares cache = {}")
    end)

    it("fails where it reads a field that it does not declare", function()
        local server = start([[
return {
    cache = {"to"},
    route = function(envelope, bridge)
        if envelope.to == "secret" and envelope.priority == "high" then return bridge.drop("no") end
    end,
}]])
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "secret")
        for i = 1, 2 do
            alice:send_envelope({id = tostring(i), to = "secret", priority = "high"})
            assert.equal(tostring(i), bob:receive_envelope().id) -- script.onError
        end
        server:wait_log('script.lua:4: envelope.priority: this route declares cache = {"to"}: declare "priority" too')
        assert.equal(0, figures(server).hits)
    end)

    it("is known from before in a trace, and only then", function()
        local server = start(BY_INTENT)
        local alice = websocket.agent(server, "alice")
        local running = bridge.luaduct_start({"trace", "--url", server:url(), "--json", "--count", "3"})
        wait.eventually(function()
            local metrics = http.request(server, {path = "/metrics", headers = {Accept = "text/plain"}}).body
            return metrics:find("luaduct_event_listeners 1", 1, true)
        end, nil, "the trace to begin")
        for i = 1, 3 do
            alice:send_envelope({id = "t" .. i, intent = i == 3 and "spam" or "echo"})
            alice:receive_json()
        end
        running:wait_exit()
        local cached, decisions = {}, {}
        for line in running:output():gmatch("[^\n]+") do
            local record = json.decode(line)
            cached[#cached + 1], decisions[#decisions + 1] = record.cached, record.decision
        end
        assert.same({false, true, false}, cached)
        assert.equal(decisions[1], decisions[2])
    end)
end)

describe("decisions that are kept", function()
    after_each(bridge.clean)

    it("end with the version that made them", function()
        local server = start([[return {cache = {"to"}, route = function(_, bridge) return bridge.to("old") end}]])
        local alice = websocket.agent(server, "alice")
        local old, new = websocket.agent(server, "old"), websocket.agent(server, "new")
        for i = 1, 3 do
            alice:send_envelope({id = "o" .. i})
            assert.equal("o" .. i, old:receive_envelope().id)
        end
        local _, answer = reload(server, [[
            return {cache = {"to"}, route = function(_, bridge) return bridge.to("new") end}]])
        assert.equal(200, answer.status, answer.body)
        for i = 1, 3 do
            alice:send_envelope({id = "n" .. i})
            assert.equal("n" .. i, new:receive_envelope().id)
        end
        assert.equal(200, select(2, http.post(server, "/admin/reload", {to = 1})).status)
        alice:send_envelope({id = "o4"})
        assert.equal("o4", old:receive_envelope().id)
        local cache = figures(server)
        assert.equal(4, cache.hits)
        assert.equal(3, cache.misses)
        wait.eventually(function()
            return figures(server).entries == 1
        end, nil, "what the other version kept to go with its state")
    end)

    it("are each version's own while one is on trial", function()
        local server = start([[return {cache = {"to"}, route = function(_, bridge) return bridge.to("old") end}]],
            {canary = {promote = "manual"}})
        local alice, carol = websocket.agent(server, "alice"), websocket.agent(server, "carol")
        local old, new = websocket.agent(server, "old"), websocket.agent(server, "new")
        process.write_file(server.folder .. "/script.lua",
            [[return {cache = {"to"}, route = function(_, bridge) return bridge.to("new") end}]])
        local _, answer = http.post(server, "/admin/reload", {canary = {id = "alice"}})
        assert.equal(200, answer.status, answer.body)
        for i = 1, 5 do
            alice:send_envelope({id = "n" .. i})
            carol:send_envelope({id = "o" .. i})
            assert.equal("n" .. i, new:receive_envelope().id)
            assert.equal("o" .. i, old:receive_envelope().id)
        end
        local trial = wait.eventually(function()
            local now = http.get(server, "/admin/canary")
            return now.trial.decisions.to == 5 and now.current.decisions.to == 5 and now
        end)
        assert.equal(5, trial.trial.calls) -- what was known counts as well
    end)

    it("are not looked up while their route is switched off", function()
        local server = start([[return {cache = {"intent"}, route = function(envelope, bridge)
            while envelope.intent == "run away" do end
            return bridge.to("bob")
        end}]], {script = {budgetMs = 5, breakerOverruns = 1, breakerSenders = 1, breakerWindowMs = 600000,
            breakerCooldownMs = 600000, onError = "drop"}})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        alice:send_envelope({id = "1", intent = "known"})
        assert.equal("1", bob:receive_envelope().id)
        alice:send_envelope({id = "2", intent = "run away"})
        assert.equal("script_failed", alice:receive_json().code)
        alice:send_envelope({id = "3", intent = "known"})
        assert.equal("script_failed", alice:receive_json().code)
    end)

    it("are none with performance.cache_enabled = false, which a reload takes up", function()
        local server = start(BY_INTENT, {performance = {cache_enabled = false}})
        local alice = websocket.agent(server, "alice")
        local function ask(count)
            for i = 1, count do
                alice:send_envelope({id = "e" .. i, intent = "echo"})
                assert.equal("e" .. i, alice:receive_envelope().replyTo)
            end
        end
        ask(3)
        assert.same({0, 0}, {figures(server).hits, figures(server).misses})
        local path = server.folder .. "/config.lua"
        process.write_file(path, (process.read_file(path):gsub('(%["cache_enabled"%] = )false', "%1true")))
        local body, answer = http.post(server, "/admin/reload", "")
        assert.equal(200, answer.status, answer.body)
        assert.is_nil(body.restartNeeded and body.restartNeeded[1])
        ask(3)
        assert.same({2, 1}, {figures(server).hits, figures(server).misses})
    end)
end)

describe("a declaration", function()
    after_each(bridge.clean)

    it("that no decision can be kept by is refused by start, check and reload, with file and line", function()
        local bad = "return {\n    cache = {\"to\", \"chanel\"},\n    route = function() end,\n}\n"
        local says = 'script.lua:2: cache: an envelope has no field "chanel", did you mean "channel"?'
        local status, errors = bridge.start_failing({script = bad})
        assert.equal(1, status)
        assert.truthy(errors:find(says, 1, true), errors)
        local path = bridge.write({script = bad})
        local checked, _, problem = bridge.luaduct({"check", path})
        assert.equal(1, checked)
        assert.truthy(problem:find(says, 1, true), problem)
        local server = start(BY_INTENT)
        local body, answer = reload(server, bad)
        assert.equal(422, answer.status)
        assert.truthy(body.error:find(says, 1, true), body.error)
    end)

    it("that the route does not keep to is refused by a reload when the dry run shows it", function()
        local server = start(BY_INTENT)
        local body, answer = reload(server, [[return {cache = {"to"}, route = function(envelope, bridge)
            if envelope.intent == "x" then return bridge.drop("x") end end}]])
        assert.equal(422, answer.status)
        assert.truthy(body.error:find('envelope.intent: this route declares cache = {"to"}', 1, true), body.error)
    end)
end)

describe("luaduct test", function()
    after_each(process.clean)

    local function run(script, spec)
        local folder = process.folder()
        process.write_file(folder .. "/route.lua", script)
        process.write_file(folder .. "/route_spec.lua", ([[
            local harness = require "luaduct.test"
            describe("the route", function()
                local script = harness.load("route.lua")
                it("decides", function()
                    %s
                end)
            end)]]):format(spec))
        local status, output, errors = bridge.luaduct({"test", folder .. "/route_spec.lua"})
        return status, output .. errors
    end

    it("holds a route to its declaration", function()
        local status, output = run(BY_INTENT, [[
            for _ = 1, 3 do
                assert.equal('bridge.any{role = "worker"}', tostring(script:route(harness.envelope{intent = "work"})))
            end]])
        assert.equal(0, status, output)
        status, output = run([[return {cache = {"to"}, route = function(envelope, bridge)
            return bridge.to(envelope.channel) end}]], "script:route(harness.envelope{to = 'bob'})")
        assert.equal(1, status)
        assert.truthy(output:find('declare "channel" too', 1, true), output)
    end)

    it("finds out a route that decides by what it has counted", function()
        local status, output = run([[
            local turn = 0
            return {cache = {"to"}, route = function(_, bridge)
                turn = turn + 1
                return bridge.to("worker-" .. turn)
            end}]], "for _ = 1, 2 do script:route(harness.envelope{to = 'bob'}) end")
        assert.equal(1, status)
        assert.truthy(output:find('decided to{"worker-1"} before, and to{"worker-2"} now', 1, true), output)
    end)
end)
