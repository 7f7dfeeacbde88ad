-- scripts/worker-test.sh: tasks over HTTP with known results, and a pair of agents that must not wait for them.
local cjson = require "cjson"
local load = require "scripts.proof.load"
local process = require "bench.support.process"
local proof = require "scripts.proof.proof"
local screen = require "scripts.proof.screen"

local MOST_SECONDS = 86400 -- a test with a number of tasks has no time of its own

local describe = {
    command = "scripts/worker-test.sh",
    summary = "Tasks for the bridge's worker threads over POST /workers/execute, so many on the way at a time, and\n"
        .. "how long they took. A pair of agents talks meanwhile, and the longest that one of its messages took is\n"
        .. "shown.",
    options = {
        {"tasks", "count", "10000", "N", "tasks in all"},
        {"concurrency", "count", "8", "N", "on the way at a time, each on a connection of its own"},
    },
    notes = "Criteria: every task is answered, with the right result; P99 of the pair stays below 20 ms, and no\n"
        .. "message takes 100 ms.\n",
}

-- Numbers that are the same in every run, so that two runs do the same work.
local function numbers(count, seed)
    local list, state = {}, seed
    for i = 1, count do
        state = (state * 1103515245 + 12345) % 2147483648
        list[i] = math.floor(state / 65536) % 1000
    end
    return list
end

-- Sums of products of these are exact in single precision, in which vectors are computed.
local function small_numbers(count, seed)
    local list = numbers(count, seed)
    for i, number in ipairs(list) do
        list[i] = number % 64
    end
    return list
end

local function dot(a, b)
    local sum = 0
    for i = 1, #a do
        sum = sum + a[i] * b[i]
    end
    return sum
end

local function sorted(list)
    local copy = {unpack(list)}
    table.sort(copy)
    return copy
end

-- Each: operation, data, the result or nil where only an answer is asked for.
local function make_tasks()
    local a, b = small_numbers(2000, 1), small_numbers(2000, 2)
    local items, parsed = numbers(2000, 3), {numbers(500, 4), numbers(500, 5), {true, "text", {1, 2, 3}}}
    return {
        {"vector_operations", {op = "dot", a = a, b = b}, dot(a, b)},
        {"json_parse", {text = cjson.encode(parsed)}, parsed},
        {"sort", {items = items}, sorted(items)},
        {"hash", {text = "abc"}, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"vector_operations", {op = "dot", a = b, b = b}, dot(b, b)},
        {"sort", {items = sorted(items)}, sorted(items)},
    }
end

-- A file for the load generator: one task of each operation and priority.
local function write_bodies(path)
    local file = assert(io.open(path, "w"))
    for _, priority in ipairs({"normal", "high", "low"}) do
        for _, task in ipairs(make_tasks()) do
            local body = {operation = task[1], data = task[2], priority = priority}
            local expected = task[3] and cjson.encode(task[3]) or ""
            file:write(task[1], "\t", expected, "\t", cjson.encode(body), "\n")
        end
    end
    file:close()
end

local function worker_figures(bridge)
    local optimization = bridge:optimization()
    return optimization and optimization.cpuOptimization and optimization.cpuOptimization.workerPool or {}
end

proof.main(describe, function(self)
    local options = self.options
    local bridge = self:open_bridge({})
    if bridge:status_of("/workers/execute") == 404 then
        error("this bridge has no POST /workers/execute", 0)
    end
    local bodies = self.folder .. "/bodies"
    write_bodies(bodies)
    local quiet = load.start(self.folder, bridge,
        ("open --agents 2 --rate 50 --warmup 0 --seconds %d --progress 1"):format(MOST_SECONDS))
    local words = "http --path /workers/execute --timeout 60 --progress 1 --bodies %s --requests %d "
        .. "--agents %d --seconds %d"
    local run = load.start(self.folder, bridge, words:format(process.quote(bodies), options.tasks, options.concurrency,
        MOST_SECONDS))
    local most_workers, most_busy = 0, 0
    local function over()
        return not run:alive() or not bridge:alive()
    end
    proof.watch(MOST_SECONDS, over, function(elapsed)
        local workers = worker_figures(bridge)
        most_workers = math.max(most_workers, tonumber(workers.currentWorkers) or 0)
        most_busy = math.max(most_busy, tonumber(workers.busyWorkers) or 0)
        local at = run:progress()
        local done = at and at.sent or 0
        local left = done > 0 and elapsed / done * (options.tasks - done) or 0
        screen.progress(left, ("%s of %s tasks, %s workers, worst P99 of the pair %s"):format(screen.count(done),
            screen.count(options.tasks), tostring(workers.currentWorkers), screen.time(quiet:worst("p99us"))))
    end)
    local figures, problem = run:finish()
    if not figures then
        error(problem, 0)
    end
    local pair = quiet:finish()
    local workers = worker_figures(bridge)
    self.figures = {
        tasks = figures, pair = pair, workers = workers, mostWorkers = most_workers, mostBusy = most_busy,
    }
    self:percentiles("task, from sending to answer", figures)
    if figures.running and figures.running.count > 0 then
        self:percentiles("  running", figures.running)
        self:percentiles("  waiting and on the way", figures.waiting)
    end
    if pair then
        self:percentiles("message of the pair", pair)
    end
    self.facts[1] = {"tasks a second", screen.count(figures.good / figures.seconds)}
    local names = {}
    for name in pairs(figures.kinds) do
        names[#names + 1] = name
    end
    table.sort(names)
    for _, name in ipairs(names) do
        local kind = figures.kinds[name]
        self.facts[#self.facts + 1] = {name, ("%s done, %s in the mean"):format(screen.count(kind.good),
            screen.time(kind.meanUs))}
    end
    self.facts[#self.facts + 1] = {"workers", ("%d at the most, %d of them busy; %s completed, %s failed, %s timed out")
        :format(most_workers, most_busy, screen.count(tonumber(workers.tasksCompleted) or 0),
            screen.count(tonumber(workers.tasksFailed) or 0), screen.count(tonumber(workers.timeouts) or 0))}
    self:criterion({
        key = "answered", name = "tasks done", ours = screen.count(options.tasks), value = figures.good,
        measured = screen.count(figures.good), met = figures.good == options.tasks,
    })
    self:criterion({
        key = "wrong", name = "wrong results", ours = "0", value = figures.wrong, met = figures.wrong == 0,
        measured = screen.count(figures.wrong),
    })
    self:criterion({
        key = "pairP99", name = "messages meanwhile, P99", ours = "< 20 ms", value = pair and pair.p99us,
        measured = pair and screen.time(pair.p99us), met = pair and pair.p99us and pair.p99us < 20000,
    })
    self:criterion({
        key = "stall", name = "messages meanwhile, longest", old = "no blocking", ours = "< 100 ms",
        value = pair and pair.maximumUs, measured = pair and screen.time(pair.maximumUs),
        met = pair and pair.maximumUs and pair.maximumUs < 100000,
    })
    if figures.firstWrong then
        self:note("The first wrong result: %s", figures.firstWrong)
    end
    if figures.firstRefusal then
        self:note("The first refusal: %s", figures.firstRefusal)
    end
    self:note_limits(figures.refusedBy)
    self:note_generator(figures)
    self:close_bridge()
end)
