local harness = require "luaduct.test"

describe("a scheduled message", function()
    local bridge, script
    local reminder = harness.envelope{
        from = "ann", to = "ben", id = "r1", intent = "remind", payload = {text = "tea"}, context = {afterMs = 90000},
    }

    before_each(function()
        bridge = harness.bridge_with{{id = "ann"}, {id = "ben"}}
        script = harness.load("scheduled.lua")
        harness.clock.set(1767268800000)
    end)

    it("is delivered when its time has come", function()
        local decision = script:route(reminder)
        assert.decides(decision, bridge.reply{scheduled = "r1", at = "2026-01-01T12:01:30Z"})
        assert.same({"ann"}, harness.recipients(decision))
        harness.clock.advance(89999)
        assert.same({}, script.sent)

        harness.clock.advance(1)
        local sent = script.sent[1]
        assert.same({"ben"}, sent.to)
        assert.same({"r1", "ann", "remind", {text = "tea"}, {}},
            {sent.envelope.id, sent.envelope.from, sent.envelope.intent, sent.envelope.payload, sent.envelope.context})
        harness.clock.advance(86400000)
        assert.equal(1, #script.sent)
    end)

    it("is refused when it is sent twice, names nobody, or is for another day", function()
        script:route(reminder)
        local twice = script:route(reminder)
        assert.equal("drop", twice[1].kind)
        assert.is_true(twice[1].tell)
        assert.equal("drop", script:route(harness.envelope{from = "ann", context = {afterMs = 5}})[1].kind)
        local late = harness.envelope{from = "ann", to = "ben", context = {afterMs = 1e9}}
        assert.equal("drop", script:route(late)[1].kind)
    end)

    it("leaves the others to the bridge", function()
        assert.decides(script:route(harness.envelope{from = "ann", to = "ben"}), nil)
        assert.decides(script:route(harness.envelope{from = "ann", to = "ben", context = {"afterMs"}}), nil)
    end)
end)
