local harness = require "luaduct.test"

describe("retry to another agent", function()
    local script, bridge
    local task = harness.envelope{from = "ann", intent = "task.assign", taskId = "t1", to = "w1"}

    before_each(function()
        bridge = harness.bridge_with{{id = "ann"}, {id = "w1", role = "worker"}, {id = "w2", role = "worker"}}
        script = harness.load("retry.lua")
    end)

    it("takes another that has room", function()
        assert.decides(script:on_undeliverable(task, "slow_agent", "w1"), bridge.to("w2"))
        assert.truthy(script:logged("task t1 goes to w2 after slow_agent"))
    end)

    it("gives up when there is none", function()
        bridge:leave("w2")
        bridge:join{id = "w3", role = "worker", maxConcurrentTasks = 1, openTasks = 1}
        assert.is_nil(script:on_undeliverable(task, "mailbox_full", "w1"))
    end)

    it("leaves what is no task", function()
        assert.is_nil(script:on_undeliverable(harness.envelope{from = "ann", to = "w1"}, "no_recipient", "w1"))
    end)
end)
