-- Who gets an envelope when no script says otherwise, and in which order.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local variants = require "tests.support.variants"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

describe("delivery", function()
    after_each(bridge.clean)

    for _, variant in ipairs(variants.reactors) do
        describe(variant.name, function()
            it("takes an envelope to the agent that `to` names and to no other", function()
                local server = variant.start()
                local alice = websocket.agent(server, "alice")
                local agents = {}
                for index = 1, 8 do
                    agents[index] = websocket.agent(server, "agent-" .. index)
                end

                for index = 1, 8 do
                    alice:send_envelope({to = "agent-" .. index, id = "direct-" .. index})
                end
                alice:send_envelope({id = "marker"})

                for index = 1, 8 do
                    assert.equal("direct-" .. index, agents[index]:receive_envelope().id)
                    assert.equal("marker", agents[index]:receive_envelope().id)
                end
            end)

            it("takes nothing for an id that nobody may have, by WebSocket or HTTP", function()
                local server = variant.start()
                local alice = websocket.agent(server, "alice")

                for _, id in ipairs({"api", "bridge", "unknown"}) do
                    alice:send_envelope({to = id})
                    assert.matches("reserved", alice:expect_error("no_recipient").error)
                    local answer, raw = http.post(server, "/send", {to = id})
                    assert.same({404, "no_recipient"}, {raw.status, answer.code})
                end

                assert.equal(0, http.get(server, "/api/status").performance.queuedMessages)
                assert.same({}, http.get(server, "/history").history)
            end)

            it("takes an envelope without `to` to everyone but its sender", function()
                local server = variant.start()
                local agents = {}
                for index = 1, 8 do
                    agents[index] = websocket.agent(server, "agent-" .. index)
                end

                agents[1]:send_envelope({id = "from-1"})
                for index = 2, 8 do
                    assert.equal("from-1", agents[index]:receive_envelope().id)
                end
                agents[2]:send_envelope({id = "from-2"})

                assert.equal("from-2", agents[1]:receive_envelope().id)
            end)

            it("takes an envelope to its own sender when it says so", function()
                local server = variant.start()
                local alice = websocket.agent(server, "alice")

                alice:send_envelope({to = "alice", id = "note"})

                assert.equal("note", alice:receive_envelope().id)
            end)

            it("keeps the order from one sender to one recipient", function()
                local server = variant.start()
                local senders = {}
                local bob = websocket.agent(server, "bob")
                for index = 1, 4 do
                    senders[index] = websocket.agent(server, "sender-" .. index)
                end

                -- Out of the grace, in which a mailbox takes a thousand at most.
                senders[1]:send_envelope({to = "bob", id = "ready"})
                assert.equal("ready", bob:receive_envelope().id)

                for number = 1, 500 do
                    for index = 1, 4 do
                        senders[index]:send_envelope(('{"to":"bob","payload":%d}'):format(number))
                    end
                end

                local last = {}
                for _ = 1, 2000 do
                    local envelope = bob:receive_envelope()
                    assert.equal((last[envelope.from] or 0) + 1, envelope.payload)
                    last[envelope.from] = envelope.payload
                end
            end)

            it("keeps the order when broadcasts and direct envelopes mix", function()
                local server = variant.start()
                local alice = websocket.agent(server, "alice")
                local agents = {}
                for index = 1, 4 do
                    agents[index] = websocket.agent(server, "agent-" .. index)
                end

                for number = 1, 200 do
                    alice:send_envelope(('{"payload":%d}'):format(number * 2 - 1))
                    for index = 1, 4 do
                        alice:send_envelope(('{"to":"agent-%d","payload":%d}'):format(index, number * 2))
                    end
                end

                for index = 1, 4 do
                    for number = 1, 400 do
                        assert.equal(number, agents[index]:receive_envelope().payload)
                    end
                end
            end)

            it("carries big and small envelopes between many pairs", function()
                local server = variant.start()
                local big = ("x"):rep(300000)
                local agents = {}
                for index = 1, 6 do
                    agents[index] = websocket.agent(server, "agent-" .. index)
                end

                for index = 1, 6 do
                    local to = "agent-" .. (index % 6 + 1)
                    agents[index]:send_envelope({to = to, payload = big})
                    agents[index]:send_envelope({to = to, payload = "small"})
                end

                for index = 1, 6 do
                    assert.equal(#big, #agents[index]:receive_envelope().payload)
                    assert.equal("small", agents[index]:receive_envelope().payload)
                end
            end)
        end)
    end

    it("reaches agents on either port", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice", nil, {port = server.http_port})
        local bob = websocket.agent(server, "bob", nil, {port = server.ws_port})

        alice:send_envelope({to = "bob"})
        assert.equal("alice", bob:receive_envelope().from)
        bob:send_envelope({to = "alice"})
        assert.equal("bob", alice:receive_envelope().from)
    end)

    it("sends `registered` before anything else, and queued envelopes only after the grace, in a segment of their own",
        function()
            local server = bridge.start({config = {agents = {registerGraceMs = 400}}})
            local alice = websocket.agent(server, "alice")
            local number = 0
            wait.eventually(function()
                number = number + 1
                local name = "bob " .. number
                alice:send_envelope({to = name, id = "queued"})
                alice:expect_nothing()
                local bob = websocket.connect(server)

                local before = wait.now()
                bob:register(name)
                local nothing_more = bob.stream:here() == 0
                local in_grace = wait.now() - before < 0.4
                alice:send_envelope({to = name, id = "meanwhile"})
                local first = bob:receive_envelope().id

                assert.equal("queued", first)
                assert.equal("meanwhile", bob:receive_envelope().id)
                assert.is_true(bob.stream.chunks[#bob.stream.chunks].at - before >= 0.4)
                assert.is_true(nothing_more or not in_grace)
                return in_grace -- else this side was too slow to see segments
            end)
        end)

    it("lets an agent with features have its envelopes at once", function()
        local server = bridge.start({config = {agents = {registerGraceMs = 10000}}})
        local alice = websocket.agent(server, "alice", {features = {"something-else"}})

        alice:send_envelope({to = "alice", id = "now"})

        assert.equal("now", alice:receive_json(8).envelope.id)
    end)

    it("lets an agent that waits out its grace send meanwhile", function()
        local server = bridge.start({config = {agents = {registerGraceMs = 10000}}})
        local bob = websocket.agent(server, "bob", {features = {"x"}})
        local alice = websocket.agent(server, "alice")

        alice:send_envelope({to = "bob", id = "early"})

        assert.equal("early", bob:receive_envelope().id)
    end)

    it("gives a batch only to an agent that asked for it", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice")
        for _, to in ipairs({"bob", "carol"}) do
            for number = 1, 5 do
                alice:send_envelope(('{"to":"%s","payload":%d}'):format(to, number))
            end
        end
        alice:expect_nothing()
        local bob = websocket.agent(server, "bob", {features = {"batch"}})
        local carol = websocket.agent(server, "carol")

        local numbers = {}
        while #numbers < 5 do
            local message = bob:receive_json()
            local list = message.type == "batch" and message.envelopes or {message.envelope}
            for _, envelope in ipairs(list) do
                numbers[#numbers + 1] = envelope.payload
            end
        end

        assert.same({1, 2, 3, 4, 5}, numbers)
        for number = 1, 5 do
            assert.equal(number, carol:receive_envelope().payload)
        end
    end)

    it("sends a flush of several envelopes as one batch", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice")
        for number = 1, 5 do
            alice:send_envelope(('{"to":"bob","payload":%d}'):format(number))
        end
        alice:expect_nothing()

        local bob = websocket.agent(server, "bob", {features = {"batch"}})

        local message = bob:receive_json()
        assert.equal("batch", message.type)
        assert.is_true(#message.envelopes > 1)
    end)

    it("takes an HTTP envelope to everyone, for it has no connection to leave out", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice")
        local bob = websocket.agent(server, "bob")

        http.post(server, "/broadcast", {id = "news"})

        assert.equal("news", alice:receive_envelope().id)
        assert.equal("news", bob:receive_envelope().id)
    end)
end)
