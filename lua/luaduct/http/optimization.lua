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
        maxSize = figures.warm, -- what stays, however idle; the bridge's grow beyond under load
        evicted = figures.evicted,
        bytes = figures.bytes, -- nil of a pool that a script made
    }
end

-- By name.
local function object_pools(figures)
    local shown = {}
    for name, each in pairs(figures) do
        shown[name] = pool(each)
    end
    return shown
end

-- Milliseconds.
local function lengths(times)
    return {count = times.count, p50 = times.p50, p99 = times.p99, p999 = times.p999, max = times.max}
end

-- A collection is one completed full cycle; its steps lie between other work, and `pauses` are the single steps.
local function collector(figures)
    local done, memory = figures.scripts.collections, figures.memory
    return {
        totalGCTriggers = done.count,
        averageGCTime = done.average_ms,
        memoryReclaimed = done.reclaimed,
        manualTriggers = done.manual,
        automaticTriggers = done.automatic,
        maxGCTime = done.longest_ms,
        pressureLevel = memory.level,
        memoryLeakAlerts = memory.leak_alerts,
        pressureAlerts = memory.pressure_alerts,
        timeSinceLastGC = done.since_last_ms or json.null,
        underWay = done.under_way,
        pauses = lengths(done.pauses),
        largestStep = done.pauses.max,
        hookTimes = lengths(done.hook_times),
        forced = figures.scripts.full_collections,
        configuration = {
            enabled = memory.enabled,
            scriptMemoryLimit = figures.script_memory_limit,
            memoryThreshold = memory.threshold,
            cooldownMs = memory.cooldown_ms,
            sampleIntervalMs = memory.sample_interval_ms,
            predictHorizonMs = memory.predict_horizon_ms,
        },
    }
end

local function memory_pressure(figures)
    local memory = figures.memory
    local shed = memory.shed
    return {
        level = memory.level,
        budget = memory.budget or json.null,
        used = memory.resident,
        rss = memory.resident,
        luaHeaps = figures.scripts.heap_bytes + figures.scripts.api_heap_bytes,
        pools = memory.pools,
        mailboxes = memory.mailboxes,
        history = memory.history,
        compression = memory.compression,
        cgroup = memory.cgroup_used and {used = memory.cgroup_used, limit = memory.cgroup_limit or json.null}
            or json.null,
        trend = memory.trend or json.null,
        trendFit = memory.trend_fit or json.null,
        predictedSecondsToThreshold = memory.seconds_to_threshold or json.null,
        psi = memory.stall_some and {some = memory.stall_some, full = memory.stall_full} or json.null,
        historyShare = memory.history_share,
        shed = {
            trimmed = shed.trims, trimmedBytes = shed.trimmed_bytes, historyBytes = shed.history_bytes,
            paused = shed.paused, resumed = shed.resumed, closed = shed.closed,
            refused = shed.refused_connections + shed.refused_requests + shed.refused_growth,
            stopped = {
                connections = shed.refused_connections, requests = shed.refused_requests,
                growth = shed.refused_growth,
            },
        },
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

-- What limits of delivery kept back or dropped.
local function delivery(figures)
    local kept = figures.delivery
    return {
        waiting = kept.waiting, waited = kept.waited, waitingRefused = kept.waiting_refused,
        waitingExpired = kept.waiting_expired, dedupIds = kept.dedup_ids, dedupEvicted = kept.dedup_evicted,
        deadLetters = kept.dead_letters, deadLettersLost = kept.dead_letters_lost,
        duplicates = figures.messages.refused.duplicate,
    }
end

-- Decisions of routes that declare a `cache`.
local function route_cache(figures)
    local cache = figures.scripts.route_cache
    local lookups = cache.hits + cache.misses
    return {
        hitRate = lookups > 0 and cache.hits / lookups or 0, hits = cache.hits, misses = cache.misses,
        uncached = cache.uncached, evicted = cache.evicted, outdated = cache.outdated,
        entries = cache.entries, bytes = cache.bytes,
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
                lua = object_pools(figures.object_pools),
            },
            sharedDictionary = figures.shared, -- luaduct.shared
            memoryPressure = memory_pressure(figures),
        },
        cpuOptimization = {workerPool = worker_pool(figures.workers)},
        delivery = delivery(figures),
        performance = {
            pooledEnvelopes = pools.envelopes.hits,
            gcTriggers = figures.scripts.collections.count,
            workerTasks = figures.workers.completed,
            routeCache = route_cache(figures),
        },
        degraded = engines.degraded(),
    }
end

function optimization.endpoint()
    return 200, optimization.of(native.figures())
end

return optimization
