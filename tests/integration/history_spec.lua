-- The history ring and the tasks that are derived from it.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local variants = require "tests.support.variants"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local function ids(list)
    local out = {}
    for index, envelope in ipairs(list) do
        out[index] = envelope.id
    end
    return out
end

local function history(server, query)
    return ids(http.get(server, "/history" .. (query or "")).history)
end

describe("the history", function()
    after_each(bridge.clean)

    for _, variant in ipairs(variants.reactors) do
        it(variant.name .. " holds every accepted envelope once, oldest first", function()
            local server = variant.start()
            local alice = websocket.agent(server, "alice")
            websocket.agent(server, "bob")
            alice:send_envelope({id = "e1", to = "bob"})
            alice:send_envelope({id = "e2", to = "absent"})
            alice:send_envelope({id = "e3"})
            alice:expect_nothing()
            http.post(server, "/send", {id = "e4", to = "bob"})
            http.post(server, "/broadcast", {id = "e5"})

            assert.same({"e1", "e2", "e3", "e4", "e5"}, history(server))
        end)
    end

    it("shows envelopes as they went out, all fields included", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice")
        alice:send_envelope('{"id":"e1","to":"alice","payload":{"n":1.10,"big":1e400}}')
        local _, raw = alice:receive_envelope()

        local _, answer = http.get(server, "/history")

        assert.equal('{"history":[' .. raw .. "]}", answer.body)
    end)

    it("can be filtered by agent (from or to), task and intent, and limited to the newest", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice")
        local bob = websocket.agent(server, "bob")
        alice:send_envelope({id = "e1", to = "bob", taskId = "t1", intent = "ask"})
        alice:send_envelope({id = "e2", to = "carol", taskId = "t2", intent = "ask"})
        alice:expect_nothing()
        bob:receive_envelope()
        bob:send_envelope({id = "e3", to = "carol", taskId = "t1", intent = "tell"})
        bob:expect_nothing()

        assert.same({"e1", "e3"}, history(server, "?agentId=bob"))
        assert.same({"e2", "e3"}, history(server, "?agentId=carol"))
        assert.same({"e1", "e3"}, history(server, "?taskId=t1"))
        assert.same({"e1", "e2"}, history(server, "?intent=ask"))
        assert.same({"e1"}, history(server, "?intent=ask&agentId=bob"))
        assert.same({"e2", "e3"}, history(server, "?limit=2"))
        assert.same({"e2"}, history(server, "?limit=1&intent=ask"))
        assert.same({}, history(server, "?taskId=none"))
    end)

    it("understands percent signs in a filter", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice & söhne")
        alice:send_envelope({id = "e1"})
        alice:expect_nothing()

        assert.same({"e1"}, history(server, "?agentId=alice%20%26%20s%C3%B6hne"))
    end)

    it("refuses a limit that is no number", function()
        local server = bridge.start()

        for _, limit in ipairs({"x", "-1", "1.5", "99999999999999999999"}) do
            local body, answer = http.get(server, "/history?limit=" .. limit)
            assert.equal(400, answer.status, limit)
            assert.is_string(body.code)
        end
    end)

    it("keeps the newest history.limit envelopes", function()
        local server = bridge.start({config = {history = {limit = 3}}})
        local alice = websocket.agent(server, "alice")
        for number = 1, 10 do
            alice:send_envelope({id = "e" .. number})
        end
        alice:expect_nothing()

        assert.same({"e8", "e9", "e10"}, history(server))
    end)

    it("keeps no more than history.bytes", function()
        local server = bridge.start({config = {history = {bytes = "64KiB"}}})
        local alice = websocket.agent(server, "alice")
        for number = 1, 20 do
            alice:send_envelope({id = "e" .. number, payload = ("x"):rep(10000)})
        end
        alice:expect_nothing()

        local kept = history(server)

        assert.is_true(#kept >= 3 and #kept <= 7, #kept .. " kept")
        assert.equal("e20", kept[#kept])
    end)

    it("keeps none with a limit of 0", function()
        local server = bridge.start({config = {history = {limit = 0}}})
        local alice = websocket.agent(server, "alice")
        alice:send_envelope({to = "alice"})
        alice:receive_envelope()

        local _, answer = http.get(server, "/history")

        assert.equal('{"history":[]}', answer.body)
    end)

    it("takes its limit from AI_BRIDGE_HISTORY_LIMIT", function()
        local server = bridge.start({env = {AI_BRIDGE_HISTORY_LIMIT = "2"}})
        for number = 1, 3 do
            http.post(server, "/broadcast", {id = "e" .. number})
        end

        assert.same({"e2", "e3"}, history(server))
    end)

    describe("in `registered`", function()
        local function prepare(mode)
            local server = bridge.start({config = {mode = mode}})
            local alice = websocket.agent(server, "alice")
            for number = 1, 4 do
                alice:send_envelope({id = "to-bob-" .. number, to = "bob"})
                alice:send_envelope({id = "to-carol-" .. number, to = "carol"})
                alice:send_envelope({id = "to-all-" .. number})
            end
            alice:expect_nothing()
            return server, alice
        end

        it("is in original mode the newest ten of all", function()
            local server = prepare("original")

            local _, registered = websocket.agent(server, "bob")

            assert.same({
                "to-all-1", "to-bob-2", "to-carol-2", "to-all-2", "to-bob-3", "to-carol-3", "to-all-3", "to-bob-4",
                "to-carol-4", "to-all-4",
            }, ids(registered.history))
        end)

        it("is in enhanced mode only what the agent sent, received, or what was broadcast", function()
            local server = prepare("enhanced")

            local _, bob = websocket.agent(server, "bob")
            local _, dave = websocket.agent(server, "dave")
            local _, alice = websocket.agent(server, "alice")

            assert.same({
                "to-bob-1", "to-all-1", "to-bob-2", "to-all-2", "to-bob-3", "to-all-3", "to-bob-4", "to-all-4",
            }, ids(bob.history))
            assert.same({"to-all-1", "to-all-2", "to-all-3", "to-all-4"}, ids(dave.history))
            assert.equal(10, #alice.history)
        end)

        it("holds ten at most", function()
            local server = bridge.start()
            for number = 1, 15 do
                http.post(server, "/broadcast", {id = "e" .. number})
            end

            local _, registered = websocket.agent(server, "bob")

            assert.same({"e6", "e7", "e8", "e9", "e10", "e11", "e12", "e13", "e14", "e15"}, ids(registered.history))
        end)
    end)
end)

describe("the tasks", function()
    after_each(bridge.clean)

    it("are gathered from the history: intents, participants, last envelope", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice")
        local bob = websocket.agent(server, "bob")
        alice:send_envelope({id = "e1", to = "bob", taskId = "t1", intent = "task.assign", timestamp = 1})
        bob:receive_envelope()
        bob:send_envelope({id = "e2", to = "alice", taskId = "t1", intent = "task.complete"})
        alice:receive_envelope()
        alice:send_envelope({id = "e3", to = "carol", taskId = "t2", intent = "ask"})
        alice:send_envelope({id = "e4", to = "carol"})
        alice:expect_nothing()

        local tasks = {}
        for _, task in ipairs(http.get(server, "/tasks").tasks) do
            tasks[task.taskId] = task
        end

        table.sort(tasks.t1.intents)
        table.sort(tasks.t1.participants)
        assert.same({"task.assign", "task.complete"}, tasks.t1.intents)
        assert.same({"alice", "bob"}, tasks.t1.participants)
        assert.equal("e2", tasks.t1.lastEnvelope.id)
        assert.is_not_nil(tasks.t1.lastUpdate)
        table.sort(tasks.t2.participants)
        assert.same({"alice", "carol"}, tasks.t2.participants)
        local count = 0
        for _ in pairs(tasks) do
            count = count + 1
        end
        assert.equal(2, count)
    end)

    it("are an empty list where there are none", function()
        local _, answer = http.get(bridge.start(), "/tasks")

        assert.equal('{"tasks":[]}', answer.body)
    end)

    it("leave when their envelopes have left the history", function()
        local server = bridge.start({config = {history = {limit = 2}}})
        http.post(server, "/broadcast", {taskId = "old"})
        http.post(server, "/broadcast", {taskId = "new"})
        http.post(server, "/broadcast", {taskId = "new"})

        wait.eventually(function()
            local tasks = http.get(server, "/tasks").tasks
            return #tasks == 1 and tasks[1].taskId == "new"
        end, 10, "the old task to be gone")
    end)
end)
