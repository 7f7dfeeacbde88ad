-- GET /metrics: for Prometheus (text format 0.0.4 or OpenMetrics 1.0.0) where Accept prefers one of them, else JSON.
local families = require "luaduct.http.families"
local json = require "luaduct.http.json"
local native = require "luaduct.http.native"
local optimization = require "luaduct.http.optimization"
local see = require "luaduct.http.sight"

-- What families look at beside native.figures().
local function gather()
    local figures = native.figures()
    figures.process = native.process_figures()
    figures.tls = native.tls_figures()
    figures.events = native.event_figures()
    figures.reloads, figures.reload_good = native.reload_figures()
    figures.tracing, figures.traces_refused = native.tracing_figures()
    figures.webhook = native.webhook_figures()
    figures.hooks_off = #native.switches()
    figures.rules = {}
    for _, rule in ipairs(native.rules()) do
        figures.rules[rule.name] = rule
        rule.active = rule.active and 1 or 0
    end
    figures.degraded, figures.engine_failures = {}, {}
    for _, engine in ipairs(native.engines()) do
        figures.degraded[engine.name] = engine.state == "degraded" and 1 or 0
        figures.engine_failures[engine.name] = engine.failures
    end
    local reactors = native.reactor_figures()
    function figures.by_reactor(member)
        local values = {}
        for _, reactor in ipairs(reactors) do
            values[("%d"):format(reactor.index)] = reactor[member]
        end
        return values
    end
    return figures
end

local function number(value)
    if value == math.huge then
        return "+Inf"
    elseif value == -math.huge then
        return "-Inf"
    elseif value ~= value then
        return "NaN"
    end
    return ("%.15g"):format(value)
end

local ESCAPES = {["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n"}

local function sorted_keys(values)
    local keys = {}
    for key in pairs(values) do
        keys[#keys + 1] = key
    end
    table.sort(keys)
    return keys
end

-- `so_far`: the labels that are known already, as text.
local function write_samples(name, value, labels, depth, so_far)
    if type(value) == "number" then
        native.write(name, so_far == "" and "" or "{" .. so_far .. "}", " ", number(value), "\n")
        return
    end
    for _, key in ipairs(sorted_keys(value)) do
        local label = ('%s="%s"'):format(labels[depth], key:gsub('[\\"\n]', ESCAPES))
        write_samples(name, value[key], labels, depth + 1, so_far == "" and label or so_far .. "," .. label)
    end
end

-- OpenMetrics names a family of counters without the suffix of its samples; the older format has only samples.
local function write_header(family, open_metrics)
    local name = family.kind == "counter" and not open_metrics and family.name .. "_total" or family.name
    native.write("# HELP ", name, " ", family.help, "\n# TYPE ", name, " ", family.kind, "\n")
    if open_metrics and family.unit then
        native.write("# UNIT ", name, " ", family.unit, "\n")
    end
end

local function write_family(family, figures, open_metrics)
    if family.kind == "histogram" then
        if figures.tls or not family.only_tls then
            write_header(family, open_metrics)
            native.write_histogram(family.value, family.name, open_metrics)
        end
        return
    end
    local value = family.value(figures)
    if value then
        write_header(family, open_metrics)
        write_samples(family.kind == "counter" and family.name .. "_total" or family.name, value, family.labels, 1, "")
    end
end

local function write_text(open_metrics)
    local figures = gather()
    for _, group in ipairs(families) do
        for _, family in ipairs(group.list) do
            write_family(family, figures, open_metrics)
            native.pause()
        end
    end
    native.write(open_metrics and "# EOF\n" or "")
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

-- What can be had, by media type; a range of the Accept header that asks for another version of it does not mean it.
local FORMS = {
    ["application/openmetrics-text"] = {version = "1.0.0", open_metrics = true},
    ["text/plain"] = {version = "0.0.4"},
    ["application/json"] = {},
}

-- The media type that Accept (RFC 9110 12.5.1) prefers of those that it names, of equals the one named first; JSON
-- where it names none. Ranges like */* name none: who takes anything gets JSON, as ever.
local function choose(accept)
    local chosen, best = "application/json", 0
    for range in accept:lower():gmatch("[^,]+") do
        local name = range:match("^%s*([^;%s]+)")
        local form = FORMS[name]
        local version = range:match(';%s*version%s*=%s*"?([^;"%s]+)')
        local quality = tonumber(range:match(";%s*q%s*=%s*([%d.]+)") or 1) or 0
        if form and (not version or not form.version or version == form.version) and quality > best then
            chosen, best = name, quality
        end
    end
    return chosen
end

local json_form = see("status", function()
    return 200, body(native.figures())
end)

return function(request)
    local chosen = choose(request.accept)
    local version = FORMS[chosen].version
    if not version then
        return json_form(request)
    end
    native.content_type(("%s; version=%s; charset=utf-8"):format(chosen, version))
    write_text(FORMS[chosen].open_metrics)
    return 200
end
