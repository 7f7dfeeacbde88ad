-- bench/upgrade: what handing over to a new process (SIGUSR2) costs those who talk meanwhile.
package.path = "./?.lua;" .. package.path

local ffi = require("ffi")
local process = require("bench.support.process")
local harness = require("bench.support.harness")

local help = [[
usage: bench/upgrade [OPTION]...
A bridge under a steady load hands over to a new process of itself, again and again. Prints for each time how long
nobody served (by the log), and for each run what came of the messages and the longest time that one took; first of
a run without upgrades.

  --rate N         messages a second in all; standard 100000
  --agents N       in pairs; standard 100
  --upgrades N     in the run; standard 5
  --seconds S      measured time of each run; standard 10
  --mailboxes N    absent agents with 100 envelopes each; standard 0
  --build FOLDER   where luaduct is (make build); standard build
  --server-core N, --generator-core N    processors; standard 0 and 1
  --stall MS       the longest time that nobody may serve; standard 100
Exit status: 0; 1 when a message was lost, repeated or reordered, an upgrade came to nothing or took too long.
]]

local SIGUSR2 = 12

local function fail(text)
    harness.fail("upgrade", text)
end

local function start(options)
    return harness.start_bridge("upgrade", options, [[
return {
    listen = {wsPort = %d, httpPort = %d},
    agents = {maxMailboxes = 1000000},
    performance = {worker_threads = 1},
    http = {rateMax = 0},
}
]])
end

local function fill_mailboxes(options, server)
    if options.mailboxes == 0 then
        return
    end
    local path = server.folder .. "/state"
    local file = assert(io.open(path, "w"))
    file:write('{"luaduct":"state","version":1}\n')
    for number = 1, options.mailboxes do
        for _ = 1, 100 do
            file:write(('{"mailbox":"absent-%d","envelope":{"to":"absent-%d","payload":"%s"}}\n'):format(number, number,
                ("x"):rep(100)))
        end
    end
    file:write(('{"end":{"history":0,"envelopes":%d}}\n'):format(options.mailboxes * 100))
    file:close()
    local said, good = process.capture(("%s/luaduct import --url http://127.0.0.1:%d %s"):format(options.build,
        server.http, path))
    if not good then
        fail("the mailboxes cannot be filled: " .. said)
    end
    os.remove(path)
end

-- Another process serves from now on; gives how long nobody did.
local function upgrade(server)
    local before = #process.read_all(server.folder .. "/log")
    ffi.C.kill(server.pid, SIGUSR2)
    for _ = 1, 2000 do
        process.sleep(0.01)
        local log = process.read_all(server.folder .. "/log"):sub(before + 1)
        local pid, ms = log:match("process (%d+) serves now; nobody did for ([%d.]+) ms")
        if pid then
            server.pid = tonumber(pid)
            return tonumber(ms)
        elseif log:find("this process goes on", 1, true) then
            fail("an upgrade came to nothing: " .. log)
        end
    end
    fail("an upgrade did not end")
end

local function run(options, server, upgrades)
    local out = server.folder .. "/bench"
    local pid = process.start(tostring(options["generator-core"]), ("%s/luaduct bench open --rate %d --agents %d "
        .. "--seconds %g --warmup 1 --json --url ws://127.0.0.1:%d"):format(options.build, options.rate, options.agents,
        options.seconds, server.port), out)
    process.sleep(1.5)
    local stalls = {}
    for number = 1, upgrades do
        stalls[number] = upgrade(server)
        process.sleep(math.max(0, (options.seconds - 2) / upgrades - 0.1))
    end
    while process.alive(pid) do
        process.sleep(0.1)
    end
    local text = process.read_all(out)
    local figures = harness.figures(text)
    if process.status(pid) ~= 0 then
        fail("messages were lost, repeated or reordered: " .. text)
    end
    return figures, stalls
end

local function show(name, figures)
    print(("%-12s %12.0f %10d %6d %9d %10d %10.3f %10.3f %12.1f"):format(name, figures.messagesPerSecond, figures.sent,
        figures.lost, figures.repeated, figures.reordered, figures.p50us / 1000, figures.p99us / 1000,
        figures.maximumUs / 1000))
end

local function main(options)
    local server = start(options)
    fill_mailboxes(options, server)
    print(("%-12s %12s %10s %6s %9s %10s %10s %10s %12s"):format("upgrades", "messages/s", "sent", "lost", "repeated",
        "reordered", "P50 ms", "P99 ms", "longest ms"))
    show("0", (run(options, server, 0)))
    local figures, stalls = run(options, server, options.upgrades)
    show(tostring(options.upgrades), figures)
    local longest = 0
    for number, ms in ipairs(stalls) do
        longest = math.max(longest, ms)
        stalls[number] = ("%.1f"):format(ms)
    end
    print("nobody served for " .. table.concat(stalls, ", ") .. " ms")
    ffi.C.kill(server.pid, 15)
    process.stop_all()
    if longest > options.stall then
        print(("that is longer than %g ms"):format(options.stall))
        os.exit(1)
    end
end

main(harness.options(help, {
    rate = 100000, agents = 100, upgrades = 5, seconds = 10, mailboxes = 0, build = "build", ["server-core"] = 0,
    ["generator-core"] = 1, stall = 100,
}, arg))
