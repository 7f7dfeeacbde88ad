local harness = require "luaduct.test"

describe("priority lanes", function()
    local bridge, script

    before_each(function()
        bridge = harness.bridge_with{
            {id = "ann"}, {id = "fast", role = "worker", labels = {"express"}},
            {id = "slow", role = "worker", labels = {"ordinary"}, maxConcurrentTasks = 10},
        }
        script = harness.load("lanes.lua")
    end)

    local function assign(priority, task)
        return script:route(harness.envelope{
            from = "ann", intent = "task.assign", priority = priority, taskId = task,
        })
    end

    it("keeps the express lane for what is urgent", function()
        assert.decides(assign("normal", "t1"), bridge.any{role = "worker", label = "ordinary"})
        local urgent = assign("high", "t2")
        assert.same({"fast"}, harness.recipients(urgent))
        assert.same({channel = "express"}, urgent.assigned)
    end)

    it("takes the ordinary lane when the express lane is full", function()
        assign("high", "t1")
        assert.same({"slow"}, harness.recipients(assign("high", "t2")))
    end)

    it("gives a worker without a lane the ordinary one", function()
        assert.same({"gpu", "ordinary"}, script:on_register{id = "w", role = "worker", labels = {"gpu"}}.labels)
        assert.same({"express"}, script:on_register{id = "w", role = "worker", labels = {"express"}}.labels)
        assert.same({}, script:on_register{id = "boss", role = "manager"}.labels)
    end)
end)
