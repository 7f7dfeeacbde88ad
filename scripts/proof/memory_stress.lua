-- scripts/memory-stress.sh: five floods at once, each hard on memory in another way, and a pair of agents beside them
-- that must not notice.
local bridge_of = require "scripts.proof.bridge"
local load = require "scripts.proof.load"
local process = require "bench.support.process"
local proof = require "scripts.proof.proof"
local screen = require "scripts.proof.screen"


local number = bridge_of.number

-- `words` may be patient: each is a command of the load generator that says how large its messages are.
local SHAPES = {
    {name = "huge messages", size = 1000000, words = "--agents 4 --one-way"},
    {name = "absent recipients", size = 32768, words = "--agents 4 --absent 2000"},
    {name = "slow readers", size = 65536, words = "--agents 32 --one-way --pause %g"},
    {name = "deep JSON", size = 200000, words = "--agents 4 --one-way --depth 128"},
    {name = "a script that hoards", size = 4096, words = "--agents 4 --one-way --intent stress.hoard"},
}

-- Grows to its memory limit in about 700 calls, fails there for the next 300, and then all of it is garbage at once.
local SCRIPT = [[
local hoard, calls = {}, 0
return {
    route = function(envelope)
        if envelope.intent == "stress.hoard" then
            calls = calls + 1
            if calls % 1000 == 0 then
                hoard = nil
            end
            hoard = hoard or {}
            for i = 1, 50 do
                hoard[#hoard + 1] = {text = ("x"):rep(500) .. calls .. i, number = i, inner = {i, {i}}}
            end
        end
    end,
}
]]

local describe = {
    command = "scripts/memory-stress.sh",
    summary = "Sends so many bytes in shapes that are hard on memory: huge messages, absent recipients, agents that\n"
        .. "do not read, deep JSON, a routing script that hoards. A quiet pair of agents talks meanwhile.",
    options = {
        {"size", "size", "10GB", "SIZE", "of all messages together"},
        {"duration", "duration", "10m", "TIME", "over which they are spread"},
        {"memory", "size", "256MiB", "SIZE", "limits.memory of the bridge that it starts"},
        {"limit-as", "limit", nil, "SIZE", "runs that bridge under ulimit -v"},
    },
    notes = "--limit-as quarter: a shorter run without the limit comes first, and the limit is what the bridge took\n"
        .. "when idle and a quarter of what it took above that.\n"
        .. "Criteria: no P99 of 10 s of the quiet pair is 20 ms or more; resident memory stays below --memory;\n"
        .. "accepted = delivered + in mailboxes + counted under a limit; every message is accepted or refused with a\n"
        .. "code; the level is low at the end. Under --limit-as only that it answers, survives and keeps its books.\n",
}

local function config(options, limited)
    return {
        limits = {memory = limited and "auto" or options.memory},
        script = {budgetMs = 5, memoryLimit = "32MiB"},
        -- What absent agents got goes soon after the end, so that the level can fall; each loss is counted.
        agents = {mailboxTtlMs = 5000, cleanupIntervalMs = 1000},
    }
end

local function start_floods(self, bridge, seconds, bytes)
    local floods = {}
    for i, shape in ipairs(SHAPES) do
        local share = bytes / #SHAPES
        local words = ("flood --size %d --rate %.3f --bytes %.0f --seconds %g --progress 1 "):format(shape.size,
            math.max(0.001, share / shape.size / seconds), share, seconds * 2 + 10)
            .. shape.words:format(math.max(0.2, math.min(3, seconds / 5)))
        floods[i] = load.start(self.folder, bridge, words, true)
        floods[i].name = shape.name
    end
    return floods
end

local function any_alive(list)
    for _, one in ipairs(list) do
        if one:alive() then
            return true
        end
    end
    return false
end

local function counted_losses(messages)
    local sum = number(messages, "lostWithoutMemory") or 0
    for reason, count in pairs(messages.undeliverable or {}) do
        if reason ~= "no_recipient" and reason ~= "mailbox_full" then -- these were told to the sender, never accepted
            sum = sum + count
        end
    end
    return sum
end

-- The books: how many accepted messages are nowhere. Read when nothing moves, so asked until two answers agree.
local function read_books(bridge)
    local before
    for _ = 1, 20 do
        local metrics = bridge:metrics()
        local messages = metrics and metrics.messages
        if messages and messages.accepted then
            local books = {
                accepted = messages.accepted, delivered = messages.delivered, queued = messages.queued,
                counted = counted_losses(messages), undeliverable = messages.undeliverable,
                lostWithoutMemory = number(messages, "lostWithoutMemory") or 0,
            }
            books.nowhere = books.accepted - books.delivered - books.queued - books.counted
            if before and before.accepted == books.accepted and before.nowhere == books.nowhere then
                return books
            end
            before = books
        end
        process.sleep(0.5)
    end
    return before
end

local function await_low(bridge, seconds)
    local started = process.now()
    local level
    repeat
        local optimization = bridge:optimization()
        local pressure = optimization and optimization.memoryOptimization
            and optimization.memoryOptimization.memoryPressure
        level = pressure and pressure.level
        if level == "low" then
            return level, process.now() - started
        end
        screen.progress(seconds - (process.now() - started), ("memory level %s"):format(level or "unknown"))
        process.sleep(1)
    until process.now() - started > seconds
    return level
end

-- One run of all shapes. Gives what it found; a bridge that died is in it, too.
local function stress(self, bridge, seconds, bytes)
    local found = {peak_rss = 0, shapes = {}, sent = 0, refused = 0, cut_off = 0, refused_by = {}}
    local books_before = read_books(bridge)
    local window = seconds >= 30 and 10 or math.max(0.5, seconds / 3)
    local quiet_words = "open --agents 2 --rate 100 --size 256 --warmup 0 --seconds %g --progress %g"
    local quiet = load.start(self.folder, bridge, quiet_words:format(seconds * 3 + 60, window))
    local floods = start_floods(self, bridge, seconds, bytes)
    local function over()
        return not any_alive(floods) or not bridge:alive()
    end
    proof.watch(seconds * 3 + 50, over, function(elapsed)
        local sent = 0
        for i, flood in ipairs(floods) do
            local at = flood:progress()
            sent = sent + (at and at.sent or 0) * SHAPES[i].size
        end
        local optimization = bridge:optimization()
        local pressure = optimization and optimization.memoryOptimization.memoryPressure
        local rss = bridge:process_bytes("VmRSS") or number(pressure, "rss") or 0
        found.peak_rss = math.max(found.peak_rss, rss)
        found.levels = found.levels or {}
        if pressure and pressure.level then
            found.levels[pressure.level] = (found.levels[pressure.level] or 0) + 1
        end
        local at = quiet:progress()
        screen.progress(seconds - elapsed, ("%s of %s, memory %s (%s), quiet P99 %s"):format(screen.bytes(sent),
            screen.bytes(bytes), screen.bytes(rss), pressure and pressure.level or "?",
            screen.time(at and at.p99us)))
    end)
    found.seconds = seconds
    for i, flood in ipairs(floods) do
        local figures, problem = flood:finish()
        found.shapes[SHAPES[i].name] = figures or {failed = problem}
        if figures then
            found.sent = found.sent + figures.sent
            found.refused = found.refused + figures.refused
            found.cut_off = found.cut_off + figures.cutOff
            for code, count in pairs(figures.refusedBy) do
                found.refused_by[code] = (found.refused_by[code] or 0) + count
            end
        else
            found.failed = ("%s: %s"):format(SHAPES[i].name, problem)
        end
    end
    found.quiet, found.quiet_problem = quiet:finish()
    found.quiet_worst = quiet:worst("p99us")
    found.alive = bridge:alive() and bridge:ready() ~= nil
    found.books_before = books_before
    found.peak_rss = math.max(found.peak_rss, bridge:process_bytes("VmHWM") or 0)
    found.peak_size = bridge:process_bytes("VmPeak")
    return found
end

-- "quarter": what the bridge may have of address space, from a short run without a limit.
local function learn_limit(self)
    local options = self.options
    local bridge = bridge_of.start(self.folder, config(options, true), {script = SCRIPT})
    process.sleep(0.5)
    local idle = bridge:process_bytes("VmSize")
    local share = math.max(options.duration / 5, math.min(options.duration, 5)) / options.duration
    local found = stress(self, bridge, options.duration * share, options.size * share) -- as hard, for less long
    bridge:stop()
    local limit = idle + ((found.peak_size or idle) - idle) / 4
    self.facts[#self.facts + 1] = {"address space", ("%s idle, %s at the most without a limit, %s allowed"):format(
        screen.bytes(idle), screen.bytes(found.peak_size), screen.bytes(limit))}
    return limit
end

local function judge_books(self, found, own)
    local books, before = found.books, found.books_before
    local quiet_sent = found.quiet and found.quiet.sent or 0
    self:criterion({
        key = "books", name = "accepted messages that are nowhere", ours = "0", optional = not own,
        value = own and books and books.nowhere, met = own and (books and books.nowhere == 0 or false) or nil,
        measured = books and own and ("%s of %s"):format(screen.count(books.nowhere), screen.count(books.accepted)),
    })
    -- What went down with a connection may have been looked at or not.
    local missing = books and before and found.sent + quiet_sent - found.refused - (books.accepted - before.accepted)
    self:criterion({
        key = "answered", name = "messages neither accepted nor refused", ours = "0", value = missing,
        optional = not own,
        met = own and (missing and missing >= 0 and missing <= found.cut_off or false) or nil,
        measured = own and missing and (found.cut_off > 0
            and ("%s (%s on closed connections)"):format(screen.count(missing), screen.count(found.cut_off))
            or screen.count(missing)) or nil,
    })
end

proof.main(describe, function(self)
    local options = self.options
    local limit = options.limit_as
    if limit and options.url then
        error("--limit-as is for a bridge of its own, so not with --url", 0)
    end
    if limit == "quarter" then
        limit = learn_limit(self)
    end
    local bridge = self:open_bridge(config(options, limit), {script = SCRIPT, address_space = limit})
    local found = stress(self, bridge, options.duration, options.size)
    local level, low_after
    if found.alive then
        level, low_after = await_low(bridge, 60)
        found.books = read_books(bridge) -- what was let go to get there is on them, too
        local optimization = bridge:optimization()
        found.collector = optimization and optimization.memoryOptimization.gcOptimizer
        found.pressure = optimization and optimization.memoryOptimization.memoryPressure
    end
    self.figures = found
    found.levelAtEnd, found.lowAfterSeconds = level, low_after
    if found.quiet then
        self:percentiles("quiet pair", found.quiet)
    end
    for _, shape in ipairs(SHAPES) do
        local figures = found.shapes[shape.name]
        self.facts[#self.facts + 1] = {shape.name, figures.failed or ("%s in %s messages, %s refused"):format(
            screen.bytes(figures.sent * shape.size), screen.count(figures.sent), screen.count(figures.refused))}
    end
    if found.books then
        self.facts[#self.facts + 1] = {"accepted", ("%s: %s delivered, %s in mailboxes, %s lost by a limit"):format(
            screen.count(found.books.accepted), screen.count(found.books.delivered), screen.count(found.books.queued),
            screen.count(found.books.counted))}
    end
    local collections = number(found.collector, "totalGCTriggers")
    if collections then
        self.facts[#self.facts + 1] = {"full collections", ("%s, the longest %s"):format(screen.count(collections),
            screen.time((number(found.collector, "maxGCTime") or 0) * 1000))}
    end
    self:criterion({
        key = "alive", name = "the bridge answers at the end", ours = "yes", measured = found.alive and "yes" or "no",
        met = found.alive,
    })
    local quiet_faults = found.quiet and load.faults(found.quiet)
    if not limit then
        self:criterion({
            key = "quiet", name = "quiet pair, worst P99 of a window", ours = "< 20 ms", value = found.quiet_worst,
            measured = found.quiet and screen.time(found.quiet_worst) or found.quiet_problem,
            met = found.quiet and found.quiet_worst < 20000 and found.quiet_worst > 0,
        })
        self:criterion({
            key = "quietErrors", name = "quiet pair, errors", ours = "0", value = quiet_faults,
            measured = quiet_faults and screen.count(quiet_faults), met = quiet_faults == 0,
        })
        local budget = bridge.own and options.memory or nil
        self:criterion({
            key = "memory", name = "peak resident memory", value = found.peak_rss, optional = not budget,
            ours = budget and "< " .. screen.bytes(budget), measured = screen.bytes(found.peak_rss),
            met = budget and found.peak_rss < budget or nil,
        })
    end
    judge_books(self, found, bridge.own)
    if not limit then
        local lost = found.books and found.books.lostWithoutMemory
        self:criterion({
            key = "lost", name = "lost for want of memory", ours = "0", value = lost, met = lost == 0,
            measured = lost and screen.count(lost),
        })
    end
    self:criterion({
        key = "level", name = "memory level within a minute", ours = "low", met = level == "low",
        measured = level and (low_after and ("%s after %s"):format(level, screen.duration(low_after)) or level),
    })
    if found.failed then
        self:note("The load generator failed: %s.", found.failed)
        self.missed = self.missed or not limit
    end
    self:note_limits(found.refused_by)
    self:close_bridge()
end)
