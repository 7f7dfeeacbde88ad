--- What the bridge is, where it listens, and the scripts that it runs.

local range = require("luaduct.config.schema.range")
local MAX_MS = range.MAX_MS

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
        path = "listen.admin", type = "new file", example = '"luaduct.sock"', variables = { "AI_BRIDGE_ADMIN_SOCKET" },
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
}

local sections = {
    listen = "Where the bridge listens.",
    script = "The routing scripts and what bounds them. Relative paths, here and below, start at this file's folder.",
}

return { keys = keys, sections = sections }
