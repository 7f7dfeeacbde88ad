-- The ways in which one promise must hold: on one reactor and on two, in each mode. Each entry has a name for
-- `describe` and a start() like bridge.start.
local bridge = require "tests.support.bridge"

local variants = {}

local function with(base)
    return function(options)
        options = options or {}
        local config = {}
        for key, value in pairs(options.config or {}) do
            config[key] = value
        end
        for key, value in pairs(base) do
            config[key] = value
        end
        local all = {}
        for key, value in pairs(options) do
            all[key] = value
        end
        all.config = config
        return bridge.start(all)
    end
end

variants.reactors = {
    {name = "on one reactor", start = with({performance = {worker_threads = 1}})},
    {name = "on two reactors", start = with({performance = {worker_threads = 2}})},
}

variants.modes = {
    {name = "in enhanced mode", mode = "enhanced", start = with({mode = "enhanced"})},
    {name = "in original mode", mode = "original", start = with({mode = "original"})},
}

return variants
