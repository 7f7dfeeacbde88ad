-- luaduct run examples/moderator/config.lua
return {
    script = {
        path = "route.lua", -- {"route.lua", "other.lua"} moderates first and routes then
        onError = "drop",   -- what could not be checked goes nowhere
    },
    -- What the script can look through well within script.budgetMs; larger messages are refused before it sees them.
    limits = { messageBytes = "256KiB", bodyBytes = "256KiB" },
}
