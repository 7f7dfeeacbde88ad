local harness = require "luaduct.test"

describe("A/B test", function()
    local bridge, script

    before_each(function()
        bridge = harness.bridge_with{{id = "ann"}, {id = "writer"}, {id = "writer-next"}}
        script = harness.load("ab_test.lua")
    end)

    local function route(conversation)
        return script:route(harness.envelope{
            from = "ann", to = "writer", context = {conversation = "conversation " .. conversation},
        })
    end

    it("gives the new agent its share, and marks both sides", function()
        local new = 0
        for conversation = 1, 1000 do
            local decision = route(conversation)
            local to_new = harness.recipients(decision)[1] == "writer-next"
            assert.same({side = to_new and "B" or "A"}, decision.envelope.trace)
            new = new + (to_new and 1 or 0)
        end
        assert.is_true(new > 50 and new < 150, "of 1000: " .. new)
    end)

    it("keeps a conversation on its side", function()
        for conversation = 1, 50 do
            assert.same(route(conversation).recipients, route(conversation).recipients)
        end
    end)

    it("uses the old one alone when the new one is away", function()
        bridge:leave("writer-next")
        for conversation = 1, 50 do
            assert.decides(route(conversation), bridge.to("writer"))
        end
    end)
end)
