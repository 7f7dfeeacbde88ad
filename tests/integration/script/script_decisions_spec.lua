-- What each decision of a route does: the table of the protocol, row by row.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local variants = require "tests.support.variants"
local websocket = require "tests.support.websocket"

-- A script whose route is the given body, with `envelope` and `bridge` in reach.
local function route(body)
    return "return {\n    route = function(envelope, bridge)\n" .. body .. "\n    end,\n}\n"
end

-- A marker goes from the same sender to everyone, so whoever got the envelope itself got it before.
local PASS_MARKER = [[
    if envelope.intent == "marker" then
        return bridge.to{"alice", "bob", "carol", "dave"}
    end
]]

-- The names of the agents that got `id` from `sender`, sorted.
local function recipients(sender, agents, id)
    sender:send_envelope({intent = "marker", id = "marker"})
    local got = {}
    for name, agent in pairs(agents) do
        while true do
            local envelope = agent:receive_envelope()
            if envelope.id == "marker" then
                break
            end
            assert.equal(id, envelope.id)
            got[#got + 1] = name
        end
    end
    table.sort(got)
    return got
end

-- alice (writer, labels eu), bob (worker, eu, gpu), carol (worker, us), dave (worker, eu).
local function cast(start, body)
    local server = start({script = route(PASS_MARKER .. body)})
    return server, {
        alice = websocket.agent(server, "alice", {role = "writer", labels = {"eu"}, intents = {"ask"}}),
        bob = websocket.agent(server, "bob", {role = "worker", labels = {"eu", "gpu"}, tools = {"search"}}),
        carol = websocket.agent(server, "carol", {role = "worker", labels = {"us"}, intents = {"ask", "tell"}}),
        dave = websocket.agent(server, "dave", {role = "worker", labels = {"eu"}, tools = {"search", "draw"}}),
    }
end

local TO_SOME = {
    {'return nil', nil, {"alice", "carol", "dave"}, "nil without `to` broadcasts"},
    {'return nil', "carol", {"carol"}, "nil with `to` goes there"},
    {'return nil', "bob", {"bob"}, "nil with `to` being the sender goes to the sender"},
    {'return bridge.to("carol")', "dave", {"carol"}, "bridge.to(id) wins over `to`"},
    {'return bridge.to("bob")', nil, {"bob"}, "bridge.to may name the sender"},
    {'return bridge.to{"carol", "dave"}', nil, {"carol", "dave"}, "bridge.to{…} goes to each"},
    {'return bridge.to{"carol", "dave", "carol"}', nil, {"carol", "dave"}, "bridge.to{…} goes to each once"},
    {'return bridge.role("worker")', nil, {"carol", "dave"}, "bridge.role(name) leaves the sender out"},
    {'return bridge.role("writer")', nil, {"alice"}, "bridge.role(name) goes to the role alone"},
    {'return bridge.label("eu")', nil, {"alice", "dave"}, "bridge.label(name) leaves the sender out"},
    {'return bridge.all{role = "worker", label = "eu"}', nil, {"dave"}, "bridge.all{…} needs every condition"},
    {'return bridge.all{intent = "ask"}', nil, {"alice", "carol"}, "bridge.all{intent} matches what agents take"},
    {'return bridge.all{tool = "search"}', nil, {"dave"}, "bridge.all{tool} matches what agents have"},
    {'return bridge.all{id = "carol"}', nil, {"carol"}, "bridge.all{id} matches one"},
    {'return bridge.any{role = "writer"}', nil, {"alice"}, "bridge.any{…} goes to the one that matches"},
    {'return bridge.any{tool = "draw", label = "eu"}', nil, {"dave"}, "bridge.any{…} needs every condition"},
    {'return bridge.broadcast()', "carol", {"alice", "carol", "dave"}, "bridge.broadcast() ignores `to`"},
    {'return bridge.drop("no")', "carol", {}, "bridge.drop(reason) goes nowhere"},
    {'return {bridge.to("carol"), bridge.role("worker")}', nil, {"carol", "dave"}, "a list is the union"},
    {'return {bridge.to("bob"), bridge.label("us")}', nil, {"bob", "carol"}, "a list may name the sender"},
    {'return {bridge.broadcast(), bridge.to("carol")}', nil, {"alice", "carol", "dave"},
        "a list reaches each recipient once"},
    {'return {bridge.role("nobody"), bridge.to("carol")}', nil, {"carol"}, "a list is taken when one of it is"},
}

describe("a decision", function()
    after_each(bridge.clean)

    for _, variant in ipairs(variants.reactors) do
        describe(variant.name, function()
            for _, row in ipairs(TO_SOME) do
                it("of " .. row[4], function()
                    local server, agents = cast(variant.start, row[1])

                    agents.bob:send_envelope({id = "e1", to = row[2], payload = 1})

                    assert.same(row[3], recipients(agents.bob, agents, "e1"))
                    assert.is_true(server:is_running())
                end)
            end
        end)
    end

    it("changes recipients, not the field `to`", function()
        local _, agents = cast(bridge.start, 'return bridge.to("carol")')

        agents.bob:send_envelope({to = "alice"})

        assert.equal("alice", agents.carol:receive_envelope().to)
    end)

    it("of bridge.to keeps the envelope for one that is absent", function()
        local server, agents = cast(bridge.start, 'return bridge.to{"absent", "carol"}')

        agents.bob:send_envelope({id = "e1"})

        assert.equal("e1", agents.carol:receive_envelope().id)
        assert.equal("e1", websocket.agent(server, "absent"):receive_envelope().id)
    end)

    for _, decision in ipairs({'bridge.role("nobody")', 'bridge.label("x")', 'bridge.all{tool = "x"}',
            'bridge.any{role = "nobody"}', '{bridge.role("nobody"), bridge.label("x")}'}) do
        it("of " .. decision .. " that finds nobody is refused with no_recipient, and is in no history", function()
            local server, agents = cast(bridge.start, "return " .. decision)

            agents.bob:send_envelope({id = "e1"})
            assert.equal("e1", agents.bob:expect_error("no_recipient").id)
            local body, answer = http.post(server, "/send", {to = "x"})

            assert.equal(404, answer.status)
            assert.equal("no_recipient", body.code)
            assert.equal(0, #http.get(server, "/history").history)
        end)
    end

    it("of bridge.role from the only one who has it finds nobody", function()
        local _, agents = cast(bridge.start, 'return bridge.role("writer")')

        agents.alice:send_envelope({})

        agents.alice:expect_error("no_recipient")
    end)

    it("of bridge.reply answers the sender with an envelope of the bridge", function()
        local _, agents = cast(bridge.start, 'return bridge.reply({answer = 42, list = {1, 2}})')

        agents.bob:send_envelope({
            id = "q1", to = "carol", intent = "ask", taskId = "t1", channel = "ops", payload = "question",
        })

        local envelope = agents.bob:receive_envelope()
        assert.equal("bridge", envelope.from)
        assert.equal("bridge", envelope.role)
        assert.equal("bob", envelope.to)
        assert.equal("q1", envelope.replyTo)
        assert.equal("ask", envelope.intent)
        assert.equal("t1", envelope.taskId)
        assert.equal("ops", envelope.channel)
        assert.same({answer = 42, list = {1, 2}}, envelope.payload)
        assert.not_equal("q1", envelope.id)
        assert.same({}, recipients(agents.bob, agents, "q1"))
    end)

    it("of bridge.drop with tell tells the sender why, without it nothing", function()
        local _, agents = cast(bridge.start, [[
            return bridge.drop("not today", envelope.payload == "tell" and {tell = true} or nil)]])

        agents.bob:send_envelope({id = "e1", to = "carol", payload = "quiet"})
        agents.bob:send_envelope({id = "e2", to = "carol", payload = "tell"})

        local message = agents.bob:expect_error("script_dropped")
        assert.equal("e2", message.id)
        assert.truthy(message.error:find("not today", 1, true))
    end)

    it("of bridge.drop is said over HTTP either way, and is in no history", function()
        local server = bridge.start({script = route('return bridge.drop("not today")')})

        local _, answer = http.post(server, "/send", {to = "bob"})

        assert.equal(200, answer.status)
        assert.same({status = "dropped", reason = "not today"}, json.decode(answer.body))
        assert.equal(0, #http.get(server, "/history").history)
    end)

    it("holds for HTTP senders as for agents", function()
        local server = bridge.start({script = route('return bridge.role("worker")')})
        local bob = websocket.agent(server, "bob", {role = "worker"})

        local _, answer = http.post(server, "/send", {to = "someone", id = "e1"})

        assert.equal(202, answer.status)
        assert.equal("e1", bob:receive_envelope().id)
    end)
end)

describe("bridge.any", function()
    after_each(bridge.clean)

    local ASSIGN = route([[
        if envelope.intent == "task.assign" then
            return bridge.any{role = "worker"}
        end]])

    -- Assigns a task as boss and gives the name of the worker that got it.
    local function assign(boss, workers, task)
        boss:send_envelope({intent = "task.assign", taskId = task, id = task})
        boss:send_envelope({id = "marker"})
        local chosen
        for name, worker in pairs(workers) do
            local envelope = worker:receive_envelope()
            if envelope.id == task then
                assert.is_nil(chosen)
                chosen = name
                envelope = worker:receive_envelope()
            end
            assert.equal("marker", envelope.id)
        end
        return chosen
    end

    local function finish(boss, worker, task, intent)
        worker:send_envelope({to = "boss", intent = intent or "task.complete", taskId = task})
        assert.equal(task, boss:receive_envelope().taskId)
    end

    local function staff(start, most)
        local server = start({script = ASSIGN})
        local boss = websocket.agent(server, "boss", {role = "boss"})
        local workers = {}
        for name, maximum in pairs(most) do
            workers[name] = websocket.agent(server, name, {role = "worker", maxConcurrentTasks = maximum})
        end
        return boss, workers, server
    end

    for _, variant in ipairs(variants.reactors) do
        it(variant.name .. " gives each worker one before any gets a second", function()
            local boss, workers = staff(variant.start, {w1 = 1, w2 = 1, w3 = 1})

            local count = {}
            for number = 1, 9 do
                local name = assign(boss, workers, "t" .. number)
                count[name] = (count[name] or 0) + 1
            end

            assert.same({w1 = 3, w2 = 3, w3 = 3}, count)
        end)
    end

    it("weighs open tasks by what a worker takes at once", function()
        local boss, workers = staff(bridge.start, {big = 4, small = 1})

        local count = {big = 0, small = 0}
        for number = 1, 5 do
            local name = assign(boss, workers, "t" .. number)
            count[name] = count[name] + 1
        end

        assert.same({big = 4, small = 1}, count)
    end)

    for _, intent in ipairs({"task.complete", "task.failed", "task.cancelled"}) do
        it("knows by " .. intent .. " who is free again", function()
            local boss, workers = staff(bridge.start, {w1 = 1, w2 = 1})
            local tasks = {}
            for number = 1, 4 do
                local name = assign(boss, workers, "t" .. number)
                tasks[name] = tasks[name] or {}
                table.insert(tasks[name], "t" .. number)
            end

            for _, task in ipairs(tasks.w2) do
                finish(boss, workers.w2, task, intent)
            end

            assert.equal("w2", assign(boss, workers, "t5"))
            assert.equal("w2", assign(boss, workers, "t6"))
        end)
    end

    it("takes the least recently chosen among equals", function()
        local boss, workers = staff(bridge.start, {w1 = 1, w2 = 1, w3 = 1})
        local order = {}
        for number = 1, 3 do
            local name = assign(boss, workers, "t" .. number)
            order[number] = name
            finish(boss, workers[name], "t" .. number)
        end

        for number = 1, 3 do
            local name = assign(boss, workers, "again-" .. number)
            assert.equal(order[number], name)
            finish(boss, workers[name], "again-" .. number)
        end
    end)

    it("forgets the tasks of a worker that left", function()
        local boss, workers, server = staff(bridge.start, {w1 = 1})
        for number = 1, 3 do
            assign(boss, workers, "t" .. number)
        end
        workers.w1:finish(1000)
        workers.w1:close()
        workers.w1 = nil
        workers.w2 = websocket.agent(server, "w2", {role = "worker"})
        assign(boss, workers, "t4")
        workers.w1 = websocket.agent(server, "w1", {role = "worker"})

        assert.equal("w1", assign(boss, workers, "t5"))
    end)
end)
