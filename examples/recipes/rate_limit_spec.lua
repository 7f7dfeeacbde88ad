local harness = require "luaduct.test"

describe("rate limit per tenant", function()
    local script

    before_each(function()
        harness.bridge_with{{id = "acme.one"}, {id = "acme.two"}, {id = "other.one"}}
        script = harness.load("rate_limit.lua")
    end)

    local function send(from)
        return harness.recipients(script:route(harness.envelope{from = from, to = "other.one"}))[1]
    end

    it("lets a tenant's agents send a hundred a minute together", function()
        for _ = 1, 50 do
            assert.equal("other.one", send("acme.one"))
            assert.equal("other.one", send("acme.two"))
        end
        assert.is_nil(send("acme.one"))
        assert.is_nil(send("acme.two"))
    end)

    it("counts others by themselves", function()
        for _ = 1, 101 do
            send("acme.one")
        end
        assert.equal("other.one", send("other.one"))
    end)

    it("begins again a minute later", function()
        for _ = 1, 101 do
            send("acme.one")
        end
        harness.clock.advance(61000)
        assert.equal("other.one", send("acme.one"))
    end)
end)
