-- bench/scrape: what a scrape of /metrics costs the reactor that answers it, while many agents are connected.
package.path = "./?.lua;" .. package.path

local process = require("bench.support.process")
local harness = require("bench.support.harness")

local help = [[
usage: bench/scrape [OPTION]...
Agents that are connected and silent, then scrapes one after the other, each on a connection of its own. Of each scrape:
the processor time of the reactor that it took most of, which holds up what else that reactor has to do at most so long.
/ready, which does next to nothing, is what a request takes anyway, and the rest of what the reactor did meanwhile.

  --agents N       standard 10000
  --scrapes N      in each format; standard 200
  --reactors N     standard 2
  --build FOLDER   where luaduct is (make build); standard build
Exit status: 0; 1 when the bridge did not take the agents or a scrape was not answered.
]]

local FORMATS = {
    {"OpenMetrics", "/metrics", "application/openmetrics-text;version=1.0.0"},
    {"text", "/metrics", "text/plain;version=0.0.4"},
    {"JSON", "/metrics", "application/json"},
    {"/ready", "/ready", "application/json"},
}

local function fail(text)
    harness.fail("scrape", text)
end

local function start(options)
    return harness.start_bridge("scrape", options, ([[
return {
    mode = "enhanced",
    listen = {wsPort = %%d, httpPort = %%d},
    performance = {worker_threads = %d},
    http = {rateMax = 0},
    log = {level = "error"},
    agents = {pingIntervalMs = 3600000}, -- pings to all who came at once come at once: they are not to be measured
}
]]):format(options.reactors))
end

local function scrape(server, path, accept)
    local text, good = process.capture(("curl -sS --fail --max-time 10 -H 'Accept: %s' http://127.0.0.1:%d%s")
        :format(accept, server.http, path))
    if not good then
        fail("a scrape was not answered")
    end
    return text
end

local function connect(options, server)
    local pid = process.start(nil, ("%s/luaduct bench idle --agents %d --seconds 3600 --url ws://127.0.0.1:%d")
        :format(options.build, options.agents, server.port), server.folder .. "/agents")
    for _ = 1, 600 do
        process.sleep(0.1)
        if tonumber(scrape(server, "/metrics", "text/plain"):match("\nluaduct_agents (%d+)")) == options.agents then
            process.sleep(3) -- what their coming leaves to do
            return pid
        elseif not process.alive(pid) then
            break
        end
    end
    return fail("the agents did not come: " .. tostring(process.read_all(server.folder .. "/agents")))
end

-- The files that say how long each thread has run. The one of which a scrape takes most is the reactor that answers.
local function clocks(server)
    local files = {}
    for task in process.capture(("ls /proc/%d/task"):format(server.pid)):gmatch("%d+") do
        files[#files + 1] = ("/proc/%d/task/%s/schedstat"):format(server.pid, task)
    end
    return files
end

-- Milliseconds.
local function read_clocks(files)
    local times = {}
    for i, file in ipairs(files) do
        local text = process.read_all(file) -- none once the thread has ended
        times[i] = text and tonumber(text:match("^%d+")) / 1e6 or 0
    end
    return times
end

local function measure(options, server, path, accept)
    local files, costs, size = clocks(server), {}, 0
    for _ = 1, options.scrapes do
        local before = read_clocks(files)
        size = #scrape(server, path, accept)
        local most = 0
        for i, now in ipairs(read_clocks(files)) do
            most = math.max(most, now - before[i])
        end
        costs[#costs + 1] = most
    end
    table.sort(costs)
    return costs, size
end

local function main(options)
    local server = start(options)
    connect(options, server)
    print(("%d agents, %d reactors, %d scrapes in each format"):format(options.agents, options.reactors,
        options.scrapes))
    print(("%-12s %10s %12s %12s %12s"):format("format", "bytes", "median ms", "P99 ms", "longest ms"))
    for _, format in ipairs(FORMATS) do
        local costs, size = measure(options, server, format[2], format[3])
        print(("%-12s %10d %12.2f %12.2f %12.2f"):format(format[1], size, costs[math.ceil(#costs / 2)],
            costs[math.ceil(#costs * 0.99)], costs[#costs]))
    end
    process.stop_all()
end

main(harness.options(help, {agents = 10000, scrapes = 200, reactors = 2, build = "build"}, {...}))
