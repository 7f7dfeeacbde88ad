-- The table of a benchmark, in Markdown.
local process = require("bench.support.process")

local report = {}

local function sorted(values)
    local copy = {}
    for i, value in ipairs(values) do
        copy[i] = value
    end
    table.sort(copy)
    return copy
end

local function median(values)
    local list = sorted(values)
    local middle = math.floor((#list + 1) / 2)
    if #list == 0 then
        return nil
    end
    return #list % 2 == 1 and list[middle] or (list[middle] + list[middle + 1]) / 2
end

local function number(value)
    if not value then
        return "–"
    end
    local digits = math.abs(value) >= 100 and 0 or math.abs(value) >= 10 and 1 or math.abs(value) >= 1 and 2 or 3
    return ("%." .. digits .. "f"):format(value)
end

local function collect(runs, rounds, key)
    local values = {}
    for round = 1, rounds do
        if runs and runs[round] and runs[round][key] then
            values[#values + 1] = runs[round][key]
        end
    end
    return values
end

-- What went wrong in a run, of whatever kind.
function report.faults(figures)
    local count = 0
    for _, key in ipairs({ "lost", "repeated", "reordered", "refused", "disconnected" }) do
        count = count + (figures[key] or 0)
    end
    return count
end

local function sum_faults(runs, rounds)
    local total = 0
    for round = 1, rounds do
        total = total + (runs and runs[round] and report.faults(runs[round]) or 0)
    end
    return total
end

-- The median of the ratios within a round: what disturbs the machine in a round disturbs both sides of its ratio.
local function ratio(runs, rounds, key, ours, theirs)
    local ratios = {}
    for round = 1, rounds do
        local a = runs[ours] and runs[ours][round] and runs[ours][round][key]
        local b = runs[theirs] and runs[theirs][round] and runs[theirs][round][key]
        if a and b and b > 0 then
            ratios[#ratios + 1] = a / b
        end
    end
    return median(ratios)
end

local function row(cells)
    return "| " .. table.concat(cells, " | ") .. " |\n"
end

local function header(cells)
    local rule = {}
    for i = 1, #cells do
        rule[i] = i == 1 and "---" or "---:"
    end
    return row(cells) .. row(rule)
end

local function details(entry, results)
    local scenario, rounds = entry.scenario, results.options.rounds
    local text = { ("\n## %s\n\n    %s\n\n"):format(scenario.title, entry.line) }
    text[#text + 1] = header({
        "",
        "CPU, µs/message",
        "least–most",
        "messages/s",
        "p50, µs",
        "p99, µs",
        "p99.9, µs",
        "faults",
        "RSS, MiB",
        "bytes/agent",
        "generator, cores",
    })
    for _, name in ipairs(results.available) do
        local runs = entry.runs[name]
        local function middle(key, scale)
            local value = median(collect(runs, rounds, key))
            return number(value and value / (scale or 1))
        end
        local cpu = sorted(collect(runs, rounds, "serverCpuUsPerMessage"))
        text[#text + 1] = row({
            name,
            middle("serverCpuUsPerMessage"),
            #cpu > 0 and number(cpu[1]) .. "–" .. number(cpu[#cpu]) or "–",
            middle("messagesPerSecond"),
            middle("p50us"),
            middle("p99us"),
            middle("p999us"),
            ("%d"):format(sum_faults(runs, rounds)),
            middle("serverRss", 1024 * 1024),
            scenario.fresh and middle("rssPerAgent") or "–", -- else it has grown in an earlier round
            middle("generatorCpu"),
        })
    end
    return table.concat(text)
end

local figure_names = {
    serverCpuUsPerMessage = "CPU per delivered message",
    p99us = "latency p99",
    rssPerAgent = "RSS per agent, bytes",
    serverRss = "RSS, bytes",
}

local function ratio_cell(entry, results, peer)
    local scenario = entry.scenario
    local value = ratio(entry.runs, results.options.rounds, scenario.figure, "luaduct", peer)
    local target = scenario.targets[peer]
    if not value then
        return target and ("– (≤ %g)"):format(target) or "–"
    end
    if not target then
        return number(value)
    end
    return ("%s (≤ %g%s)"):format(number(value), target, value <= target and "" or ", **missed**")
end

local function ratios(results)
    local peers = { "floor", "nats", "bun", "node" }
    local text = { "\n## The bridge's figure over each peer's\n\n" }
    text[#text + 1] = header({ "scenario", "compared", "× floor", "× nats-server", "× Bun", "× Node + ws" })
    for _, entry in ipairs(results.scenarios) do
        local cells = { entry.scenario.title, figure_names[entry.scenario.figure] }
        for _, peer in ipairs(peers) do
            cells[#cells + 1] = ratio_cell(entry, results, peer)
        end
        text[#text + 1] = row(cells)
    end
    for _, entry in ipairs(results.scenarios) do
        for key, limit in pairs(entry.scenario.limits or {}) do
            local value = median(collect(entry.runs.luaduct, results.options.rounds, key))
            if value then
                text[#text + 1] = ("\n%s, %s: %.0f (≤ %.0f%s)\n"):format(
                    entry.scenario.title,
                    figure_names[key],
                    value,
                    limit,
                    value <= limit and "" or ", **missed**"
                )
            end
        end
    end
    return table.concat(text)
end

function report.render(results)
    local options = results.options
    local model = (process.read_all("/proc/cpuinfo") or ""):match("model name%s*:%s*([^\n]+)") or "unknown processor"
    local text = {
        "# Benchmark of " .. os.date("!%Y-%m-%d %H:%M UTC") .. "\n\n",
        ("    %s\n\n"):format(results.command),
        ("%s, Linux %s. Servers on processor %s, generator on %s.\n"):format(
            model,
            process.capture("uname -r"),
            options["server-cores"],
            options["generator-core"]
        ),
        ("Medians of %d rounds of %g s after %g s of warm-up, the servers in turn;\n"):format(
            options.rounds,
            options.seconds,
            options.warmup
        ),
        ("a ratio is the median of the ratios within each round.\n"
            .. "Faults: messages lost, repeated, reordered or refused, connections cut off.\n\n%s.\n\n"):format(
            table.concat(results.versions, ", ")
        ),
        ("Load average before %s, after %s.\n"):format(
            results.load_before:match("^%S+"),
            results.load_after:match("^%S+")
        ),
        ratios(results),
    }
    for _, entry in ipairs(results.scenarios) do
        text[#text + 1] = details(entry, results)
    end
    return table.concat(text)
end

return report
