-- luaduct run examples/moderator/config.lua
return {
    script = {
        path = "route.lua", -- {"route.lua", "other.lua"} moderates first and routes then
        onError = "drop",   -- what could not be checked goes nowhere
    },
    -- Larger messages are refused before the script sees them. Up to here it is done within script.budgetMs, but for
    -- text that is made to be slow, and that is dropped.
    limits = { messageBytes = "128KiB", bodyBytes = "128KiB" },
}
