-- The event `figures` (GET /events?kinds=figures): once a second, what a console draws. Counters are since the start,
-- `latency` is of what passed since the last one, in milliseconds, null when nothing did.
local engines = require "luaduct.http.engines"
local json = require "luaduct.http.json"
local native = require "luaduct.http.native"
local optimization = require "luaduct.http.optimization"

local function latency()
    local recent = native.recent_latency()
    if recent.count == 0 then
        return json.null
    end
    return {count = recent.count, p50 = recent.p50, p90 = recent.p90, p99 = recent.p99, p999 = recent.p999}
end

-- The three pools of the bridge, and those of scripts.
local function pools(shown)
    local list = {}
    for name, each in pairs(shown) do
        if name ~= "lua" then
            list[name] = each
        end
    end
    return {bridge = list, lua = shown.lua}
end

local function active_alerts()
    local count = 0
    for _, alert in ipairs(native.alerts()) do
        count = count + (alert["until"] == nil and 1 or 0)
    end
    return count
end

return function()
    local figures = native.figures()
    local messages = figures.messages
    local all = optimization.of(figures)
    return json.encode({
        time = figures.timestamp,
        uptime = figures.uptime_ms / 1000,
        draining = figures.draining,
        agents = figures.agents,
        connections = figures.connections,
        queued = figures.queued,
        history = figures.history,
        historyLimit = figures.history_limit,
        script = {number = figures.script_number, hash = figures.script_hash},
        messages = {
            accepted = messages.in_count, delivered = messages.out_count, bytesIn = messages.bytes_in,
            bytesOut = messages.bytes_out, refused = messages.errors, dropped = messages.dropped,
            lost = messages.lost, undeliverable = messages.undeliverable,
        },
        latency = latency(),
        memory = all.memoryOptimization.memoryPressure,
        collector = all.memoryOptimization.gcOptimizer,
        pools = pools(all.memoryOptimization.objectPools),
        workers = all.cpuOptimization.workerPool,
        delivery = all.delivery,
        degraded = engines.degraded(),
        alerts = active_alerts(),
    })
end
