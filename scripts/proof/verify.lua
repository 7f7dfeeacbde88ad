-- scripts/verify: the acceptance checklist. One bridge takes the load of the load test, then as much as it can, then
-- one message at a time, while two probes ask all the time whether it is there; a server on Node and ws takes the first
-- of these loads too, for its memory.
local bridge_of = require "scripts.proof.bridge"
local load = require "scripts.proof.load"
local process = require "bench.support.process"
local proof = require "scripts.proof.proof"
local screen = require "scripts.proof.screen"
local servers = require "bench.support.servers"

local PROBES_A_SECOND = 20
local LOAD = "open --agents 1000 --rate 2000 --size 256"

local node -- its version, once it is installed; else node_problem says why not
local node_problem

local describe = {
    command = "scripts/verify",
    summary = "Measures the acceptance checklist: a line for each criterion, with the older system's target and ours.",
    own_only = true,
    options = {
        {"quick", "flag", nil, nil, "in less than a minute: shorter loads, so noisier figures"},
    },
    notes = "The bridge and the load share this machine. Node and ws are installed under build/ for the comparison of\n"
        .. "memory: scripts/setup bench.\n",
    prepare = function(self)
        process.capture("scripts/setup bench >&2")
        node, node_problem = servers.node.prepare({build = "build"})
        if not node then
            self.node_missing = node_problem or "unknown"
        end
    end,
}

local function start_node(folder)
    local port = process.free_port()
    local pid = process.start(nil, servers.node.command({build = "build"}, port), folder .. "/node.log")
    if not process.await_port(pid, port, 15) then
        error("the server on Node did not start:\n" .. (process.read_all(folder .. "/node.log") or ""), 0)
    end
    return {pid = pid, ws_url = "ws://127.0.0.1:" .. port}
end

local function peak_memory(pid)
    local status = process.read_all(("/proc/%d/status"):format(pid)) or ""
    local kilobytes = tonumber(status:match("VmHWM:%s*(%d+) kB"))
    return kilobytes and kilobytes * 1024
end

-- Full collections of all Lua states since the start, or nil.
local function collections(bridge)
    local optimization = bridge:optimization()
    return bridge_of.number(optimization, "memoryOptimization", "gcOptimizer", "totalGCTriggers")
end

-- Runs one load to its end; `ends` is when all of them will be over, for the line of progress.
local function run(self, where, title, words, seconds)
    local one = load.start(self.folder, where, ("%s --seconds %g --warmup %g --progress 1"):format(words, seconds,
        math.min(2, seconds / 5)))
    proof.watch(seconds + 40, function() return not one:alive() end, function()
        screen.progress(self.ends - process.now(), title)
    end)
    local figures, problem = one:finish()
    if not figures then
        error(title .. ": " .. problem, 0)
    end
    return figures
end

local function availability(figures, asked, answered)
    if not figures or not figures[asked] or figures[asked] == 0 then
        return nil
    end
    return figures[answered] / figures[asked]
end

proof.main(describe, function(self)
    local quick = self.options.quick
    local long, short = quick and 10 or 60, quick and 4 or 20
    self.ends = process.now() + long + 3 * short + math.min(long, short * 2) + 12
    local bridge = self:open_bridge({})
    local started, collections_before = process.now(), collections(bridge)
    local probe_words = ("--rate %d --warmup 0 --seconds 86400 --progress 1"):format(PROBES_A_SECOND)
    local ready = load.start(self.folder, bridge, "http --path /ready --agents 2 --timeout 1 " .. probe_words)
    local pair = load.start(self.folder, bridge, "open --agents 2 --size 128 " .. probe_words)

    local steady = run(self, bridge, "load: 2,000 messages/s, 1,000 agents", LOAD, long)
    local our_peak = bridge:process_bytes("VmHWM")
    local direct = run(self, bridge, "throughput: 1,000 agents, 16 on the way from each",
        "direct --agents 1000 --window 16", short)
    local sequential = run(self, bridge, "one message at a time", "direct --agents 2 --one-way --window 1", short)
    local stream = run(self, bridge, "one sender, one recipient", "direct --agents 2 --one-way --window 64", short)
    local minutes = (process.now() - started) / 60
    local collections_after = collections(bridge)
    local ready_figures, pair_figures = ready:finish(), pair:finish()
    self:close_bridge()

    local node_peak
    if node then
        local server = start_node(self.folder)
        run(self, server, "the same load on Node and ws " .. node, LOAD, math.min(long, short * 2))
        node_peak = peak_memory(server.pid)
        process.stop(server.pid)
    end

    local faults = load.faults(steady) + load.faults(direct) + load.faults(sequential) + load.faults(stream)
    local sent = steady.sent + direct.sent + sequential.sent + stream.sent
    local a_minute = collections_before and collections_after and (collections_after - collections_before) / minutes
    local saved = node_peak and our_peak and 1 - our_peak / node_peak
    local http_share = availability(ready_figures, "sent", "good")
    local pair_share = availability(pair_figures, "sent", "received")
    local there = http_share and pair_share and math.min(http_share, pair_share)
    self.figures = {
        load = steady, throughput = direct, sequential = sequential, stream = stream, ready = ready_figures,
        pair = pair_figures,
        peakMemory = our_peak, peakMemoryOfNode = node_peak, fullCollectionsPerMinute = a_minute,
        availabilityOfReady = http_share, availabilityOfPair = pair_share,
    }

    self:percentiles("2,000 messages/s, 1,000 agents", steady)
    self:percentiles("as many as it takes", direct)
    self:percentiles("one at a time", sequential)
    self:percentiles("one sender, 64 on the way", stream)
    self.facts = {
        {"the older system's P50, P95, P99", "65, 120, 165 ms"},
        {"one message at a time over one pair", ("%s messages/s, each a round trip"):format(
            screen.count(sequential.messagesPerSecond))},
        {"one sender, one recipient, 64 on the way", ("%s messages/s (older system, \"sequential\": 40,000)"):format(
            screen.count(stream.messagesPerSecond))},
        {"1,000 agents, 16 on the way from each", ("%s messages/s (older system, \"concurrent\": 65,000)"):format(
            screen.count(direct.messagesPerSecond))},
        {"peak memory", ("%s; Node and ws %s"):format(screen.bytes(our_peak), screen.bytes(node_peak))},
    }
    self:criterion({
        key = "p95", name = "latency P95", old = "< 120 ms", ours = "< 2 ms", value = steady.p95us,
        measured = screen.time(steady.p95us), met = steady.p95us and steady.p95us < 2000,
    })
    self:criterion({
        key = "throughput", name = "throughput, messages/s", old = "> 35,000", ours = "> 300,000",
        value = direct.messagesPerSecond, measured = screen.count(direct.messagesPerSecond),
        met = direct.messagesPerSecond > 300000,
    })
    self:criterion({
        key = "collections", name = "full collections a minute", old = "< 5", ours = "< 5", value = a_minute,
        measured = a_minute and ("%.1f"):format(a_minute), met = a_minute and a_minute < 5,
    })
    self:criterion({
        key = "errorRate", name = "errors of all messages", old = "< 0.1 %", ours = "0", value = faults / sent,
        measured = ("%s of %s"):format(screen.count(faults), screen.count(sent)), met = faults == 0,
    })
    self:criterion({
        key = "cpu", name = "processor at 2,000 messages/s", old = "< 70 %", ours = "< 20 % of one",
        value = steady.serverCpu, measured = ("%.1f %%"):format(steady.serverCpu * 100), met = steady.serverCpu < 0.2,
    })
    self:criterion({
        key = "memory", name = "memory less than Node and ws", old = "> 30 %", ours = "> 80 %", value = saved,
        measured = saved and ("%.1f %%"):format(saved * 100), met = saved and saved > 0.8,
    })
    self:criterion({
        key = "availability", name = "available", old = "> 99.9 %", ours = "100 %", value = there,
        measured = there and ("%.3f %%"):format(there * 100), met = there == 1,
    })
    if self.node_missing then
        self:note("Node and ws could not be installed, so memory was not compared: %s", self.node_missing)
    end
    -- With so much on the way, one of the two is always busy when both get the processor that they want.
    if direct.generatorCpu < 0.7 and direct.serverCpu < 0.7 then
        self:note("At full throughput the bridge had %.2f of a processor and the load generator %.2f: this machine was "
            .. "busy with something else, and the figures are worse for it.", direct.serverCpu, direct.generatorCpu)
    end
    self:note_limits(steady.refusedBy)
    self:note_generator(direct)
end)
