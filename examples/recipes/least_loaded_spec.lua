local harness = require "luaduct.test"

describe("least loaded", function()
    it("fills workers evenly", function()
        harness.bridge_with{
            {id = "ann"}, {id = "w1", role = "worker", maxConcurrentTasks = 8, openTasks = 2},
            {id = "w2", role = "worker", maxConcurrentTasks = 8},
        }
        local script = harness.load("least_loaded.lua")
        local got = {w1 = 0, w2 = 0}
        for number = 1, 4 do
            local task = harness.envelope{from = "ann", intent = "task.assign", taskId = "t" .. number}
            local id = harness.recipients(script:route(task))[1]
            got[id] = got[id] + 1
        end
        assert.same({w1 = 1, w2 = 3}, got)
    end)
end)
