-- GET /metrics: for Prometheus (text format 0.0.4 or OpenMetrics 1.0.0) where Accept names one of them, else JSON.
local json = require "luaduct.http.json"
local native = require "luaduct.http.native"
local optimization = require "luaduct.http.optimization"

-- name, type, help, and where its value stands: a number, or a table of numbers by a label's value.
local FAMILIES = {
    {"luaduct_agents", "gauge", "Connected agents.", function(f) return f.agents end},
    {"luaduct_connections", "gauge", "Open connections of any kind.", function(f) return f.connections end},
    {"luaduct_mailbox_envelopes", "gauge", "Envelopes kept for absent agents.", function(f) return f.queued end},
    {"luaduct_history_envelopes", "gauge", "Envelopes in the history.", function(f) return f.history end},
    {"luaduct_reactors", "gauge", "Reactor threads.", function(f) return f.reactors end},
    {"luaduct_uptime_seconds", "gauge", "Time since the start.", function(f) return f.uptime_ms / 1000 end},
    {"luaduct_messages_accepted", "counter", "Envelopes accepted.", function(f) return f.messages.in_count end},
    {"luaduct_messages_delivered", "counter", "Frames handed to the kernel for agents.",
        function(f) return f.messages.out_count end},
    {"luaduct_received_bytes", "counter", "Bytes read from peers.", function(f) return f.messages.bytes_in end},
    {"luaduct_sent_bytes", "counter", "Bytes written to peers.", function(f) return f.messages.bytes_out end},
    {"luaduct_refused", "counter", "Refusals, by code.", function(f) return f.messages.refused end, "code"},
    {"luaduct_limited", "counter", "What went past a limit and was refused, closed or left unanswered, by limit.",
        function(f) return f.messages.limited end, "limit"},
    {"luaduct_denied", "counter", "What was refused because of who asked, by what it was.",
        function(f) return f.messages.denied end, "what"},
    {"luaduct_slow_signatures", "counter",
        "ES256 signatures of JSON Web Tokens: verified, or refused because too many waited.",
        function(f) return f.messages.slow_signatures end, "outcome"},
    {"luaduct_undeliverable", "counter", "Deliveries that failed, by reason.",
        function(f) return f.messages.undeliverable end, "reason"},
    {"luaduct_dropped_by_script", "counter", "Envelopes that a script dropped.",
        function(f) return f.messages.dropped end},
    {"luaduct_lost_without_memory", "counter", "Accepted deliveries lost because memory was out.",
        function(f) return f.messages.lost end},
    {"luaduct_waiting_envelopes", "gauge", "Envelopes that wait for an agent with room for a task.",
        function(f) return f.delivery.waiting end},
    {"luaduct_waited", "counter", "Envelopes that had to wait for an agent with room, by how it went on.", function(f)
        local delivery = f.delivery
        return {queued = delivery.waited, refused = delivery.waiting_refused, expired = delivery.waiting_expired}
    end, "status"},
    {"luaduct_dedup_ids", "gauge", "Ids of accepted envelopes that are remembered.",
        function(f) return f.delivery.dedup_ids end},
    {"luaduct_dedup_evicted", "counter", "Ids forgotten before their time because there were too many.",
        function(f) return f.delivery.dedup_evicted end},
    {"luaduct_dead_letters", "counter", "Lost envelopes, by whether they reached the dead letters.", function(f)
        return {sent = f.delivery.dead_letters, lost = f.delivery.dead_letters_lost}
    end, "status"},
    {"luaduct_script_version", "gauge", "Number of the version of the scripts in use.",
        function(f) return f.script_number end},
    {"luaduct_script_calls", "counter", "Calls of script hooks, by hook.",
        function(f) return f.by_hook("calls") end, "hook"},
    {"luaduct_script_errors", "counter", "Calls of script hooks that failed, by hook.",
        function(f) return f.by_hook("errors") end, "hook"},
    {"luaduct_script_overruns", "counter", "Calls of script hooks that were stopped, by hook.",
        function(f) return f.by_hook("overruns") end, "hook"},
    {"luaduct_script_skipped", "counter", "Calls of script hooks not made because the hook was switched off, by hook.",
        function(f) return f.by_hook("skipped") end, "hook"},
    {"luaduct_script_switched_off", "counter", "Times that a script hook was switched off for its overruns, by hook.",
        function(f) return f.by_hook("trips") end, "hook"},
    {"luaduct_route_cache_lookups", "counter", "Routes with a declared cache, by whether the decision was known.",
        function(f)
            local cache = f.scripts.route_cache
            return {hit = cache.hits, miss = cache.misses}
        end, "outcome"},
    {"luaduct_route_cache_uncached", "counter", "Decisions of such routes that were too large to keep.",
        function(f) return f.scripts.route_cache.uncached end},
    {"luaduct_route_cache_removed", "counter", "Kept decisions that went, by why.", function(f)
        local cache = f.scripts.route_cache
        return {evicted = cache.evicted, outdated = cache.outdated}
    end, "reason"},
    {"luaduct_route_cache_entries", "gauge", "Decisions that are kept.",
        function(f) return f.scripts.route_cache.entries end},
    {"luaduct_route_cache_bytes", "gauge", "Memory of the decisions that are kept; part of the script states'.",
        function(f) return f.scripts.route_cache.bytes end},
    {"luaduct_script_heap_bytes", "gauge", "Memory of the script states.", function(f) return f.scripts.heap_bytes end},
    {"luaduct_script_full_collections", "counter", "Full garbage collections forced in script states.",
        function(f) return f.scripts.full_collections end},
    {"luaduct_shared_entries", "gauge", "Entries of luaduct.shared.", function(f) return f.shared.entries end},
    {"luaduct_shared_bytes", "gauge", "Memory of luaduct.shared.", function(f) return f.shared.bytes end},
    {"luaduct_shared_gets", "counter", "Looks into luaduct.shared, by outcome.",
        function(f) return {hit = f.shared.hits, miss = f.shared.misses} end, "outcome"},
    {"luaduct_shared_removed", "counter", "Entries of luaduct.shared that went by themselves, by why.",
        function(f) return {evicted = f.shared.evicted, expired = f.shared.expired} end, "reason"},
    {"luaduct_gc_collections", "counter", "Completed full cycles of the scripts' collectors, by who asked.",
        function(f)
            local done = f.scripts.collections
            return {manual = done.manual, automatic = done.automatic}
        end, "trigger"},
    {"luaduct_gc_reclaimed_bytes", "counter", "Memory that completed cycles freed.",
        function(f) return f.scripts.collections.reclaimed end},
    {"luaduct_memory_level", "gauge", "Memory pressure: 0 low, 1 moderate, 2 high, 3 critical.",
        function(f) return f.memory.level_number end},
    {"luaduct_memory_trend_bytes_per_second", "gauge", "Slope of the memory in use over the last samples.",
        function(f) return f.memory.trend end},
    {"luaduct_memory_leak_alerts", "counter", "Times that scripts kept more after each of several collections.",
        function(f) return f.memory.leak_alerts end},
    {"luaduct_memory_pressure_alerts", "counter", "Times that the level rose to high or critical.",
        function(f) return f.memory.pressure_alerts end},
    {"luaduct_memory_shed", "counter", "What was done about memory pressure, by action.", function(f)
        local shed = f.memory.shed
        return {
            trim = shed.trims, pause = shed.paused, resume = shed.resumed, close = shed.closed,
            refuse_connection = shed.refused_connections, refuse_request = shed.refused_requests,
            refuse_growth = shed.refused_growth,
        }
    end, "action"},
    {"luaduct_pool_blocks_held", "gauge", "Pool blocks in use, by pool.",
        function(f) return f.by_pool("held") end, "pool"},
    {"luaduct_pool_blocks_available", "gauge", "Pool blocks kept for use, by pool.",
        function(f) return f.by_pool("available") end, "pool"},
    {"luaduct_pool_acquired", "counter", "Pool blocks asked for, by pool.",
        function(f) return f.by_pool("acquired") end, "pool"},
    {"luaduct_pool_hits", "counter", "Pool blocks given without malloc, by pool.",
        function(f) return f.by_pool("hits") end, "pool"},
    {"luaduct_pool_created", "counter", "Pool blocks taken from malloc, by pool.",
        function(f) return f.by_pool("created") end, "pool"},
    {"luaduct_pool_destroyed", "counter", "Pool blocks given back with free, by pool.",
        function(f) return f.by_pool("destroyed") end, "pool"},
    {"luaduct_pool_evicted_lru", "counter", "Unused pool blocks that went because a depot was full, by pool.",
        function(f) return f.evicted("lru") end, "pool"},
    {"luaduct_pool_evicted_ttl", "counter", "Unused pool blocks that went because of their age, by pool.",
        function(f) return f.evicted("ttl") end, "pool"},
    {"luaduct_pool_evicted_pressure", "counter", "Unused pool blocks that went because memory was short, by pool.",
        function(f) return f.evicted("pressure") end, "pool"},
    {"luaduct_pool_bytes", "gauge", "Memory of the pools, by pool.", function(f) return f.by_pool("bytes") end, "pool"},
    {"luaduct_workers", "gauge", "Worker threads.", function(f) return f.workers.workers end},
    {"luaduct_workers_busy", "gauge", "Worker threads that run a task.", function(f) return f.workers.busy end},
    {"luaduct_workers_forecast", "gauge", "Workers that the forecast of the load asks for.",
        function(f) return f.workers.forecast end},
    {"luaduct_worker_threads_created", "counter", "Worker threads started.", function(f) return f.workers.created end},
    {"luaduct_worker_threads_replaced", "counter", "Worker threads given up because they did not stop.",
        function(f) return f.workers.replaced end},
    {"luaduct_tasks_waiting", "gauge", "Tasks that wait for a worker, by priority.",
        function(f) return f.workers.depth end, "priority"},
    {"luaduct_tasks_taken", "counter", "Tasks handed to the workers.", function(f) return f.workers.queued_in_all end},
    {"luaduct_tasks_ended", "counter", "Tasks that ended, by how.", function(f)
        local w = f.workers
        return {done = w.completed, failed = w.failed, timeout = w.timeouts, cancelled = w.cancelled}
    end, "status"},
    {"luaduct_tasks_refused", "counter", "Tasks that the workers did not take.",
        function(f) return f.workers.refused end},
    {"luaduct_task_run_seconds", "counter", "Time that tasks ran.", function(f) return f.workers.run_seconds end},
    {"luaduct_task_wait_seconds", "counter", "Time that tasks waited.", function(f) return f.workers.wait_seconds end},
    {"luaduct_resident_memory_bytes", "gauge", "Resident memory of the process.",
        function(f) return f.memory.resident end},
    {"luaduct_memory_budget_bytes", "gauge", "What the process may use.", function(f) return f.memory.budget end},
    {"luaduct_mailbox_bytes", "gauge", "Memory of all mailboxes.", function(f) return f.memory.mailboxes end},
    {"luaduct_compression_bytes", "gauge", "Memory of compression.", function(f) return f.memory.compression end},
}

for _, family in ipairs({
    {"luaduct_tls_connections", "gauge", "Open connections with TLS.", function(tls) return tls.connections end},
    {"luaduct_tls_handshakes", "counter", "Handshakes that were done, by whether an earlier session was taken up.",
        function(tls) return {full = tls.handshakes.full, resumed = tls.handshakes.resumed} end, "kind"},
    {"luaduct_tls_handshakes_failed", "counter", "Handshakes that failed, by reason.",
        function(tls) return tls.handshakes.failed end, "reason"},
    {"luaduct_tls_handshakes_in_progress", "gauge", "Handshakes under way.",
        function(tls) return tls.handshakes.inProgress end},
    {"luaduct_tls_handshakes_waiting", "gauge", "Accepted connections that have sent nothing yet.",
        function(tls) return tls.handshakes.waiting end},
    {"luaduct_tls_certificate_expiry_seconds", "gauge", "Time until a certificate or revocation list runs out, by key.",
        function(tls)
            local left = {}
            for _, certificate in ipairs(tls.certificates) do
                left[certificate.key] = certificate.secondsLeft
            end
            return left
        end, "key"},
}) do
    local name, kind, help, read, label = unpack(family)
    FAMILIES[#FAMILIES + 1] = {name, kind, help, function()
        local tls = native.tls_figures()
        return tls and read(tls)
    end, label}
end
for _, family in ipairs({
    {"luaduct_event_listeners", "gauge", "Connections that listen to events.", "listeners"},
    {"luaduct_events_published", "counter", "Events that somebody listened to.", "published"},
    {"luaduct_events_lost", "counter", "Events that a slow listener lost, each counted for each of them.", "lost"},
}) do
    local name, kind, help, member = unpack(family)
    FAMILIES[#FAMILIES + 1] = {name, kind, help, function() return native.event_figures()[member] end}
end
for _, family in ipairs({
    {"luaduct_webhook_delivered", "counter", "Alerts that the webhook took.", "delivered"},
    {"luaduct_webhook_retried", "counter", "Tries of the webhook that failed and were repeated.", "retried"},
    {"luaduct_webhook_lost", "counter", "Alerts that the webhook did not take in all tries.", "lost"},
}) do
    local name, kind, help, member = unpack(family)
    FAMILIES[#FAMILIES + 1] = {name, kind, help, function() return native.webhook_figures()[member] end}
end
for _, family in ipairs({
    {"luaduct_alert_active", "gauge", "Whether the rule's alert is active, by rule.", "active"},
    {"luaduct_alert_value", "gauge", "The value that the rule looks at, by rule; absent: nothing to say.", "value"},
    {"luaduct_alerts_fired", "counter", "Times that the rule's alert began, by rule.", "fired"},
    {"luaduct_alert_rule_failures", "counter", "Times that a function of the rule raised, by rule.", "failures"},
}) do
    local name, kind, help, member = unpack(family)
    FAMILIES[#FAMILIES + 1] = {name, kind, help, function(f) return f.by_rule(member) end, "rule"}
end

local function add_selectors(figures)
    local function by(things)
        return function(name)
            local values = {}
            for key, thing in pairs(things) do
                values[key] = thing[name]
            end
            return values
        end
    end
    figures.by_hook = by(figures.scripts.hooks)
    figures.by_pool = by(figures.pools)
    local rules = {}
    for _, rule in ipairs(native.rules()) do
        rules[rule.name] = rule
        rule.active = rule.active and 1 or 0
    end
    figures.by_rule = by(rules)
    local evicted = {}
    for name, pool in pairs(figures.pools) do
        evicted[name] = pool.evicted
    end
    figures.evicted = by(evicted)
end

local function number(value)
    return ("%.15g"):format(value)
end

-- OpenMetrics names a family of counters without the suffix of its samples; the older format has only samples.
local function write_header(name, kind, help, open_metrics)
    local family = kind == "counter" and not open_metrics and name .. "_total" or name
    native.write("# HELP ", family, " ", help, "\n# TYPE ", family, " ", kind, "\n")
end

local function write_samples(name, value, label)
    if type(value) == "number" then
        native.write(name, " ", number(value), "\n")
        return
    end
    local keys = {}
    for key in pairs(value) do
        keys[#keys + 1] = key
    end
    table.sort(keys)
    for _, key in ipairs(keys) do
        native.write(name, "{", label, '="', key, '"} ', number(value[key]), "\n")
    end
end

local function write_histogram(name, help, times, open_metrics)
    write_header(name, "histogram", help, open_metrics)
    for _, bucket in ipairs(times.within) do
        native.write(name, '_bucket{le="', number(bucket.seconds), '"} ', number(bucket.count), "\n")
    end
    native.write(name, '_bucket{le="+Inf"} ', number(times.count), "\n")
    native.write(name, "_sum ", number(times.seconds), "\n", name, "_count ", number(times.count), "\n")
end

local function write_text(figures, open_metrics)
    add_selectors(figures)
    for _, family in ipairs(FAMILIES) do
        local name, kind, help, read, label = unpack(family)
        local value = read(figures)
        if value then
            write_header(name, kind, help, open_metrics)
            write_samples(kind == "counter" and name .. "_total" or name, value, label)
        end
    end
    write_histogram("luaduct_message_latency_seconds", "From the read that brought an envelope to the write that "
        .. "passed it on (the sum is right to about 6 %).", figures.latency, open_metrics)
    write_histogram("luaduct_gc_pause_seconds", "Steps of the scripts' collectors between events, and collections that "
        .. "were forced in a hook.", figures.scripts.collections.pauses, open_metrics)
    native.write(open_metrics and "# EOF\n" or "")
end

-- Whether Accept names the media type, and does not refuse it (q=0).
local function accepts(accept, wanted)
    for range in accept:lower():gmatch("[^,]+") do
        if range:match("^%s*([^;%s]+)") == wanted then
            return not range:match(";%s*q=0%.?0*%s*$") and not range:match(";%s*q=0%.?0*%s*;")
        end
    end
    return false
end

local function body(figures)
    local all = optimization.of(figures)
    local messages, latency = figures.messages, figures.latency
    all.messages = {
        accepted = messages.in_count, delivered = messages.out_count, perSecond = messages.per_second,
        bytesIn = messages.bytes_in, bytesOut = messages.bytes_out, errors = messages.errors,
        refused = messages.refused, denied = messages.denied, undeliverable = messages.undeliverable,
        droppedByScript = messages.dropped, lostWithoutMemory = messages.lost, queued = figures.queued,
    }
    -- Milliseconds.
    all.latency = {
        count = latency.count, p50 = latency.p50, p90 = latency.p90, p99 = latency.p99, p999 = latency.p999,
    }
    all.tls = native.tls_figures() or json.null
    if all.tls ~= json.null then
        all.tls.certificates = json.array(all.tls.certificates)
    end
    return all
end

return function(request)
    local figures = native.figures()
    if accepts(request.accept, "application/openmetrics-text") then
        native.content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        write_text(figures, true)
        return 200
    elseif accepts(request.accept, "text/plain") then
        native.content_type("text/plain; version=0.0.4; charset=utf-8")
        write_text(figures, false)
        return 200
    end
    return 200, body(figures)
end
