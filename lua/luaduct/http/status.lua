-- GET /api/status: the service at a glance.
local json = require "luaduct.http.json"
local native = require "luaduct.http.native"

return function()
    local figures = native.figures()
    local messages = figures.messages
    return 200, {
        service = "luaduct",
        status = "healthy",
        timestamp = figures.timestamp,
        version = figures.version,
        uptime = figures.uptime_ms / 1000,
        environment = figures.environment,
        performance = {
            connectedClients = figures.agents,
            messagesProcessed = messages.in_count,
            messagesPerSecond = messages.per_second,
            queuedMessages = figures.queued,
            errors = messages.errors,
            lastError = figures.last_error or json.null,
        },
        websocket = {port = figures.ws_port, enabled = true, connections = figures.agents},
        http = {port = figures.http_port, enabled = true},
        storage = {historySize = figures.history, historyLimit = figures.history_limit},
    }
end
