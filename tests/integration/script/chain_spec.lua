-- script.path as a list: scripts that each look at an envelope, change it, decide, or pass it on.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local websocket = require "tests.support.websocket"

-- A bridge whose scripts are these, in their order.
local function start(...)
    local files, paths = {}, {}
    for i, source in ipairs({...}) do
        paths[i] = "script" .. i .. ".lua"
        files[paths[i]] = source
    end
    return bridge.start({files = files, config = {script = {path = paths}, performance = {worker_threads = 1}}})
end

-- A script that notes its name in the context of what comes by, then does what the body says.
local function station(name, body)
    return ([[return {route = function(envelope, bridge)
        local context = envelope.context
        context.way = (context.way or "") .. %q
        envelope.context = context
        %s
    end}]]):format(name, body or "")
end

describe("a chain of scripts", function()
    after_each(bridge.clean)

    it("passes an envelope on from one to the next, with what each has changed", function()
        local server = start(station("a", [[envelope.priority = "high"]]),
            station("b", [[envelope.payload = {text = envelope.payload.text:upper(), priority = envelope.priority}]]),
            station("c", [[if envelope.payload.text == "HELLO" then envelope.channel = "greetings" end]]))
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")

        alice:send_envelope({to = "bob", payload = {text = "hello"}})

        local got = bob:receive_envelope()
        assert.equal("abc", got.context.way)
        assert.same({text = "HELLO", priority = "high"}, got.payload)
        assert.same({"high", "greetings"}, {got.priority, got.channel})
    end)

    it("ends with the first that decides", function()
        local server = start(station("a"), station("b", [[
            if envelope.intent == "stop" then return bridge.to("carol") end
            if envelope.intent == "none" then return bridge.drop("no", {tell = true}) end
        ]]), station("c"))
        local alice, bob, carol =
            websocket.agent(server, "alice"), websocket.agent(server, "bob"), websocket.agent(server, "carol")

        alice:send_envelope({to = "bob", intent = "stop"})
        alice:send_envelope({to = "bob", intent = "go on"})
        alice:send_envelope({to = "bob", intent = "none", id = "x"})

        assert.equal("ab", carol:receive_envelope().context.way)
        assert.equal("abc", bob:receive_envelope().context.way)
        assert.equal("x", alice:expect_error("script_dropped").id)
    end)

    it("decides by the recipient that an earlier one has changed", function()
        local server = start([[return {route = function(envelope)
            if envelope.to == "old name" then envelope.to = "bob" end
        end}]], station("b"))
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")

        alice:send_envelope({to = "old name", id = "x"})

        local got = bob:receive_envelope()
        assert.same({"x", "bob"}, {got.id, got.to})
    end)

    it("keeps the changes while one of them waits", function()
        local server = start(station("a", [[luaduct.sleep(1)]]), station("b", [[
            local hash = assert(luaduct.workers.execute{operation = "hash", data = {text = envelope.context.way}})
            envelope.trace = {to = hash and "bob"}
            luaduct.sleep(1)
        ]]), station("c", [[luaduct.sleep(1) return bridge.to(envelope.trace.to)]]))
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")

        alice:send_envelope({to = "nobody"})

        assert.equal("abc", bob:receive_envelope().context.way)
    end)

    it("goes by script.onError with what was sent, when one of them fails", function()
        local server = start(station("a"), station("b", [[error("broken")]]), station("c"))
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")

        alice:send_envelope({to = "bob", context = {sent = true}})

        assert.same({sent = true}, bob:receive_envelope().context)
        server:wait_log("script2.lua:5: broken")
    end)

    it("gives each script its own globals, and its own timers their own bridge", function()
        local function script(name)
            return ([[
                shared_name = %q
                local first = true
                luaduct.every(1, function(bridge)
                    bridge.mine = (bridge.mine or "") .. shared_name
                    if #bridge.mine == 3 then bridge.send{to = "alice", payload = {mine = bridge.mine}} end
                end)
                return {}
            ]]):format(name)
        end
        local server = start(script("x"), script("y"))
        local alice = websocket.agent(server, "alice")

        local seen = {[alice:receive_envelope().payload.mine] = true}
        seen[alice:receive_envelope().payload.mine] = true
        assert.same({xxx = true, yyy = true}, seen)
    end)

    it("asks every on_register, the later ones about what the earlier ones changed", function()
        local server = start([[return {on_register = function(agent)
            agent.labels = {"seen"}
            return agent
        end}]], [[return {on_register = function(agent)
            if agent.labels[1] ~= "seen" then return false, "out of order" end
            agent.role = agent.role .. "+"
            return agent
        end}]], [[return {on_register = function(agent) return agent.id ~= "mallory", "not you" end}]])
        local _, registered = websocket.agent(server, "alice", {role = "worker"})
        assert.same({"worker+", {"seen"}}, {registered.client.role, registered.client.labels})
        local mallory = websocket.connect(server)

        mallory:send_register("mallory")

        assert.truthy(mallory:expect_error("forbidden").error:find("not you", 1, true))
        assert.equal(1, #http.get(server, "/agents").agents)
    end)

    it("lets the first on_undeliverable decide that does not pass on, and tells every on_disconnect", function()
        local function told(name)
            return ([[return {
                on_undeliverable = function(envelope, reason, _, bridge)
                    if envelope.intent == %q then return bridge.reply{by = %q, reason = reason} end
                end,
                on_disconnect = function(agent, _, bridge) bridge.send{to = "alice", payload = {%q, agent.id}} end,
                route = function(envelope, bridge) return bridge.role("none") end,
            }]]):format(name, name, name)
        end
        local server = start(told("first"), told("second"))
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")

        alice:send_envelope({intent = "second"})
        assert.same({by = "second", reason = "no_recipient"}, alice:receive_envelope().payload)
        alice:send_envelope({intent = "first"})
        assert.same({by = "first", reason = "no_recipient"}, alice:receive_envelope().payload)
        bob:close()
        assert.same({"first", "bob"}, alice:receive_envelope().payload)
        assert.same({"second", "bob"}, alice:receive_envelope().payload)
    end)
end)
