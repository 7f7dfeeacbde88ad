-- A bridge in production: what differs from config/luaduct.lua, which names every key.
--
-- It listens on loopback, behind a proxy on the same machine that ends TLS. The credential comes from the environment:
-- AI_BRIDGE_AUTH_TOKEN; without it whoever reaches the port may call. `luaduct check config/production.lua` checks it.

return {
    environment = "production",

    -- With one token for all, an agent that floods is held back by these; raise them for agents that stream.
    limits = {
        messagesPerSecond = 1000,
        messageBurst = 2000,
        bytesPerSecond = "16MiB",
    },

    -- Enough to look back over a minute of a busy day.
    history = { limit = 5000, bytes = "32MiB" },

    -- One object a line, for a collector.
    log = { format = "json" },

    -- What the process does not need it cannot do, where the kernel knows how.
    confinement = { files = "auto", systemCalls = "auto" },
}
