-- The hooks beside route, and what a script can read and change.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local variants = require "tests.support.variants"
local websocket = require "tests.support.websocket"

local function route(body)
    return "return {\n    route = function(envelope, bridge)\n" .. body .. "\n    end,\n}\n"
end

describe("on_register", function()
    after_each(bridge.clean)

    local SCRIPT = [[
    return {
        on_register = function(agent)
            if agent.role == "intruder" then
                return false, "we know you"
            elseif agent.role == "promote" then
                agent.role = "boss"
                agent.labels = {"promoted"}
                return agent
            elseif agent.role == "yes" then
                return true
            elseif agent.role == "break" then
                error("broken hook")
            elseif agent.role == "nonsense" then
                return 42
            elseif agent.role == "rename" then
                agent.id = "somebody-else"
                return agent
            end
        end,
    }]]

    it("lets in with nothing and with true", function()
        local server = bridge.start({script = SCRIPT})

        websocket.agent(server, "alice")
        websocket.agent(server, "bob", {role = "yes"})

        assert.equal(2, #http.get(server, "/agents").agents)
    end)

    it("refuses with false and a reason; the connection is closed with 1008", function()
        local server = bridge.start({script = SCRIPT})
        local client = websocket.connect(server)

        client:send_register("mallory", {role = "intruder"})

        assert.truthy(client:expect_error("forbidden").error:find("we know you", 1, true))
        client:expect_close(1008)
        assert.equal(0, #http.get(server, "/agents").agents)
    end)

    it("can change the agent", function()
        local server = bridge.start({script = SCRIPT})

        local _, registered = websocket.agent(server, "alice", {role = "promote", labels = {"old"}, tools = {"x"}})

        assert.equal("boss", registered.client.role)
        assert.same({"promoted"}, registered.client.labels)
        assert.same({"x"}, registered.client.tools)
        assert.equal("boss", http.get(server, "/agents").agents[1].role)
    end)

    for _, role in ipairs({"break", "nonsense", "rename"}) do
        it("that goes wrong fails closed: " .. role, function()
            local server = bridge.start({script = SCRIPT})
            local client = websocket.connect(server)

            client:send_register("alice", {role = role})

            assert.equal("error", client:receive_json().type)
            client:expect_close(1008)
            assert.equal(0, #http.get(server, "/agents").agents)
            websocket.agent(server, "bob")
        end)
    end

    it("is asked again by a second register; refused, all stays as it was", function()
        local server = bridge.start({script = SCRIPT})
        local client = websocket.agent(server, "alice", {role = "worker"})

        client:send_register("alice", {role = "intruder"})
        client:expect_error("forbidden")

        client:send_envelope({to = "alice"})
        assert.equal("worker", client:receive_envelope().role)
    end)

    it("sees who the agent says it is", function()
        local server = bridge.start({script = [[
            return {on_register = function(agent)
                print(("register %s %s %s %s %s %d"):format(agent.id, agent.role, agent.labels[1], agent.tools[2],
                    agent.intents[1], agent.maxConcurrentTasks))
            end}]]})

        websocket.agent(server, "alice", {
            role = "r", labels = {"l"}, tools = {"t1", "t2"}, intents = {"i"}, maxConcurrentTasks = 7,
        })

        server:wait_log("register alice r l t2 i 7")
    end)
end)

describe("on_disconnect", function()
    after_each(bridge.clean)

    local SCRIPT = [[
    return {on_disconnect = function(agent, reason)
        print(("gone %s %s %s"):format(agent.id, agent.role, type(reason)))
    end}]]

    it("is told of an agent that closes and of one that is just gone", function()
        local server = bridge.start({script = SCRIPT})
        local alice = websocket.agent(server, "alice", {role = "writer"})
        local bob = websocket.agent(server, "bob")

        alice:finish(1000)
        bob:close()

        server:wait_log("gone alice writer string")
        server:wait_log("gone bob agent string")
    end)

    it("may break without harm", function()
        local server = bridge.start({script = 'return {on_disconnect = function() error("broken hook") end}'})
        websocket.agent(server, "alice"):finish(1000)

        server:wait_log("broken hook")
        websocket.agent(server, "alice")
    end)
end)

describe("on_undeliverable", function()
    after_each(bridge.clean)

    it("can take the envelope elsewhere when nobody was found", function()
        local server = bridge.start({script = [[
            return {
                route = function(_, bridge)
                    return bridge.role("nobody")
                end,
                on_undeliverable = function(envelope, reason, _, bridge)
                    assert(reason == "no_recipient", reason)
                    return bridge.to("fallback")
                end,
            }]]})
        local alice = websocket.agent(server, "alice")
        local fallback = websocket.agent(server, "fallback")

        alice:send_envelope({id = "e1"})

        assert.equal("e1", fallback:receive_envelope().id)
        alice:expect_nothing()
        assert.equal(1, #http.get(server, "/history").history)
    end)

    it("that returns nothing leaves the refusal as it is", function()
        local server = bridge.start({script = [[
            return {
                route = function(envelope, bridge) return bridge.role("nobody") end,
                on_undeliverable = function(envelope, reason) print("asked for " .. envelope.id) end,
            }]]})
        local alice = websocket.agent(server, "alice")

        alice:send_envelope({id = "e1"})

        alice:expect_error("no_recipient")
        server:wait_log("asked for e1")
    end)

    it("is asked once, though its own decision fails", function()
        local server = bridge.start({script = [[
            return {
                route = function(envelope, bridge) return bridge.role("nobody") end,
                on_undeliverable = function(envelope, reason, _, bridge)
                    print("asked for " .. envelope.id)
                    return bridge.role("nobody either")
                end,
            }]]})
        local alice = websocket.agent(server, "alice")

        alice:send_envelope({id = "e1"})

        alice:expect_error("no_recipient")
        local _, times = server:wait_log("asked for e1"):gsub("asked for e1", "")
        assert.equal(1, times)
    end)

    it("can take an envelope elsewhere that no mailbox takes", function()
        local server = bridge.start({config = {agents = {maxMailboxes = 1}}, script = [[
            return {on_undeliverable = function(envelope, reason, _, bridge)
                if reason == "mailbox_full" then
                    return bridge.to("fallback")
                end
            end}]]})
        local alice = websocket.agent(server, "alice")
        local fallback = websocket.agent(server, "fallback")
        alice:send_envelope({to = "absent-1"})

        alice:send_envelope({to = "absent-2", id = "e2"})

        assert.equal("e2", fallback:receive_envelope().id)
        alice:expect_nothing()
    end)

    it("can save what a full mailbox lets go", function()
        local server = bridge.start({config = {agents = {maxQueue = 1}}, script = [[
            return {on_undeliverable = function(envelope, reason, recipient, bridge)
                assert(reason == "evicted" and recipient == "absent")
                return bridge.to("archive")
            end}]]})
        local alice = websocket.agent(server, "alice")
        local archive = websocket.agent(server, "archive")

        alice:send_envelope({to = "absent", id = "e1"})
        alice:send_envelope({to = "absent", id = "e2"})

        assert.equal("e1", archive:receive_envelope().id)
        assert.equal("e2", websocket.agent(server, "absent"):receive_envelope().id)
    end)
end)

describe("a script", function()
    after_each(bridge.clean)

    it("reads every field of an envelope", function()
        local server = bridge.start({script = route([[
            return bridge.reply({
                envelope.id, envelope.intent, envelope.taskId, envelope.channel, envelope.priority, envelope.from,
                envelope.role, envelope.to, envelope.replyTo, envelope.payload.deep[2].x, envelope.context.c,
                envelope.tools[1], envelope.attachments[1].a, envelope.trace.t, type(envelope.timestamp),
                envelope.sender.id, envelope.sender.role, envelope.sender.labels[1],
            })]])})
        local alice = websocket.agent(server, "alice", {role = "writer", labels = {"eu"}})

        alice:send_envelope({
            id = "e1", intent = "i", taskId = "t", channel = "c", priority = "low", role = "claimed", to = "bob",
            replyTo = "e0", payload = {deep = {1, {x = "y"}}}, context = {c = true}, tools = {"tool"},
            attachments = {{a = 1.5}}, trace = {t = "tr"},
        })

        assert.same({
            "e1", "i", "t", "c", "low", "alice", "claimed", "bob", "e0", "y", true, "tool", 1.5, "tr", "string",
            "alice", "writer", "eu",
        }, alice:receive_envelope().payload)
    end)

    it("reads defaults for what was left out, and nil for null", function()
        local server = bridge.start({script = route([[
            return bridge.reply({
                envelope.intent, envelope.channel, envelope.priority, envelope.from, envelope.role,
                tostring(envelope.to), tostring(envelope.taskId), tostring(envelope.replyTo), #envelope.id,
                type(envelope.payload), type(envelope.tools),
            })]])})
        local alice = websocket.agent(server, "alice")

        alice:send_envelope("{}")

        assert.same({
            "agent.message", "default", "normal", "alice", "agent", "nil", "nil", "nil", 36, "table", "table",
        }, alice:receive_envelope().payload)
    end)

    it("assigns fields, and only those change", function()
        local server = bridge.start({script = route([[
            envelope.priority = "high"
            envelope.taskId = "a \"quoted\" é"
            envelope.to = "carol"
            envelope.context = {list = luaduct.array{}, n = 1}
            return bridge.to("carol")]])})
        local alice = websocket.agent(server, "alice")
        local carol = websocket.agent(server, "carol")

        alice:send_envelope('{"id":"e1","to":"bob","payload":{"n":1.10,"n":2},"trace":1e400}')

        local envelope, raw = carol:receive_envelope()
        local _, fields = json.fields(raw)
        assert.equal("high", envelope.priority)
        assert.equal('a "quoted" é', envelope.taskId)
        assert.equal("carol", envelope.to)
        assert.truthy(fields.context == '{"list":[],"n":1}' or fields.context == '{"n":1,"list":[]}', fields.context)
        assert.equal('{"n":1.10,"n":2}', fields.payload)
        assert.equal("1e400", fields.trace)
        assert.equal("e1", envelope.id)
    end)

    it("takes an assigned `to` as the recipient of the default rule", function()
        local server = bridge.start({script = route('envelope.to = "carol"')})
        local alice = websocket.agent(server, "alice")
        local carol = websocket.agent(server, "carol")

        alice:send_envelope({to = "bob", id = "e1"})

        assert.equal("e1", carol:receive_envelope().id)
    end)

    it("that redacts a payload redacts the history too", function()
        local server = bridge.start({script = route([[
            local payload = envelope.payload
            payload.secret = "***"
            envelope.payload = payload]])})
        local alice = websocket.agent(server, "alice")

        alice:send_envelope({to = "alice", payload = {secret = "hunter2", other = 1}})

        assert.same({secret = "***", other = 1}, alice:receive_envelope().payload)
        assert.same({secret = "***", other = 1}, http.get(server, "/history").history[1].payload)
    end)

    for _, variant in ipairs(variants.reactors) do
        it(variant.name .. " sees who is there with bridge.agents and bridge.agent", function()
            local server = variant.start({script = route([[
                local names = {}
                for _, agent in ipairs(bridge.agents()) do
                    names[#names + 1] = agent.id .. ":" .. agent.role
                end
                table.sort(names)
                local bob = bridge.agent("bob")
                return bridge.reply({
                    names = names, label = bob.labels[1], tasks = bob.maxConcurrentTasks,
                    absent = bridge.agent("absent") == nil,
                })]])})
            local alice = websocket.agent(server, "alice", {role = "writer"})
            websocket.agent(server, "bob", {role = "worker", labels = {"gpu"}, maxConcurrentTasks = 3})
            websocket.agent(server, "carol")

            alice:send_envelope({})

            assert.same({
                names = {"alice:writer", "bob:worker", "carol:agent"}, label = "gpu", tasks = 3, absent = true,
            }, alice:receive_envelope().payload)
        end)
    end

    it("knows no sender over HTTP", function()
        local server = bridge.start({script = route([[
            envelope.payload = {sender = tostring(envelope.sender)}]])})
        local bob = websocket.agent(server, "bob")

        http.post(server, "/send", {to = "bob"})

        assert.equal("nil", bob:receive_envelope().payload.sender)
    end)

    it("may require files beside it, and keeps what it counts", function()
        local server = bridge.start({
            config = {performance = {worker_threads = 1}},
            script = [[
                local counter = require "counter"
                return {route = function(_, bridge) return bridge.reply({counter.next()}) end}]],
            files = {["counter.lua"] = [[
                local count = 0
                return {next = function() count = count + 1 return count end}]]},
        })
        local alice = websocket.agent(server, "alice")

        for number = 1, 3 do
            alice:send_envelope({})
            assert.same({number}, alice:receive_envelope().payload)
        end
    end)

    it("may be one of several that run in order", function()
        local server = bridge.start({
            config = {script = {path = {"first.lua", "second.lua"}}},
            files = {
                ["first.lua"] = [[return {route = function(envelope, bridge)
                    if envelope.intent == "first" then return bridge.reply({"first"}) end
                end}]],
                ["second.lua"] = 'return {route = function(_, bridge) return bridge.reply({"second"}) end}',
            },
        })
        local alice = websocket.agent(server, "alice")

        for _, intent in ipairs({"first", "second"}) do
            alice:send_envelope({intent = intent})
            assert.same({intent}, alice:receive_envelope().payload)
        end
    end)

    for _, variant in ipairs(variants.modes) do
        it(variant.name .. " that has no hook changes nothing", function()
            local server = variant.start({script = "return {}"})
            local alice = websocket.agent(server, "alice")
            local bob = websocket.agent(server, "bob")

            alice:send_envelope({to = "bob", id = "e1"})

            assert.equal("e1", bob:receive_envelope().id)
        end)
    end
end)
