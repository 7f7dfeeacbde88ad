-- bench/reload: what reloading scripts costs those who talk meanwhile, and whether it leaves memory behind.
package.path = "./?.lua;" .. package.path

local process = require("bench.support.process")
local harness = require("bench.support.harness")

local help = [[
usage: bench/reload [OPTION]...
The same load without reloads and with them, in turns: agents in pairs, 16 messages on the way from each. Every tenth
reload is of a script that does not load, and has to be refused. Then reloads without load, for the memory.

  --rounds N       of each; standard 3
  --seconds S      measured time of each run; standard 10
  --reloads N      in each run; standard 100
  --idle N         reloads afterwards, whose memory is looked at; standard 1000
  --agents N       standard 100
  --build FOLDER   where luaduct is (make build); standard build
  --server-core N, --generator-core N    processors; standard 0 and 1
Exit status: 0; 1 when a message was lost, repeated or reordered, or a reload did not do what it should.
]]

local GOOD = [[
local version = %d
return {
    route = function(envelope, bridge)
        luaduct.state.count = (luaduct.state.count or 0) + 1
        if envelope.priority == "never" then return bridge.drop("version " .. version) end
    end,
}
]]
local BAD = "return {route = function( end} -- %d\n"

local function fail(text)
    harness.fail("reload", text)
end

local function start(options)
    return harness.start_bridge("reload", options, [[
return {
    listen = {wsPort = %d, httpPort = %d},
    performance = {worker_threads = 1},
    http = {rateMax = 0},
    log = {level = "error"},
    script = {path = "route.lua"},
}
]], {["route.lua"] = GOOD:format(0)})
end

-- One reload of a new script; whether it did what it should.
local function reload(options, server, number)
    local bad = number % 10 == 0
    harness.write(server.folder .. "/route.lua", (bad and BAD or GOOD):format(number))
    local _, good = process.capture(("taskset -c %s %s/luaduct reload --url http://127.0.0.1:%d >/dev/null 2>&1")
        :format(options["server-core"], options.build, server.http))
    return good ~= bad
end

local function load(options, server, reloads)
    local out = server.folder .. "/bench"
    local pid = process.start(tostring(options["generator-core"]), ("%s/luaduct bench direct --agents %d --seconds %g "
        .. "--warmup 1 --json --url ws://127.0.0.1:%d --server-pid %d"):format(options.build, options.agents,
        options.seconds, server.port, server.pid), out)
    process.sleep(1.2)
    local wrong = 0
    for number = 1, reloads do
        wrong = wrong + (reload(options, server, number) and 0 or 1)
        process.sleep(math.max(0, (options.seconds - 0.5) / reloads - 0.015))
    end
    while process.alive(pid) do
        process.sleep(0.1)
    end
    local text = process.read_all(out)
    local figures = harness.figures(text)
    if process.status(pid) ~= 0 then
        fail("messages were lost, repeated or reordered: " .. text)
    elseif wrong > 0 then
        fail(wrong .. " reloads did not do what they should")
    end
    return figures
end

local function resident(server)
    local pages = process.read_all("/proc/" .. server.pid .. "/statm"):match("^%d+ (%d+)")
    return tonumber(pages) * 4096 / 2 ^ 20
end

local function main(options)
    local rows = {[0] = {}, [options.reloads] = {}}
    for _ = 1, options.rounds do
        for reloads, list in pairs(rows) do
            local server = start(options)
            list[#list + 1] = load(options, server, reloads)
            process.stop(server.pid)
        end
    end
    print(("%-12s %12s %12s %10s %10s %10s"):format("reloads", "messages/s", "CPU us", "P50 ms", "P99 ms", "P99.9 ms"))
    local p99 = {}
    for _, reloads in ipairs({0, options.reloads}) do
        local function of(key)
            local values = {}
            for _, figures in ipairs(rows[reloads]) do
                values[#values + 1] = figures[key] or 0
            end
            return harness.median(values)
        end
        p99[reloads] = of("p99us")
        print(("%-12d %12.0f %12.3f %10.3f %10.3f %10.3f"):format(reloads, of("messagesPerSecond"),
            of("serverCpuUsPerMessage"), of("p50us") / 1000, of("p99us") / 1000, of("p999us") / 1000))
    end
    print(("P99 with reloads over without: %.2f; lost, repeated, reordered: 0"):format(p99[options.reloads] / p99[0]))

    local server = start(options)
    for number = 1, 100 do
        reload(options, server, number)
    end
    local before = resident(server)
    for number = 101, 100 + options.idle do
        if not reload(options, server, number) then
            fail("a reload did not do what it should")
        end
    end
    print(("memory after 100 reloads: %.2f MiB; after %d more: %.2f MiB"):format(before, options.idle,
        resident(server)))
    process.stop(server.pid)
end

main(harness.options(help, {
    rounds = 3, seconds = 10, reloads = 100, idle = 1000, agents = 100, build = "build", ["server-core"] = 0,
    ["generator-core"] = 1,
}, {...}))
