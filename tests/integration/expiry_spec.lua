-- Envelopes that say, or of which a script says, until when they are worth delivering.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local variants = require "tests.support.variants"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local PAST, FUTURE = "2001-02-03T04:05:06Z", "2999-01-01T00:00:00+02:00"

local REPORT = [[
return {
    on_undeliverable = function(envelope, reason, recipient)
        print("undeliverable " .. envelope.id .. " " .. reason .. " " .. tostring(recipient))
    end,
}
]]

-- Sends one that expires soon: near enough to wait for, and again where the machine was too slow for it to be accepted.
local function send_short_lived(client, id)
    wait.eventually(function()
        local expires = math.floor((wait.now() + 0.3) * 1000)
        client:send_envelope(('{"to":"bob","id":"%s","context":{"expiresAt":%d}}'):format(id, expires))
        client:send_frame({opcode = websocket.PING, payload = "taken"})
        local message = client:receive()
        if message.type == "pong" then
            return true
        end
        assert.truthy(message.payload:find('"code":"expired"', 1, true), message.payload)
        assert.equal("pong", client:receive().type)
    end)
end

describe("an envelope with context.expiresAt", function()
    after_each(bridge.clean)

    it("is refused as expired when that is past, as text or number", function()
        local server = bridge.start({script = REPORT})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        for _, value in ipairs({('"%s"'):format(PAST), "981173106000", "1e12", '"2001-02-03T04:05+05:30"'}) do
            alice:send_envelope(('{"to":"bob","context":{"a":[1],"expiresAt":%s}}'):format(value))
            local refused = alice:expect_error("expired")
            assert.truthy(refused.error:find("expiresAt", 1, true))
        end
        alice:send_envelope(('{"to":"bob","context":{"expires\\u0041t":"%s"}}'):format(PAST))
        alice:expect_error("expired")
        bob:expect_nothing()

        local body, answer = http.post(server, "/send", {to = "bob", context = {expiresAt = PAST}})
        assert.equal(410, answer.status)
        assert.equal("expired", body.code)
        assert.same({}, http.get(server, "/history").history)
        assert.equal(6, http.get(server, "/metrics").messages.refused.expired)
        assert.is_nil(server:log():find("undeliverable", 1, true))
    end)

    it("passes as it was sent while that lies ahead, or where the name is not the context's own", function()
        local server = bridge.start()
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        for _, context in ipairs({
            ('{"expiresAt":"%s"}'):format(FUTURE), '{"expiresAt":32503680000000}', '{"expiresAt":null}',
            ('{"inner":{"expiresAt":"%s"}}'):format(PAST), ('{"note":"expiresAt %s"}'):format(PAST),
            ('["expiresAt","%s"]'):format(PAST), "{}", "{ }",
        }) do
            alice:send_envelope(('{"to":"bob","context":%s}'):format(context))
            assert.equal(context, bob:receive_fields().context)
        end
    end)

    it("is refused as bad_field when that is no time", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice")
        for _, value in ipairs({'"tomorrow"', '"2026-02-30T00:00:00Z"', '"2026-01-31T12:00:00"', "true", "{}", "-5"}) do
            alice:send_envelope(('{"to":"bob","context":{"expiresAt":%s}}'):format(value))
            local refused = alice:expect_error("bad_field")
            assert.truthy(refused.error:find("context.expiresAt: expected", 1, true), refused.error)
        end
    end)

    it("counts for nothing where agents.expiry is false, as in original mode", function()
        for _, config in ipairs({{agents = {expiry = false}}, {mode = "original"}}) do
            local server = bridge.start({config = config})
            local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
            alice:send_envelope({to = "bob", id = "late", context = {expiresAt = PAST}})
            assert.equal("late", bob:receive_envelope().id)
        end
    end)

    for _, variant in ipairs(variants.reactors) do
        it("is not delivered when it expires in a mailbox, and its script hears of it " .. variant.name, function()
            local server = variant.start({script = REPORT, config = {agents = {cleanupIntervalMs = 10}}})
            local alice = websocket.agent(server, "alice")
            alice:send_envelope({to = "bob", id = "e1"})
            send_short_lived(alice, "e2")
            alice:send_envelope({to = "bob", id = "e3", context = {expiresAt = FUTURE}})
            alice:expect_nothing()
            server:wait_log("undeliverable e2 expired bob")

            local bob = websocket.agent(server, "bob")
            assert.equal("e1", bob:receive_envelope().id)
            assert.equal("e3", bob:receive_envelope().id)
            bob:expect_nothing()
            assert.equal(1, http.get(server, "/metrics").messages.undeliverable.expired)
        end)
    end

    it("can be sent on by on_undeliverable after it expired", function()
        local server = bridge.start({config = {agents = {cleanupIntervalMs = 10}}, script = [[
            return {
                on_undeliverable = function(envelope, reason, recipient, bridge)
                    return bridge.to("carol")
                end,
            }]]})
        local alice, carol = websocket.agent(server, "alice"), websocket.agent(server, "carol")
        send_short_lived(alice, "e1")

        assert.equal("e1", carol:receive_envelope().id)
    end)
end)

describe("expiresMs of a decision", function()
    after_each(bridge.clean)

    it("lets an envelope expire in a mailbox, whatever agents.expiry says", function()
        local server = bridge.start({config = {agents = {cleanupIntervalMs = 10, expiry = false}}, script = [[
            return {
                route = function(envelope, bridge)
                    local kind = envelope.payload.kind
                    if kind == "list" then
                        return {
                            bridge.to({"bob", "carol"}, {expiresMs = 2000000}), bridge.role("none", {expiresMs = 1}),
                        }
                    elseif kind == "long" then
                        return bridge.to("bob", {expiresMs = 2147483647})
                    end
                    return bridge.to("bob", {expiresMs = 1})
                end,
                on_undeliverable = function(envelope, reason, recipient)
                    print("undeliverable " .. envelope.id .. " " .. reason .. " " .. tostring(recipient))
                end,
            }]]})
        local alice = websocket.agent(server, "alice")
        for id, kind in pairs({e1 = "short", e2 = "long", e3 = "list"}) do
            alice:send_envelope({id = id, payload = {kind = kind}})
        end
        alice:expect_nothing()
        server:wait_log("undeliverable e1 expired bob")
        server:wait_log("undeliverable e3 expired bob")
        server:wait_log("undeliverable e3 expired carol")

        local bob = websocket.agent(server, "bob")
        assert.equal("e2", bob:receive_envelope().id)
        bob:expect_nothing()
    end)

    it("ends the waiting for a free agent", function()
        local server = bridge.start({config = {agents = {cleanupIntervalMs = 10}}, script = [[
            return {
                route = function(envelope, bridge)
                    return bridge.any{role = "worker", wait = true, expiresMs = 1}
                end,
                on_undeliverable = function(envelope, reason, recipient)
                    print("undeliverable " .. envelope.id .. " " .. reason .. " " .. tostring(recipient))
                end,
            }]]})
        local alice = websocket.agent(server, "alice")
        alice:send_envelope({id = "e1"})

        server:wait_log("undeliverable e1 expired nil")
    end)
end)
