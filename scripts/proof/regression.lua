-- make bench-regression: requests at a steady rate over POST /send, in rounds, held against a stored result.
local cjson = require "cjson"
local load = require "scripts.proof.load"
local process = require "bench.support.process"
local proof = require "scripts.proof.proof"
local screen = require "scripts.proof.screen"

local STORED = "bench/regression.json"
local RATE, CONNECTIONS, ROUNDS = 1000, 16, 5

local describe = {
    command = "make bench-regression",
    summary = "1,000 requests a second over POST /send to an agent that reads, in five rounds, held against\n"
        .. STORED .. ".",
    own_only = true,
    options = {
        {"duration", "duration", "5m", "TIME", "of all rounds together"},
        {"update", "flag", nil, nil, "stores the result instead"},
        {"stored", "text", nil, "FILE", "the stored result; standard " .. STORED},
    },
    notes = "Criteria: P95 below 100 ms, no errors; processor time for each request and P95 not above the stored ones\n"
        .. "by more than the rounds of that run lay apart. A result of another machine is shown and not judged.\n",
}

local function median_and_spread(values)
    table.sort(values)
    local middle = math.floor((#values + 1) / 2)
    return values[middle], values[#values] - values[1]
end

-- An agent that reads what it is sent. Its input is a FIFO that nobody ever closes, for it would leave at the end.
local function start_reader(self, bridge)
    local fifo = self.folder .. "/silence"
    process.capture("mkfifo " .. process.quote(fifo))
    local binary = require("scripts.proof.bridge").BINARY
    process.start(nil, ("%s agent reader --url %s"):format(process.quote(binary), bridge.ws_url), "/dev/null",
        {input = fifo})
    for _ = 1, 100 do
        local health = bridge:health()
        if health and health.connectedClients == 1 then
            return
        end
        process.sleep(0.1)
    end
    error("the agent that reads did not register", 0)
end

local function read_stored(path)
    local text = process.read_all(path)
    local good, value = pcall(cjson.decode, text or "")
    return good and type(value) == "table" and value or nil
end

local function store(path, result)
    local file = assert(io.open(path, "w"))
    local machine = result.machine
    file:write("{\n", ('  "command": %s,\n'):format(cjson.encode(result.command)),
        ('  "machine": {"processor": %s, "processors": %d},\n'):format(cjson.encode(machine.processor),
            machine.processors),
        ('  "cpuUsPerRequest": {"median": %.2f, "spread": %.2f},\n'):format(result.cpu, result.cpu_spread),
        ('  "p95us": {"median": %.1f, "spread": %.1f}\n}\n'):format(result.p95, result.p95_spread))
    file:close()
end

local function compare(self, name, key, value, stored, unit)
    local limit = stored and stored.median + stored.spread
    self:criterion({
        key = key, name = name, ours = limit and ("≤ %.1f %s"):format(limit, unit), value = value,
        measured = ("%.1f %s"):format(value, unit), met = limit and value <= limit or nil, optional = not limit,
    })
    if limit and value > limit then
        self.criteria[#self.criteria].verdict = "MISSED"
        self.missed = true
    end
end

proof.main(describe, function(self)
    local options = self.options
    local path = options.stored or STORED
    local bridge = self:open_bridge({performance = {worker_threads = 1}})
    start_reader(self, bridge)
    local bodies = self.folder .. "/bodies"
    local file = assert(io.open(bodies, "w"))
    local body = {to = "reader", intent = "regression", payload = {text = ("x"):rep(150)}}
    file:write("send\t\t", cjson.encode(body), "\n")
    file:close()
    local each = options.duration / ROUNDS
    local cpu, p95, faults, sent, worst = {}, {}, 0, 0, nil
    local ends = process.now() + options.duration + ROUNDS
    for round = 1, ROUNDS do
        local run = load.start(self.folder, bridge,
            ("http --path /send --bodies %s --rate %d --agents %d --seconds %g --warmup %g --progress 1"):format(
                process.quote(bodies), RATE, CONNECTIONS, each, math.min(0.5, each / 5)))
        proof.watch(each + 40, function() return not run:alive() end, function()
            local at = run:progress()
            screen.progress(ends - process.now(), ("round %d of %d, P95 %s"):format(round, ROUNDS,
                screen.time(at and at.p95us)))
        end)
        local figures, problem = run:finish()
        if not figures then
            error(problem, 0)
        end
        if not figures.p95us or not figures.serverCpuUsPerMessage then
            error("no request was answered: " .. (figures.firstRefusal or "the bridge is gone"), 0)
        end
        cpu[round], p95[round] = figures.serverCpuUsPerMessage, figures.p95us
        faults, sent = faults + load.faults(figures), sent + figures.sent
        if not worst or p95[round] > worst.p95us then
            worst = figures
        end
    end
    local command = ("make bench-regression DURATION=%gs UPDATE=1"):format(options.duration)
    local result = {command = command, machine = proof.machine()}
    local worst_p95 = worst.p95us
    self:percentiles("worst of five rounds", worst)
    result.cpu, result.cpu_spread = median_and_spread(cpu)
    result.p95, result.p95_spread = median_and_spread(p95)
    self.figures = result
    self:criterion({
        key = "p95", name = "P95 of the worst round", old = "< 100 ms", ours = "< 100 ms", value = worst_p95,
        measured = screen.time(worst_p95), met = worst_p95 < 100000,
    })
    self:criterion({
        key = "errorRate", name = "errors of all requests", old = "< 0.1 %", ours = "0", value = faults / sent,
        measured = ("%s of %s"):format(screen.count(faults), screen.count(sent)), met = faults == 0,
    })
    local stored = not options.update and read_stored(path)
    local same = stored and stored.machine and stored.machine.processor == result.machine.processor
        and stored.machine.processors == result.machine.processors
    if stored and not same then
        self:note("%s is of another machine (%s, %d processors), so it was not judged by that.", path,
            stored.machine.processor, stored.machine.processors)
    elseif not stored and not options.update then
        self:note("There is no %s: `make bench-regression UPDATE=1` stores one.", path)
    end
    compare(self, "processor time for a request", "cpu", result.cpu, same and stored.cpuUsPerRequest, "µs")
    compare(self, "P95, median of the rounds", "p95median", result.p95, same and stored.p95us, "µs")
    self:close_bridge()
    if options.update and not self.missed then
        store(path, result)
        self:note("Stored in %s.", path)
    end
end)
