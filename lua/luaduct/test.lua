-- The harness for specs of scripts: `local harness = require "luaduct.test"`, under `luaduct test`. docs/lua-api.md
-- has what it can do.
local agents = require "luaduct.test.agents"
local assertions = require "luaduct.test.assertions"
local clock = require "luaduct.test.clock"
local decision = require "luaduct.test.decision"
local envelope = require "luaduct.test.envelope"
local room = require "luaduct.test.room"
local script = require "luaduct.test.script"

local harness = {
    clock = clock, envelope = envelope.new, null = room.null, array = room.array, bridge = {},
}

for name, constructor in pairs(decision.constructors) do
    harness.bridge[name] = constructor
end

-- The folder of the file that called the harness, with its slash: specs name scripts as they lie beside them.
local function caller_folder()
    local source = debug.getinfo(3, "S").source
    return source:match("^@(.*/)") or ""
end

-- harness.load("route.lua", {folder =, workers =, budgetMs =, suspendMs =, memoryLimit =}): a script, or a chain of
-- them, named from the spec's own folder. Raises what `luaduct check` would say.
function harness.load(paths, options)
    local folder, found = caller_folder(), {}
    for index, path in ipairs(type(paths) == "table" and paths or {paths}) do
        found[index] = path:sub(1, 1) == "/" and path or folder .. path
    end
    local loaded, problem = script.load(found, options or {})
    if not loaded then
        error(problem, 0)
    end
    return loaded
end

-- The agents that are connected from now on, and no others. Gives the bridge: the constructors of decisions, join,
-- leave.
function harness.bridge_with(list)
    agents.reset(list)
    return setmetatable({
        join = function(_, agent)
            agents.join(agent)
        end,
        leave = function(_, id)
            agents.leave(id)
        end,
    }, {__index = harness.bridge})
end

-- The ids of those who get what the script decided, in order.
function harness.recipients(made)
    if not decision.is(made) or not made.recipients then
        error("recipients: expected what script:route or script:on_undeliverable gave", 2)
    end
    return made.recipients
end

-- Timers belong to the test that their script is used in.
require("busted").subscribe({"test", "end"}, function()
    script.rest()
    return nil, true
end)

assertions.install()
agents.reset()

return harness
