-- GET /optimization: how memory and processors are used. Times are milliseconds, sizes bytes; null: not measured.
local engines = require "luaduct.http.engines"
local json = require "luaduct.http.json"
local native = require "luaduct.http.native"

local function pool(figures)
    return {
        hitRate = figures.acquired > 0 and figures.hits / figures.acquired or 0,
        totalAcquired = figures.acquired,
        totalReleased = figures.released,
        available = figures.available,
        acquired = figures.held,
        created = figures.created,
        destroyed = figures.destroyed,
        maxSize = figures.warm, -- blocks that stay, however idle; it grows beyond under load
        evicted = figures.evicted,
        bytes = figures.bytes,
    }
end

local function collector(figures)
    return {
        totalGCTriggers = figures.scripts.full_collections,
        averageGCTime = 0,
        memoryReclaimed = 0,
        manualTriggers = 0,
        automaticTriggers = figures.scripts.full_collections,
        maxGCTime = figures.scripts.longest_collect_ms,
        pressureLevel = figures.memory.level,
        memoryLeakAlerts = 0,
        pressureAlerts = 0,
        timeSinceLastGC = json.null,
        configuration = {enabled = false, scriptMemoryLimit = figures.script_memory_limit},
    }
end

local function memory_pressure(figures)
    return {
        level = figures.memory.level,
        budget = figures.memory.budget or json.null,
        used = figures.memory.resident,
        rss = figures.memory.resident,
        luaHeaps = figures.scripts.heap_bytes + figures.scripts.api_heap_bytes,
        pools = figures.memory.pools,
        trend = json.null,
        predictedSecondsToThreshold = json.null,
        psi = json.null,
        shed = {trimmed = 0, paused = 0, refused = 0},
    }
end

local function worker_pool(workers)
    local depth = workers.depth
    return {
        currentWorkers = workers.workers, busyWorkers = workers.busy, mostWorkers = workers.most,
        workersCreated = workers.created, workersDestroyed = workers.destroyed, workersReplaced = workers.replaced,
        tasksQueued = workers.queued_in_all, tasksCompleted = workers.completed, tasksFailed = workers.failed,
        timeouts = workers.timeouts, cancelled = workers.cancelled, refused = workers.refused,
        queuedTasks = depth.high + depth.normal + depth.low, depth = depth,
        averageTaskTime = workers.average_ms, maxTaskTime = workers.longest_ms,
        averageWaitTime = workers.average_wait_ms, maxWaitTime = workers.longest_wait_ms,
        forecastWorkers = workers.forecast,
    }
end

-- /metrics shows the same and more.
local optimization = {}

function optimization.of(figures)
    local pools = figures.pools
    return {
        memoryOptimization = {
            gcOptimizer = collector(figures),
            objectPools = {
                envelopes = pool(pools.envelopes), arrays = pool(pools.arrays), buffers = pool(pools.buffers),
            },
            memoryPressure = memory_pressure(figures),
        },
        cpuOptimization = {workerPool = worker_pool(figures.workers)},
        performance = {
            pooledEnvelopes = pools.envelopes.hits,
            gcTriggers = figures.scripts.full_collections,
            workerTasks = figures.workers.completed,
        },
        degraded = engines.degraded(),
    }
end

function optimization.endpoint()
    return 200, optimization.of(native.figures())
end

return optimization
