-- luaduct.after, luaduct.every and bridge.send. No test depends on how long something takes: scripts count their runs,
-- and agents are told by bridge.send.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local websocket = require "tests.support.websocket"

local function start(script, config)
    config = config or {}
    config.performance = {worker_threads = 1}
    return bridge.start({script = script, config = config})
end

local function figure(server, name)
    return tonumber(http.request(server, {path = "/metrics", headers = {Accept = "text/plain"}}).body:match(
        "\n" .. name:gsub("%p", "%%%0") .. " (%d+)"))
end

describe("a timer of a script", function()
    after_each(bridge.clean)

    it("runs once after its time, and is given the bridge", function()
        local server = start([[
            local runs = 0
            return {route = function(envelope, bridge)
                if envelope.intent == "ask" then return bridge.reply{runs = runs} end
                luaduct.after(1, function(bridge)
                    runs = runs + 1
                    bridge.send{to = "alice", payload = {role = bridge.agent("alice").role}}
                end)
            end}
        ]])
        local alice = websocket.agent(server, "alice")

        alice:send_envelope({to = "alice", id = "1"})
        assert.equal("1", alice:receive_envelope().id)
        local told = alice:receive_envelope()
        assert.same({"bridge", "bridge", "alice"}, {told.from, told.role, told.to})
        assert.same({role = "agent"}, told.payload)
        alice:send_envelope({intent = "ask"})
        assert.same({runs = 1}, alice:receive_envelope().payload)
        assert.equal(1, figure(server, 'luaduct_script_calls_total{hook="timer"}'))
    end)

    it("runs again and again until it is cancelled, in its own function too", function()
        local server = start([[
            local runs, handle = 0
            handle = luaduct.every(1, function(bridge)
                runs = runs + 1
                if runs == 5 then
                    assert(handle:cancel() == true and handle:cancel() == false)
                    bridge.send{to = "alice", payload = {runs = runs}}
                end
            end)
            local never = luaduct.after(3600000, function() error("never") end)
            local gone = luaduct.every(1, function() error("never") end)
            assert(never:cancel() and gone:cancel() and not gone:cancel())
            return {route = function(_, bridge) return bridge.reply{runs = runs} end}
        ]])
        local alice = websocket.agent(server, "alice")

        assert.same({runs = 5}, alice:receive_envelope().payload)
        alice:send_envelope({})
        assert.same({runs = 5}, alice:receive_envelope().payload)
        assert.equal(5, figure(server, 'luaduct_script_calls_total{hook="timer"}'))
    end)

    it("goes on after an error, which is logged and counted as the timer's", function()
        local server = start([[
            local runs = 0
            luaduct.every(1, function(bridge)
                runs = runs + 1
                if runs == 1 then error("first") end
                if runs == 2 then while true do end end
                if runs == 3 then bridge.send{to = "alice"} end
            end)
            return {}
        ]])
        local alice = websocket.agent(server, "alice")

        alice:receive_envelope()
        server:wait_log("script.lua:5: stopped: it ran longer than 50 ms")
        assert.truthy(server:log():find("timer failed: [^\n]*script.lua:4: first"))
        assert.truthy(server:log():find("timer failed: [^\n]*script.lua:5: stopped: it ran longer than 50 ms"))
        assert.equal(2, figure(server, 'luaduct_script_errors_total{hook="timer"}'))
        assert.equal(1, figure(server, 'luaduct_script_overruns_total{hook="timer"}'))
    end)

    it("may wait, and does not overtake itself", function()
        local server = start([[
            local inside, runs = false, 0
            luaduct.every(1, function(bridge)
                assert(not inside)
                inside = true
                luaduct.sleep(20)
                local hash = assert(luaduct.workers.execute{operation = "hash", data = {text = "x"}})
                inside = false
                runs = runs + 1
                if runs == 3 then bridge.send{to = "alice", payload = {type = type(hash)}} end
            end)
            return {}
        ]])
        local alice = websocket.agent(server, "alice")

        assert.truthy(alice:receive_envelope().payload.type)
        assert.is_nil(server:log():find("timer failed", 1, true))
    end)

    it("may be cancelled while it waits, and ends what it is about", function()
        local server = start([[
            local handle
            handle = luaduct.every(1, function(bridge)
                bridge.send{to = "alice", payload = {at = "start"}}
                while handle do luaduct.sleep(1) end
                bridge.send{to = "alice", payload = {at = "end"}}
            end)
            return {route = function(envelope, bridge)
                local cancelled = handle:cancel()
                handle = nil
                return bridge.reply{cancelled = cancelled}
            end}
        ]])
        local alice = websocket.agent(server, "alice")

        assert.same({at = "start"}, alice:receive_envelope().payload)
        alice:send_envelope({})
        assert.same({cancelled = true}, alice:receive_envelope().payload)
        assert.same({at = "end"}, alice:receive_envelope().payload)
        assert.equal(1, figure(server, 'luaduct_script_calls_total{hook="timer"}'))
    end)

    it("does not hold the bridge up when it stops, waiting or not", function()
        local server = start([[
            luaduct.every(3600000, function() end)
            luaduct.after(1, function(bridge)
                bridge.send{to = "alice"}
                luaduct.sleep(25000)
            end)
            return {}
        ]])
        local alice = websocket.agent(server, "alice")

        alice:receive_envelope()
        server:signal("TERM")
        assert.equal(0, server:wait_exit(4)) -- hooks of envelopes would have 5 seconds
    end)

    it("is one of at most 1000, whose places are used again", function()
        local server = start([[
            return {route = function(envelope, bridge)
                local handles = {}
                for round = 1, 3 do
                    for i = 1, 1000 do handles[i] = luaduct.after(3600000 - i * round % 7, print) end
                    for i = 1, 1000 do assert(handles[(i * 7) % 1000 + 1]:cancel()) end
                end
                for i = 1, 1000 do luaduct.every(3600000, print) end
                local ok, text = pcall(luaduct.after, 1, print)
                return bridge.reply{ok = ok, text = text}
            end}
        ]])
        local alice = websocket.agent(server, "alice")

        alice:send_envelope({})
        local answer = alice:receive_envelope().payload
        assert.is_false(answer.ok)
        assert.truthy(answer.text:find("luaduct.after: there are 1000 timers already, the most at a time", 1, true))
    end)

    it("runs in the order of time", function()
        local server = start([[
            local order = {}
            for _, ms in ipairs{50, 10, 40, 20, 30} do
                luaduct.after(ms, function(bridge)
                    order[#order + 1] = ms
                    if #order == 5 then bridge.send{to = "alice", payload = order} end
                end)
            end
            return {}
        ]])
        local alice = websocket.agent(server, "alice")

        assert.same({10, 20, 30, 40, 50}, alice:receive_envelope().payload)
    end)

    it("says what is wrong with a call", function()
        local server = start([[
            local calls = {
                function() luaduct.after("soon", print) end, function() luaduct.every(0, print) end,
                function() luaduct.after(1) end, function() luaduct.after(1, "print") end,
                function() luaduct.after(3600000, print):stop() end,
                function() luaduct.after(3600000, print).cancel({}) end,
            }
            return {route = function(_, bridge)
                local texts = {}
                for i, call in ipairs(calls) do texts[i] = select(2, pcall(call)) end
                return bridge.reply(texts)
            end}
        ]])
        local alice = websocket.agent(server, "alice")

        alice:send_envelope({})
        local texts = alice:receive_envelope().payload
        for i, expected in ipairs({
            "luaduct.after: expected milliseconds, 0 or more, got a string",
            "luaduct.every: expected milliseconds, 1 or more, got 0",
            "luaduct.after: expected a function as second argument, got nil",
            "luaduct.after: expected a function as second argument, got a string",
            "attempt to call method 'stop'", "luaduct.timer expected",
        }) do
            assert.truthy(texts[i]:find(expected, 1, true), texts[i])
        end
    end)
end)

describe("bridge.send", function()
    after_each(bridge.clean)

    it("sends a new envelope with the given fields, past the route, and into the history", function()
        local server = start([[
            return {
                route = function(envelope, bridge) error("not for what the bridge sends") end,
                on_register = function(agent, bridge)
                    assert(bridge.send{to = "bob", id = "x", intent = "news", payload = {joined = agent.id},
                        taskId = "t", priority = "high", from = "registry"} == "x")
                end,
            }
        ]])
        local bob = websocket.agent(server, "bob")
        assert.same({joined = "bob"}, bob:receive_envelope().payload)
        websocket.agent(server, "alice")

        local got = bob:receive_envelope()
        assert.same({"x", "news", "t", "high", "registry", "bridge", "bob"},
            {got.id, got.intent, got.taskId, got.priority, got.from, got.role, got.to})
        assert.same({joined = "alice"}, got.payload)
        local history = http.get(server, "/history").history
        assert.equal("registry", history[#history].from)
    end)

    it("keeps it for an absent agent, and sends one to several, from on_disconnect too", function()
        local server = start([[
            return {on_disconnect = function(agent, reason, bridge)
                bridge.send{to = {"bob", "carol", "dave"}, payload = {left = agent.id}}
            end}
        ]])
        local alice, bob, carol =
            websocket.agent(server, "alice"), websocket.agent(server, "bob"), websocket.agent(server, "carol")

        alice:close()
        local at_bob = bob:receive_envelope()
        assert.same(at_bob, carol:receive_envelope())
        assert.same({left = "alice"}, at_bob.payload)
        local dave = websocket.agent(server, "dave")
        assert.equal(at_bob.id, dave:receive_envelope().id)
    end)

    it("tells on_undeliverable what it pushed out of a mailbox, and not that nobody took it", function()
        local server = start([[
            return {
                route = function(envelope, bridge)
                    if envelope.intent ~= "push" then return end
                    luaduct.after(0, function(bridge)
                        bridge.send{to = "dave", id = "refused"} -- one mailbox more than there may be
                        bridge.send{to = "bob", id = "pushes"}
                    end)
                    return bridge.drop("pushed")
                end,
                on_undeliverable = function(envelope, reason, recipient)
                    print("lost " .. envelope.id .. " " .. reason .. " " .. recipient)
                end,
            }
        ]], {agents = {maxQueue = 1, maxMailboxes = 1}})
        local alice = websocket.agent(server, "alice")
        alice:send_envelope({to = "bob", id = "pushed"})
        alice:send_envelope({intent = "push"})

        local log = server:wait_log("lost pushed evicted bob")
        assert.is_nil(log:find("lost refused", 1, true))
        local undeliverable = http.get(server, "/metrics").messages.undeliverable
        assert.same({1, 1}, {undeliverable.evicted, undeliverable.mailbox_full})
    end)

    it("says what is wrong with a call, and sends at most 64 in one go", function()
        local server = start([[
            return {
                route = function(_, bridge) return bridge.reply{text = select(2, pcall(bridge.send, {to = "bob"}))} end,
                on_register = function(agent, bridge)
                    local texts = {}
                    for i, wrong in ipairs{
                        "text", {}, {to = 1}, {to = {}}, {to = {"a", 2}}, {to = "a", nonsense = 1},
                        {to = "a", payload = print},
                        {to = "a", from = "", 1}, {to = "a", intent = 7}, {to = "a", tools = "x"},
                    } do
                        texts[i] = select(2, pcall(bridge.send, wrong))
                    end
                    for _ = 1, 64 do bridge.send{to = "void"} end
                    texts[#texts + 1] = select(2, pcall(bridge.send, {to = "void"}))
                    luaduct.after(0, function(bridge) bridge.send{to = agent.id, payload = texts} end)
                end,
            }
        ]])
        local alice = websocket.agent(server, "alice")

        local texts = alice:receive_envelope().payload
        for i, expected in ipairs({
            "bridge.send: expected a table with the fields of an envelope, got a string",
            "bridge.send: to: expected an agent id (string) or a list of them, got nil",
            "bridge.send: to: expected an agent id (string) or a list of them, got a number",
            "bridge.send: to: expected 1 to 1024 agent ids in the list, got 0",
            "bridge.send: to: expected a list of agent ids, got a number",
            "bridge.send: expected fields of an envelope as keys, got nonsense",
            "bridge.send: payload", "bridge.send: ", "bridge.send: intent: expected a string, got a number",
            "bridge.send: tools", "bridge.send: more than 64 envelopes in one call",
        }) do
            assert.truthy(texts[i]:find(expected, 1, true), texts[i])
        end
        alice:send_envelope({})
        assert.truthy(alice:receive_envelope().payload.text:find(
            "bridge.send: a hook that decides about an envelope returns its decision", 1, true))
    end)
end)
