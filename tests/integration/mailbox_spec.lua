-- Envelopes for agents that are not there: kept, bounded, flushed in order.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local variants = require "tests.support.variants"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local function send_numbers(client, to, from, last, padding)
    for number = from, last do
        client:send_envelope(('{"to":"%s","payload":%d,"trace":"%s"}'):format(to, number, padding or ""))
    end
end

local function expect_numbers(client, from, last)
    for number = from, last do
        assert.equal(number, client:receive_envelope().payload)
    end
end

local REPORT = [[
return {
    on_undeliverable = function(envelope, reason)
        print("undeliverable " .. envelope.id .. " " .. reason)
    end,
}
]]

describe("a mailbox", function()
    after_each(bridge.clean)

    for _, variant in ipairs(variants.reactors) do
        describe(variant.name, function()
            it("keeps envelopes for an absent agent and gives them in order after its register", function()
                local server = variant.start()
                local alice = websocket.agent(server, "alice")
                send_numbers(alice, "bob", 1, 300)
                alice:expect_nothing()

                local bob = websocket.agent(server, "bob")
                send_numbers(alice, "bob", 301, 400)

                expect_numbers(bob, 1, 400)
            end)

            it("keeps the order through reconnects while envelopes keep coming", function()
                local server = variant.start()
                local alice = websocket.agent(server, "alice")
                local next_expected, sent = 1, 0

                for _ = 1, 12 do
                    local bob = websocket.agent(server, "bob")
                    send_numbers(alice, "bob", sent + 1, sent + 25)
                    sent = sent + 25
                    expect_numbers(bob, next_expected, sent)
                    next_expected = sent + 1
                    send_numbers(alice, "bob", sent + 1, sent + 5)
                    sent = sent + 5
                    expect_numbers(bob, next_expected, sent)
                    next_expected = sent + 1
                    bob:finish(1000)
                    bob:close()
                    send_numbers(alice, "bob", sent + 1, sent + 5)
                    sent = sent + 5
                    alice:expect_nothing()
                end

                expect_numbers(websocket.agent(server, "bob"), next_expected, sent)
            end)

            it("gives everything once when two connections take turns for one agent", function()
                local server = variant.start()
                local alice = websocket.agent(server, "alice")
                send_numbers(alice, "bob", 1, 50)
                alice:expect_nothing()

                local first = websocket.agent(server, "bob")
                expect_numbers(first, 1, 50)
                local second = websocket.agent(server, "bob")
                first:expect_close(4001)
                send_numbers(alice, "bob", 51, 60)

                expect_numbers(second, 51, 60)
            end)
        end)
    end

    it("keeps what comes over HTTP as well", function()
        local server = bridge.start()
        local _, answer = http.post(server, "/send", {to = "bob", id = "e1"})
        assert.equal(202, answer.status)

        assert.equal("e1", websocket.agent(server, "bob"):receive_envelope().id)
    end)

    it("drops the oldest past agents.maxQueue and tells on_undeliverable", function()
        local server = bridge.start({config = {agents = {maxQueue = 3}}, script = REPORT})
        local alice = websocket.agent(server, "alice")
        for number = 1, 5 do
            alice:send_envelope(('{"id":"e%d","to":"bob","payload":%d}'):format(number, number))
        end
        alice:expect_nothing()

        expect_numbers(websocket.agent(server, "bob"), 3, 5)

        server:wait_log("undeliverable e1 evicted")
        server:wait_log("undeliverable e2 evicted")
        assert.is_nil(server:log():find("undeliverable e3", 1, true))
    end)

    it("drops the oldest past agents.mailboxBytes", function()
        local server = bridge.start({config = {agents = {mailboxBytes = "64KiB", mailboxTotalBytes = "1MiB"}}})
        local alice = websocket.agent(server, "alice")
        send_numbers(alice, "bob", 1, 20, ("x"):rep(10000))
        alice:expect_nothing()

        local bob = websocket.agent(server, "bob")
        local first = bob:receive_envelope().payload

        assert.is_true(first > 1 and first >= 14 and first <= 17, "starts with " .. first)
        expect_numbers(bob, first + 1, 20)
    end)

    it("is refused to a new absent agent past agents.maxMailboxes", function()
        local server = bridge.start({config = {agents = {maxMailboxes = 2}}})
        local alice = websocket.agent(server, "alice")
        alice:send_envelope({to = "absent-1"})
        alice:send_envelope({to = "absent-2"})
        alice:send_envelope({to = "absent-3", id = "too-many"})

        local message = alice:expect_error("mailbox_full")
        assert.equal("too-many", message.id)
        alice:send_envelope({to = "absent-1"})
        alice:expect_nothing()
        local _, answer = http.post(server, "/send", {to = "absent-4"})
        assert.equal(507, answer.status)
    end)

    it("has its place back for another agent after it was flushed", function()
        local server = bridge.start({config = {agents = {maxMailboxes = 1}}})
        local alice = websocket.agent(server, "alice")
        alice:send_envelope({to = "bob", id = "e1"})
        alice:expect_nothing()

        local bob = websocket.agent(server, "bob")
        assert.equal("e1", bob:receive_envelope().id)
        alice:send_envelope({to = "carol", id = "e2"})
        alice:expect_nothing()

        assert.equal("e2", websocket.agent(server, "carol"):receive_envelope().id)
    end)

    it("is refused past agents.mailboxTotalBytes", function()
        local server = bridge.start({config = {agents = {mailboxBytes = "64KiB", mailboxTotalBytes = "64KiB"}}})
        local alice = websocket.agent(server, "alice")
        local refused
        for number = 1, 10 do
            alice:send_envelope({to = "absent-" .. number, id = "e" .. number, payload = ("x"):rep(10000)})
        end
        alice:send_frame({opcode = websocket.PING})
        while true do
            local message = alice:receive()
            if message.type == "pong" then
                break
            end
            refused = refused or message.payload
        end

        assert.truthy(refused and refused:find('"mailbox_full"', 1, true), tostring(refused))
    end)

    it("is emptied after agents.mailboxTtlMs and tells on_undeliverable", function()
        local server = bridge.start({
            config = {agents = {mailboxTtlMs = 200, cleanupIntervalMs = 100}}, script = REPORT,
        })
        local alice = websocket.agent(server, "alice")
        alice:send_envelope({to = "bob", id = "old"})
        server:wait_log("undeliverable old expired")

        local bob = websocket.agent(server, "bob")
        alice:send_envelope({to = "bob", id = "new"})

        assert.equal("new", bob:receive_envelope().id)
    end)

    it("of an agent that leaves without a close frame gets what comes afterwards", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice")
        local bob = websocket.agent(server, "bob")
        bob:close()
        wait.eventually(function()
            return #http.get(server, "/agents").agents == 1
        end, 10, "bob to be gone")

        send_numbers(alice, "bob", 1, 3)
        alice:expect_nothing()

        expect_numbers(websocket.agent(server, "bob"), 1, 3)
    end)

    it("is not made for an agent by a broadcast", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice")
        websocket.agent(server, "bob"):finish(1000)
        alice:send_envelope({id = "broadcast"})
        alice:send_envelope({to = "bob", id = "direct"})
        alice:expect_nothing()

        assert.equal("direct", websocket.agent(server, "bob"):receive_envelope().id)
    end)
end)
