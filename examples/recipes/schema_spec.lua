local harness = require "luaduct.test"

describe("schema check", function()
    local script = harness.load("schema.lua")

    local function route(intent, payload)
        return script:route(harness.envelope{from = "ann", intent = intent, payload = payload})
    end

    it("lets through what is as it should be", function()
        assert.decides(route("order.place", {item = "tea", count = 2}), nil)
        assert.decides(route("order.place", {item = "tea", count = 2, note = "hot"}), nil)
        assert.decides(route("chat", {anything = 1}), nil)
    end)

    it("says what is wrong", function()
        for mistake, payload in pairs({
            ["payload.count is missing"] = {item = "tea"},
            ["payload.count: expected a number, got a string"] = {item = "tea", count = "2"},
            ["payload.size: there is no such field"] = {item = "tea", count = 2, size = 1},
            ["payload: expected an object, got a string"] = "tea",
        }) do
            assert.decides(route("order.place", payload), harness.bridge.drop(mistake, {tell = true}))
        end
    end)
end)
