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
        -- admin = "luaduct.sock",          -- a Unix socket for administration, mode 0600
        -- true: allow a host that is not loopback without TLS or without a credential
        insecure = false,
        -- connections of limits.trustedProxies begin with a PROXY header, version 1 or 2
        proxyProtocol = false,
    },
    console = true,                         -- the console at /console of the HTTP port; false: there is nothing

    -- The routing scripts and what bounds them. Relative paths, here and below, start at this file's folder.
    script = {
        -- a routing script, or a list of them run in order; none: the mode's own behaviour
        -- path = "routes/main.lua",
        -- folder = "routes",               -- where `require` inside a script looks; none: the script's own folder
        budgetMs = 50,                      -- a hook that takes more processor time is stopped
        -- an envelope whose route failed goes by the mode's own rule, or nowhere (fail closed)
        onError = "default",
        suspendMs = 30000,                  -- a hook that waits longer is ended
        memoryLimit = "64MiB",              -- for one Lua state
        stateBytes = "1MiB",                -- what luaduct.state of one script may take when a reload hands it over
        sharedBytes = "16MiB",              -- of luaduct.shared; past it the entries that were not used for longest go
        jit = false,                        -- true: scripts are compiled; then budgetMs cannot stop a compiled loop
        -- a hook of which so many calls overran is switched off for a while; 0: never
        breakerOverruns = 10,
        breakerSenders = 3,                 -- ... if they were caused by so many senders at least
        breakerWindowMs = 60000,            -- ... within this time
        breakerCooldownMs = 30000,          -- how long it is off; then one call is tried
        -- reload when a file changes: config, scripts, tokens, keys, certificates, rules
        watch = false,
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
        -- whose mailbox takes accepted envelopes that a limit lost; none: they are only counted and told
        -- deadLetters = "dead-letters",
        -- context.expiresAt of an envelope counts; left out: true in enhanced, false in original
        -- expiry = true,
        dedupWindowMs = 0,                  -- an id that its sender used this short a time ago is refused as duplicate
        dedupIds = 100000,                  -- ids remembered for that, about 32 bytes each; past it the oldest go
        -- an envelope with this intent opens its taskId for the agent that gets it
        taskOpenIntents = { "task.assign" },
        -- an envelope with this intent closes its taskId for the agent that sends it
        taskCloseIntents = { "task.complete", "task.failed", "task.cancelled" },
        -- open taskIds counted for one agent; with that many it is full, whatever its maxConcurrentTasks
        maxOpenTasks = 1024,
        -- envelopes of bridge.any{wait = true} that may wait for an agent with room; past it overloaded
        maxWaiting = 1000,
        -- such an envelope is given up after this long (looked for every cleanupIntervalMs)
        waitingTtlMs = 60000,
        -- what waits in a mailbox or for a full socket goes by priority: 8 high, 3 normal, 1 low
        priorityOrder = false,
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
        -- of one identity, once its credential has come: WebSockets, and requests that listen to events
        connectionsPerIdentity = 0,
        handshakesPerSecond = 0,            -- new connections, of all; past it 429
        handshakesPerSecondPerAddress = 0,  -- new connections of one remote address; past it 429
        agents = 0,                         -- registered, in all
        agentsPerAddress = 0,               -- registered from one remote address
        agentsPerIdentity = 0,              -- registered with one identity
        messagesPerSecond = 0,              -- of one sender: its identity, else its clientId
        messageBurst = 0,                   -- messages at once before that rate counts
        bytesPerSecond = 0,                 -- of one sender
        messagesPerSecondPerAddress = 0,    -- of all senders of one remote address
        bytesPerSecondPerAddress = 0,       -- of all senders of one remote address
        messagesPerSecondTotal = 0,         -- of everybody together
        bytesPerSecondTotal = 0,            -- of everybody together
        -- of a reactor's time, for what one sender sends and for its coming and going
        scriptMsPerSecond = 0,
        -- in all mailboxes together, from one sender: its identity, else its address
        mailboxBytesPerSender = 0,
        -- a WebSocket message that is not complete so long after its first byte closes the connection
        messageTimeoutMs = 0,
        sendQueueBytes = "4MiB",            -- waiting for one slow agent; past it slowAgent decides
        slowAgent = "queue",                -- into its mailbox, the oldest dropped, or closed with 1013
        memory = "auto",                    -- of the process; "auto" is 80 % of what machine and container allow
        -- proxies that are believed whom they speak for: addresses or ranges such as "10.0.0.0/8"
        trustedProxies = {},
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
        bodyTimeoutMs = 30000,              -- the same of its body, counted from the end of the header
        headerBytes = "16KiB",              -- of a request's header; past it 431
    },

    -- The credential. Without one, whoever reaches the port may call.
    auth = {
        -- token = { file = "token" },      -- the credential that all share: text, or a file that holds it
        tokenIsAdmin = false,               -- whoever has the token may administer too
        -- a file of named tokens, each with its own rights: see `luaduct help token`
        -- tokens = "tokens.jsonl",
        -- the script's `authenticate` says who somebody is, where no other credential does
        hook = false,
        jwt = {
            -- keys = "jwks.json",          -- JSON Web Tokens are taken that are signed with a key of this JWK set
            -- key = "public.pem",          -- ... or with this public key (RSA of 2048 to 4096 bits, or P-256)
            -- ... or with this secret (HS256; 32 bytes or more): text, or a file that holds it
            -- secret = { file = "jwt-secret" },
            -- that tokens may be signed by; left out: those that the keys are for
            -- algorithms = { "RS256", "ES256" },
            -- what `iss` must be; left out: it is not looked at
            -- issuer = "https://issuer.example",
            -- audience = "luaduct",        -- what `aud` must name; left out: a token with `aud` is refused
            leewayMs = 10000,               -- by how much clocks may differ where `exp`, `nbf` and `iat` are judged
            -- the claim that says who it is: text. A claim inside objects is a list of names, the outermost first
            idClaim = { "sub" },
            -- ... which clientIds it may take (* stands for any text); left out or not in the token: only its id
            -- clientIdsClaim = "agents",
            -- ... as which roles it may register
            -- agentRolesClaim = "agent_roles",
            -- ... which roles it has for rules of access; `admin` may administer
            -- rolesClaim = { "realm_access", "roles" },
            -- labelsClaim = "labels",      -- ... which labels it has
        },
    },

    -- Encryption on the bridge's own ports.
    tls = {
        -- certificate chain, PEM, the leaf first; with it both ports speak TLS and nothing else
        -- cert = "cert.pem",
        -- key = "key.pem",                 -- its private key, PEM, without a passphrase
        -- more of both, by server name; without names: those in the certificate; see docs/operations.md
        certs = {},
        -- clientCa = "clients.pem",        -- who signs client certificates, PEM; none: no client is asked for one
        requireClientCert = false,          -- refuse a client without one; a wrong one is refused always
        -- lists of revoked client certificates, PEM; one that has run out refuses all of its authority
        -- crl = "revoked.pem",
        minVersion = "1.2",                 -- of the protocol; the TLS library (mbedtls 2.28) has no newer one
        ciphers = {},                       -- cipher suites, best first; none: all six, as in docs/security.md
        handshakeTimeoutMs = 10000,         -- a handshake that takes longer is closed
        maxHandshakes = 1024,               -- handshakes under way, some 44 KiB each; past it connections are closed
        handshakeThreads = "auto",          -- threads that shake hands; "auto" is one for each processor, at most 4
    },

    -- Threads and optional parts of the protocol.
    performance = {
        -- keep what routes have decided that declare by which fields they do (`cache = {...}` in the script)
        cache_enabled = true,
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

    -- How alert rules are watched, and the built-in ones.
    alerts = {
        intervalMs = 1000,                  -- between two looks at the rules
        windowMs = 60000,                   -- rates are over this time
        cooldownMs = 60000,                 -- a rule neither fires nor acts again within it
        -- notify = "operator",             -- an agent that gets each alert as an envelope, intent bridge.alert
        webhook = {
            -- each alert is posted there as JSON; https:// trusts the system's authorities, or SSL_CERT_FILE
            -- url = "http://localhost:9000/alerts",
            -- signs what is posted: text, or a file that holds it
            -- secret = { file = "webhook-secret" },
            timeoutMs = 5000,               -- for one try
        },
        gcFrequency = {
            enabled = true,                 -- watch it
            threshold = 10,                 -- full collections a minute, above
            forMs = 0,                      -- it fires when that has lasted for so long
            action = "WARN",                -- what the alert does beside being shown: see docs/operations.md
        },
        poolHitRate = {
            enabled = true,                 -- watch it
            threshold = 0.8,                -- share of hits, below
            forMs = 10000,                  -- it fires when that has lasted for so long
            action = "ALERT",               -- what the alert does beside being shown: see docs/operations.md
        },
        workerUtilization = {
            enabled = true,                 -- watch it
            threshold = 0.9,                -- share of busy workers, above
            forMs = 5000,                   -- it fires when that has lasted for so long
            action = "SCALE_UP",            -- what the alert does beside being shown: see docs/operations.md
        },
        certificateExpiry = {
            enabled = true,                 -- watch it
            threshold = 14,                 -- days, below
            forMs = 0,                      -- it fires when that has lasted for so long
            action = "WARN",                -- what the alert does beside being shown: see docs/operations.md
        },
    },

    -- When a version of the scripts on trial is taken back or promoted.
    canary = {
        minCalls = 50,                      -- calls of the version on trial before the rates below count
        maxErrorRate = 0.01,                -- share of failed calls, above that of the version in use
        maxRefusedRate = 0.05,              -- share of envelopes that nobody took, the same
        -- P99 of the hooks' time, to that of the version in use; below 0.1 ms it does not count
        maxTimeRatio = 3,
        maxOverruns = 3,                    -- hooks stopped over script.budgetMs, however many calls there were
        holdMs = 60000,                     -- how long nothing may speak against it before it is promoted
        promote = "auto",                   -- "manual": it stays on trial until `luaduct canary promote`
    },

    -- Rules as Lua files.
    policies = {
        -- alerts = "policies/alerts.lua",  -- a Lua file of alert rules
        -- a Lua file of access rules: who may send what to whom, see what, administer
        -- access = "policies/access.lua",
    },

    -- What the bridge writes about itself.
    log = {
        level = "info",                     -- what is less than this is not written
        -- a line for each HTTP request, and for each connection when it comes and when it goes
        access = false,
        format = "text",                    -- of each line
        -- file = "luaduct.log",            -- none: standard error
        levels = {
            -- server = "debug",            -- start, stop, signals, rights
            -- reload = "debug",            -- versions of scripts and config, the files that are watched
            -- agent = "debug",             -- agents and their connections
            -- access = "debug",            -- the access log
            -- http = "debug",              -- the endpoints
            -- auth = "debug",              -- who is refused what
            -- tls = "debug",               -- certificates, handshakes
            -- memory = "debug",            -- the budget, what is done to keep to it
            -- script = "debug",            -- what scripts say, and what they do wrong
            -- worker = "debug",            -- threads for tasks
            -- engine = "debug",            -- what can be switched
            -- alert = "debug",             -- alerts and their rules, who is told
            -- tracing = "debug",           -- spans and where they go
            -- log = "debug",               -- the log itself
        },
    },

    -- How the bridge goes away.
    drain = {
        -- how long /ready says no and no new agent is let in before agents are told to go
        delayMs = 0,
        -- from then on: for agents to read what waits, and for all that is under way; then it is cut
        timeoutMs = 10000,
        retryMs = 1000,                     -- agents are told to come back after this to twice this
    },

    -- How it hands over to a new process.
    upgrade = {
        timeoutMs = 30000,                  -- for the process that SIGUSR2 starts to be ready; then this one goes on
        -- so long nobody may be served while it is given everything; then this one goes on
        stillMs = 2000,
    },

    -- Where an envelope went, as spans of OpenTelemetry.
    tracing = {
        -- a collector that spans are posted to (OTLP/HTTP, JSON); none: nothing is traced
        -- endpoint = "http://localhost:4318/v1/traces",
        -- share that is traced of envelopes whose sender does not say; else its `sampled` flag counts
        sampleRatio = 0,
        -- that one sender has traced by its `sampled` flag; past it the ratio counts
        forcedPerSecond = 100,
        -- further ones of each request, such as { ["x-api-key"] = os.getenv("KEY") }
        headers = {},
        serviceName = "luaduct",            -- what the bridge is called there
        batchSpans = 512,                   -- in one request, at most
        -- that wait to be posted, some 0.5 KiB each; past it they are dropped and counted
        queueSpans = 8192,
        intervalMs = 1000,                  -- for how long a span waits for others to fill a request
        timeoutMs = 5000,                   -- for one try
    },
    -- to run as once the ports are open, by name or number; needs a start as root
    -- user = "luaduct",
    -- group = "luaduct",                   -- none: the group of that user

    -- What the process gives up for good once it has started.
    confinement = {
        -- open only files in folders that this file names (Landlock); "auto": where the kernel can
        files = "off",
        systemCalls = "off",                -- a filter of system calls (seccomp); "auto": where the kernel can
    },
}
