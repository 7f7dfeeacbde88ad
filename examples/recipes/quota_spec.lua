local harness = require "luaduct.test"

describe("quota by token count", function()
    local bridge, script

    before_each(function()
        bridge = harness.bridge_with{{id = "ann"}, {id = "ben"}, {id = "gpt", role = "model"}}
        script = harness.load("quota.lua")
    end)

    local function ask(from, bytes)
        return script:route(harness.envelope{
            from = from, intent = "model.ask", payload = {messages = {{text = ("x"):rep(bytes)}}},
        })
    end

    it("lets questions pass until the day's tokens are used", function()
        assert.decides(ask("ann", 300000), bridge.any{role = "model"})
        assert.decides(ask("ann", 200000), bridge.reply{error = "quota", asked = 50000, daily = 100000})
        assert.decides(ask("ann", 100000), bridge.any{role = "model"})
    end)

    it("counts for each agent", function()
        ask("ann", 400000)
        assert.decides(ask("ben", 400000), bridge.any{role = "model"})
    end)

    it("begins again a day later", function()
        ask("ann", 400000)
        harness.clock.advance(86401000)
        assert.decides(ask("ann", 400000), bridge.any{role = "model"})
    end)

    it("leaves other envelopes alone", function()
        assert.same({"ben"}, harness.recipients(script:route(harness.envelope{from = "ann", to = "ben"})))
    end)
end)
