local harness = require "luaduct.test"

describe("round robin", function()
    local bridge, script

    before_each(function()
        bridge = harness.bridge_with{
            {id = "ann"}, {id = "w1", role = "worker"}, {id = "w2", role = "worker"}, {id = "w3", role = "worker"},
        }
        script = harness.load("round_robin.lua")
    end)

    local function next_worker()
        return harness.recipients(script:route(harness.envelope{from = "ann", intent = "task.assign"}))[1]
    end

    it("gives each its turn", function()
        assert.same({"w1", "w2", "w3", "w1"}, {next_worker(), next_worker(), next_worker(), next_worker()})
    end)

    it("goes on when a worker leaves", function()
        next_worker()
        bridge:leave("w2")
        assert.same({"w3", "w1"}, {next_worker(), next_worker()})
    end)

    it("says so when there is none", function()
        for _, id in ipairs({"w1", "w2", "w3"}) do
            bridge:leave(id)
        end
        assert.decides(script:route(harness.envelope{from = "ann", intent = "task.assign"}),
            bridge.drop("no worker is connected", {tell = true}))
    end)
end)
