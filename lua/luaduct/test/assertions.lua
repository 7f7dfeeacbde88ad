-- assert.decides(decision, expected) for busted, and how decisions are printed in its messages.
local decision = require "luaduct.test.decision"

local assertions = {}

local function describe(made)
    local lines = {tostring(made)}
    if made.sent then
        local sent = {}
        for name, value in pairs(made.sent) do
            sent[name] = value
        end
        lines[#lines + 1] = "Envelope:\n" .. decision.show(sent)
        if next(made.assigned) then
            lines[#lines + 1] = "Assigned:\n" .. decision.show(made.assigned)
        end
    end
    return table.concat(lines, "\n")
end

local function decides(_, arguments)
    local made = arguments[1]
    if not decision.is(made) then
        error("assert.decides: expected a decision first, got " .. decision.show(made), 3)
    end
    return decision.equal(made, decision.from(arguments[2]))
end

function assertions.install()
    local luassert, say = require "luassert", require "say"
    say:set("assertion.decides.positive", "Decided:\n%s\nExpected:\n%s")
    say:set("assertion.decides.negative", "Decided, and should not have:\n%s\nNot expected:\n%s")
    luassert:register("assertion", "decides", function(state, arguments)
        local holds = decides(state, arguments)
        arguments[1] = describe(arguments[1])
        arguments[2] = tostring(decision.from(arguments[2]))
        arguments.nofmt = {[1] = true, [2] = true}
        arguments.n = 2
        return holds
    end, "assertion.decides.positive", "assertion.decides.negative")
    luassert:add_formatter(function(value)
        return decision.is(value) and describe(value) or nil
    end)
end

return assertions
