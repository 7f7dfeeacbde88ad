-- One agent's work does not keep the others of its reactor waiting until all of it is done.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

describe("turns", function()
    after_each(bridge.clean)

    local SLOW = [[
        return {
            route = function()
                local till = os.clock() + 0.02
                while os.clock() < till do end
            end,
        }
    ]]

    -- On a busy machine a route of 20 ms takes longer; none is to be stopped, for its sender would be slowed.
    local ONE = {performance = {worker_threads = 1}, script = {budgetMs = 5000}}

    -- Has everything that `send` sends come to the bridge at one moment, however slow this side is. Gives its result.
    local function at_once(server, send)
        server:signal("SIGSTOP")
        local result = send()
        server:signal("SIGCONT")
        return result
    end

    local function ask(server, path)
        local connection = http.connect(server)
        connection:send_request({path = path})
        return connection
    end

    local function flood(server, count, alice)
        alice = alice or websocket.agent(server, "alice")
        local frames = {}
        for index = 1, count do
            local text = ('{"type":"envelope","envelope":{"to":"bob","id":"%d"}}'):format(index)
            frames[index] = websocket.frame({payload = text})
        end
        alice:send_bytes(table.concat(frames))
        return alice
    end

    it("are taken while one agent's envelopes are slow to route", function()
        local server = bridge.start({config = ONE, script = SLOW})
        local alice = websocket.agent(server, "alice")

        local asked = at_once(server, function()
            flood(server, 100, alice)
            return ask(server, "/health")
        end)

        assert.is_true(json.decode(asked:receive().body).metrics.messages < 100)
    end)

    it("lose nothing and keep the order", function()
        local server = bridge.start({config = ONE, script = SLOW})
        local bob = websocket.agent(server, "bob")
        flood(server, 60)

        for index = 1, 60 do
            assert.equal(tostring(index), bob:receive_envelope().id)
        end
    end)

    it("are taken between those who send large envelopes, who lose nothing and keep their order", function()
        local server = bridge.start({config = ONE, script = [[
            return {
                route = function(envelope)
                    local till = os.clock() + (envelope.intent == "small" and 0 or 0.005)
                    while os.clock() < till do end
                end,
            }
        ]]})
        local COUNT, SENDERS = 20, 6
        local sink, carol = websocket.agent(server, "sink"), websocket.agent(server, "carol")
        local filling, senders = ("x"):rep(40000), {}
        for sender = 1, SENDERS do
            local frames = {}
            for index = 1, COUNT do
                frames[index] = websocket.frame({payload =
                    ('{"type":"envelope","envelope":{"to":"sink","id":"%d","payload":"%s"}}'):format(index, filling)})
            end
            senders[sender] = {agent = websocket.agent(server, "large" .. sender), bytes = table.concat(frames)}
        end
        local asked = at_once(server, function()
            for _, sender in ipairs(senders) do
                sender.sent = sender.agent.stream:send_some(sender.bytes)
            end
            carol:send_envelope({to = "carol", intent = "small"})
            return ask(server, "/health")
        end)
        for _, sender in ipairs(senders) do
            sender.agent:send_bytes(sender.bytes:sub(sender.sent + 1))
        end
        carol:receive_envelope()

        assert.is_true(json.decode(asked:receive().body).metrics.messages < COUNT * SENDERS)
        local next_of = {}
        for _ = 1, COUNT * SENDERS do
            local envelope = sink:receive_envelope()
            next_of[envelope.from] = (next_of[envelope.from] or 0) + 1
            assert.equal(tostring(next_of[envelope.from]), envelope.id)
        end
    end)

    it("are taken in what came while a hook waited", function()
        local server = bridge.start({config = ONE, script = [[
            local open = false
            return {
                route = function(envelope)
                    if envelope.intent == "open" then
                        open = true
                        return
                    end
                    while not open do luaduct.sleep(1) end
                    local till = os.clock() + 0.02
                    while os.clock() < till do end
                end,
            }
        ]]})
        local bob, carol = websocket.agent(server, "bob"), websocket.agent(server, "carol")
        local alice = flood(server, 60)
        alice:send_bytes(websocket.frame({opcode = 9, payload = "all sent"}))
        assert.equal("all sent", alice:receive_frame().payload)
        carol:send_envelope({to = "carol", intent = "open"})
        bob:receive_envelope() -- alice's hook has ended, and her next message as well

        assert.equal("2", bob:receive_envelope().id)
        local health = http.get(server, "/health")
        assert.is_true(health.metrics.messages < 61)
        for index = 3, 60 do
            assert.equal(tostring(index), bob:receive_envelope().id)
        end
    end)

    it("are given up with the connection", function()
        local server = bridge.start({config = ONE, script = SLOW})
        local alice = flood(server, 100)
        alice:close()

        wait.eventually(function()
            return #http.get(server, "/agents").agents == 0
        end, 60, "what she had sent to be over") -- two seconds of processor time
        assert.is_true(http.get(server, "/health").metrics.messages <= 100)
    end)
end)
