local harness = require "luaduct.test"

local function after(ms, payload)
    return function()
        return {payload = payload}, ms
    end
end

describe("fan-out and gather", function()
    local script
    local question = harness.envelope{from = "ann", intent = "panel.ask", payload = {text = "is it raining?"}}

    before_each(function()
        script = harness.load("fan_out.lua")
    end)

    it("answers with what two thirds of the experts have said", function()
        harness.bridge_with{
            {id = "ann"}, {id = "one", role = "expert", reply = after(20, {rain = true})},
            {id = "two", role = "expert", reply = after(10, {rain = false})},
            {id = "three", role = "expert", reply = after(900, {rain = true})},
        }
        local decision = script:route(question)
        assert.same({"ann"}, harness.recipients(decision))
        assert.same({
            answers = {{from = "two", payload = {rain = false}}, {from = "one", payload = {rain = true}}},
            silent = {"three"},
        }, decision[1].payload)
        assert.equal("panel.question", script.asked[1].envelope.intent)
        assert.same({text = "is it raining?"}, script.asked[1].envelope.payload)
    end)

    it("does not wait for ever, nor for the sender", function()
        harness.bridge_with{
            {id = "ann", role = "expert"}, {id = "one", role = "expert", reply = {payload = 1}},
            {id = "mute", role = "expert"},
        }
        local before = harness.clock.now()
        local answer = script:route(question)[1].payload
        assert.equal(5000, harness.clock.now() - before)
        assert.same({{from = "one", payload = 1}}, answer.answers)
        assert.same({"mute"}, answer.silent)
    end)

    it("says so when there is no expert", function()
        local bridge = harness.bridge_with{{id = "ann"}}
        assert.decides(script:route(question), bridge.drop("no expert is there", {tell = true}))
    end)
end)
