-- agents.priorityOrder: what waits goes by priority, in turns.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local variants = require "tests.support.variants"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local ORDERED = {agents = {priorityOrder = true, maxQueue = 100000, mailboxBytes = "256MiB"}}
local NAMES = {"low", "normal", "high"}

-- `count` envelopes of each priority, the low ones first.
local function send_all(client, count, padding)
    for _, priority in ipairs(NAMES) do
        for number = 1, count do
            client:send_envelope(('{"to":"bob","priority":"%s","payload":%d,"trace":"%s"}'):format(priority, number,
                padding or ""))
        end
    end
    client:expect_nothing()
end

-- One whose kernel keeps little for it, so that most waits in the bridge.
local function slow_agent(server)
    return websocket.agent(server, "bob", nil, {receive_buffer = 4096})
end

-- The next `count` envelopes: their priorities. Those of one priority must come in order, from `next` on.
local function receive(client, count, next)
    local order = {}
    for index = 1, count do
        local envelope = client:receive_envelope()
        assert.equal(next[envelope.priority], envelope.payload)
        next[envelope.priority] = envelope.payload + 1
        order[index] = envelope.priority
    end
    return order
end

local function count_of(order, first, last)
    local counts = {high = 0, normal = 0, low = 0}
    for index = first, last do
        counts[order[index]] = counts[order[index]] + 1
    end
    return counts
end

describe("with agents.priorityOrder", function()
    after_each(bridge.clean)

    for _, variant in ipairs(variants.reactors) do
        describe(variant.name, function()
            it("a mailbox gives 8 high, 3 normal and 1 low in turn, each in its order", function()
                local server = variant.start({config = ORDERED})
                local alice = websocket.agent(server, "alice")
                send_all(alice, 24)

                local next = {high = 1, normal = 1, low = 1}
                local order = receive(websocket.agent(server, "bob"), 72, next)
                for turn = 1, 3 do
                    assert.same({high = 8, normal = 3, low = 1}, count_of(order, turn * 12 - 11, turn * 12))
                end
                -- The high ones are through: normal and low share what is left, 3 to 1.
                assert.same({high = 0, normal = 15, low = 5}, count_of(order, 37, 56))
            end)

            it("an agent that does not read gets high ones before older low ones, and loses none", function()
                local server = variant.start({config = ORDERED})
                local alice, bob = websocket.agent(server, "alice"), slow_agent(server)
                send_all(alice, 150, ("x"):rep(60000))

                local next = {high = 1, normal = 1, low = 1}
                local order = receive(bob, 450, next)
                local last_high, last_low = 0, 0
                for index, priority in ipairs(order) do
                    last_high = priority == "high" and index or last_high
                    last_low = priority == "low" and index or last_low
                end
                assert.is_true(last_high < last_low, ("high until %d, low until %d"):format(last_high, last_low))
                assert.same({high = 151, normal = 151, low = 151}, next)
            end)

            it("what was not read returns and keeps its order over reconnects", function()
                local server = variant.start({config = ORDERED})
                local alice, bob = websocket.agent(server, "alice"), slow_agent(server)
                send_all(alice, 100, ("x"):rep(60000))
                bob:close()

                bob = websocket.agent(server, "bob")
                local envelopes, last = 0, {}
                wait.eventually(function()
                    local message = bob:receive(0.3)
                    if message then
                        local priority, number = message.payload:match('"priority":"(%a+)".-"payload":(%d+)')
                        number = tonumber(number)
                        assert.is_true(number > (last[priority] or 0))
                        last[priority] = number
                        envelopes = envelopes + 1
                    end
                    return last.high == 100 and last.normal == 100 and last.low == 100
                end, 20)
                assert.is_true(envelopes <= 300)
            end)
        end)
    end

    it("a full mailbox loses the oldest of the lowest priority", function()
        local server = bridge.start({config = {agents = {priorityOrder = true, maxQueue = 4}}})
        local alice = websocket.agent(server, "alice")
        for number, priority in ipairs({"high", "low", "normal", "low", "high", "high"}) do
            alice:send_envelope(('{"to":"bob","priority":"%s","payload":%d}'):format(priority, number))
        end
        alice:expect_nothing()

        local bob, got = websocket.agent(server, "bob"), {}
        for _ = 1, 4 do
            got[bob:receive_envelope().payload] = true
        end
        assert.same({[1] = true, [3] = true, [5] = true, [6] = true}, got)
        bob:expect_nothing()
    end)

    it("an agent that loses the oldest for its slowness loses low ones first", function()
        local config = {agents = {priorityOrder = true}, limits = {slowAgent = "drop", sendQueueBytes = "1MiB"}}
        local server = bridge.start({config = config, script = [[
            return {
                on_undeliverable = function(envelope, reason)
                    print("lost " .. envelope.priority .. " " .. reason)
                end,
            }]]})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        bob:expect_nothing()
        bob:send_envelope('{"to":"bob","payload":0}')
        bob:receive_envelope() -- live: nothing joins the mailbox any more
        local number = 0
        wait.eventually(function()
            number = number + 1
            alice:send_envelope({to = "bob", priority = number % 20 == 0 and "high" or "low", payload = number,
                trace = ("x"):rep(60000)})
            alice:expect_nothing()
            return number % 20 == 19 and http.get(server, "/metrics").messages.undeliverable.slow_agent > 0
        end)

        server:wait_log("lost low slow_agent")
        assert.is_nil(server:log():find("lost high", 1, true))
    end)
end)

describe("without agents.priorityOrder", function()
    after_each(bridge.clean)

    it("priorities change nothing", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice")
        send_all(alice, 10)

        local bob = websocket.agent(server, "bob")
        for _, priority in ipairs(NAMES) do
            for number = 1, 10 do
                local envelope = bob:receive_envelope()
                assert.same({priority, number}, {envelope.priority, envelope.payload})
            end
        end
    end)
end)
