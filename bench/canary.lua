-- bench/canary: how long a bad version of the scripts decides for its share of the senders before it is taken back.
package.path = "./?.lua;" .. package.path

local process = require("bench.support.process")
local harness = require("bench.support.harness")

local help = [[
usage: bench/canary [OPTION]...
Agents in pairs with 16 messages on the way from each; meanwhile half of the senders get a version that raises in 5 %
of its calls, and then one that never ends in 1 % of them. Prints how long after the answer to `luaduct reload` it was
taken back.

  --rounds N       of each; standard 5
  --agents N       standard 100
  --build FOLDER   where luaduct is (make build); standard build
  --server-core N, --generator-core N    processors; standard 0 and 1
Exit status: 0; 1 when a message was lost, repeated or reordered, or a version was not taken back.
]]

local GOOD = "return {route = function(envelope) return nil end}\n"
local SCRIPT = "local n = 0\nreturn {route = function() n = n + 1 %s end}\n"
local BAD = {
    {"raises in 5 % of its calls", SCRIPT:format("if n % 20 == 0 then error('bad') end")},
    {"never ends in 1 % of its calls", SCRIPT:format("while n % 100 == 0 do end")},
}

local function fail(text)
    harness.fail("canary", text)
end

local function start(options)
    return harness.start_bridge("canary", options, [[
return {
    listen = {wsPort = %d, httpPort = %d},
    performance = {worker_threads = 1},
    http = {rateMax = 0},
    log = {level = "error"},
    script = {path = "route.lua", budgetMs = 20},
}
]], {["route.lua"] = GOOD})
end

local function state(server)
    return harness.ask(server, "GET", "/admin/canary"):match('"state":"([%w ]+)"')
end

-- Seconds from the answer to the reload until the version was taken back.
local function try(options, server, script)
    harness.write(server.folder .. "/route.lua", script)
    local answer, good = process.capture(("%s/luaduct reload --canary 50%% --url http://127.0.0.1:%d 2>&1"):format(
        options.build, server.http))
    local began = process.now()
    if not good then
        fail("the version was not taken: " .. answer)
    end
    while state(server) == "running" do
        if process.now() - began > 20 then
            fail("the version was not taken back in 20 s")
        end
    end
    local took = process.now() - began
    if state(server) ~= "taken back" then
        fail("the version was not taken back but is " .. tostring(state(server)))
    end
    return took
end

local function round(options, bad)
    local server = start(options)
    local out = server.folder .. "/bench"
    local pid = process.start(tostring(options["generator-core"]), ("%s/luaduct bench direct --agents %d --seconds 4 "
        .. "--warmup 1 --json --url ws://127.0.0.1:%d"):format(options.build, options.agents, server.port), out)
    process.sleep(1.5)
    local took = try(options, server, bad)
    while process.alive(pid) do
        process.sleep(0.05)
    end
    if process.status(pid) ~= 0 then
        fail("messages were lost, repeated or reordered: " .. process.read_all(out))
    end
    process.stop(server.pid)
    return took
end

local options = harness.options(help, {rounds = 5, agents = 100, build = "build", ["server-core"] = 0,
    ["generator-core"] = 1}, arg)
print("| a version on trial for half of the senders that | median | longest |")
print("|---|---:|---:|")
for _, bad in ipairs(BAD) do
    local times = {}
    for number = 1, options.rounds do
        times[number] = round(options, bad[2])
    end
    local median = harness.median(times)
    print(("| %s | %.2f s | %.2f s |"):format(bad[1], median, times[#times]))
    io.stdout:flush()
end
process.stop_all()
