-- A reactor that a hook holds up holds up nobody else's.
local bridge = require "tests.support.bridge"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local SCRIPT = [[
return {
    route = function(envelope)
        if envelope.intent == "stick" then
            luaduct.shared.set("stuck", true)
            while not luaduct.shared.get("released") do end
        elseif envelope.intent == "release" and luaduct.shared.get("stuck") then
            luaduct.shared.set("released", true)
        end
    end,
}
]]

describe("a reactor whose hook does not end", function()
    after_each(bridge.clean)

    it("leaves the agents of the other reactors served, and one of them can even free it", function()
        local server = bridge.start({script = SCRIPT, config = {
            performance = {worker_threads = 2}, script = {budgetMs = 10000, onError = "drop"},
        }})
        local agents = {}
        for index = 1, 16 do -- the kernel spreads them; all on one reactor is a chance of 1 in 32,768
            agents[index] = websocket.agent(server, "agent-" .. index)
        end
        agents[1]:send_envelope({to = "agent-1", id = "stuck", intent = "stick"})

        wait.eventually(function()
            for index = 2, 16 do
                agents[index]:send_envelope({to = "agent-1", id = "free-" .. index, intent = "release"})
            end
            local message = agents[1]:receive(0.2)
            return message and message.payload:find('"stuck"', 1, true)
        end, 20)
    end)
end)
