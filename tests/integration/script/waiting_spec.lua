-- Hooks that wait. The scripts here wait for a gate that another envelope opens, so that no test depends on a time; for
-- that both run in the state of one reactor.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local GATE = [[
    local open = false
    local function pass_gate()
        while not open do luaduct.sleep(2) end
    end
]]

local function start(script, config)
    config = config or {}
    config.performance = {worker_threads = 1}
    return bridge.start({script = script, config = config})
end

-- A route in which envelopes with the intent `wait` wait, `open` opens the gate, and the rest passes.
local function gated(body)
    return GATE .. [[
    return {route = function(envelope, bridge)
        if envelope.intent == "open" then open = true return bridge.drop("opened") end
        if envelope.intent == "wait" then
    ]] .. (body or "pass_gate()") .. [[
        end
    end}]]
end

local function intents(client, count)
    local seen = {}
    for i = 1, count do
        seen[i] = client:receive_envelope().id
    end
    return table.concat(seen, " ")
end

describe("a route that waits", function()
    after_each(bridge.clean)

    it("lets the envelopes of others pass, and keeps its sender's in order behind it", function()
        local server = start(gated())
        local alice, bob, carol =
            websocket.agent(server, "alice"), websocket.agent(server, "bob"), websocket.agent(server, "carol")

        alice:send_envelope({id = "a1", to = "bob", intent = "wait"})
        alice:send_envelope({id = "a2", to = "bob"})
        alice:send_envelope({id = "a3", to = "bob"})
        carol:send_envelope({id = "c1", to = "bob"})
        assert.equal("c1", bob:receive_envelope().id)
        carol:send_envelope({intent = "open"})

        assert.equal("a1 a2 a3", intents(bob, 3))
    end)

    it("keeps more than its backlog in order too, and answers pings meanwhile", function()
        local server = start(gated())
        local alice, bob, carol =
            websocket.agent(server, "alice"), websocket.agent(server, "bob"), websocket.agent(server, "carol")

        alice:send_envelope({id = "0", to = "bob", intent = "wait"})
        alice:send_frame({opcode = 9, payload = "there?"})
        assert.equal("there?", alice:receive_frame(wait.deadline(5)).payload)
        local expected = {"0"}
        for i = 1, 300 do
            alice:send_envelope({id = tostring(i), to = "bob"})
            expected[#expected + 1] = tostring(i)
        end
        carol:send_envelope({intent = "open"})

        assert.equal(table.concat(expected, " "), intents(bob, 301))
    end)

    it("goes on with the envelope as it was, what it has assigned and decided included", function()
        local server = start(gated([[
            local text, sender = envelope.payload.text, envelope.sender.id
            envelope.priority = "high"
            envelope.payload = {text = text, sender = sender}
            local decision = bridge.to{"bob", "carol"}
            pass_gate()
            assert(envelope.payload.text == text and envelope.sender.id == sender and envelope.priority == "high")
            envelope.channel = "ch\"annel"
            return {decision, bridge.reply{done = envelope.id}}
        ]]))
        local alice, bob, carol =
            websocket.agent(server, "alice"), websocket.agent(server, "bob"), websocket.agent(server, "carol")

        local payload = {text = ("long "):rep(100)}
        alice:send_envelope({id = "esc\\\"aped", to = "nobody", intent = "wait", payload = payload})
        for i = 1, 20 do -- others use the same state meanwhile
            bob:send_envelope({id = "b" .. i, to = "carol", payload = {text = ("other "):rep(50)}})
        end
        for i = 1, 20 do
            assert.equal("b" .. i, carol:receive_envelope().id)
        end
        carol:send_envelope({intent = "open"})

        local at_bob, at_carol = bob:receive_envelope(), carol:receive_envelope()
        assert.equal("esc\\\"aped", at_bob.id)
        assert.equal("high", at_bob.priority)
        assert.equal("ch\"annel", at_bob.channel)
        assert.same({text = ("long "):rep(100), sender = "alice"}, at_bob.payload)
        assert.same(at_bob, at_carol)
        assert.same({done = "esc\\\"aped"}, alice:receive_envelope().payload)
    end)

    it("may wait again and again, and in a pcall", function()
        local server = start([[return {route = function(envelope)
            local sum = 0
            for i = 1, 50 do
                local ok, value = pcall(function() luaduct.sleep(0) return i end)
                assert(ok)
                sum = sum + value
            end
            envelope.payload = {sum = sum}
        end}]])
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")

        alice:send_envelope({to = "bob"})

        assert.same({sum = 1275}, bob:receive_envelope().payload)
    end)

    it("tells its sender what came of it", function()
        local server = start(gated([[pass_gate() return bridge.role("none")]]))
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")

        alice:send_envelope({id = "x", intent = "wait"})
        bob:send_envelope({intent = "open"})

        assert.equal("x", alice:expect_error("no_recipient").id)
    end)

    it("still sends what it was about when its sender leaves, and what came before the leaving", function()
        local server = start(gated())
        local alice, bob, carol =
            websocket.agent(server, "alice"), websocket.agent(server, "bob"), websocket.agent(server, "carol")

        alice:send_envelope({id = "1", to = "bob", intent = "wait"})
        alice:send_envelope({id = "2", to = "bob"})
        alice:send_frame({opcode = 8, payload = "\3\232"})
        carol:send_envelope({id = "c", to = "bob"})
        assert.equal("c", bob:receive_envelope().id)
        carol:send_envelope({intent = "open"})

        assert.equal("1 2", intents(bob, 2))
        alice:finish(1000)
    end)

    it("still sends it when the connection breaks", function()
        local server = start(gated())
        local alice, bob, carol =
            websocket.agent(server, "alice"), websocket.agent(server, "bob"), websocket.agent(server, "carol")

        alice:send_envelope({id = "1", to = "bob", intent = "wait"})
        carol:send_envelope({id = "c", to = "bob"})
        assert.equal("c", bob:receive_envelope().id)
        alice:close()
        wait.eventually(function() return #http.get(server, "/agents").agents == 2 end)
        carol:send_envelope({intent = "open"})

        assert.equal("1", bob:receive_envelope().id)
    end)

    it("is ended after script.suspendMs, and its envelope goes the way of onError", function()
        local script = {suspendMs = 50}
        local server = start(gated("luaduct.sleep(1e9)"), {script = script})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        alice:send_envelope({id = "default", to = "bob", intent = "wait"})
        assert.equal("default", bob:receive_envelope().id)
        server:wait_log("waited longer than 50 ms")

        script.onError = "drop"
        server = start(gated("while true do luaduct.sleep(1) end"), {script = script})
        alice = websocket.agent(server, "alice")
        alice:send_envelope({id = "dropped", to = "bob", intent = "wait"})
        assert.equal("dropped", alice:expect_error("script_failed").id)
        server:wait_log("waited longer than 50 ms")
    end)

    it("that fails after it has waited says where", function()
        local server = start(gated("luaduct.sleep(1)\nerror('late')"))
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")

        alice:send_envelope({id = "x", to = "bob", intent = "wait"})

        assert.equal("x", bob:receive_envelope().id)
        server:wait_log("late")
        server:wait_log("script.lua:")
    end)

    for name, case in pairs({
        ["in a callback"] = {"table.sort({3, 2, 1}, function(a, b) luaduct.sleep(1) return a < b end)",
            "a hook cannot wait inside a callback"},
        ["in a coroutine of the script"] = {"coroutine.wrap(function() luaduct.sleep(1) end)()",
            "a coroutine of the script's own cannot wait"},
        ["for no number"] = {"luaduct.sleep('x')", "expected milliseconds, 0 or more, got a string"},
        ["for less than nothing"] = {"luaduct.sleep(-1)", "expected milliseconds, 0 or more, got -1"},
        ["without an operation"] = {"luaduct.workers.execute{}",
            "operation: expected a name of 1 to 63 bytes, got nil"},
        ["with a wrong key"] = {"luaduct.workers.execute{operation = 'x', date = 1}",
            "expected operation, data, priority or timeoutMs as a key, got date"},
        ["with a wrong priority"] = {"luaduct.workers.execute{operation = 'x', priority = 'urgent'}",
            'priority: expected "high", "normal" or "low", got another string'},
        ["with what no worker can take"] = {"luaduct.workers.execute{operation = 'x', data = print}",
            "cannot pass a function"},
    }) do
        it("cannot wait " .. name, function()
            local server = start("return {route = function()\n" .. case[1] .. "\nend}")
            local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")

            alice:send_envelope({id = "x", to = "bob"})

            assert.equal("x", bob:receive_envelope().id)
            server:wait_log(case[2])
        end)
    end

    it("cannot wait while it is loaded", function()
        local status, errors = bridge.start_failing({script = "luaduct.sleep(1) return {}"})
        assert.equal(1, status)
        assert.truthy(errors:find("only a hook can wait", 1, true), errors)
    end)

    it("does not keep the bridge from stopping", function()
        local server = start(gated("luaduct.sleep(1e9)"), {script = {suspendMs = 200}})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        alice:send_envelope({to = "alice", intent = "wait"})
        bob:send_envelope({id = "after", to = "bob"})
        assert.equal("after", bob:receive_envelope().id)
        server:stop() -- holds it to exit status 0
    end)
end)

describe("the other hooks", function()
    after_each(bridge.clean)

    it("on_register lets in after it has waited", function()
        local server = start(GATE .. [[return {
            on_register = function(agent)
                if agent.role == "slow" then pass_gate() agent.labels = {"late"} return agent end
            end,
            route = function() open = true end,
        }]])
        local alice, bob = websocket.connect(server), websocket.agent(server, "bob")

        alice:send_register("alice", {role = "slow"})
        alice:send_envelope({id = "behind", to = "bob"})
        alice:expect_nothing()
        bob:send_envelope({to = "bob", id = "own"})

        assert.same({"late"}, alice:receive_json().client.labels)
        assert.equal("own behind", intents(bob, 2))
    end)

    it("on_register refuses after it has waited", function()
        local server = start([[return {on_register = function()
            luaduct.sleep(5)
            return false, "thought about it"
        end}]])
        local client = websocket.connect(server)

        client:send_register("alice")

        assert.equal("thought about it", client:expect_error("forbidden").error)
        client:expect_close(1008)
    end)

    it("on_undeliverable finds a taker after it has waited, and the sender is told nothing", function()
        local server = start([[return {
            route = function(envelope, bridge) if envelope.intent == "try" then return bridge.role("none") end end,
            on_undeliverable = function(envelope, reason, _, bridge)
                luaduct.sleep(5)
                if envelope.id == "rescued" then return bridge.to("bob") end
            end,
        }]])
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")

        alice:send_envelope({id = "rescued", intent = "try"})
        alice:send_envelope({id = "lost", intent = "try"})

        assert.equal("rescued", bob:receive_envelope().id)
        assert.equal("lost", alice:expect_error("no_recipient").id)
    end)

    it("on_disconnect may wait", function()
        local server = start([[return {on_disconnect = function(agent, reason)
            luaduct.sleep(5)
            luaduct.log.info("gone", agent.id, reason)
        end}]])
        websocket.agent(server, "alice"):finish(1000)

        server:wait_log("gone alice closed by the agent")
    end)

    it("every script of the chain is asked after one has waited", function()
        local server = bridge.start({
            config = {script = {path = {"one.lua", "two.lua"}}},
            files = {
                ["one.lua"] = "return {route = function(envelope) luaduct.sleep(2) envelope.channel = 'one' end}",
                ["two.lua"] = "return {route = function(envelope, bridge) luaduct.sleep(2)\n"
                    .. "envelope.channel = envelope.channel .. 'two' return bridge.to('bob') end}",
            },
        })
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")

        alice:send_envelope({to = "nobody"})

        assert.equal("onetwo", bob:receive_envelope().channel)
    end)
end)

describe("POST /send", function()
    after_each(bridge.clean)

    it("is answered when its route has waited", function()
        local server = start([[return {route = function(envelope, bridge)
            luaduct.sleep(5)
            if envelope.intent == "drop" then return bridge.drop("no") end
            if envelope.intent == "none" then return bridge.role("none") end
            envelope.channel = "waited"
        end}]])
        local bob = websocket.agent(server, "bob")

        local sent = http.post(server, "/send", {to = "bob", payload = {n = 1}})
        assert.equal("queued", sent.status)
        assert.equal("waited", sent.envelope.channel)
        assert.equal(sent.envelope.id, bob:receive_envelope().id)
        assert.equal("dropped", http.post(server, "/send", {to = "bob", intent = "drop"}).status)
        assert.equal("no_recipient", http.post(server, "/send", {to = "bob", intent = "none"}).code)
    end)

    it("goes its way when the caller does not wait for it", function()
        local server = start(gated())
        local bob = websocket.agent(server, "bob")
        local caller = http.connect(server)
        caller:send_request({method = "POST", path = "/send", body = '{"id":"x","to":"bob","intent":"wait"}'})
        wait.eventually(function() return http.get(server, "/health").status == "ok" end)
        caller:close()
        bob:send_envelope({intent = "open"})

        assert.equal("x", bob:receive_envelope().id)
    end)
end)
