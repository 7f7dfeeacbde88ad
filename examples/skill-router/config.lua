-- luaduct run examples/skill-router/config.lua
return {
    script = {
        path = "route.lua",
        -- A task whose routing fails must not go to everyone, as the bridge's own rule would have it.
        onError = "drop",
    },
    agents = {
        maxQueue = 10000,        -- tasks that may wait for one skill
        mailboxTtlMs = 86400000, -- and for how long after the last of them: a day
    },
}
