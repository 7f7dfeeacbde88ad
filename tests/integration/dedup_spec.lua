-- The same id from the same sender within agents.dedupWindowMs.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local variants = require "tests.support.variants"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local LONG = {agents = {dedupWindowMs = 600000}}

describe("an envelope whose id its sender used before", function()
    after_each(bridge.clean)

    for _, variant in ipairs(variants.reactors) do
        describe(variant.name, function()
            it("is refused as duplicate, and the first is delivered once", function()
                local server = variant.start({config = LONG})
                local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
                alice:send_envelope({to = "bob", id = "e1", payload = 1})
                alice:send_envelope({to = "bob", id = "e1", payload = 2})
                alice:send_envelope({to = "bob", id = "e2", payload = 3})

                assert.equal("e1", alice:expect_error("duplicate").id)
                assert.equal(1, bob:receive_envelope().payload)
                assert.equal(3, bob:receive_envelope().payload)
                bob:expect_nothing()
                local delivery = http.get(server, "/optimization").delivery
                assert.equal(2, delivery.dedupIds)
                assert.equal(1, delivery.duplicates)
            end)

            it("is refused over any later connection of the sender, and while it waits in a mailbox", function()
                local server = variant.start({config = LONG})
                for attempt = 1, 6 do
                    local alice = websocket.agent(server, "alice")
                    alice:send_envelope({to = "bob", id = "e1"})
                    if attempt > 1 then
                        alice:expect_error("duplicate")
                    end
                    alice:expect_nothing()
                    alice:finish(1000)
                    alice:close()
                end

                local bob = websocket.agent(server, "bob")
                assert.equal("e1", bob:receive_envelope().id)
                bob:expect_nothing()
            end)
        end)
    end

    it("over HTTP is answered 409", function()
        local server = bridge.start({config = LONG})
        assert.equal(202, select(2, http.post(server, "/send", {to = "bob", id = "e1"})).status)
        local body, answer = http.post(server, "/send", {to = "bob", id = "e1"})
        assert.equal(409, answer.status)
        assert.equal("duplicate", body.code)
    end)

    it("passes from another sender, and when an id is made by the bridge", function()
        local server = bridge.start({config = LONG})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        alice:send_envelope({to = "bob", id = "e1"})
        bob:receive_envelope()
        bob:send_envelope({to = "alice", id = "e1"})
        alice:receive_envelope()
        for _ = 1, 2 do
            alice:send_envelope({to = "bob"})
            bob:receive_envelope()
        end
    end)

    it("passes when the first was refused or dropped, and is not routed again when it was not", function()
        local server = bridge.start({config = LONG, script = [[
            local seen = 0
            return {
                route = function(envelope, bridge)
                    seen = seen + 1
                    print("routed " .. envelope.id .. " " .. seen)
                    if envelope.payload == "wait" then
                        luaduct.sleep(20)
                        return bridge.role("nobody")
                    elseif envelope.payload == "refuse" then
                        return bridge.role("nobody")
                    elseif envelope.payload == "drop" then
                        return bridge.drop("no")
                    end
                end,
            }]]})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        for _, way in ipairs({"refuse", "wait"}) do
            alice:send_envelope({to = "bob", id = "e1", payload = way})
            alice:expect_error("no_recipient")
        end
        alice:send_envelope({to = "bob", id = "e1", payload = "drop"})
        alice:send_envelope({to = "bob", id = "e1", payload = "go"})
        assert.equal("go", bob:receive_envelope().payload)
        alice:send_envelope({to = "bob", id = "e1", payload = "again"})
        alice:expect_error("duplicate")
        assert.truthy(server:wait_log("routed e1 4"))
        assert.is_nil(server:log():find("routed e1 5", 1, true))
    end)

    it("passes when more than agents.dedupIds came after it, or when it is off", function()
        local server = bridge.start({config = {agents = {dedupWindowMs = 600000, dedupIds = 2}}})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        for _, id in ipairs({"e1", "e2", "e3", "e1"}) do
            alice:send_envelope({to = "bob", id = id})
            assert.equal(id, bob:receive_envelope().id)
        end
        assert.equal(2, http.get(server, "/optimization").delivery.dedupEvicted)

        local plain = bridge.start()
        local carol, dave = websocket.agent(plain, "carol"), websocket.agent(plain, "dave")
        for _ = 1, 2 do
            carol:send_envelope({to = "dave", id = "e1"})
            assert.equal("e1", dave:receive_envelope().id)
        end
    end)

    it("passes when its window is over", function()
        local server = bridge.start({config = {agents = {dedupWindowMs = 300}}})
        local statuses = {}
        wait.eventually(function()
            local _, answer = http.post(server, "/send", {to = "bob", id = "e1"})
            statuses[answer.status] = (statuses[answer.status] or 0) + 1
            return statuses[202] == 2
        end)

        assert.equal(0, (statuses[404] or 0) + (statuses[503] or 0))
        local bob = websocket.agent(server, "bob")
        assert.equal("e1", bob:receive_envelope().id)
        assert.equal("e1", bob:receive_envelope().id)
        bob:expect_nothing()
    end)
end)
