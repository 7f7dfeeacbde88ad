--- What one peer and the whole process may take.

local range = require("luaduct.config.schema.range")
local MAX_MS, MAX_COUNT, MAX_SIZE = range.MAX_MS, range.MAX_COUNT, range.MAX_SIZE

local keys = {
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
        help = "of a reactor's time, for what one sender sends and for its coming and going",
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
}

local sections = {
    limits = "What one peer and the whole process may take.",
}

return { keys = keys, sections = sections }
