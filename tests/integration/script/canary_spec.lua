-- A new version on trial: for a share of the agents, taken back when it does worse, promoted when it does not; and in
-- the shadow, where it decides and only differences are kept.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local process = require "tests.support.process"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local OLD = [[return {route = function(envelope) envelope.channel = "old" end}]]
local NEW = [[return {route = function(envelope) envelope.channel = "new" end}]]

local function start(canary, script)
    return bridge.start({script = script or OLD, config = {
        canary = canary, performance = {worker_threads = 1}, script = {budgetMs = 20},
    }})
end

local function try(server, script, order)
    process.write_file(server.folder .. "/script.lua", script)
    return http.post(server, "/admin/reload", order)
end

local function status(server)
    return http.get(server, "/admin/canary")
end

local function wait_state(server, state)
    return wait.eventually(function()
        local trial = status(server)
        return trial.state == state and trial
    end, 15, "the canary to be " .. state)
end

local function version(server)
    return http.get(server, "/health").scriptVersion.number
end

-- Sends `count` from alice to bob, and gives how often each channel came.
local function count_channels(alice, bob, count)
    local channels = {}
    for i = 1, count do
        alice:send_envelope({id = ("e%d"):format(i), to = "bob", payload = {number = i}})
    end
    for i = 1, count do
        local envelope = bob:receive_envelope()
        assert.equal(("e%d"):format(i), envelope.id)
        channels[envelope.channel] = (channels[envelope.channel] or 0) + 1
    end
    return channels
end

describe("a canary", function()
    after_each(bridge.clean)

    it("takes those that its pattern names, and nobody else", function()
        local server = start({promote = "manual"})
        local alice, bob, carol =
            websocket.agent(server, "alice"), websocket.agent(server, "bob"), websocket.agent(server, "carol")
        local body, answer = try(server, NEW, {canary = {id = "al*"}})
        assert.equal(200, answer.status, answer.body)
        assert.equal(2, body.version)

        assert.same({new = 20}, count_channels(alice, bob, 20))
        assert.same({old = 20}, count_channels(carol, bob, 20))
        assert.equal(1, version(server))
        assert.equal("running", status(server).state)
    end)

    it("takes those with a label", function()
        local server = start({promote = "manual"})
        local alice = websocket.agent(server, "alice", {labels = {"beta"}})
        local bob, carol = websocket.agent(server, "bob"), websocket.agent(server, "carol")
        try(server, NEW, {canary = {label = "beta"}})
        assert.same({new = 5}, count_channels(alice, bob, 5))
        assert.same({old = 5}, count_channels(carol, bob, 5))
    end)

    it("takes those with a label for what could not be delivered, too", function()
        local hooks = [[return {
            route = function(_, bridge) return bridge.role("nobody") end,
            on_undeliverable = function(envelope, _, _, bridge) envelope.channel = "%s" return bridge.to("bob") end,
        }]]
        local server = bridge.start({
            config = {canary = {promote = "manual"}, performance = {worker_threads = 1}},
            script = hooks:format("old"),
        })
        local alice = websocket.agent(server, "alice", {labels = {"beta"}})
        local bob, carol = websocket.agent(server, "bob"), websocket.agent(server, "carol")
        try(server, hooks:format("new"), {canary = {label = "beta"}})

        alice:send_envelope({id = "a"})
        assert.equal("new", bob:receive_envelope().channel)
        carol:send_envelope({id = "c"})
        assert.equal("old", bob:receive_envelope().channel)
    end)

    it("takes a share of all, always the same ones", function()
        local server = start({promote = "manual"})
        local bob = websocket.agent(server, "bob")
        try(server, NEW, {canary = {percent = 50}})
        local new = 0
        for i = 1, 40 do
            local agent = websocket.agent(server, "agent" .. i)
            local channels = count_channels(agent, bob, 3)
            assert.is_true(channels.new == 3 or channels.old == 3)
            new = new + (channels.new and 1 or 0)
            agent:close()
        end
        -- Of 40 that are taken with even odds, fewer than 5 or more than 35 come about less than once in 10^7.
        assert.is_true(new >= 5 and new <= 35, new .. " of 40")
    end)

    it("that fails on some of its calls is taken back, and no envelope is lost for it", function()
        local server = start({minCalls = 40})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        try(server, [[return {route = function(envelope)
            if envelope.payload.number and envelope.payload.number % 20 == 0 then error("every twentieth") end
            envelope.channel = "new"
        end}]], {canary = {percent = 100}})
        local channels = count_channels(alice, bob, 40)
        assert.same({new = 38, old = 2}, channels)

        local trial = wait_state(server, "taken back")

        assert.match("^[25]%.%d+ %% of its calls failed, 0%.00 %%", trial.why)
        assert.match("canary%.maxErrorRate", trial.why)
        assert.equal(1, version(server))
        assert.same({old = 20}, count_channels(alice, bob, 20))
        assert.match("calls failed", http.get(server, "/admin/scripts").versions[1].problem)
        server:wait_log("version 2 is not on trial any more, version 1 stays in use")
    end)

    it("that loops for ever is taken back, and no envelope is lost for it", function()
        local server = start({maxOverruns = 3})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        try(server, [[return {route = function(envelope)
            if envelope.payload.number then while true do end end
        end}]], {canary = {percent = 100}})
        assert.same({old = 6}, count_channels(alice, bob, 6))
        local trial = wait_state(server, "taken back")
        assert.match("script%.budgetMs", trial.why)
        assert.same({old = 5}, count_channels(alice, bob, 5))
    end)

    for name, script in pairs({
        [""] = [[return {route = function(envelope, bridge) return bridge.role("nobody") end}]],
        [", also when its route waits"] = [[return {route = function(envelope, bridge)
            luaduct.sleep(1)
            return bridge.role("nobody")
        end}]],
        [", also when its on_undeliverable waits"] = [[return {
            route = function(envelope, bridge) return bridge.role("nobody") end,
            on_undeliverable = function() luaduct.sleep(1) end,
        }]],
    }) do
        it("that nobody takes envelopes from is taken back" .. name, function()
            local server = start({minCalls = 20})
            local alice = websocket.agent(server, "alice")
            try(server, script, {canary = {percent = 100}})
            for i = 1, 20 do
                alice:send_envelope({id = "r" .. i, to = "bob"})
            end
            assert.match("nobody took", wait_state(server, "taken back").why)
        end)
    end

    it("that does well is promoted", function()
        local server = start({minCalls = 30, holdMs = 50})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        try(server, NEW, {canary = {percent = 100}})
        count_channels(alice, bob, 30)
        local trial = wait_state(server, "promoted")
        assert.is_true(trial.trial.calls >= 30)
        assert.equal(2, version(server))
        assert.same({new = 5}, count_channels(alice, bob, 5))
        assert.equal("current", http.get(server, "/admin/scripts").versions[1].use)
    end)

    it("is promoted or aborted by command, and stands in the way of another reload meanwhile", function()
        local server = start({promote = "manual"})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        local none, nothing = http.post(server, "/admin/canary/promote", "")
        assert.equal(404, nothing.status)
        assert.match("no version is on trial", none.error)

        try(server, NEW, {canary = {percent = 100}})
        local body, answer = http.post(server, "/admin/reload", "")
        assert.equal(409, answer.status)
        assert.equal("busy", body.code)
        assert.match("version 2 is on trial", body.error)
        assert.equal(200, select(2, http.post(server, "/admin/canary/abort", "")).status)
        assert.equal("aborted", status(server).state)
        assert.same({old = 5}, count_channels(alice, bob, 5))

        try(server, NEW, {canary = {percent = 1}})
        assert.equal(200, select(2, http.post(server, "/admin/canary/promote", "")).status)
        assert.same({new = 5}, count_channels(alice, bob, 5))
        assert.equal("promoted", status(server).state)
    end)

    it("is refused before it begins when it is broken", function()
        local server = start()
        local body, answer = try(server, "return {route = function() oops() end}", {canary = {percent = 10}})
        assert.equal(422, answer.status)
        assert.match("oops", body.error)
        assert.equal("none", status(server).state)
    end)

    it("counts what both decided", function()
        local server = start({promote = "manual"})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        local carol = websocket.agent(server, "carol")
        try(server, [[return {route = function(_, bridge) return bridge.to("bob") end}]], {canary = {id = "alice"}})
        count_channels(alice, bob, 7)
        count_channels(carol, bob, 3)
        local trial = wait.eventually(function()
            local now = status(server)
            return now.trial.decisions.to == 7 and now.current.decisions.to == 3 and now
        end)
        assert.is_true(trial.trial.calls >= 7)
        assert.equal(0, trial.trial.errors)
    end)

    it("counts what routes that wait decided, each on its own side and once", function()
        local server = start({promote = "manual", maxErrorRate = 1}, [[return {route = function(envelope, bridge)
            luaduct.sleep(1)
            return bridge.all{id = "bob"}
        end}]])
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        local carol = websocket.agent(server, "carol")
        try(server, [[return {route = function(envelope, bridge)
            luaduct.sleep(1)
            if envelope.id == "e7" then error("the seventh") end
            return bridge.to("bob")
        end}]], {canary = {id = "alice"}})
        count_channels(alice, bob, 7)
        count_channels(carol, bob, 3)

        local trial = wait.eventually(function()
            local now = status(server)
            -- The seventh of alice's was decided by the version in use.
            return now.trial.decisions.to == 6 and now.current.decisions.all == 4 and now
        end)
        assert.same({7, 1, 0}, {trial.trial.calls, trial.trial.errors, trial.trial.refused})
        assert.same({4, 0, 0}, {trial.current.calls, trial.current.errors, trial.current.refused})
    end)
end)

describe("a version in the shadow", function()
    after_each(bridge.clean)

    it("changes nothing, and shows what it would have done otherwise", function()
        local server = start()
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        local _, answer = try(server, [[return {route = function(envelope, bridge)
            envelope.channel = "old"
            if envelope.intent == "secret" then return bridge.drop("secret") end
        end}]], {shadow = true})
        assert.equal(200, answer.status, answer.body)
        assert.same({old = 10}, count_channels(alice, bob, 10))
        alice:send_envelope({id = "s", to = "bob", intent = "secret"})
        assert.equal("s", bob:receive_envelope().id)

        local trial = wait.eventually(function()
            local now = status(server)
            return now.compared == 11 and now
        end)
        assert.is_true(trial.shadow)
        assert.equal(1, trial.different)
        local differences = http.get(server, "/admin/canary/diff").differences
        assert.equal(1, #differences)
        assert.equal([[to{"bob"}; channel = "old"]], differences[1].decided)
        assert.equal([[drop("secret"); channel = "old"]], differences[1].wouldDecide)
        assert.match('"secret"', differences[1].envelope)
        assert.equal(1, version(server))
    end)

    it("is asked for those senders alone that the canary names", function()
        local drops = [[return {route = function(_, bridge) return bridge.drop("other") end}]]
        for _, canary in ipairs({{id = "al*"}, {label = "beta"}}) do
            local server = start()
            local alice = websocket.agent(server, "alice", {labels = {"beta"}})
            local carl, bob = websocket.agent(server, "carl"), websocket.agent(server, "bob")
            try(server, drops, {shadow = true, canary = canary})
            assert.same({old = 10}, count_channels(carl, bob, 10))
            assert.same({old = 3}, count_channels(alice, bob, 3))

            wait.eventually(function() return status(server).compared == 3 end, nil, "three decisions compared")
            for _, difference in ipairs(http.get(server, "/admin/canary/diff").differences) do
                assert.is_nil(difference.envelope:find("carl", 1, true))
            end
            assert.equal(0, status(server).trial.decisions.to)
            server:stop()
        end
    end)

    it("does no harm when it fails, and is taken back for it", function()
        local server = start({minCalls = 10})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        try(server, [[return {route = function(envelope)
            if envelope.payload.number then error("in the shadow") end end}]], {shadow = true})
        assert.same({old = 20}, count_channels(alice, bob, 20))
        assert.match("calls failed", wait_state(server, "taken back").why)
        assert.is_string(json.encode(http.get(server, "/admin/canary/diff").differences))
    end)
end)

describe("a version on trial", function()
    after_each(bridge.clean)

    local COUNTS = [[
        return {
            on_reload = function(_, state) luaduct.state.count = (state and state.count or 0) + 100 end,
            route = function(envelope)
                luaduct.state.count = (luaduct.state.count or 0) + 1
                envelope.channel = "%s " .. luaduct.state.count
            end,
        }
    ]]

    local function channel(alice, bob)
        alice:send_envelope({to = "bob"})
        return bob:receive_envelope().channel
    end

    it("begins with what the version in use keeps, and keeps its own when it is promoted", function()
        local server = start({promote = "manual"}, COUNTS:format("old"))
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        assert.equal("old 1", channel(alice, bob))

        try(server, COUNTS:format("new"), {canary = {percent = 100}})
        assert.equal("new 102", channel(alice, bob))
        http.post(server, "/admin/canary/promote", "{}")

        assert.equal("new 103", channel(alice, bob))
    end)

    it("does not write to luaduct.shared while it is a shadow", function()
        local shares = [[return {route = function(envelope)
            envelope.channel = "%s " .. luaduct.shared.incr("count")
        end}]]
        local server = start({promote = "manual"}, shares:format("old"))
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        try(server, shares:format("new"), {shadow = true})

        for count = 1, 5 do
            assert.equal("old " .. count, channel(alice, bob))
        end
    end)

    it("is not the version in use", function()
        local server = start({promote = "manual"})

        local refusal, answer = http.post(server, "/admin/reload", {to = 1, canary = {percent = 10}})

        assert.equal(400, answer.status)
        assert.equal("version 1 is in use already", refusal.error)
    end)

    it("is followed by a reload that a signal asked for meanwhile, once it is promoted", function()
        local server = start({promote = "manual"})
        try(server, NEW, {canary = {percent = 100}})
        server:signal("SIGHUP")
        server:wait_log("SIGHUP: refused")
        http.post(server, "/admin/canary/promote", "{}")

        server:wait_log("SIGHUP: version 3")
        assert.equal(3, version(server))
    end)

    it("is not, when it was taken back: the files are what did worse", function()
        local server = start({promote = "manual"})
        try(server, NEW, {canary = {percent = 100}})
        server:signal("SIGHUP")
        server:wait_log("SIGHUP: refused")
        http.post(server, "/admin/canary/abort", "{}")

        server:wait_log("was not carried out: ask again")
        assert.equal(1, version(server))
    end)
end)
