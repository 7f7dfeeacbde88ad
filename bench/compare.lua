-- bench/run: starts the bridge and its peers on one processor and the load generator on another, measures the scenarios
-- in rounds that take the servers in turn, and writes a table with medians and ratios.
package.path = "./?.lua;" .. package.path

local process = require("bench.support.process")
local harness = require("bench.support.harness")
local servers = require("bench.support.servers")
local report = require("bench.support.report")
local scenarios = require("bench.support.scenarios")

local help = [[
usage: bench/run [OPTION]...
Measures build/luaduct against its peers and writes bench/results/DATE.md.

  --rounds N            of each scenario, the servers taken in turn; standard 5
  --seconds S           measured time of each run; standard 3
  --warmup S            before it; standard 1
  --only NAME,...       these scenarios: %s
  --peers NAME,...      these servers: %s
  --workers N           reactors of the bridge; standard 1
  --server-cores LIST   processors of the servers, as taskset has it; standard 0
  --generator-core N    processor of the load generator; standard 1
  --build FOLDER        where luaduct and peers/ are; standard build
  --output FILE         where the table goes; standard bench/results/DATE.md
]]

local function fail(status, text)
    io.stderr:write("bench/run: ", text, "\n")
    os.exit(status)
end

local function names_of(list)
    local names = {}
    for i, scenario in ipairs(list) do
        names[i] = scenario.name
    end
    return names
end

local function split(text, known)
    local chosen = {}
    for name in text:gmatch("[^,]+") do
        local found = false
        for _, candidate in ipairs(known) do
            found = found or candidate == name
        end
        if not found then
            fail(2, ('unknown name "%s", there are %s'):format(name, table.concat(known, ", ")))
        end
        chosen[name] = true
    end
    return chosen
end

local function read_options(words)
    local options = {
        rounds = 5,
        seconds = 3,
        warmup = 1,
        workers = 1,
        build = "build",
        ["server-cores"] = "0",
        ["generator-core"] = "1",
    }
    local known = { only = true, peers = true, output = true }
    local i = 1
    while i <= #words do
        local name = words[i]:match("^%-%-(.+)$")
        if name == "help" then
            io.write(help:format(table.concat(names_of(scenarios), ", "), table.concat(servers.order, ", ")))
            os.exit(0)
        end
        if not name or (options[name] == nil and not known[name]) then
            fail(2, ("unknown option %s, see bench/run --help"):format(words[i]))
        end
        local value = words[i + 1]
        if not value then
            fail(2, ("--%s needs a value"):format(name))
        end
        if type(options[name]) == "number" then
            value = tonumber(value) or fail(2, ("--%s needs a number"):format(name))
        end
        options[name] = value
        i = i + 2
    end
    options.output = options.output or os.date("bench/results/%Y-%m-%d-%H%M.md")
    options.only = split(options.only or table.concat(names_of(scenarios), ","), names_of(scenarios))
    options.peers = split(options.peers or table.concat(servers.order, ","), servers.order)
    return options
end

local function start_server(options, name)
    local port = process.free_port()
    local log = ("%s/peers/%s.log"):format(options.build, name)
    local pid = process.start(options["server-cores"], servers[name].command(options, port), log)
    if not process.await_port(pid, port, 15) then
        process.stop(pid)
        return nil, "it did not start: " .. (process.read_all(log) or "")
    end
    return { pid = pid, port = port }
end

local function generator_line(options, scenario, name)
    return ("%s/luaduct bench %s --seconds %g --warmup %g --protocol %s"):format(
        options.build,
        scenario.arguments,
        options.seconds,
        options.warmup,
        servers[name].protocol
    )
end

-- One run: the figures by the names of the generator's JSON, or nil and why there are none.
local function measure(options, scenario, name, server)
    local line = "ulimit -n $(ulimit -Hn); taskset -c %s %s --json --url ws://127.0.0.1:%d --server-pid %d 2>&1"
    local text = process.capture(
        line:format(options["generator-core"], generator_line(options, scenario, name), server.port, server.pid)
    )
    local json = text:match("{.*}")
    if not json then
        return nil, text
    end
    return harness.figures(json)
end

local function note(...)
    io.stderr:write(table.concat({ ... }), "\n")
end

local function show_run(name, figures, scenario)
    local faults = report.faults(figures)
    note(
        ("    %-8s %s %.6g%s"):format(
            name,
            scenario.figure,
            figures[scenario.figure] or 0 / 0,
            faults > 0 and (", %d faults"):format(faults) or ""
        )
    )
end

local function run_scenario(options, scenario, available)
    local running, runs = {}, {}
    note(scenario.title)
    for round = 1, options.rounds do
        note("  round ", tostring(round))
        for _, name in ipairs(available) do
            local figures, problem
            if not running[name] then
                running[name], problem = start_server(options, name)
            end
            if running[name] then
                figures, problem = measure(options, scenario, name, running[name])
            end
            runs[name] = runs[name] or {}
            if figures then
                runs[name][round] = figures
                show_run(name, figures, scenario)
            else
                note("    ", name, " failed: ", problem)
            end
            if running[name] and (scenario.fresh or not figures) then
                process.stop(running[name].pid)
                running[name] = nil
            end
        end
    end
    for _, server in pairs(running) do
        process.stop(server.pid)
    end
    return runs
end

local function find_available(options)
    local available, versions = {}, {}
    process.capture(("mkdir -p %s/peers bench/results"):format(options.build))
    for _, name in ipairs(servers.order) do
        if options.peers[name] then
            local version, problem = servers[name].prepare(options)
            if version then
                available[#available + 1] = name
                versions[#versions + 1] = name .. " " .. version:gsub("\n.*", "")
            else
                note(("%s is left out: %s"):format(name, problem or "not found"))
                versions[#versions + 1] = name .. " left out: " .. (problem or "not found"):gsub("\n.*", "")
            end
        end
    end
    return available, versions
end

local function main(words)
    local options = read_options(words)
    math.randomseed(os.time())
    local available, versions = find_available(options)
    if #available == 0 then
        fail(1, "there is nothing to measure")
    end
    local results = {
        command = "bench/run " .. table.concat(words, " "),
        options = options,
        available = available,
        versions = versions,
        load_before = process.read_all("/proc/loadavg"),
        scenarios = {},
    }
    for _, scenario in ipairs(scenarios) do
        if options.only[scenario.name] then
            results.scenarios[#results.scenarios + 1] = {
                scenario = scenario,
                runs = run_scenario(options, scenario, available),
                line = generator_line(options, scenario, available[1]),
            }
        end
    end
    results.load_after = process.read_all("/proc/loadavg")
    local text = report.render(results)
    io.write(text)
    local file = assert(io.open(options.output, "w"))
    file:write(text)
    file:close()
    note("written to ", options.output)
end

local good, problem = xpcall(main, function(raised)
    return type(raised) == "string" and raised or debug.traceback(tostring(raised))
end, arg)
process.stop_all()
if not good then
    fail(1, problem)
end
