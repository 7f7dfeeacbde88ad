local harness = require "luaduct.test"

describe("enrichment from a worker operation", function()
    local document = harness.envelope{
        from = "ann", to = "reader", intent = "document.submit", payload = {text = "one two"}, context = {lang = "en"},
    }

    it("adds what the operation found", function()
        local script = harness.load("enrich.lua", {
            workers = {
                text_analysis = function(data)
                    assert.same({op = "statistics", text = "one two"}, data)
                    return {tokens = 2}
                end,
            },
        })
        local decision = script:route(document)
        assert.same({context = {lang = "en", analysis = {tokens = 2}}}, decision.assigned)
        assert.same({"reader"}, harness.recipients(decision))
    end)

    it("lets it pass when the operation fails", function()
        local script = harness.load("enrich.lua", {
            workers = {
                text_analysis = function()
                    return nil, "the queue is full", "overloaded"
                end,
            },
        })
        assert.same({}, script:route(document).assigned)
        assert.truthy(script:logged("document not analysed: the queue is full overloaded"))
    end)
end)
