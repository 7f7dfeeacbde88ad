--- Running it: new versions on trial, the log, going away, tracing, and what the process may do.

local range = require("luaduct.config.schema.range")
local MAX_MS, MAX_COUNT = range.MAX_MS, range.MAX_COUNT

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

local keys = {
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
        path = "tracing.forcedPerSecond", type = "integer", min = 1, max = 1000000, zero = "no limit", default = 100,
        help = "that one sender has traced by its `sampled` flag; past it the ratio counts",
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

local sections = {
    canary = "When a version of the scripts on trial is taken back or promoted.",
    policies = "Rules as Lua files.",
    log = "What the bridge writes about itself.",
    ["log.levels"] = "A level of its own for what the bridge says of one thing; left out: log.level.",
    drain = "How the bridge goes away.",
    upgrade = "How it hands over to a new process.",
    tracing = "Where an envelope went, as spans of OpenTelemetry.",
    confinement = "What the process gives up for good once it has started.",
}

return { keys = keys, sections = sections }
