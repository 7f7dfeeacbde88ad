-- GET /health: is the bridge there, and how is it?
local engines = require "luaduct.http.engines"
local native = require "luaduct.http.native"

local function enhance(body, figures)
    local messages, latency = figures.messages, figures.latency
    body.metrics = {
        messages = messages.in_count, delivered = messages.out_count,
        bytes = messages.bytes_in + messages.bytes_out, bytesIn = messages.bytes_in, bytesOut = messages.bytes_out,
        errors = messages.errors,
        latency = {p50 = latency.p50, p90 = latency.p90, p99 = latency.p99, p999 = latency.p999}, -- milliseconds
    }
    body.scriptVersion = {number = figures.script_number, hash = figures.script_hash}
    body.memoryLevel = figures.memory.level
    body.degraded = engines.degraded()
end

return function()
    local figures = native.figures()
    local body = {
        status = "ok",
        timestamp = figures.timestamp,
        version = figures.version,
        wsPort = figures.ws_port,
        httpPort = figures.http_port,
        connectedClients = figures.agents,
        historySize = figures.history,
        uptime = figures.uptime_ms / 1000,
        environment = figures.environment,
    }
    if figures.enhanced then
        enhance(body, figures)
    end
    return 200, body
end
