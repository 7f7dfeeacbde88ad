local harness = require "luaduct.test"

describe("dead letters", function()
    local bridge, script

    before_each(function()
        bridge = harness.bridge_with{{id = "ann"}, {id = "undertaker"}}
        script = harness.load("dead_letters.lua")
    end)

    it("take what reached nobody, with the reason", function()
        local decision = script:on_undeliverable(harness.envelope{from = "ann", to = "gone"}, "mailbox_full", "gone")
        assert.decides(decision, bridge.to("undertaker"))
        assert.equal("mailbox_full", decision.envelope.context.reason)
        assert.equal("gone", decision.envelope.context.recipient)
    end)

    it("make no circles", function()
        assert.is_nil(script:on_undeliverable(harness.envelope{from = "ann"}, "evicted", "undertaker"))
    end)
end)
