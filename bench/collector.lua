-- bench/collector: the bridge's collector (steps between events) against LuaJIT's own (inside hooks) under a script
-- that makes garbage, in turns; and from which size of table on one step takes long.
package.path = "./?.lua;" .. package.path

local process = require("bench.support.process")
local harness = require("bench.support.harness")

local help = [[
usage: bench/collector [OPTION]...
A routing script makes 1 KiB of garbage for each message, at a steady rate, with the engine gcOptimization on and off.

  --rounds N        of each; standard 3
  --rate N          messages a second; standard 40000
  --seconds S       measured time of each run; standard 5
  --build FOLDER    where luaduct is; standard build
  --server-core N, --generator-core N    processors; standard 0 and 1
  --keep N          objects that the script keeps in one table; standard 0
  --tables          instead: the longest step for tables of 1,000 to 1,000,000 elements
]]

local GARBAGE = [[
local kept = {}
for i = 1, %d do kept[i] = {i} end
return {
    route = function(envelope, bridge)
        local made = {}
        for i = 1, 16 do made[i] = {i} end -- 16 tables of 64 bytes
        return kept and bridge.to(envelope.to)
    end,
}
]]

local TABLE = [[
local kept = {}
for i = 1, %d do kept[%s] = %s end
return {on_disconnect = function() return kept end}
]]

local function fail(text)
    harness.fail("collector", text)
end

local function start(options, script, enabled)
    return harness.start_bridge("collector", options, ([[
return {
    mode = "enhanced",
    listen = {wsPort = %%d, httpPort = %%d},
    performance = {worker_threads = 1},
    http = {rateMax = 0},
    log = {level = "warn"},
    script = {path = "script.lua", memoryLimit = "1GiB"},
    phase2 = {gcOptimization = {enabled = %s}},
}
]]):format(tostring(enabled)), {["script.lua"] = script})
end

-- A group of numbers of one object in the answer.
local function figures_of(text, name)
    return harness.figures(text:match('"' .. name .. '":(%b{})'))
end

local function measure(options, enabled)
    local server = start(options, GARBAGE:format(options.keep), enabled)
    local line = "taskset -c %s %s/luaduct bench open --agents 100 --rate %d --seconds %g --json "
        .. "--url ws://127.0.0.1:%d --server-pid %d 2>&1"
    local text = process.capture(line:format(options["generator-core"], options.build, options.rate, options.seconds,
        server.port, server.pid))
    local latency = harness.figures(text)
    if not latency.p999us then
        fail(text)
    end
    local answer = harness.ask(server, "GET", "/optimization")
    process.stop(server.pid)
    local times = figures_of(answer, enabled and "pauses" or "hookTimes")
    local collector = answer:match('"totalGCTriggers":(%d+)')
    print(("%-4s %8.3f %8.3f %8.3f %8.3f   %9d %9s   %8d %8d %8d %9.3f"):format(enabled and "on" or "off", times.p50,
        times.p99, times.p999, times.max, times.count, collector, latency.p50us, latency.p99us, latency.p999us,
        latency.serverCpuUsPerMessage))
end

local function compare(options)
    print(("%d messages/s, 1 KiB of garbage each, %d objects kept. Times in ms: with the engine on of each step "
        .. "between events, off of each hook, collector included."):format(options.rate, options.keep))
    print("           p50      p99    p99.9      max       number    cycles   end to end: p50, p99, p99.9 (us)  "
        .. "CPU us/message")
    for _ = 1, options.rounds do
        measure(options, true)
        measure(options, false)
    end
end

local function measure_tables(options)
    print("longest step (ms) of a full collection, by what one table holds")
    print("   elements     numbers     strings      tables    by name")
    for _, count in ipairs({1000, 10000, 20000, 50000, 100000, 200000, 500000, 1000000}) do
        local row = {}
        for index, kind in ipairs({{"i", "i"}, {"i", "'x' .. i"}, {"i", "{}"}, {"'k' .. i", "i"}}) do
            local server = start(options, TABLE:format(count, kind[1], kind[2]), true)
            local least = math.huge
            for round = 1, 3 do
                harness.ask(server, "POST", "/admin/gc")
                local answer
                repeat
                    process.sleep(0.05)
                    answer = harness.ask(server, "GET", "/optimization")
                until tonumber(answer:match('"manualTriggers":(%d+)')) >= round
                least = math.min(least, tonumber(answer:match('"largestStep":([%d.]+)')))
            end
            process.stop(server.pid)
            row[index] = ("%11.3f"):format(least)
        end
        print(("%11d %s"):format(count, table.concat(row, " ")))
    end
end

local options = harness.options(help, {
    rounds = 3, rate = 40000, seconds = 5, build = "build", ["server-core"] = 0, ["generator-core"] = 1, keep = 0,
    tables = false,
}, arg)
math.randomseed(os.time());
(options.tables and measure_tables or compare)(options)
process.stop_all()
