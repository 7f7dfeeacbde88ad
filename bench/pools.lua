-- bench/pools: the bridge with its object pools and without, in turns: what a message costs in calls of malloc, in
-- processor time and in memory.
package.path = "./?.lua;" .. package.path

local process = require("bench.support.process")
local harness = require("bench.support.harness")

local help = [[
usage: bench/pools [OPTION]...
The same load with the engine objectPooling on and off: 1,000 agents in pairs, 16 messages on the way from each; and
agents that connect, register, send one message and leave.

  --rounds N        of each, on and off in turn; standard 3
  --seconds S       measured time of each run; standard 3
  --build FOLDER    where luaduct and tests/malloc_counter.so are (make binaries); standard build
  --server-core N, --generator-core N    processors; standard 0 and 1
]]

local LOADS = {
    {name = "1,000 agents, window 16", words = "direct --agents 1000 --window 16"},
    {name = "churn, 16 at a time", words = "churn --agents 16"},
}

local function fail(text)
    harness.fail("pools", text)
end

local function start(options, pooling, counter)
    return harness.start_bridge("pools", options, ([[
return {
    listen = {wsPort = %%d, httpPort = %%d},
    performance = {worker_threads = 1},
    http = {rateMax = 0},
    log = {level = "warn"},
    phase2 = {objectPooling = {enabled = %s}},
}
]]):format(tostring(pooling)), nil, counter and ("env LD_PRELOAD=%s/tests/malloc_counter.so MALLOC_COUNTER=%s ")
        :format(options.build, counter))
end

local function load(options, server, words)
    local text = process.capture(("taskset -c %s %s/luaduct bench %s --seconds %g --warmup 1 --json "
        .. "--url ws://127.0.0.1:%d --server-pid %d 2>&1"):format(options["generator-core"], options.build, words,
        options.seconds, server.port, server.pid))
    local figures = harness.figures(text)
    if not figures.serverCpuUsPerMessage then
        fail(text)
    end
    return figures
end

local function hit_rate(server)
    local answer = harness.ask(server, "GET", "/optimization")
    local hits, all = 0, 0
    for _, pool in ipairs({"envelopes", "arrays", "buffers"}) do
        local text = answer:match('"' .. pool .. '":(%b{})')
        local acquired = tonumber(text:match('"totalAcquired":(%d+)'))
        hits = hits + acquired * tonumber(text:match('"hitRate":([%d.]+)'))
        all = all + acquired
    end
    return all > 0 and hits / all or 0
end

local function read_counter(path)
    local file = assert(io.open(path, "rb"))
    local bytes = file:read(8)
    file:close()
    local count = 0
    for i = 8, 1, -1 do
        count = count * 256 + bytes:byte(i)
    end
    return count
end

-- Calls of malloc for each message, by a run of their own: counting them costs time.
local function count_mallocs(options, pooling, words)
    local path = options.build .. "/pools/mallocs"
    os.remove(path)
    local server = start(options, pooling, path)
    load(options, server, words) -- connecting, and what is warm afterwards
    local before = read_counter(path)
    local figures = load(options, server, words)
    local calls = read_counter(path) - before
    process.stop(server.pid)
    return calls / figures.delivered
end

local function measure(options, one)
    local rows = {[true] = {cpu = {}, rss = {}, hits = {}}, [false] = {cpu = {}, rss = {}, hits = {}}}
    for _ = 1, options.rounds do
        for _, pooling in ipairs({true, false}) do
            local server = start(options, pooling)
            local figures = load(options, server, one.words)
            table.insert(rows[pooling].cpu, figures.serverCpuUsPerMessage)
            table.insert(rows[pooling].rss, figures.serverRss / 2 ^ 20)
            table.insert(rows[pooling].hits, hit_rate(server))
            process.stop(server.pid)
        end
    end
    local mallocs = {}
    for _, pooling in ipairs({true, false}) do
        mallocs[pooling] = count_mallocs(options, pooling, one.words)
    end
    print(("%-24s %-4s %14s %16s %12s %9s"):format(one.name, "", "malloc/message", "CPU us/message", "RSS MiB",
        "hit rate"))
    for _, pooling in ipairs({true, false}) do
        local row = rows[pooling]
        print(("%-24s %-4s %14.3f %16.3f %12.1f %9.4f"):format("", pooling and "on" or "off", mallocs[pooling],
            harness.median(row.cpu), harness.median(row.rss), harness.median(row.hits)))
    end
    print(("%-24s %-4s %14.3f %16.3f"):format("", "on/off", mallocs[true] / mallocs[false],
        harness.median(rows[true].cpu) / harness.median(rows[false].cpu)))
end

local options = harness.options(help, {
    rounds = 3, seconds = 3, build = "build", ["server-core"] = 0, ["generator-core"] = 1,
}, arg)
for _, one in ipairs(LOADS) do
    measure(options, one)
end
