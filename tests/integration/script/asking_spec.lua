-- bridge.request and bridge.gather: hooks that ask agents and wait for their replies.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local function start(script, config)
    return bridge.start({script = script, config = config or {performance = {worker_threads = 1}}})
end

-- A route in which what carol sends runs the body, and what it returns is her answer.
local function asking(body)
    return ([[return {route = function(envelope, bridge)
        if envelope.from ~= "carol" or envelope.to then return end
        return bridge.reply((function() %s end)())
    end}]]):format(body)
end

local function reply_to(agent, asked, more)
    local reply = {to = asked.from, replyTo = asked.id, payload = {by = asked.to, asked = asked.payload}}
    for key, value in pairs(more or {}) do
        reply[key] = value
    end
    agent:send_envelope(reply)
end

describe("bridge.request", function()
    after_each(bridge.clean)

    it("tells on_undeliverable what the question pushed out of a mailbox", function()
        local server = start([[
            return {
                route = function(envelope, bridge)
                    if envelope.to then return end
                    bridge.request{to = "alice", timeoutMs = 1}
                    return bridge.drop("asked")
                end,
                on_undeliverable = function(envelope, reason, recipient)
                    print("lost " .. envelope.id .. " " .. reason .. " " .. recipient)
                end,
            }
        ]], {performance = {worker_threads = 1}, agents = {maxQueue = 1, registerGraceMs = 10000}})
        websocket.agent(server, "alice") -- what comes for her waits in her mailbox
        local carol = websocket.agent(server, "carol")
        carol:send_envelope({to = "alice", id = "pushed"})
        carol:send_envelope({})

        server:wait_log("lost pushed evicted alice")
    end)

    it("gives the reply of the agent that was asked, as a plain table", function()
        local server = start(asking([[
            local reply, text, code = bridge.request{
                to = "alice", intent = "question", payload = {n = 1}, priority = "high"}
            assert(text == nil and code == nil and reply.taskId == nil)
            reply.replyTo = type(reply.replyTo)
            return reply
        ]]))
        local alice, carol = websocket.agent(server, "alice"), websocket.agent(server, "carol")

        carol:send_envelope({})
        local asked = alice:receive_envelope()
        assert.same({"bridge", "bridge", "alice", "question", "high"},
            {asked.from, asked.role, asked.to, asked.intent, asked.priority})
        reply_to(alice, asked, {intent = "answer", priority = "low"})

        local reply = carol:receive_envelope().payload
        assert.same({by = "alice", asked = {n = 1}}, reply.payload)
        assert.same({"alice", "bridge", "string", "answer", "low"},
            {reply.from, reply.to, reply.replyTo, reply.intent, reply.priority})
    end)

    it("consumes the reply: the route does not see it, the history has it, the agent's figures count it", function()
        local server = start([[
            local seen = 0
            return {route = function(envelope, bridge)
                if envelope.from == "alice" then seen = seen + 1 end
                if envelope.intent == "ask" then
                    return bridge.reply{got = bridge.request{to = "alice"}.payload, seen = seen}
                end
            end}
        ]])
        local alice, carol = websocket.agent(server, "alice"), websocket.agent(server, "carol")

        carol:send_envelope({intent = "ask"})
        reply_to(alice, (alice:receive_envelope()), {id = "the reply", payload = {x = 1}})

        assert.same({got = {x = 1}, seen = 0}, carol:receive_envelope().payload)
        local found
        for _, entry in ipairs(http.get(server, "/history").history) do
            found = found or (entry.id == "the reply" and entry)
        end
        assert.equal("bridge", found.to)
    end)

    it("takes an envelope to the bridge with the request's taskId for a reply, and closes the task with it", function()
        local server = start(asking([[
            local reply = bridge.request{to = "alice", intent = "task.assign", taskId = "t1"}
            return {intent = reply.intent, open = bridge.agent("alice").openTasks}
        ]]))
        local alice, carol = websocket.agent(server, "alice"), websocket.agent(server, "carol")

        carol:send_envelope({})
        assert.equal("t1", alice:receive_envelope().taskId)
        alice:send_envelope({to = "carol", taskId = "t1", intent = "task.update"}) -- to somebody else: no reply
        assert.equal("task.update", carol:receive_envelope().intent)
        alice:send_envelope({to = "bridge", taskId = "t1", intent = "task.complete"})

        assert.same({intent = "task.complete", open = 0}, carol:receive_envelope().payload)
    end)

    it("takes no reply from another agent, nor a second one", function()
        local server = start(asking([[return {by = bridge.request{to = "alice"}.from}]]))
        local alice, bob, carol =
            websocket.agent(server, "alice"), websocket.agent(server, "bob"), websocket.agent(server, "carol")

        carol:send_envelope({})
        local asked = alice:receive_envelope()
        bob:send_envelope({to = "alice", replyTo = asked.id, id = "forged"})
        assert.equal("forged", alice:receive_envelope().id) -- delivered as any other
        reply_to(alice, asked)
        assert.same({by = "alice"}, carol:receive_envelope().payload)
        alice:send_envelope({to = "bob", replyTo = asked.id, id = "second"})
        assert.equal("second", bob:receive_envelope().id)
    end)

    it("says that an agent is not connected, and that it has not replied in time", function()
        local server = start(asking([[
            local absent = {bridge.request{to = "nobody"}}
            local silent = {bridge.request{to = "alice", timeoutMs = 30}}
            return {absent = absent[1] == nil, text = absent[2], code = absent[3],
                silent = silent[1] == nil, late = silent[2], late_code = silent[3]}
        ]]))
        websocket.agent(server, "alice")
        local carol = websocket.agent(server, "carol")

        carol:send_envelope({})

        assert.same({absent = true, text = "the agent is not connected", code = "no_recipient",
            silent = true, late = "it has not replied in time", late_code = "task_timeout"},
            carol:receive_envelope().payload)
    end)

    it("tries again, with the same id, and takes the reply to an earlier try", function()
        local server = start(asking([[
            return {by = bridge.request{to = "alice", timeoutMs = 30, retries = 100, backoffMs = 1}.from}
        ]]))
        local alice, carol = websocket.agent(server, "alice"), websocket.agent(server, "carol")

        carol:send_envelope({})
        local first, second, third = alice:receive_envelope(), alice:receive_envelope(), alice:receive_envelope()
        assert.same({first.id, first.id}, {second.id, third.id})
        reply_to(alice, first)

        assert.same({by = "alice"}, carol:receive_envelope().payload)
    end)

    it("tries the next of several agents, an absent one at once", function()
        local server = start(asking([[
            return {by = bridge.request{
                to = {"nobody", "alice", "bob"}, timeoutMs = 30, retries = 100, backoffMs = 0}.from}
        ]]))
        local alice, bob, carol =
            websocket.agent(server, "alice"), websocket.agent(server, "bob"), websocket.agent(server, "carol")

        carol:send_envelope({})
        assert.equal("alice", alice:receive_envelope().to)
        local asked = bob:receive_envelope()
        assert.equal("bob", asked.to)
        reply_to(bob, asked)

        assert.same({by = "bob"}, carol:receive_envelope().payload)
    end)

    it("works between agents of different reactors", function()
        local server = start(asking([[
            local all = {}
            for i = 1, 10 do
                all[i] = bridge.request{to = "agent " .. i, payload = {i = i}}.payload.asked.i
            end
            return all
        ]]), {performance = {worker_threads = 2}})
        local agents = {}
        for i = 1, 10 do -- spread over both
            agents[i] = websocket.agent(server, "agent " .. i)
        end
        local carol = websocket.agent(server, "carol")

        for _ = 1, 3 do
            carol:send_envelope({})
            for i = 1, 10 do
                reply_to(agents[i], (agents[i]:receive_envelope()))
            end
            assert.same({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, carol:receive_envelope().payload)
        end
    end)

    it("may be used in a timer, in on_register and in on_undeliverable", function()
        local server = start([[
            local function ask(bridge, what)
                local reply = bridge.request{to = "judge", payload = {what = what}}
                return reply and reply.payload.asked.what == what and reply.payload.verdict
            end
            return {
                on_register = function(agent, bridge)
                    if agent.id ~= "judge" and not ask(bridge, "register") then return false, "the judge says no" end
                end,
                on_undeliverable = function(_, _, _, bridge)
                    if ask(bridge, "undeliverable") then return bridge.to("judge") end
                end,
                route = function(envelope, bridge)
                    if envelope.intent == "later" then
                        luaduct.after(1, function(bridge)
                            bridge.send{to = "judge", payload = {ask(bridge, "timer")}}
                        end)
                    end
                    return bridge.all{id = "nobody"}
                end,
            }
        ]])
        local judge = websocket.agent(server, "judge")
        local alice = websocket.connect(server)
        alice:send_json({type = "register", clientId = "alice"})
        reply_to(judge, (judge:receive_envelope()), {payload = {asked = {what = "register"}, verdict = true}})
        assert.equal("registered", alice:receive_json().type)

        alice:send_envelope({id = "x", intent = "later"})
        local got = {}
        for _ = 1, 4 do -- two questions, and what their hooks do then
            local envelope = judge:receive_envelope()
            if envelope.payload.what then
                reply_to(judge, envelope, {payload = {asked = envelope.payload, verdict = "good"}})
            else
                got[envelope.id == "x" and "x" or "told"] = envelope.payload
            end
        end
        assert.truthy(got.x)
        assert.same({"good"}, got.told)
    end)

    it("ends with its hook, whose late reply is then an envelope like any other", function()
        local server = start(asking([[return bridge.request{to = "alice", timeoutMs = 20000}]]),
            {performance = {worker_threads = 1}, script = {suspendMs = 30}})
        local alice, carol = websocket.agent(server, "alice"), websocket.agent(server, "carol")

        carol:send_envelope({id = "x"})
        local asked = alice:receive_envelope()
        assert.equal("x", alice:receive_envelope().id) -- by script.onError
        alice:send_envelope({to = "carol", replyTo = asked.id, id = "late"})

        assert.equal("late", carol:receive_envelope().id)
        server:wait_log("it waited longer than 30 ms")
    end)

    it("says what is wrong with a call", function()
        local server = start(asking([[
            local texts = {}
            for i, wrong in ipairs{
                1, {}, {to = "a", retries = -1}, {to = "a", timeoutMs = "x"}, {to = "a", retires = 3}, {to = {}},
                {to = "a", payload = print},
            } do
                texts[i] = select(2, pcall(bridge.request, wrong))
            end
            for i, wrong in ipairs{
                {}, {requests = {}}, {requests = {1}}, {requests = {{to = "a", nonsense = 1}}},
                {requests = {{to = "a"}}, count = 2}, {requests = {{to = "a"}}, to = "b"}, {to = {"a", "b"}, id = "x"},
            } do
                texts[#texts + 1] = select(2, pcall(bridge.gather, wrong))
            end
            texts[#texts + 1] = select(2, coroutine.resume(coroutine.create(bridge.request), {to = "a"}))
            return texts
        ]]))
        local carol = websocket.agent(server, "carol")

        carol:send_envelope({})
        local texts = carol:receive_envelope().payload
        for i, expected in ipairs({
            "bridge.request: expected a table with the fields of an envelope, got a number",
            "bridge.request: to: expected an agent id (string) or a list of them, got nil",
            "bridge.request: retries: expected a number from 0 to 100, got -1",
            "bridge.request: timeoutMs: expected a number from 1 to 2147483647, got a string",
            "bridge.request: expected fields of an envelope as keys, got retires",
            "bridge.request: to: expected 1 to 16 agent ids in the list, got 0",
            "bridge.request: payload",
            "bridge.gather: to: expected an agent id (string) or a list of them, got nil",
            "bridge.gather: requests: expected at least one",
            "bridge.gather: requests: expected a list of tables, element 1 is a number",
            "bridge.gather: expected fields of an envelope as keys, got nonsense",
            "bridge.gather: count: expected a number from 1 to 1, got 2",
            "bridge.gather: expected requests, count or timeoutMs as a key, got to",
            "bridge.gather: id: several envelopes cannot have the same id",
            "bridge.request: a coroutine of the script's own cannot wait",
        }) do
            assert.truthy(texts[i]:find(expected, 1, true), texts[i])
        end
    end)
end)

describe("bridge.gather", function()
    after_each(bridge.clean)

    -- Agents a, b, c and carol.
    local function meeting(server)
        local agents = {}
        for _, id in ipairs({"a", "b", "c"}) do
            agents[id] = websocket.agent(server, id)
        end
        return agents, websocket.agent(server, "carol")
    end

    it("gives all replies, in the order in which they came", function()
        local server = start(asking([[
            local replies, missing = bridge.gather{to = {"a", "b", "c"}, intent = "vote", payload = {on = "it"}}
            local by = {}
            for i, reply in ipairs(replies) do by[i] = reply.from end
            return {by = by, missing = missing}
        ]]))
        local agents, carol = meeting(server)

        carol:send_envelope({})
        local asked = {}
        for id, agent in pairs(agents) do
            asked[id] = agent:receive_envelope()
            assert.same({"vote", {on = "it"}, id}, {asked[id].intent, asked[id].payload, asked[id].to})
        end
        assert.is_true(asked.a.id ~= asked.b.id)
        for _, id in ipairs({"c", "a", "b"}) do
            reply_to(agents[id], asked[id])
            agents[id]:send_envelope({to = id, id = "behind it"})
            assert.equal("behind it", agents[id]:receive_envelope().id)
        end

        assert.same({by = {"c", "a", "b"}, missing = {}}, carol:receive_envelope().payload)
    end)

    it("gives the first n, and says which are missing and why", function()
        local server = start(asking([[
            local replies, missing = bridge.gather{count = 1, requests = {
                {to = "a", payload = 1}, {to = "nobody", payload = 2}, {to = "c", payload = 3}}}
            return {count = #replies, from = replies[1].from, missing = missing}
        ]]))
        local agents, carol = meeting(server)

        carol:send_envelope({})
        agents.a:receive_envelope()
        reply_to(agents.c, (agents.c:receive_envelope()))

        assert.same({count = 1, from = "c", missing = {
            {to = "a", index = 1},
            {to = "nobody", index = 2, code = "no_recipient", text = "the agent is not connected"},
        }}, carol:receive_envelope().payload)
    end)

    it("gives those that are there when the time is over", function()
        local server = start(asking([[
            local replies, missing
            repeat -- until b, too, is as quick as that
                replies, missing = bridge.gather{to = {"a", "b", "c"}, timeoutMs = 300}
            until #replies > 0
            return {count = #replies, from = replies[1].from, missing = missing}
        ]]))
        local agents, carol = meeting(server)

        carol:send_envelope({})
        local answer
        wait.eventually(function()
            reply_to(agents.b, (agents.b:receive_envelope()))
            answer = carol:receive(1)
            return answer
        end)

        local late = "it has not replied in time"
        assert.same({count = 1, from = "b", missing = {
            {to = "a", index = 1, code = "task_timeout", text = late},
            {to = "c", index = 3, code = "task_timeout", text = late},
        }}, json.decode(answer.payload).envelope.payload)
    end)

    it("tries each request again by its own rule", function()
        local server = start(asking([[
            local replies = bridge.gather{requests = {
                {to = {"nobody", "a"}, retries = 1, backoffMs = 0},
                {to = "b", retries = 100, backoffMs = 1, timeoutMs = 30}}}
            return {count = #replies}
        ]]))
        local agents, carol = meeting(server)

        carol:send_envelope({})
        reply_to(agents.a, (agents.a:receive_envelope()))
        agents.b:receive_envelope()
        reply_to(agents.b, (agents.b:receive_envelope()))

        assert.same({count = 2}, carol:receive_envelope().payload)
    end)

    it("ends well when replies come just as nobody waits for them any more", function()
        local server = start([[return {route = function(envelope, bridge)
            if envelope.to == "bridge" then return bridge.drop("late") end
            local count = 0
            for i = 1, 150 do
                local replies, missing = bridge.gather{to = {"a", "b", "c", "d"}, payload = {round = i},
                    count = 1 + i % 4, timeoutMs = i % 2 == 0 and 20000 or 1 + i % 3}
                assert(#replies + #missing == 4)
                for _, reply in ipairs(replies) do assert(reply.payload.asked.round == i) end
                count = count + #replies
            end
            return bridge.reply{count = count}
        end}]], {performance = {worker_threads = 2}})
        local agents = {}
        for i, id in ipairs({"a", "b", "c", "d"}) do
            agents[i] = websocket.agent(server, id)
        end
        local carol = websocket.agent(server, "carol")

        carol:send_envelope({})
        for _ = 1, 150 do
            for _, agent in ipairs(agents) do
                reply_to(agent, (agent:receive_envelope()))
            end
        end

        local count = carol:receive_envelope().payload.count
        assert.is_true(count >= 75 * 1 and count <= 600) -- half of the rounds had time
    end)

    it("may be going on in many hooks, up to 1024 questions in a state", function()
        local server = start([[
            local refused, done = nil, 0
            return {route = function(envelope, bridge)
                if envelope.intent == "how" then return bridge.reply{refused = refused} end
                if envelope.from == "a" then return end
                local list = {}
                for i = 1, 200 do list[i] = "a" end
                local ok, text = pcall(bridge.gather, {to = list, timeoutMs = 20000, count = 1})
                if not ok then refused = text end
                return bridge.reply{ok = ok}
            end}
        ]])
        local asked = websocket.agent(server, "a")
        local askers = {}
        for i = 1, 6 do
            askers[i] = websocket.agent(server, "asker " .. i)
            askers[i]:send_envelope({})
            if i < 6 then
                askers[i]:expect_nothing() -- it waits now
            end
        end
        assert.same({ok = false}, askers[6]:receive_envelope().payload)
        asked:send_envelope({intent = "how"})
        local ids = {}
        for _ = 1, 1000 do
            local envelope = asked:receive_envelope()
            ids[#ids + 1] = envelope
        end
        assert.truthy(asked:receive_envelope().payload.refused:find("hooks wait for 1000 replies already", 1, true))
        for _, envelope in ipairs(ids) do
            reply_to(asked, envelope)
        end
        for i = 1, 5 do
            assert.same({ok = true}, askers[i]:receive_envelope().payload)
        end
    end)
end)
