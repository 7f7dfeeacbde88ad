-- bench/workers: runs the operations in C and the same work in Node's worker_threads in turn, and prints a table of
-- medians with their ratios, and of what a second thread adds.
package.path = "./?.lua;" .. package.path

local process = require("bench.support.process")

local ORDER = { "topk", "topk_numbers", "dot", "json_parse", "json_stringify", "sha256", "gzip", "sort", "regex" }
local TITLES = {
    topk = "topK of 2,000 × 256, packed float32",
    topk_numbers = "topK of 2,000 × 256, numbers",
    dot = "dot of 4,096, packed float32",
    json_parse = "json_parse, 1 MB",
    json_stringify = "json_stringify, 1 MB",
    sha256 = "sha256, 1 MB",
    gzip = "gzip level 6, 1 MB",
    sort = "sort, 1,000,000 numbers",
    regex = "regex, 1 MB",
}

local help = [[
usage: bench/workers [--rounds N] [--seconds S] [--build FOLDER] [NAME]...
Prints a table of the operations (all, or those named) against Node's worker_threads.

  --rounds N       of each, the two in turn; standard 3
  --seconds S      measured time of each run; standard 0.5
  --build FOLDER   where bench/operations is (make bench-operations); standard build
names: %s
]]

local function fail(status, text)
    io.stderr:write("bench/workers: ", text, "\n")
    os.exit(status)
end

local function read_options(words)
    local options = { rounds = 3, seconds = 0.5, build = "build", names = {} }
    local i = 1
    while i <= #words do
        local name = words[i]:match("^%-%-(.+)$")
        if name == "help" then
            io.write(help:format(table.concat(ORDER, ", ")))
            os.exit(0)
        elseif not name and TITLES[words[i]] then
            options.names[#options.names + 1] = words[i]
        elseif name and name ~= "names" and options[name] and words[i + 1] then
            i = i + 1
            options[name] = type(options[name]) == "number" and tonumber(words[i]) or words[i]
        else
            fail(2, ("unknown option %s, see bench/workers --help"):format(words[i]))
        end
        i = i + 1
    end
    if #options.names == 0 then
        options.names = ORDER
    end
    return options
end

-- The figures behind the name in what a command prints.
local function figures_of(command, name)
    local text, good = process.capture(command)
    local line = text:match(name .. "\t([^\n]+)")
    if not good or not line then
        fail(1, command .. ": " .. text)
    end
    local figures = {}
    for figure in line:gmatch("[^\t]+") do
        figures[#figures + 1] = tonumber(figure)
    end
    return figures
end

local function median(list)
    table.sort(list)
    local middle = math.floor((#list + 1) / 2)
    return #list % 2 == 1 and list[middle] or (list[middle] + list[middle + 1]) / 2
end

-- All figures by name, each a list by round.
local function measure(options, name)
    local c = ("%s/bench/operations --seconds %g "):format(options.build, options.seconds)
    local node = ("node bench/peers/node-workers/bench.js --seconds %g %s"):format(options.seconds, name)
    local lists = {
        ours = {}, ours_cpu = {}, two = {}, two_cpu = {},
        here = {}, trip = {}, here_cpu = {}, trip_cpu = {},
    }
    for round = 1, options.rounds do
        local ours, peer = figures_of(c .. name, name), figures_of(node, name)
        local two = figures_of(c .. "--speedup " .. name, name)
        lists.ours[round], lists.ours_cpu[round] = ours[1], ours[2]
        lists.here[round], lists.trip[round], lists.here_cpu[round], lists.trip_cpu[round] = unpack(peer)
        lists.two[round], lists.two_cpu[round] = two[1], two[2]
        io.stderr:write(("%s: %.4g ms, Node %.4g and %.4g ms, two threads %.2f\n"):format(name, ours[1], peer[1],
            peer[2], two[1]))
    end
    local medians = {}
    for key, list in pairs(lists) do
        medians[key] = median(list)
    end
    return medians
end

local options = read_options(arg)
print(("Medians of %d rounds of %g s, in milliseconds of a call; Node %s; load %s."):format(options.rounds,
    options.seconds, (process.capture("node --version")), (process.read_all("/proc/loadavg"):match("^%S+"))))
print("In brackets: by processor time, which other programs on the machine disturb less.\n")
print("| | Luaduct | Node in the worker | Node posted there and back | Luaduct faster, in the worker | Luaduct faster, "
    .. "posted | two threads over one |")
print("|---|---:|---:|---:|---:|---:|---:|")
for _, name in ipairs(options.names) do
    local m = measure(options, name)
    print(("| %s | %.4g (%.4g) | %.4g (%.4g) | %.4g (%.4g) | %.2f × (%.2f ×) | %.2f × (%.2f ×) | %.2f (%.2f) |"):format(
        TITLES[name], m.ours, m.ours_cpu, m.here, m.here_cpu, m.trip, m.trip_cpu, m.here / m.ours,
        m.here_cpu / m.ours_cpu, m.trip / m.ours, m.trip_cpu / m.ours_cpu, m.two, m.two_cpu))
    io.stdout:flush()
end
