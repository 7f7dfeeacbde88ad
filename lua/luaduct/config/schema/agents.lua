--- Agents, their mailboxes, and the history.

local range = require("luaduct.config.schema.range")
local MAX_MS, MAX_COUNT, MAX_SIZE = range.MAX_MS, range.MAX_COUNT, range.MAX_SIZE

local keys = {
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
}

local sections = {
    agents = "Mailboxes of absent agents, and how an agent's life is watched.",
    history = "The newest accepted envelopes.",
}

return { keys = keys, sections = sections }
