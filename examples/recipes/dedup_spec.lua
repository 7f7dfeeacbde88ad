local harness = require "luaduct.test"

describe("dedup by id", function()
    local script

    before_each(function()
        harness.bridge_with{{id = "ann"}, {id = "ben"}}
        script = harness.load("dedup.lua")
    end)

    local function send(from, id)
        return #harness.recipients(script:route(harness.envelope{from = from, id = id, to = "ben"}))
    end

    it("drops what its sender has sent already", function()
        assert.equal(1, send("ann", "e1"))
        assert.equal(0, send("ann", "e1"))
        assert.equal(1, send("ann", "e2"))
    end)

    it("keeps senders apart", function()
        send("ann", "e1")
        assert.equal(1, send("ben", "e1"))
    end)

    it("forgets after five minutes", function()
        send("ann", "e1")
        harness.clock.advance(301000)
        assert.equal(1, send("ann", "e1"))
    end)
end)
