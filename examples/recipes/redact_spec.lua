local harness = require "luaduct.test"

describe("redaction", function()
    local script

    before_each(function()
        script = harness.load("redact.lua")
    end)

    local function passed(payload)
        return script:route(harness.envelope{from = "ann", to = "ben", payload = payload})
    end

    it("empties keys that hold secrets, at any depth", function()
        local decision = passed{user = "ann", login = {{API_Key = "k", n = 1}}, Password = {"x"}}
        assert.same({user = "ann", login = {{API_Key = "[removed]", n = 1}}, Password = "[removed]"},
            decision.envelope.payload)
        assert.same({"ben"}, harness.recipients(decision))
    end)

    it("empties addresses and card numbers in texts", function()
        assert.same({text = "write to [address], pay with [card]."},
            passed{text = "write to ann.b@example.org, pay with 1234 5678 9012 3456."}.envelope.payload)
        assert.equal("[address]", passed("ann@example.org").envelope.payload)
    end)

    it("touches nothing else", function()
        assert.same({}, passed{text = "order 12345", n = 4}.assigned)
    end)
end)
