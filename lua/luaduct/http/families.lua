-- What /metrics shows: one list, from which the answer's HELP and docs/metrics.md are both made. Names follow the
-- conventions of Prometheus: base units at the end, `_total` behind counters (not part of `name` here).
--
-- A family is {name, type, help, value, labels…}. `value` takes the figures (metrics.lua gathers them) and gives a
-- number; with a label a table of numbers by its value, with two labels a table of such tables; nil: the family is not
-- there. Of a histogram it is the name by which native.write_histogram knows it. What may stand in a label is bounded:
-- names that the bridge or its configuration knows, never an agent's.
local families = {}

local function group(title, list)
    families[#families + 1] = {title = title, list = list}
end

-- {key = thing} to {key = thing[member]}
local function pick(things, member)
    local values = {}
    for key, thing in pairs(things) do
        values[key] = thing[member]
    end
    return values
end

group("The process", {
    {"luaduct_build_info", "gauge", "1; the version that runs is a label.",
        function(f) return {[f.version] = 1} end, "version"},
    {"luaduct_uptime_seconds", "gauge", "Time since the start.", function(f) return f.uptime_ms / 1000 end},
    {"luaduct_draining", "gauge", "1 while the bridge stops and takes nothing new.",
        function(f) return f.draining and 1 or 0 end},
    {"process_cpu_seconds", "counter", "Processor time of all threads.", function(f) return f.process.seconds end},
    {"process_start_time_seconds", "gauge", "When the process started, since the epoch.",
        function(f) return f.process.started end},
    {"process_resident_memory_bytes", "gauge", "Resident memory.", function(f) return f.memory.resident end},
    {"luaduct_engine_degraded", "gauge", "1 while an engine that is wanted does not run because it failed, by engine.",
        function(f) return f.degraded end, "engine"},
    {"luaduct_engine_failures", "counter", "Times that an engine failed, by engine.",
        function(f) return f.engine_failures end, "engine"},
})

group("Messages", {
    {"luaduct_agents", "gauge", "Connected agents.", function(f) return f.agents end},
    {"luaduct_connections", "gauge", "Open connections of any kind.", function(f) return f.connections end},
    {"luaduct_connections_limit", "gauge", "How many may be open; absent: any number.",
        function(f) return f.process.connections_limit end},
    {"luaduct_messages_accepted", "counter", "Envelopes accepted.", function(f) return f.messages.in_count end},
    {"luaduct_messages_delivered", "counter", "Frames handed to the kernel for agents.",
        function(f) return f.messages.out_count end},
    {"luaduct_received_bytes", "counter", "Bytes read from peers.", function(f) return f.messages.bytes_in end},
    {"luaduct_sent_bytes", "counter", "Bytes written to peers.", function(f) return f.messages.bytes_out end},
    {"luaduct_message_latency_seconds", "histogram", "From the read that brought an envelope to the write that passed "
        .. "it on.", "message_latency"},
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
})

group("What is kept", {
    {"luaduct_mailbox_envelopes", "gauge", "Envelopes kept for absent agents.", function(f) return f.queued end},
    {"luaduct_mailbox_bytes", "gauge", "Memory of all mailboxes.", function(f) return f.memory.mailboxes end},
    {"luaduct_mailbox_wait_seconds", "histogram", "Of envelopes that left a mailbox for their agent's connection: time "
        .. "since they were accepted, to the millisecond.", "mailbox_wait"},
    {"luaduct_history_envelopes", "gauge", "Envelopes in the history.", function(f) return f.history end},
    {"luaduct_history_bytes", "gauge", "Memory of the history.", function(f) return f.memory.history end},
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
})

group("Reactors", {
    {"luaduct_reactors", "gauge", "Reactor threads.", function(f) return f.reactors end},
    {"luaduct_reactor_connections", "gauge", "Open connections, by reactor.",
        function(f) return f.by_reactor("connections") end, "reactor"},
    {"luaduct_reactor_messages_accepted", "counter", "Envelopes accepted, by reactor.",
        function(f) return f.by_reactor("messages") end, "reactor"},
    {"luaduct_reactor_cpu_seconds", "counter", "Processor time of the thread, by reactor.",
        function(f) return f.by_reactor("seconds") end, "reactor"},
    {"luaduct_reactor_message_latency_seconds", "histogram", "As luaduct_message_latency_seconds, by reactor.",
        "reactor_message_latency", "reactor"},
    {"luaduct_reactor_script_run_seconds", "histogram", "As luaduct_script_run_seconds, all hooks, by reactor.",
        "reactor_script_run", "reactor"},
    {"luaduct_reactor_gc_pause_seconds", "histogram", "As luaduct_gc_pause_seconds, by reactor.",
        "reactor_gc_pause", "reactor"},
    {"luaduct_reactor_mailbox_wait_seconds", "histogram", "As luaduct_mailbox_wait_seconds, by reactor.",
        "reactor_mailbox_wait", "reactor"},
})

group("Scripts", {
    {"luaduct_script_version", "gauge", "Number of the version of the scripts in use.",
        function(f) return f.script_number end},
    {"luaduct_reloads", "counter",
        "Orders to take up scripts and config again, or to go back to a version, by outcome.",
        function(f) return f.reloads end, "outcome"},
    {"luaduct_last_reload_successful", "gauge", "0 when the last of them was refused: what runs is not what the files "
        .. "say.", function(f) return f.reload_good and 1 or 0 end},
    {"luaduct_script_run_seconds", "histogram", "Time that calls of script hooks ran, by hook. Of routes one call "
        .. "in 64 is timed, chosen at random; of other hooks each. A hook that waits counts each stretch that it runs.",
        "script_run", "hook"},
    {"luaduct_script_calls", "counter", "Calls of script hooks, by hook.",
        function(f) return pick(f.scripts.hooks, "calls") end, "hook"},
    {"luaduct_script_errors", "counter", "Calls of script hooks that failed, by hook.",
        function(f) return pick(f.scripts.hooks, "errors") end, "hook"},
    {"luaduct_script_overruns", "counter", "Calls of script hooks that were stopped, by hook.",
        function(f) return pick(f.scripts.hooks, "overruns") end, "hook"},
    {"luaduct_script_skipped", "counter", "Calls of script hooks not made because the hook was switched off, by hook.",
        function(f) return pick(f.scripts.hooks, "skipped") end, "hook"},
    {"luaduct_script_switched_off", "counter", "Times that a script hook was switched off for its overruns, by hook.",
        function(f) return pick(f.scripts.hooks, "trips") end, "hook"},
    {"luaduct_script_hooks_off", "gauge", "Hooks of scripts that are switched off now.",
        function(f) return f.hooks_off end},
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
    {"luaduct_shared_entries", "gauge", "Entries of luaduct.shared.", function(f) return f.shared.entries end},
    {"luaduct_shared_bytes", "gauge", "Memory of luaduct.shared.", function(f) return f.shared.bytes end},
    {"luaduct_shared_gets", "counter", "Looks into luaduct.shared, by outcome.",
        function(f) return {hit = f.shared.hits, miss = f.shared.misses} end, "outcome"},
    {"luaduct_shared_removed", "counter", "Entries of luaduct.shared that went by themselves, by why.",
        function(f) return {evicted = f.shared.evicted, expired = f.shared.expired} end, "reason"},
})

group("Garbage collection", {
    {"luaduct_gc_pause_seconds", "histogram", "Steps of the scripts' collectors between events, and collections that "
        .. "were forced in a hook.", "gc_pause"},
    {"luaduct_gc_collections", "counter", "Completed full cycles of the scripts' collectors, by who asked.",
        function(f)
            local done = f.scripts.collections
            return {manual = done.manual, automatic = done.automatic}
        end, "trigger"},
    {"luaduct_gc_reclaimed_bytes", "counter", "Memory that completed cycles freed.",
        function(f) return f.scripts.collections.reclaimed end},
    {"luaduct_script_full_collections", "counter", "Full garbage collections forced in script states.",
        function(f) return f.scripts.full_collections end},
    {"luaduct_script_heap_bytes", "gauge", "Memory of the script states.", function(f) return f.scripts.heap_bytes end},
})

group("Memory", {
    {"luaduct_resident_memory_bytes", "gauge", "Resident memory of the process.",
        function(f) return f.memory.resident end},
    {"luaduct_memory_budget_bytes", "gauge", "What the process may use; absent: anything.",
        function(f) return f.memory.budget end},
    {"luaduct_memory_level", "gauge", "Memory pressure: 0 low, 1 moderate, 2 high, 3 critical.",
        function(f) return f.memory.level_number end},
    {"luaduct_memory_trend_bytes_per_second", "gauge",
        "Slope of the memory in use over the last samples; absent: too few.", function(f) return f.memory.trend end},
    {"luaduct_memory_threshold_seconds", "gauge",
        "Time until memory reaches the threshold, should the trend go on; absent: it does not rise.",
        function(f) return f.memory.seconds_to_threshold end},
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
    {"luaduct_compression_bytes", "gauge", "Memory of compression.", function(f) return f.memory.compression end},
    {"luaduct_pool_bytes", "gauge", "Memory of the pools, by pool.", function(f) return pick(f.pools, "bytes") end,
        "pool"},
    {"luaduct_pool_blocks_held", "gauge", "Pool blocks in use, by pool.",
        function(f) return pick(f.pools, "held") end, "pool"},
    {"luaduct_pool_blocks_available", "gauge", "Pool blocks kept for use, by pool.",
        function(f) return pick(f.pools, "available") end, "pool"},
    {"luaduct_pool_acquired", "counter", "Pool blocks asked for, by pool.",
        function(f) return pick(f.pools, "acquired") end, "pool"},
    {"luaduct_pool_hits", "counter", "Pool blocks given without malloc, by pool.",
        function(f) return pick(f.pools, "hits") end, "pool"},
    {"luaduct_pool_created", "counter", "Pool blocks taken from malloc, by pool.",
        function(f) return pick(f.pools, "created") end, "pool"},
    {"luaduct_pool_destroyed", "counter", "Pool blocks given back with free, by pool.",
        function(f) return pick(f.pools, "destroyed") end, "pool"},
    {"luaduct_pool_evicted", "counter", "Unused pool blocks that went, by pool and why: its depot was full (lru), "
        .. "their age (ttl), or memory was short (pressure).", function(f) return pick(f.pools, "evicted") end, "pool",
        "reason"},
})

group("Workers", {
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
    {"luaduct_task_wait_seconds", "histogram", "Time that tasks waited for a worker, by priority.", "task_wait",
        "priority"},
    {"luaduct_task_run_seconds", "histogram", "Time that tasks ran which ended done or failed.", "task_run"},
})

-- Not there without TLS.
local function tls(value)
    return function(f)
        return f.tls and value(f.tls)
    end
end

group("TLS (where the ports speak it)", {
    {"luaduct_tls_connections", "gauge", "Open connections with TLS.", tls(function(t) return t.connections end)},
    {"luaduct_tls_handshakes", "counter", "Handshakes that were done, by whether an earlier session was taken up.",
        tls(function(t) return {full = t.handshakes.full, resumed = t.handshakes.resumed} end), "kind"},
    {"luaduct_tls_handshake_seconds", "histogram", "Handshakes that were done, from the first byte on, by whether an "
        .. "earlier session was taken up; most of it is the way to the peer and back.", "tls_handshake", "kind"},
    {"luaduct_tls_handshakes_failed", "counter", "Handshakes that failed, by reason.",
        tls(function(t) return t.handshakes.failed end), "reason"},
    {"luaduct_tls_handshakes_in_progress", "gauge", "Handshakes under way.",
        tls(function(t) return t.handshakes.inProgress end)},
    {"luaduct_tls_handshakes_waiting", "gauge", "Accepted connections that have sent nothing yet.",
        tls(function(t) return t.handshakes.waiting end)},
    {"luaduct_tls_certificate_expiry_seconds", "gauge", "Time until a certificate or revocation list runs out, by key.",
        tls(function(t)
            local left = {}
            for _, certificate in ipairs(t.certificates) do
                local known = left[certificate.key]
                left[certificate.key] = math.min(known or certificate.secondsLeft, certificate.secondsLeft)
            end
            return left
        end), "key"},
})

group("Events and alerts", {
    {"luaduct_event_listeners", "gauge", "Connections that listen to events.",
        function(f) return f.events.listeners end},
    {"luaduct_events_published", "counter", "Events that somebody listened to.",
        function(f) return f.events.published end},
    {"luaduct_events_lost", "counter", "Events that a slow listener lost, each counted for each of them.",
        function(f) return f.events.lost end},
    {"luaduct_webhook_delivered", "counter", "Alerts that the webhook took.",
        function(f) return f.webhook.delivered end},
    {"luaduct_webhook_retried", "counter", "Tries of the webhook that failed and were repeated.",
        function(f) return f.webhook.retried end},
    {"luaduct_webhook_lost", "counter", "Alerts that the webhook did not take in all tries.",
        function(f) return f.webhook.lost end},
    {"luaduct_alert_active", "gauge", "Whether the rule's alert is active, by rule.",
        function(f) return pick(f.rules, "active") end, "rule"},
    {"luaduct_alert_value", "gauge", "The value that the rule looks at, by rule; absent: nothing to say.",
        function(f) return pick(f.rules, "value") end, "rule"},
    {"luaduct_alerts_fired", "counter", "Times that the rule's alert began, by rule.",
        function(f) return pick(f.rules, "fired") end, "rule"},
    {"luaduct_alert_rule_failures", "counter", "Times that a function of the rule raised, by rule.",
        function(f) return pick(f.rules, "failures") end, "rule"},
})

group("Log and traces", {
    {"luaduct_log_lines_lost", "counter",
        "Lines of the log that were lost, because it could not be written or not fast enough.",
        function(f) return f.process.log_lines_lost end},
    {"luaduct_spans", "counter", "Spans, by what became of them: the collector took them (exported), threw them away "
        .. "(rejected), did not take them in all tries (lost), or the queue was full (dropped); absent while nothing "
        .. "is traced.", function(f) return f.tracing end, "outcome"},
    {"luaduct_traces_refused", "counter", "Times that a sender's sampled flag was not followed, because it asked for "
        .. "more than tracing.forcedPerSecond; absent while nothing is traced.",
        function(f) return f.traces_refused end},
})

-- The unit that a family's name ends with, or nil.
local UNITS = {"bytes_per_second", "seconds", "bytes"}

local function unit_of(name)
    for _, unit in ipairs(UNITS) do
        if name:sub(-#unit - 1) == "_" .. unit then
            return unit
        end
    end
    return nil
end

-- name, kind, help, value, labels, unit of each, in groups with a title.
for _, each in ipairs(families) do
    for i, family in ipairs(each.list) do
        local labels = {select(5, unpack(family))}
        each.list[i] = {
            name = family[1], kind = family[2], help = family[3], value = family[4], labels = labels,
            unit = unit_of(family[1]), only_tls = each.title:match("^TLS") ~= nil,
        }
    end
end

return families
