local harness = require "luaduct.test"

describe("route by skill", function()
    local bridge, script

    before_each(function()
        bridge = harness.bridge_with{
            {id = "ann"}, {id = "painter", tools = {"paint"}}, {id = "cook", tools = {"cook", "bake"}},
        }
        script = harness.load("skill.lua")
    end)

    local function assign(skill)
        return script:route(harness.envelope{from = "ann", intent = "task.assign", payload = {skill = skill}})
    end

    it("finds the agent that has the tool", function()
        assert.decides(assign("bake"), bridge.any{tool = "bake"})
        assert.same({"cook"}, harness.recipients(assign("bake")))
    end)

    it("says so when nobody has it", function()
        assert.decides(assign("sing"), bridge.drop("nobody here can do sing", {tell = true}))
    end)

    it("leaves the rest alone", function()
        assert.decides(script:route(harness.envelope{from = "ann", to = "cook"}), nil)
    end)
end)
