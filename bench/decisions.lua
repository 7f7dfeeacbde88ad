-- bench/decisions: processor time of one decision by three routes (bench/routes), interpreted, compiled and kept, and
-- of the same routes as Node code, on the same envelopes, all by turns.
package.path = "./?.lua;" .. package.path

local process = require("bench.support.process")
local harness = require("bench.support.harness")

local help = [[
usage: bench/decisions [OPTION]...
Prints tables of medians: of the decision alone, of message text to decision, and of decisions that are kept in vain.
Needs `make bench-decisions`, and node for its column.

  --rounds N       of each, by turns; standard 7
  --seconds S      measured time of each run; standard 0.2
  --build FOLDER   where bench/decisions is; standard build
  --core N         the processor; standard 0
  --runaways       instead: which hooks that never end are stopped, with JIT off and on
]]

local ROUTES = {"trivial", "typical", "heavy"}
-- What the columns run: words for bench/decisions, whether the script declares its fields.
local LUA = {
    {key = "off", words = ""},
    {key = "jit", words = "--jit"},
    {key = "kept", words = "--kept", declares = true},
}

local INTENTS = {
    "code.review", "code.write", "text.translate", "text.summarise", "image.draw", "chat.message", "agent.message",
    "system.stop",
}

-- Messages of some 450 bytes. `all`: each has a `to`.
local function messages(count, all)
    local list = {}
    for i = 1, count do
        list[i] = ('{"type":"envelope","envelope":{"id":"0b7e7a2e-4b0c-4f0a-9a51-%012d","timestamp":'
            .. '"2026-01-01T12:00:00.%03dZ","intent":"%s","priority":"%s","from":"agent-%d","role":"%s"%s,'
            .. '"channel":"room-%d","taskId":"task-%d","payload":{"text":"%s","number":%d},'
            .. '"context":{"tenant":"acme"}}}'):format(i, i % 1000, INTENTS[i % #INTENTS + 1],
            i % 3 == 0 and "high" or "normal", i, i % 5 == 0 and "operator" or "agent",
            (all or i % 2 == 0) and (',"to":"agent-%d"'):format(i + 1) or "", i % 4, i, ("some words "):rep(15), i)
    end
    return table.concat(list, "\n") .. "\n"
end

-- The script of that name in the build folder, with its declaration or without.
local function place_script(options, name, declares)
    local text = assert(process.read_all("bench/routes/" .. name .. ".lua"))
    local path = ("%s/decisions/%s-%s.lua"):format(options.build, name, declares and "declares" or "plain")
    harness.write(path, declares and text or (text:gsub("    cache = [^\n]+\n", "")))
    return path
end

local function run(command)
    local text, good = process.capture(command)
    if not good then
        harness.fail("decisions", command .. ": " .. text)
    end
    return text
end

local function lua_command(options, file, name, column, words)
    return ("taskset -c %s %s/bench/decisions %s %s --seconds %g %s %s 2>&1"):format(options.core, options.build,
        column.words, words, options.seconds, file, place_script(options, name, column.declares))
end

local function node_command(options, file, name, words)
    return ("taskset -c %s node bench/routes/routes.js %s --seconds %g %s %s 2>&1"):format(options.core, words,
        options.seconds, file, name)
end

-- All have to decide the same, or the figures say nothing.
local function check(options, file, has_node)
    for _, name in ipairs(ROUTES) do
        local first
        for _, column in ipairs(LUA) do
            local shown = run(lua_command(options, file, name, column, "--show"))
            first = first or shown
            if shown ~= first then
                harness.fail("decisions", name .. ": " .. column.key .. " decides otherwise")
            end
        end
        if has_node and run(node_command(options, file, name, "--show")) ~= first then
            harness.fail("decisions", name .. ": Node decides otherwise")
        end
    end
end

-- medians[route][column]
local function measure(options, file, routes, columns, words)
    local lists = {}
    for _ = 1, options.rounds do
        for _, name in ipairs(routes) do
            lists[name] = lists[name] or {}
            for _, column in ipairs(columns) do
                local list = lists[name][column.key] or {}
                lists[name][column.key] = list
                local command = column.key == "node" and node_command(options, file, name, words)
                    or lua_command(options, file, name, column, words)
                list[#list + 1] = tonumber(run(command)) or harness.fail("decisions", command)
            end
        end
    end
    for _, columns_of in pairs(lists) do
        for key, list in pairs(columns_of) do
            columns_of[key] = harness.median(list)
        end
    end
    return lists
end

local function print_table(title, medians, has_node)
    print("\n" .. title .. "\n")
    print("| route | JIT off | JIT on | kept | Node | JIT on / off | kept / off | off / Node |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for _, name in ipairs(ROUTES) do
        local m = medians[name]
        print(("| %s | %.0f | %.0f | %.0f | %s | %.2f | %.2f | %s |"):format(name, m.off, m.jit, m.kept,
            has_node and ("%.0f"):format(m.node) or "–", m.jit / m.off, m.kept / m.off,
            has_node and ("%.2f"):format(m.off / m.node) or "–"))
    end
    io.stdout:flush()
end

-- Milliseconds until it ended, or nil: it was not stopped within two seconds.
local function watch(options, file, body, jit)
    local path = options.build .. "/decisions/runaway.lua"
    harness.write(path, "return {route = function(envelope, bridge)\ndo " .. body .. "\nend end}\n")
    local text = process.capture(("timeout -s KILL 2 %s/bench/decisions %s --watched %s %s 2>/dev/null"):format(
        options.build, jit and "--jit" or "", file, path))
    return tonumber(text:match("^%a+ ([%d.]+)$"))
end

local function try_runaways(options, file)
    local names, bodies = {}, require("tests.support.runaways")
    for name in pairs(bodies) do
        names[#names + 1] = name
    end
    table.sort(names)
    local ended, latest, never = {[false] = 0, [true] = 0}, {[false] = 0, [true] = 0}, {}
    for _, name in ipairs(names) do
        for _, jit in ipairs({false, true}) do
            local took = watch(options, file, bodies[name], jit)
            ended[jit] = ended[jit] + (took and 1 or 0)
            latest[jit] = math.max(latest[jit], took or 0)
            never[#never + 1] = not took and name .. (jit and "" or " (JIT off)") or nil
        end
    end
    for _, jit in ipairs({false, true}) do
        print(("JIT %s: %d of %d end, the latest after %.0f ms; script.budgetMs is 50"):format(jit and "on" or "off",
            ended[jit], #names, latest[jit]))
    end
    print("not stopped:\n  " .. table.concat(never, "\n  "))
end

local options = harness.options(help,
    {rounds = 7, seconds = 0.2, build = "build", core = 0, runaways = false}, arg)
process.capture("mkdir -p " .. options.build .. "/decisions")
local few, many = options.build .. "/decisions/few", options.build .. "/decisions/many"
harness.write(few, messages(64))
harness.write(many, messages(6000, true))
if options.runaways then
    try_runaways(options, few)
    os.exit(0)
end
local version, has_node = process.capture("node --version 2>/dev/null")
local columns = {unpack(LUA)}
columns[#columns + 1] = has_node and {key = "node"} or nil
check(options, few, has_node)
local load = process.read_all("/proc/loadavg"):match("^%S+")
print(("Medians of %d rounds of %g s by turns, nanoseconds of processor time a decision; Node %s; load %s."):format(
    options.rounds, options.seconds, has_node and version or "is not there", load))
print_table("The decision, of an envelope that is scanned (Node: parsed) already:",
    measure(options, few, ROUTES, columns, ""), has_node)
print_table("From the text of the message to the decision:",
    measure(options, few, ROUTES, columns, "--text"), has_node)

print("\n6,000 senders and recipients by turns, more than are kept, so that each lookup is in vain:\n")
print("| route | JIT off | kept in vain | kept in vain / off |")
print("|---|---:|---:|---:|")
local vain = measure(options, many, {"trivial", "heavy"}, {LUA[1], LUA[3]}, "")
for _, name in ipairs({"trivial", "heavy"}) do
    print(("| %s | %.0f | %.0f | %.2f |"):format(name, vain[name].off, vain[name].kept,
        vain[name].kept / vain[name].off))
end
