local harness = require "luaduct.test"

describe("sticky session", function()
    local bridge, script

    before_each(function()
        bridge = harness.bridge_with{{id = "ann"}}
        for number = 1, 4 do
            bridge:join{id = "assistant-" .. number, role = "assistant"}
        end
        script = harness.load("sticky.lua")
    end)

    local function owner(session)
        local decision = script:route(harness.envelope{from = "ann", context = {session = "session " .. session}})
        return harness.recipients(decision)[1]
    end

    it("keeps a session where it is", function()
        for session = 1, 20 do
            assert.equal(owner(session), owner(session))
        end
    end)

    it("spreads sessions over all", function()
        local owners = {}
        for session = 1, 100 do
            owners[owner(session)] = true
        end
        for number = 1, 4 do
            assert.is_true(owners["assistant-" .. number])
        end
    end)

    it("moves only the sessions of an agent that leaves", function()
        local before = {}
        for session = 1, 50 do
            before[session] = owner(session)
        end
        bridge:leave("assistant-3")
        for session = 1, 50 do
            if before[session] ~= "assistant-3" then
                assert.equal(before[session], owner(session))
            end
        end
    end)
end)
