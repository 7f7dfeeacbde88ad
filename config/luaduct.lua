-- Luaduct's configuration: every key of this version with its default. A key that is left out has the same default, so
-- an empty table is a good file too. docs/config.md says more; `luaduct check FILE` says what is wrong.
-- Times are milliseconds where a name ends in Ms. Sizes are bytes: a number, or text such as "64MiB" or "500MB".
-- A line that is commented out shows a key without default, or one that is not available yet.

return {
    mode = "enhanced",                      -- the bridge behaviour that scripts build on
    environment = "development",            -- a name shown on /health

    -- Where the bridge listens.
    listen = {
        host = "localhost",                 -- "localhost" is both loopbacks; else an address or a name
        wsPort = 4567,                      -- WebSocket; 0 picks a free port; two equal ports are one listener
        httpPort = 4568,                    -- HTTP; 0 picks a free port
        -- admin = "luaduct.sock",          -- a Unix socket for administration, mode 0600; not available yet
        -- true: allow a host that is not loopback without TLS or without a credential
        insecure = false,
    },

    -- The routing scripts and what bounds them. Relative paths, here and below, start at this file's folder.
    script = {
        -- a routing script, or a list of them run in order; none: the mode's own behaviour
        -- path = "routes/main.lua",
        -- folder = "routes",               -- where `require` inside a script looks; none: the script's own folder
        budgetMs = 50,                      -- a hook that runs longer is stopped
        -- an envelope whose route failed goes by the mode's own rule, or nowhere (fail closed)
        onError = "default",
        suspendMs = 30000,                  -- a hook that waits longer is ended
        memoryLimit = "64MiB",              -- for one Lua state
        jit = false,                        -- true: scripts are compiled; then budgetMs cannot stop a compiled loop
        -- watch = false,                   -- reload when a script changes; not available yet
    },

    -- Mailboxes of absent agents, and how an agent's life is watched.
    agents = {
        maxQueue = 1000,                    -- envelopes kept for one absent agent; past it the oldest go
        maxMailboxes = 10000,               -- absent agents that may have a mailbox
        mailboxBytes = "16MiB",             -- in one mailbox; past it the oldest go
        -- in all mailboxes; past it mailbox_full; "auto" is a quarter of limits.memory
        mailboxTotalBytes = "auto",
        mailboxTtlMs = 3600000,             -- a mailbox goes this long after its last envelope came
        ttlMs = 600000,                     -- an agent that shows no life for this long is closed
        cleanupIntervalMs = 30000,          -- how often old mailboxes and silent agents are looked for
        pingIntervalMs = 30000,             -- how often a quiet agent is pinged; never more than half of ttlMs
        -- a WebSocket not registered by then is closed (enhanced, or a token is set)
        registerTimeoutMs = 10000,
        -- from `registered` to the first delivery, so that a client can attach its handler
        registerGraceMs = 10,
        -- `from` must be the registered id; left out: true in enhanced, false in original
        -- verifyFrom = true,
        -- only registered agents send; left out: true in enhanced, false in original
        -- requireRegister = true,
        -- priorityOrder = false,           -- envelopes of higher priority are delivered first; not available yet
    },

    -- The newest accepted envelopes.
    history = {
        limit = 500,                        -- envelopes kept; 0 keeps none
        bytes = "4MiB",                     -- of the envelopes kept; whichever is reached first
    },

    -- What one peer and the whole process may take.
    limits = {
        messageBytes = "1MiB",              -- of one WebSocket message
        bodyBytes = "1MiB",                 -- of one HTTP body
        jsonDepth = 128,                    -- nested arrays and objects
        connections = "auto",               -- past it a new one is answered 503; "auto" follows the limit of open files
        connectionsPerAddress = 0,          -- of one remote address
        messagesPerSecond = 0,              -- of one agent
        messageBurst = 0,                   -- messages at once before that rate counts
        bytesPerSecond = 0,                 -- of one agent
        sendQueueBytes = "4MiB",            -- waiting for one slow agent; past it slowAgent decides
        slowAgent = "queue",                -- into its mailbox, the oldest dropped, or closed with 1013
        memory = "auto",                    -- of the process; "auto" is 80 % of what machine and container allow
    },

    -- Web pages, and what a single address may ask.
    http = {
        -- origins of web pages that may call: a list such as { "https://app.example" }, or "*"
        corsOrigins = {},
        -- names of this bridge, beside localhost and addresses, that a request without credential may use
        hosts = {},
        rateMax = 120,                      -- requests of one address in a window
        rateWindowMs = 60000,               -- that window
        headerTimeoutMs = 10000,            -- a request whose header is not complete by then is closed
    },

    -- The credential. Without one, whoever reaches the port may call.
    auth = {
        -- token = { file = "token" },      -- the credential that all share: text, or a file that holds it
        tokenIsAdmin = false,               -- whoever has the token may administer too
    },

    -- Encryption on the bridge's own ports. Not available yet.
    -- tls = {
    --     cert = "cert.pem",               -- certificate chain, PEM
    --     key = "key.pem",                 -- its private key, PEM
    --     clientCa = "clients.pem",        -- who signs client certificates
    --     requireClientCert = false,       -- refuse a client without one
    --     minVersion = "1.2",              -- of the protocol
    --     handshakeTimeoutMs = 10000,      -- a handshake that takes longer is closed
    -- },

    -- Threads and optional parts of the protocol.
    performance = {
        -- cache_enabled = true,            -- keep what was computed; not available yet
        -- reactors: threads that serve connections; "auto" is one for each processor
        worker_threads = "auto",
        -- agents may ask for MessagePack in binary frames: the subprotocol luaduct.msgpack
        binary_protocol = true,
        compression = true,                 -- offer permessage-deflate to WebSocket clients
    },

    -- The engines.
    phase2 = {
        objectPooling = {
            enabled = true,                 -- reuse memory
            envelopePoolSize = 100,         -- envelopes kept warm per reactor
            arrayPoolSize = 50,             -- arrays kept warm per reactor
            bufferPoolSize = 256,           -- buffers kept warm per reactor
            maxAgeMs = 60000,               -- idle longer than this is given back
        },
        gcOptimization = {
            enabled = true,                 -- react to memory pressure
            memoryThreshold = 0.75,         -- share of limits.memory that counts as pressure
            cooldownMs = 15000,             -- between two full collections
            sampleIntervalMs = 1000,        -- between two looks
            predictHorizonMs = 30000,       -- how far ahead the trend is followed
        },
        workerPool = {
            enabled = true,                 -- run tasks on worker threads
            minWorkers = 2,                 -- threads that always run
            maxWorkers = "auto",            -- "auto": the processors, at least 4, at most 8
            taskTimeout = 30000,            -- milliseconds; a task that runs longer is stopped
            queueLimit = 10000,             -- tasks that may wait
            idleTimeoutMs = 30000,          -- a thread idle for longer ends
            allowRoles = {},                -- roles that may ask for work
            executeBytes = "16MiB",         -- data of one task that came by envelope or HTTP
        },
        predictiveScaling = {
            enabled = true,                 -- workers and warm pools follow a forecast of the load, not only the load
        },
    },

    -- The three built-in alerts. Not available yet.
    -- alerts = {
    --     gcFrequency = {
    --         threshold = 10,              -- full collections a minute, above
    --         action = "WARN",             -- what it does
    --     },
    --     poolHitRate = {
    --         threshold = 0.8,             -- share of hits, below
    --         action = "ALERT",            -- what it does
    --     },
    --     workerUtilization = {
    --         threshold = 0.9,             -- share of busy workers, above
    --         action = "SCALE_UP",         -- what it does
    --     },
    -- },

    -- Rules as Lua files. Not available yet.
    -- policies = {
    --     alerts = "policies/alerts.lua",  -- a Lua file
    --     access = "policies/access.lua",  -- a Lua file
    -- },

    -- What the bridge writes about itself.
    log = {
        level = "info",                     -- what is less than this is not written
        format = "text",                    -- of each line
        -- file = "luaduct.log",            -- none: standard error
    },
}
