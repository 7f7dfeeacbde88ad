-- A bridge in production: what differs from config/luaduct.lua, which names every key.
--
-- It listens on loopback, behind a proxy on the same machine that ends TLS and sets X-Forwarded-For. The credential
-- comes from the environment: AI_BRIDGE_AUTH_TOKEN; without it whoever reaches the port may call. To administer
-- (reload, tail, export, drain …) takes more: AI_BRIDGE_ADMIN_SOCKET names a Unix socket for it, as the unit for
-- systemd does, and named tokens (auth.tokens) may have the role admin.
-- `luaduct check config/production.lua` checks it.

return {
    environment = "production",

    -- What strangers may take. An address may be an office, so it gets room for many; what a sender gets is enough for
    -- an agent that works hard: raise it for agents that stream. docs/security.md says what each of them holds.
    limits = {
        -- Who the proxy says it speaks for is believed. For HAProxy and others that can, the PROXY protocol is better:
        -- listen.proxyProtocol = true. Without a proxy: leave it out.
        trustedProxies = { "127.0.0.1", "::1" },

        connectionsPerAddress = 100,
        connectionsPerIdentity = 100,
        handshakesPerSecond = 500,
        handshakesPerSecondPerAddress = 20,

        agents = 20000,
        agentsPerAddress = 100,
        agentsPerIdentity = 100,

        messagesPerSecond = 1000,
        messageBurst = 2000,
        bytesPerSecond = "16MiB",
        messagesPerSecondPerAddress = 5000,
        bytesPerSecondPerAddress = "32MiB",
        messagesPerSecondTotal = 100000,
        bytesPerSecondTotal = "512MiB",

        scriptMsPerSecond = 200,            -- of one reactor's time: a fifth of it for one sender
        mailboxBytesPerSender = "32MiB",    -- or one sender could fill everybody's
        messageTimeoutMs = 60000,
    },

    -- Enough to look back over a minute of a busy day.
    history = { limit = 5000, bytes = "32MiB" },

    -- One object a line, for a collector.
    log = { format = "json" },

    -- What the process does not need it cannot do, where the kernel knows how.
    confinement = { files = "auto", systemCalls = "auto" },
}
