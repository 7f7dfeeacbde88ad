-- GET /optimization: how memory and processors are used. What this version does not have yet is shown as what it is:
-- zero workers, no collector of its own, nothing shed. null: not measured.
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
        maxSize = 0, -- no bound
        evicted = {lru = 0, ttl = 0, pressure = 0},
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

local function worker_pool()
    return {
        currentWorkers = 0, busyWorkers = 0, workersCreated = 0, workersDestroyed = 0,
        tasksCompleted = 0, tasksFailed = 0, tasksQueued = 0, queuedTasks = 0, timeouts = 0,
        averageTaskTime = 0, maxTaskTime = 0,
        depth = {high = 0, normal = 0, low = 0},
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
        cpuOptimization = {workerPool = worker_pool()},
        performance = {
            pooledEnvelopes = pools.envelopes.hits,
            gcTriggers = figures.scripts.full_collections,
            workerTasks = 0,
        },
        degraded = json.array({}),
    }
end

function optimization.endpoint()
    return 200, optimization.of(native.figures())
end

return optimization
