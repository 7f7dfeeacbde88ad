--- Every key of the config file, declared once: validation, the overrides, docs/config.md and config/luaduct.lua all
--- come from this list, in this order.
--
-- path       dotted name; what stands before the last dot is a section
-- type       a kind of validate.lua
-- default    as a reader would write it; absent: the key may be left out
-- min, max   range of a number or a size;  zero: what 0 means beside that range;  auto: "auto" is a value too
-- choices    of a "choice"
-- variables  environment variables that override the key, the strongest first;  flag: of `luaduct run`, stronger still
-- secret     the value never stands in a message
-- live       a reload takes up a changed value; without it the change waits for a restart
-- feature    of a later version, by the name that a message gives it: the key is not available yet; its default is
--            fine, anything else stops the start
-- example    shown, commented out, in config/luaduct.lua where there is no default
-- help       one line

local MAX_MS = 2147483647 -- what a 32-bit timer of the clients can hold: 24 days
local MAX_COUNT = 1000000000
local MAX_SIZE = "64TiB" -- far above any machine, and sums of it stay exact in a Lua number

-- What has a level of its own: LOG_ROOMS in core/base/log.h has the same.
local LOG_ROOMS = {
    { "server", "start, stop, signals, rights" },
    { "reload", "versions of scripts and config, the files that are watched" },
    { "agent", "agents and their connections" },
    { "access", "the access log" },
    { "http", "the endpoints" },
    { "auth", "who is refused what" },
    { "tls", "certificates, handshakes" },
    { "memory", "the budget, what is done to keep to it" },
    { "script", "what scripts say, and what they do wrong" },
    { "worker", "threads for tasks" },
    { "engine", "what can be switched" },
    { "alert", "alerts and their rules, who is told" },
    { "tracing", "spans and where they go" },
    { "log", "the log itself" },
}

local ALERT_ACTIONS = { "WARN", "ALERT", "SCALE_UP", "SHED" }

-- What there is of TLS 1.2 with forward secrecy and authenticated encryption; core/net/tls/tls_cipher.c has the same.
local CIPHERS = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
}

local keys = {
    {
        path = "mode", type = "choice", choices = { "enhanced", "original" }, default = "enhanced", flag = "--mode",
        help = "the bridge behaviour that scripts build on",
    },
    {
        path = "environment", type = "text", live = true, default = "development", variables = { "NODE_ENV" },
        help = "a name shown on /health",
    },

    {
        path = "listen.host", type = "host", default = "localhost", variables = { "AI_BRIDGE_HOST" }, flag = "--host",
        help = '"localhost" is both loopbacks; else an address or a name',
    },
    {
        path = "listen.wsPort", type = "integer", min = 0, max = 65535, default = 4567,
        variables = { "PORT", "AI_BRIDGE_PORT" }, flag = "--ws-port",
        help = "WebSocket; 0 picks a free port; two equal ports are one listener",
    },
    {
        path = "listen.httpPort", type = "integer", min = 0, max = 65535, default = 4568,
        variables = { "PORT", "AI_BRIDGE_HTTP_PORT" }, flag = "--http-port",
        help = "HTTP; 0 picks a free port",
    },
    {
        path = "listen.admin", type = "new file", example = '"luaduct.sock"',
        help = "a Unix socket for administration, mode 0600",
    },
    {
        path = "listen.insecure", type = "boolean", default = false, variables = { "AI_BRIDGE_INSECURE" },
        help = "true: allow a host that is not loopback without TLS or without a credential",
    },
    {
        path = "listen.proxyProtocol", type = "boolean", default = false,
        help = "connections of limits.trustedProxies begin with a PROXY header, version 1 or 2",
    },

    {
        path = "console", type = "boolean", live = true, default = true,
        help = "the console at /console of the HTTP port; false: there is nothing",
    },

    {
        path = "script.path", type = "files", live = true, example = '"routes/main.lua"',
        help = "a routing script, or a list of them run in order; none: the mode's own behaviour",
    },
    {
        path = "script.folder", type = "folder", live = true, example = '"routes"',
        help = "where `require` inside a script looks; none: the script's own folder",
    },
    {
        path = "script.budgetMs", type = "integer", live = true, min = 1, max = 60000, default = 50,
        help = "a hook that takes more processor time is stopped",
    },
    {
        path = "script.onError", type = "choice", live = true, choices = { "default", "drop" }, default = "default",
        help = "an envelope whose route failed goes by the mode's own rule, or nowhere (fail closed)",
    },
    {
        path = "script.suspendMs", type = "integer", live = true, min = 1, max = MAX_MS, default = 30000,
        help = "a hook that waits longer is ended",
    },
    {
        path = "script.memoryLimit", type = "size", live = true, min = "1MiB", max = "1TiB", default = "64MiB",
        help = "for one Lua state",
    },
    {
        path = "script.stateBytes", type = "size", min = "1KiB", max = "64MiB", default = "1MiB", live = true,
        help = "what luaduct.state of one script may take when a reload hands it over",
    },
    {
        path = "script.sharedBytes", type = "size", min = "64KiB", max = "16GiB", default = "16MiB",
        help = "of luaduct.shared; past it the entries that were not used for longest go",
    },
    {
        path = "script.jit", type = "boolean", live = true, default = false,
        help = "true: scripts are compiled; then budgetMs cannot stop a compiled loop",
    },
    {
        path = "script.breakerOverruns", type = "integer", live = true, min = 0, max = 100, default = 10,
        help = "a hook of which so many calls overran is switched off for a while; 0: never",
    },
    {
        path = "script.breakerSenders", type = "integer", live = true, min = 1, max = 100, default = 3,
        help = "... if they were caused by so many senders at least",
    },
    {
        path = "script.breakerWindowMs", type = "integer", live = true, min = 1, max = MAX_MS, default = 60000,
        help = "... within this time",
    },
    {
        path = "script.breakerCooldownMs", type = "integer", live = true, min = 1, max = MAX_MS, default = 30000,
        help = "how long it is off; then one call is tried",
    },
    {
        path = "script.watch", type = "boolean", live = true, default = false,
        help = "reload when a file changes: config, scripts, tokens, keys, certificates, rules",
    },

    {
        path = "agents.maxQueue", type = "integer", min = 1, max = MAX_COUNT, default = 1000,
        variables = { "AI_BRIDGE_MAX_QUEUE" }, help = "envelopes kept for one absent agent; past it the oldest go",
    },
    {
        path = "agents.maxMailboxes", type = "integer", min = 0, max = MAX_COUNT, default = 10000,
        help = "absent agents that may have a mailbox",
    },
    {
        path = "agents.mailboxBytes", type = "size", min = 1, max = MAX_SIZE, default = "16MiB",
        help = "in one mailbox; past it the oldest go",
    },
    {
        path = "agents.mailboxTotalBytes", type = "size", min = 1, max = MAX_SIZE, default = "auto", auto = true,
        help = 'in all mailboxes; past it mailbox_full; "auto" is a quarter of limits.memory',
    },
    {
        path = "agents.mailboxTtlMs", type = "integer", min = 1, max = MAX_MS, default = 3600000,
        help = "a mailbox goes this long after its last envelope came",
    },
    {
        path = "agents.ttlMs", type = "integer", min = 10, max = MAX_MS, default = 600000,
        variables = { "AI_BRIDGE_CLIENT_TTL_MS" }, help = "an agent that shows no life for this long is closed",
    },
    {
        path = "agents.cleanupIntervalMs", type = "integer", min = 10, max = MAX_MS, default = 30000,
        variables = { "AI_BRIDGE_CLEANUP_INTERVAL_MS" },
        help = "how often old mailboxes and silent agents are looked for",
    },
    {
        path = "agents.pingIntervalMs", type = "integer", min = 5, max = MAX_MS, default = 30000,
        help = "how often a quiet agent is pinged; never more than half of ttlMs",
    },
    {
        path = "agents.registerTimeoutMs", type = "integer", min = 1, max = MAX_MS, default = 10000,
        help = "a WebSocket not registered by then is closed (enhanced, or a token is set)",
    },
    {
        path = "agents.registerGraceMs", type = "integer", min = 0, max = 10000, default = 10,
        help = "from `registered` to the first delivery, so that a client can attach its handler",
    },
    {
        path = "agents.verifyFrom", type = "boolean", live = true, example = "true",
        help = "`from` must be the registered id; left out: true in enhanced, false in original",
    },
    {
        path = "agents.requireRegister", type = "boolean", live = true, example = "true",
        help = "only registered agents send; left out: true in enhanced, false in original",
    },
    {
        path = "agents.deadLetters", type = "agent", example = '"dead-letters"',
        help = "whose mailbox takes accepted envelopes that a limit lost; none: they are only counted and told",
    },
    {
        path = "agents.expiry", type = "boolean", example = "true",
        help = "context.expiresAt of an envelope counts; left out: true in enhanced, false in original",
    },
    {
        path = "agents.dedupWindowMs", type = "integer", min = 1, max = MAX_MS, zero = "off", default = 0,
        help = "an id that its sender used this short a time ago is refused as duplicate",
    },
    {
        path = "agents.dedupIds", type = "integer", min = 1, max = 100000000, default = 100000,
        help = "ids remembered for that, about 32 bytes each; past it the oldest go",
    },
    {
        path = "agents.taskOpenIntents", type = "texts", default = { "task.assign" },
        help = "an envelope with this intent opens its taskId for the agent that gets it",
    },
    {
        path = "agents.taskCloseIntents", type = "texts",
        default = { "task.complete", "task.failed", "task.cancelled" },
        help = "an envelope with this intent closes its taskId for the agent that sends it",
    },
    {
        path = "agents.maxOpenTasks", type = "integer", min = 1, max = 1000000, default = 1024,
        help = "open taskIds counted for one agent; with that many it is full, whatever its maxConcurrentTasks",
    },
    {
        path = "agents.maxWaiting", type = "integer", min = 0, max = MAX_COUNT, default = 1000,
        help = "envelopes of bridge.any{wait = true} that may wait for an agent with room; past it overloaded",
    },
    {
        path = "agents.waitingTtlMs", type = "integer", min = 1, max = MAX_MS, default = 60000,
        help = "such an envelope is given up after this long (looked for every cleanupIntervalMs)",
    },
    {
        path = "agents.priorityOrder", type = "boolean", default = false,
        help = "what waits in a mailbox or for a full socket goes by priority: 8 high, 3 normal, 1 low",
    },

    {
        path = "history.limit", type = "integer", min = 0, max = 10000000, default = 500,
        variables = { "AI_BRIDGE_HISTORY_LIMIT" }, help = "envelopes kept; 0 keeps none",
    },
    {
        path = "history.bytes", type = "size", min = 1, max = MAX_SIZE, default = "4MiB",
        help = "of the envelopes kept; whichever is reached first",
    },

    {
        path = "limits.messageBytes", type = "size", live = true, min = 1, max = "256MiB", zero = "256MiB, the most",
        default = "1MiB", help = "of one WebSocket message",
    },
    {
        path = "limits.bodyBytes", type = "size", live = true, min = 1, max = "256MiB", zero = "256MiB, the most",
        default = "1MiB", help = "of one HTTP body",
    },
    {
        path = "limits.jsonDepth", type = "integer", live = true,
        min = 1, max = 1000, zero = "1000, the most", default = 128,
        help = "nested arrays and objects",
    },
    {
        path = "limits.connections", type = "integer", min = 1, max = MAX_COUNT, zero = "no limit", default = "auto",
        auto = true, help = 'past it a new one is answered 503; "auto" follows the limit of open files',
    },
    {
        path = "limits.connectionsPerAddress", type = "integer", min = 1, max = MAX_COUNT, zero = "no limit",
        default = 0, help = "of one remote address",
    },
    {
        path = "limits.connectionsPerIdentity", type = "integer",
        min = 1, max = MAX_COUNT, zero = "no limit", default = 0,
        help = "of one identity, once its credential has come: WebSockets, and requests that listen to events",
    },
    {
        path = "limits.handshakesPerSecond", type = "integer", min = 1, max = MAX_COUNT, zero = "no limit", default = 0,
        help = "new connections, of all; past it 429",
    },
    {
        path = "limits.handshakesPerSecondPerAddress", type = "integer",
        min = 1, max = MAX_COUNT, zero = "no limit", default = 0,
        help = "new connections of one remote address; past it 429",
    },
    {
        path = "limits.agents", type = "integer", min = 1, max = MAX_COUNT, zero = "no limit", default = 0,
        help = "registered, in all",
    },
    {
        path = "limits.agentsPerAddress", type = "integer", min = 1, max = MAX_COUNT, zero = "no limit", default = 0,
        help = "registered from one remote address",
    },
    {
        path = "limits.agentsPerIdentity", type = "integer", min = 1, max = MAX_COUNT, zero = "no limit", default = 0,
        help = "registered with one identity",
    },
    {
        path = "limits.messagesPerSecond", type = "integer", min = 1, max = MAX_COUNT, zero = "no limit", default = 0,
        help = "of one sender: its identity, else its clientId",
    },
    {
        path = "limits.messageBurst", type = "integer", min = 1, max = MAX_COUNT, zero = "as messagesPerSecond",
        default = 0, help = "messages at once before that rate counts",
    },
    {
        path = "limits.bytesPerSecond", type = "size", min = 1, max = MAX_SIZE, zero = "no limit", default = 0,
        help = "of one sender",
    },
    {
        path = "limits.messagesPerSecondPerAddress", type = "integer",
        min = 1, max = MAX_COUNT, zero = "no limit", default = 0,
        help = "of all senders of one remote address",
    },
    {
        path = "limits.bytesPerSecondPerAddress", type = "size",
        min = 1, max = MAX_SIZE, zero = "no limit", default = 0,
        help = "of all senders of one remote address",
    },
    {
        path = "limits.messagesPerSecondTotal", type = "integer",
        min = 1, max = MAX_COUNT, zero = "no limit", default = 0,
        help = "of everybody together",
    },
    {
        path = "limits.bytesPerSecondTotal", type = "size", min = 1, max = MAX_SIZE, zero = "no limit", default = 0,
        help = "of everybody together",
    },
    {
        path = "limits.scriptMsPerSecond", type = "integer", min = 1, max = 1000, zero = "no limit", default = 0,
        help = "of a reactor's time, for routing and delivering what one sender sends",
    },
    {
        path = "limits.mailboxBytesPerSender", type = "size", min = 1, max = MAX_SIZE, zero = "no limit", default = 0,
        help = "in all mailboxes together, from one sender: its identity, else its address",
    },
    {
        path = "limits.messageTimeoutMs", type = "integer", min = 1, max = MAX_MS, zero = "no limit", default = 0,
        help = "a WebSocket message that is not complete so long after its first byte closes the connection",
    },
    {
        path = "limits.sendQueueBytes", type = "size", min = 1, max = MAX_SIZE, zero = "no limit", default = "4MiB",
        help = "waiting for one slow agent; past it slowAgent decides",
    },
    {
        path = "limits.slowAgent", type = "choice", choices = { "queue", "drop", "close" }, default = "queue",
        help = "into its mailbox, the oldest dropped, or closed with 1013",
    },
    {
        path = "limits.memory", type = "size", min = "8MiB", max = MAX_SIZE, zero = "no limit", default = "auto",
        auto = true, help = 'of the process; "auto" is 80 % of what machine and container allow',
    },
    {
        path = "limits.trustedProxies", type = "addresses", default = {},
        help = "proxies that are believed whom they speak for: addresses or ranges such as \"10.0.0.0/8\"",
    },

    {
        path = "http.corsOrigins", type = "origins", live = true,
        default = {}, variables = { "AI_BRIDGE_CORS_ORIGINS" },
        help = 'origins of web pages that may call: a list such as { "https://app.example" }, or "*"',
    },
    {
        path = "http.hosts", type = "hosts", live = true, default = {},
        help = "names of this bridge, beside localhost and addresses, that a request without credential may use",
    },
    {
        path = "http.rateMax", type = "integer", min = 1, max = MAX_COUNT, zero = "no limit", default = 120,
        variables = { "AI_BRIDGE_RATE_MAX" }, help = "requests of one address in a window",
    },
    {
        path = "http.rateWindowMs", type = "integer", min = 1, max = MAX_MS, default = 60000,
        variables = { "AI_BRIDGE_RATE_WINDOW_MS" }, help = "that window",
    },
    {
        path = "http.headerTimeoutMs", type = "integer", min = 1, max = MAX_MS, default = 10000,
        help = "a request whose header is not complete by then is closed",
    },
    {
        path = "http.bodyTimeoutMs", type = "integer", min = 1, max = MAX_MS, default = 30000,
        help = "the same of its body, counted from the end of the header",
    },
    {
        path = "http.headerBytes", type = "size", min = 1024, max = "1MiB", default = "16KiB",
        help = "of a request's header; past it 431",
    },

    {
        path = "auth.token", type = "token", live = true, example = '{ file = "token" }', secret = true,
        variables = { "AI_BRIDGE_AUTH_TOKEN" }, help = "the credential that all share: text, or a file that holds it",
    },
    {
        path = "auth.tokenIsAdmin", type = "boolean", live = true, default = false,
        help = "whoever has the token may administer too",
    },
    {
        path = "auth.tokens", type = "text", live = true, example = '"tokens.jsonl"',
        help = "a file of named tokens, each with its own rights: see `luaduct help token`",
    },
    {
        path = "auth.hook", type = "boolean", live = true, default = false,
        help = "the script's `authenticate` says who somebody is, where no other credential does",
    },
    {
        path = "auth.jwt.keys", type = "text", live = true, example = '"jwks.json"',
        help = "JSON Web Tokens are taken that are signed with a key of this JWK set",
    },
    {
        path = "auth.jwt.key", type = "text", live = true, example = '"public.pem"',
        help = "... or with this public key (RSA of 2048 to 4096 bits, or P-256)",
    },
    {
        path = "auth.jwt.secret", type = "token", live = true, example = '{ file = "jwt-secret" }', secret = true,
        help = "... or with this secret (HS256; 32 bytes or more): text, or a file that holds it",
    },
    {
        path = "auth.jwt.algorithms", type = "algorithms", live = true, choices = { "HS256", "RS256", "ES256" },
        example = '{ "RS256", "ES256" }', help = "that tokens may be signed by; left out: those that the keys are for",
    },
    {
        path = "auth.jwt.issuer", type = "text", live = true, example = '"https://issuer.example"',
        help = "what `iss` must be; left out: it is not looked at",
    },
    {
        path = "auth.jwt.audience", type = "text", live = true, example = '"luaduct"',
        help = "what `aud` must name; left out: a token with `aud` is refused",
    },
    {
        path = "auth.jwt.leewayMs", type = "integer", live = true, min = 0, max = 600000, default = 10000,
        help = "by how much clocks may differ where `exp`, `nbf` and `iat` are judged",
    },
    {
        path = "auth.jwt.idClaim", type = "claim", live = true, default = { "sub" },
        help = "the claim that says who it is: text. A claim inside objects is a list of names, the outermost first",
    },
    {
        path = "auth.jwt.clientIdsClaim", type = "claim", live = true, example = '"agents"',
        help = "... which clientIds it may take (* stands for any text); left out or not in the token: only its id",
    },
    {
        path = "auth.jwt.agentRolesClaim", type = "claim", live = true, example = '"agent_roles"',
        help = "... as which roles it may register",
    },
    {
        path = "auth.jwt.rolesClaim", type = "claim", live = true, example = '{ "realm_access", "roles" }',
        help = "... which roles it has for rules of access; `admin` may administer",
    },
    {
        path = "auth.jwt.labelsClaim", type = "claim", live = true, example = '"labels"',
        help = "... which labels it has",
    },

    {
        path = "tls.cert", type = "text", live = true, example = '"cert.pem"',
        help = "certificate chain, PEM, the leaf first; with it both ports speak TLS and nothing else",
    },
    {
        path = "tls.key", type = "text", live = true, example = '"key.pem"',
        help = "its private key, PEM, without a passphrase",
    },
    {
        path = "tls.certs", type = "pairs", live = true, default = {},
        help = "more of both, by server name; without names: those in the certificate; see docs/operations.md",
    },
    {
        path = "tls.clientCa", type = "text", live = true, example = '"clients.pem"',
        help = "who signs client certificates, PEM; none: no client is asked for one",
    },
    {
        path = "tls.requireClientCert", type = "boolean", live = true, default = false,
        help = "refuse a client without one; a wrong one is refused always",
    },
    {
        path = "tls.crl", type = "text", live = true, example = '"revoked.pem"',
        help = "lists of revoked client certificates, PEM; one that has run out refuses all of its authority",
    },
    {
        path = "tls.minVersion", type = "version", live = true, choices = { "1.2" }, default = "1.2",
        help = "of the protocol; the TLS library (mbedtls 2.28) has no newer one",
    },
    {
        path = "tls.ciphers", type = "choices", live = true, choices = CIPHERS, default = {},
        help = "cipher suites, best first; none: all six, as in docs/security.md",
    },
    {
        path = "tls.handshakeTimeoutMs", type = "integer", live = true, min = 1, max = MAX_MS, default = 10000,
        help = "a handshake that takes longer is closed",
    },
    {
        path = "tls.maxHandshakes", type = "integer", live = true, min = 1, max = 1000000, default = 1024,
        help = "handshakes under way, some 44 KiB each; past it connections are closed",
    },
    {
        path = "tls.handshakeThreads", type = "integer", min = 1, max = 64, default = "auto", auto = true,
        help = 'threads that shake hands; "auto" is one for each processor, at most 4',
    },

    {
        path = "performance.cache_enabled", type = "boolean", live = true, default = true,
        help = "keep what routes have decided that declare by which fields they do (`cache = {...}` in the script)",
    },
    {
        path = "performance.worker_threads", type = "integer", min = 1, max = 256, default = "auto", auto = true,
        flag = "--workers", help = 'reactors: threads that serve connections; "auto" is one for each processor',
    },
    {
        path = "performance.binary_protocol", type = "boolean", default = true,
        help = "agents may ask for MessagePack in binary frames: the subprotocol luaduct.msgpack",
    },
    {
        path = "performance.compression", type = "boolean", default = true,
        help = "offer permessage-deflate to WebSocket clients",
    },

    {
        path = "phase2.objectPooling.enabled", type = "boolean", default = true,
        help = "reuse memory",
    },
    {
        path = "phase2.objectPooling.envelopePoolSize", type = "integer", min = 0, max = MAX_COUNT, default = 100,
        help = "envelopes kept warm per reactor",
    },
    {
        path = "phase2.objectPooling.arrayPoolSize", type = "integer", min = 0, max = MAX_COUNT, default = 50,
        help = "arrays kept warm per reactor",
    },
    {
        path = "phase2.objectPooling.bufferPoolSize", type = "integer", min = 0, max = MAX_COUNT, default = 256,
        help = "buffers kept warm per reactor",
    },
    {
        path = "phase2.objectPooling.maxAgeMs", type = "integer", min = 1, max = MAX_MS, default = 60000,
        help = "idle longer than this is given back",
    },
    {
        path = "phase2.gcOptimization.enabled", type = "boolean", default = true,
        help = "react to memory pressure",
    },
    {
        path = "phase2.gcOptimization.memoryThreshold", type = "number", min = 0, max = 1, default = 0.75,
        help = "share of limits.memory that counts as pressure",
    },
    {
        path = "phase2.gcOptimization.cooldownMs", type = "integer", min = 0, max = MAX_MS, default = 15000,
        help = "between two full collections",
    },
    {
        path = "phase2.gcOptimization.sampleIntervalMs", type = "integer", min = 10, max = MAX_MS, default = 1000,
        help = "between two looks",
    },
    {
        path = "phase2.gcOptimization.predictHorizonMs", type = "integer", min = 0, max = MAX_MS, default = 30000,
        help = "how far ahead the trend is followed",
    },
    {
        path = "phase2.workerPool.enabled", type = "boolean", default = true,
        help = "run tasks on worker threads",
    },
    {
        path = "phase2.workerPool.minWorkers", type = "integer", min = 1, max = 256, default = 2,
        help = "threads that always run",
    },
    {
        path = "phase2.workerPool.maxWorkers", type = "integer", min = 1, max = 256, default = "auto", auto = true,
        help = '"auto": the processors, at least 4, at most 8',
    },
    {
        path = "phase2.workerPool.taskTimeout", type = "integer", min = 1, max = MAX_MS, default = 30000,
        help = "milliseconds; a task that runs longer is stopped",
    },
    {
        path = "phase2.workerPool.queueLimit", type = "integer", min = 1, max = MAX_COUNT, default = 10000,
        help = "tasks that may wait",
    },
    {
        path = "phase2.workerPool.idleTimeoutMs", type = "integer", min = 1, max = MAX_MS, default = 30000,
        help = "a thread idle for longer ends",
    },
    {
        path = "phase2.workerPool.allowRoles", type = "texts", live = true, default = {},
        help = "roles that may ask for work",
    },
    {
        path = "phase2.workerPool.executeBytes", type = "size", live = true, min = 1, max = MAX_SIZE, default = "16MiB",
        help = "data of one task that came by envelope or HTTP",
    },
    {
        path = "phase2.predictiveScaling.enabled", type = "boolean", default = true,
        help = "workers and warm pools follow a forecast of the load, not only the load",
    },

    {
        path = "alerts.intervalMs", type = "integer", live = true, min = 10, max = MAX_MS, default = 1000,
        help = "between two looks at the rules",
    },
    {
        path = "alerts.windowMs", type = "integer", live = true, min = 100, max = MAX_MS, default = 60000,
        help = "rates are over this time",
    },
    {
        path = "alerts.cooldownMs", type = "integer", live = true, min = 0, max = MAX_MS, default = 60000,
        help = "a rule neither fires nor acts again within it",
    },
    {
        path = "alerts.notify", type = "text", example = '"operator"',
        help = "an agent that gets each alert as an envelope, intent bridge.alert",
    },
    {
        path = "alerts.webhook.url", type = "text", example = '"http://localhost:9000/alerts"',
        help = "each alert is posted there as JSON; https:// trusts the system's authorities, or SSL_CERT_FILE",
    },
    {
        path = "alerts.webhook.secret", type = "token", example = '{ file = "webhook-secret" }', secret = true,
        help = "signs what is posted: text, or a file that holds it",
    },
    {
        path = "alerts.webhook.timeoutMs", type = "integer", min = 1, max = MAX_MS, default = 5000,
        help = "for one try",
    },
    {
        path = "alerts.gcFrequency.enabled", type = "boolean", live = true, default = true, help = "watch it",
    },
    {
        path = "alerts.gcFrequency.threshold", type = "number", live = true, min = 0, max = MAX_COUNT, default = 10,
        help = "full collections a minute, above",
    },
    {
        path = "alerts.gcFrequency.forMs", type = "integer", live = true, min = 0, max = MAX_MS, default = 0,
        help = "it fires when that has lasted for so long",
    },
    {
        path = "alerts.gcFrequency.action", type = "choice", live = true, choices = ALERT_ACTIONS, default = "WARN",
        help = "what the alert does beside being shown: see docs/operations.md",
    },
    {
        path = "alerts.poolHitRate.enabled", type = "boolean", live = true, default = true, help = "watch it",
    },
    {
        path = "alerts.poolHitRate.threshold", type = "number", live = true, min = 0, max = 1, default = 0.8,
        help = "share of hits, below",
    },
    {
        path = "alerts.poolHitRate.forMs", type = "integer", live = true, min = 0, max = MAX_MS, default = 10000,
        help = "it fires when that has lasted for so long",
    },
    {
        path = "alerts.poolHitRate.action", type = "choice", live = true, choices = ALERT_ACTIONS, default = "ALERT",
        help = "what the alert does beside being shown: see docs/operations.md",
    },
    {
        path = "alerts.workerUtilization.enabled", type = "boolean", live = true, default = true, help = "watch it",
    },
    {
        path = "alerts.workerUtilization.threshold", type = "number", live = true, min = 0, max = 1, default = 0.9,
        help = "share of busy workers, above",
    },
    {
        path = "alerts.workerUtilization.forMs", type = "integer", live = true, min = 0, max = MAX_MS, default = 5000,
        help = "it fires when that has lasted for so long",
    },
    {
        path = "alerts.workerUtilization.action", type = "choice", live = true,
        choices = ALERT_ACTIONS, default = "SCALE_UP",
        help = "what the alert does beside being shown: see docs/operations.md",
    },
    {
        path = "alerts.certificateExpiry.enabled", type = "boolean", live = true, default = true, help = "watch it",
    },
    {
        path = "alerts.certificateExpiry.threshold", type = "number", live = true, min = 0, max = 100000, default = 14,
        help = "days, below",
    },
    {
        path = "alerts.certificateExpiry.forMs", type = "integer", live = true, min = 0, max = MAX_MS, default = 0,
        help = "it fires when that has lasted for so long",
    },
    {
        path = "alerts.certificateExpiry.action", type = "choice", live = true,
        choices = ALERT_ACTIONS, default = "WARN",
        help = "what the alert does beside being shown: see docs/operations.md",
    },

    {
        path = "canary.minCalls", type = "integer", min = 1, max = MAX_COUNT, default = 50, live = true,
        help = "calls of the version on trial before the rates below count",
    },
    {
        path = "canary.maxErrorRate", type = "number", min = 0, max = 1, default = 0.01, live = true,
        help = "share of failed calls, above that of the version in use",
    },
    {
        path = "canary.maxRefusedRate", type = "number", min = 0, max = 1, default = 0.05, live = true,
        help = "share of envelopes that nobody took, the same",
    },
    {
        path = "canary.maxTimeRatio", type = "number", min = 1, max = 1000, default = 3, live = true,
        help = "P99 of the hooks' time, to that of the version in use; below 0.1 ms it does not count",
    },
    {
        path = "canary.maxOverruns", type = "integer", min = 1, max = MAX_COUNT, zero = "no limit", default = 3,
        live = true, help = "hooks stopped over script.budgetMs, however many calls there were",
    },
    {
        path = "canary.holdMs", type = "integer", min = 1, max = MAX_MS, default = 60000, live = true,
        help = "how long nothing may speak against it before it is promoted",
    },
    {
        path = "canary.promote", type = "choice", choices = { "auto", "manual" }, default = "auto", live = true,
        help = '"manual": it stays on trial until `luaduct canary promote`',
    },

    {
        path = "policies.alerts", type = "text", live = true, example = '"policies/alerts.lua"',
        help = "a Lua file of alert rules",
    },
    {
        path = "policies.access", type = "text", live = true, example = '"policies/access.lua"',
        help = "a Lua file of access rules: who may send what to whom, see what, administer",
    },

    {
        path = "log.level", type = "choice", live = true,
        choices = { "debug", "info", "warn", "error" }, default = "info",
        flag = "--log-level", help = "what is less than this is not written",
    },
    {
        path = "log.access", type = "boolean", live = true, default = false,
        help = "a line for each HTTP request, and for each connection when it comes and when it goes",
    },
    { path = "log.format", type = "choice", choices = { "text", "json" }, default = "text", help = "of each line" },
    { path = "log.file", type = "new file", example = '"luaduct.log"', help = "none: standard error" },

    {
        path = "drain.delayMs", type = "integer", min = 0, max = MAX_MS, default = 0,
        help = "how long /ready says no and no new agent is let in before agents are told to go",
    },
    {
        path = "drain.timeoutMs", type = "integer", min = 1, max = MAX_MS, default = 10000,
        help = "from then on: for agents to read what waits, and for all that is under way; then it is cut",
    },
    {
        path = "drain.retryMs", type = "integer", min = 0, max = MAX_MS, default = 1000,
        help = "agents are told to come back after this to twice this",
    },
    {
        path = "upgrade.timeoutMs", type = "integer", min = 100, max = MAX_MS, default = 30000,
        help = "for the process that SIGUSR2 starts to be ready; then this one goes on",
    },
    {
        path = "upgrade.stillMs", type = "integer", min = 100, max = 60000, default = 2000,
        help = "so long nobody may be served while it is given everything; then this one goes on",
    },

    {
        path = "tracing.endpoint", type = "text", example = '"http://localhost:4318/v1/traces"',
        help = "a collector that spans are posted to (OTLP/HTTP, JSON); none: nothing is traced",
    },
    {
        path = "tracing.sampleRatio", type = "number", min = 0, max = 1, default = 0,
        help = "share that is traced of envelopes whose sender does not say; else its `sampled` flag counts",
    },
    {
        path = "tracing.headers", type = "headers", default = {}, secret = true,
        help = "further ones of each request, such as { [\"x-api-key\"] = os.getenv(\"KEY\") }",
    },
    {
        path = "tracing.serviceName", type = "text", default = "luaduct",
        help = "what the bridge is called there",
    },
    {
        path = "tracing.batchSpans", type = "integer", min = 1, max = 10000, default = 512,
        help = "in one request, at most",
    },
    {
        path = "tracing.queueSpans", type = "integer", min = 1, max = 1000000, default = 8192,
        help = "that wait to be posted, some 0.5 KiB each; past it they are dropped and counted",
    },
    {
        path = "tracing.intervalMs", type = "integer", min = 1, max = 60000, default = 1000,
        help = "for how long a span waits for others to fill a request",
    },
    {
        path = "tracing.timeoutMs", type = "integer", min = 1, max = MAX_MS, default = 5000,
        help = "for one try",
    },

    {
        path = "user", type = "text", example = '"luaduct"',
        help = "to run as once the ports are open, by name or number; needs a start as root",
    },
    { path = "group", type = "text", example = '"luaduct"', help = "none: the group of that user" },
    {
        path = "confinement.files", type = "choice", choices = { "off", "auto", "required" }, default = "off",
        help = 'open only files in folders that this file names (Landlock); "auto": where the kernel can',
    },
    {
        path = "confinement.systemCalls", type = "choice", choices = { "off", "auto", "required" }, default = "off",
        help = 'a filter of system calls (seccomp); "auto": where the kernel can',
    },
    { path = "store", type = "any", feature = "the durable store", help = "envelopes that outlive the process" },
    { path = "cluster", type = "any", feature = "the cluster", help = "several bridges as one" },
}

-- One level for each room, after the other keys of the log.
local after_log = 0
for index, key in ipairs(keys) do
    after_log = key.path:match("^log%.") and index or after_log
end
for index, room in ipairs(LOG_ROOMS) do
    table.insert(keys, after_log + index, {
        path = "log.levels." .. room[1], type = "choice", live = true,
        choices = { "debug", "info", "warn", "error" }, example = '"debug"', help = room[2],
    })
end

local by_path = {}
for _, key in ipairs(keys) do
    key.available = key.feature == nil
    by_path[key.path] = key
end

-- Names that the bridge before this one knew; only the hint for an unknown key uses them.
local former_names = {
    enableObjectPooling = "phase2.objectPooling.enabled",
    enableWorkerPool = "phase2.workerPool.enabled",
    enableGCOptimization = "phase2.gcOptimization.enabled",
    memoryPressureThreshold = "phase2.gcOptimization.memoryThreshold",
    gcCooldownMs = "phase2.gcOptimization.cooldownMs",
    maxAge = "phase2.objectPooling.maxAgeMs",
}

-- One line about each section, for the reference page and the default file.
local sections = {
    listen = "Where the bridge listens.",
    script = "The routing scripts and what bounds them. Relative paths, here and below, start at this file's folder.",
    agents = "Mailboxes of absent agents, and how an agent's life is watched.",
    history = "The newest accepted envelopes.",
    limits = "What one peer and the whole process may take.",
    http = "Web pages, and what a single address may ask.",
    auth = "The credential. Without one, whoever reaches the port may call.",
    ["auth.jwt"] = "JSON Web Tokens as credentials, with `keys`, `key` or `secret` or several of them.",
    tls = "Encryption on the bridge's own ports.",
    performance = "Threads and optional parts of the protocol.",
    phase2 = "The engines.",
    ["phase2.objectPooling"] = "Memory that is used again.",
    ["phase2.gcOptimization"] = "Reaction to memory pressure.",
    ["phase2.workerPool"] = "Threads for tasks that need a processor.",
    ["phase2.predictiveScaling"] = "Looking ahead.",
    alerts = "How alert rules are watched, and the built-in ones.",
    ["alerts.webhook"] = "Where alerts are posted.",
    ["alerts.gcFrequency"] = "Full collections a minute.",
    ["alerts.poolHitRate"] = "Share of pool requests served without malloc.",
    ["alerts.workerUtilization"] = "Share of busy workers.",
    ["alerts.certificateExpiry"] = "Days until the first of the certificates of `tls` runs out.",
    canary = "When a version of the scripts on trial is taken back or promoted.",
    policies = "Rules as Lua files.",
    log = "What the bridge writes about itself.",
    drain = "How the bridge goes away.",
    upgrade = "How it hands over to a new process.",
    ["log.levels"] = "A level of its own for what the bridge says of one thing; left out: log.level.",
    tracing = "Where an envelope went, as spans of OpenTelemetry.",
    confinement = "What the process gives up for good once it has started.",
}

return { keys = keys, by_path = by_path, sections = sections, former_names = former_names }
