-- What a limit loses goes to the agent that agents.deadLetters names.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local variants = require "tests.support.variants"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local function config(agents, limits)
    agents.deadLetters = "dead-letters"
    agents.maxQueue = agents.maxQueue or 2
    return {agents = agents, limits = limits}
end

local function delivery(server)
    return http.get(server, "/optimization").delivery
end

local function send(client, to, first, last)
    for number = first, last do
        client:send_envelope(('{"id":"e%d","to":"%s","payload":{"n":%d,"b":1.50},"context":{"k":"v"}}'):format(
            number, to, number))
    end
    client:expect_nothing()
end

local function expect_letter(client, reason, recipient, id)
    local envelope, raw = client:receive_envelope()
    assert.equal("bridge", envelope.from)
    assert.equal("bridge.dead_letter", envelope.intent)
    assert.equal(reason, envelope.payload.reason)
    assert.equal(recipient, envelope.payload.recipient)
    assert.equal(id, envelope.payload.envelope.id)
    return envelope.payload.envelope, raw
end

describe("a dead letter", function()
    after_each(bridge.clean)

    for _, variant in ipairs(variants.reactors) do
        it("brings an evicted envelope whole, to a connected agent or a mailbox " .. variant.name, function()
            local server = variant.start({config = config({})})
            local alice, dead = websocket.agent(server, "alice"), websocket.agent(server, "dead-letters")
            send(alice, "bob", 1, 3)
            local lost, raw = expect_letter(dead, "evicted", "bob", "e1")
            assert.equal("alice", lost.from)
            assert.truthy(raw:find('"context":{"k":"v"},"payload":{"n":1,"b":1.50}', 1, true), raw)
            dead:finish(1000)
            dead:close()
            send(alice, "bob", 4, 5)

            dead = websocket.agent(server, "dead-letters")
            expect_letter(dead, "evicted", "bob", "e2")
            expect_letter(dead, "evicted", "bob", "e3")
            dead:expect_nothing()
            assert.equal(3, delivery(server).deadLetters)
            assert.equal(5, #http.get(server, "/history").history)
        end)
    end

    it("comes of a mailbox that is given up, of expiry, and of waiting for a free agent", function()
        local server = bridge.start({
            config = config({mailboxTtlMs = 100, waitingTtlMs = 1, cleanupIntervalMs = 10}),
            script = [[
                return {
                    route = function(envelope, bridge)
                        if envelope.id == "e2" then
                            return bridge.to("carol", {expiresMs = 1})
                        elseif envelope.id == "e3" then
                            return bridge.any{role = "worker", wait = true}
                        end
                    end,
                }]],
        })
        local alice, dead = websocket.agent(server, "alice"), websocket.agent(server, "dead-letters")
        for number, to in ipairs({"bob", "carol", "x"}) do
            send(alice, to, number, number)
        end
        local got = {}
        for _ = 1, 3 do
            local envelope = dead:receive_envelope()
            got[envelope.payload.envelope.id] = envelope.payload.reason .. " " .. tostring(envelope.payload.recipient)
        end

        assert.equal("expired bob", got.e1)
        assert.equal("expired carol", got.e2)
        assert.truthy(got.e3:find("^expired "))
    end)

    it("comes of an agent that does not read, where the oldest is dropped", function()
        local limits = {slowAgent = "drop", sendQueueBytes = "64KiB"}
        local server = bridge.start({config = config({maxQueue = 100000}, limits)})
        local alice, dead = websocket.agent(server, "alice"), websocket.agent(server, "dead-letters")
        local bob = websocket.agent(server, "bob")
        local padding, number = ("x"):rep(60000), 0
        wait.eventually(function()
            for _ = 1, 20 do
                number = number + 1
                alice:send_envelope({to = "bob", id = "e" .. number, payload = padding})
            end
            alice:expect_nothing()
            return delivery(server).deadLetters > 0
        end)

        local envelope = dead:receive_envelope()
        assert.equal("slow_agent", envelope.payload.reason)
        assert.equal("bob", envelope.payload.recipient)
        assert.equal(padding, envelope.payload.envelope.payload)
        bob:close()
    end)

    it("is not made of what on_undeliverable sends elsewhere, even when it waits first", function()
        local server = bridge.start({config = config({}), script = [[
            return {
                on_undeliverable = function(envelope, reason, recipient, bridge)
                    if envelope.payload.n == 1 then
                        return bridge.to("carol")
                    elseif envelope.payload.n == 2 then
                        luaduct.sleep(5)
                        return bridge.to("carol")
                    elseif envelope.payload.n == 3 then
                        luaduct.sleep(5)
                    end
                end,
            }]]})
        local alice, dead = websocket.agent(server, "alice"), websocket.agent(server, "dead-letters")
        local carol = websocket.agent(server, "carol")
        send(alice, "bob", 1, 6)

        local letters = {}
        for _ = 1, 2 do
            letters[dead:receive_envelope().payload.envelope.id] = true
        end
        assert.same({e3 = true, e4 = true}, letters)
        assert.equal("e1", carol:receive_envelope().id)
        assert.equal("e2", carol:receive_envelope().id)
        dead:expect_nothing()
    end)

    it("that is lost, or an envelope to that agent, makes no other", function()
        local server = bridge.start({config = config({})})
        local alice = websocket.agent(server, "alice")
        send(alice, "bob", 1, 9)
        send(alice, "dead-letters", 10, 12)

        local dead = websocket.agent(server, "dead-letters")
        assert.equal("e11", dead:receive_envelope().id)
        assert.equal("e12", dead:receive_envelope().id)
        dead:expect_nothing()
        assert.equal(7, delivery(server).deadLetters)
        -- seven of bob's, and of dead-letters' all but two
        assert.equal(7 + 8, http.get(server, "/metrics").messages.undeliverable.evicted)
    end)

    it("is not made of what was refused", function()
        local server = bridge.start({config = config({maxMailboxes = 0}), script = [[
            return {
                route = function(envelope, bridge)
                    return envelope.to == "any" and bridge.role("nobody") or nil
                end,
            }]]})
        local alice, dead = websocket.agent(server, "alice"), websocket.agent(server, "dead-letters")
        alice:send_envelope({to = "bob"})
        alice:expect_error("mailbox_full")
        alice:send_envelope({to = "any"})
        alice:expect_error("no_recipient")
        dead:expect_nothing()
    end)

    it("has an agent whose id can be one", function()
        for _, id in ipairs({"bridge", "", ("x"):rep(257)}) do
            local status, errors = bridge.start_failing({config = {agents = {deadLetters = id}}})
            assert.equal(1, status)
            assert.truthy(errors:find("agents.deadLetters: expected the id of an agent", 1, true), errors)
        end
    end)
end)
