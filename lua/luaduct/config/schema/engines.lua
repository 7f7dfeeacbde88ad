--- Threads, the engines, and the alerts that watch them.

local range = require("luaduct.config.schema.range")
local MAX_MS, MAX_COUNT, MAX_SIZE = range.MAX_MS, range.MAX_COUNT, range.MAX_SIZE

local ALERT_ACTIONS = { "WARN", "ALERT", "SCALE_UP", "SHED" }

local keys = {
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
}

local sections = {
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
}

return { keys = keys, sections = sections }
