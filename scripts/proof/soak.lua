-- scripts/soak.sh: everything at once, for long: agents that talk, agents that come and go, reloads, floods, peers that
-- send rubbish. What the bridge holds must not grow, and nobody who behaves may notice.
local bridge_of = require "scripts.proof.bridge"
local load = require "scripts.proof.load"
local process = require "bench.support.process"
local proof = require "scripts.proof.proof"
local screen = require "scripts.proof.screen"

local number = bridge_of.number

local RELOAD_SECONDS = 5

-- Two versions that take turns: state that is handed over, garbage, a worker's task now and then.
local SCRIPT = [[
local version = %d
return {
    on_reload = function(_, state)
        luaduct.state.calls = state and state.calls or 0
    end,
    route = function(envelope)
        local calls = (luaduct.state.calls or 0) + 1
        luaduct.state.calls = calls
        if calls %% 1000 == 0 then
            luaduct.workers.execute{operation = "json_parse", data = ("[%%d]"):format(version)}
        end
        local garbage = {calls, {envelope.intent}}
        luaduct.shared.incr("calls", #garbage - 1)
    end,
}
]]

-- The two that behave lose nothing; the others may be refused.
local LOADS = {
    {
        name = "talk", strict = true,
        words = "open --agents 40 --rate %d --size 256 --warmup 0 --seconds %g --progress 10",
    },
    {name = "churn", words = "churn --agents 4 --warmup 0 --seconds %g", strict = true},
    {name = "absent recipients", words = "flood --agents 2 --absent 500 --size 2048 --rate 200 --seconds %g"},
    {name = "slow readers", words = "flood --agents 8 --one-way --size 8192 --rate 200 --pause 3 --seconds %g"},
}

-- Connects, sends what is no request, and holds the connection for a while: five at a time, until it is ended.
local RUBBISH = [[
while true; do
    for kind in 1 2 3 4 5; do
        (exec 3<>/dev/tcp/127.0.0.1/%d || exit 0
        case $kind in
        1) head -c 300 /dev/urandom >&3 ;;
        2) printf 'GET / HTTP/1.1\r\nHost: localhost\r\n' >&3; sleep 2 ;;
        3) printf 'POST /send HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n{"to":' >&3; sleep 2 ;;
        4) printf '%%s\r\n' 'GET / HTTP/1.1' 'Host: localhost' 'Upgrade: websocket' 'Connection: Upgrade' >&3
           printf '%%s\r\n' 'Sec-WebSocket-Version: 13' 'Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==' '' >&3
           head -c 100 /dev/urandom >&3; sleep 1 ;;
        5) sleep 2 ;;
        esac) 2>/dev/null &
    done
    wait
done
]]

local describe = {
    command = "scripts/soak.sh",
    summary = "Agents that talk, agents that come and go, a reload every five seconds, floods and rubbish, at once.",
    options = {
        {"duration", "duration", "30m", "TIME", "of the whole"},
        {"rate", "count", "2000", "N", "messages a second of the agents that talk"},
    },
    notes = "Criteria: nothing lost, repeated or reordered for agents that behave; resident memory in the last fifth\n"
        .. "is at most 5 % and 2 MiB above that in the second fifth; as many descriptors afterwards as before.\n",
}

local function count_of(folder)
    local count = 0
    for _ in process.capture("ls " .. folder):gmatch("[^\n]+") do
        count = count + 1
    end
    return count
end

-- Least squares: bytes a second.
local function slope(samples)
    local n, sx, sy, sxx, sxy = #samples, 0, 0, 0, 0
    for _, sample in ipairs(samples) do
        sx, sy = sx + sample.at, sy + sample.rss
        sxx, sxy = sxx + sample.at * sample.at, sxy + sample.at * sample.rss
    end
    local below = n * sxx - sx * sx
    return below == 0 and 0 or (n * sxy - sx * sy) / below
end

local function mean(samples, from, to)
    local sum, count = 0, 0
    for _, sample in ipairs(samples) do
        if sample.at >= from and sample.at < to then
            sum, count = sum + sample.rss, count + 1
        end
    end
    return count > 0 and sum / count or 0
end

local function write(path, text)
    local file = assert(io.open(path, "w"))
    file:write(text)
    file:close()
end

-- The version that is not in use, by the signal that an operator would send.
local function reload(self, reloads)
    write(self.folder .. "/bridge-1/script.lua", SCRIPT:format(reloads % 2))
    process.capture(("kill -HUP %d"):format(self.bridge.pid))
end

local function watch(self, seconds)
    local samples, reloads = {}, 0
    local talk = self.loads[1]
    proof.watch(seconds, function() return not self.bridge:alive() end, function(elapsed)
        if elapsed >= (reloads + 1) * RELOAD_SECONDS then
            reloads = reloads + 1
            reload(self, reloads)
        end
        local rss = self.bridge:process_bytes("VmRSS")
        if rss then
            samples[#samples + 1] = {at = elapsed, rss = rss}
        end
        local at = talk:progress()
        screen.progress(seconds - elapsed, ("%d reloads, memory %s, P99 %s"):format(reloads, screen.bytes(rss),
            screen.time(at and at.p99us)))
    end)
    return samples, reloads
end

local function await_descriptors(folder, wanted)
    local count
    for _ = 1, 60 do
        count = count_of(folder)
        if count <= wanted then
            break
        end
        process.sleep(0.5)
    end
    return count
end

local function judge(self, samples, seconds)
    local early, late = mean(samples, seconds * 0.2, seconds * 0.4), mean(samples, seconds * 0.8, seconds)
    local settled = {}
    for _, sample in ipairs(samples) do
        settled[#settled + 1] = sample.at >= seconds * 0.2 and sample or nil
    end
    local grows = slope(settled) * 3600
    self.figures.slopeBytesPerHour, self.figures.early, self.figures.late = grows, early, late
    self.facts[#self.facts + 1] = {"slope of resident memory", ("%s%s an hour"):format(grows < 0 and "-" or "",
        screen.bytes(math.abs(grows)))}
    self:criterion({
        key = "memory", name = "resident memory, last fifth against second", ours = "+5 % and 2 MiB",
        value = late - early, measured = ("%s after %s"):format(screen.bytes(late), screen.bytes(early)),
        met = late <= early * 1.05 + 2 * 1024 * 1024,
    })
end

proof.main(describe, function(self)
    local seconds = self.options.duration
    local bridge = self:open_bridge({
        agents = {maxQueue = 5, mailboxTtlMs = 3000, cleanupIntervalMs = 1000},
        limits = {memory = "256MiB", sendQueueBytes = "256KiB"},
    }, {script = SCRIPT:format(0)})
    local descriptors = ("/proc/%d/fd"):format(bridge.pid)
    local open_before = count_of(descriptors)
    self.loads = {}
    for i, one in ipairs(LOADS) do
        local words = i == 1 and one.words:format(self.options.rate, seconds + 60) or one.words:format(seconds + 60)
        self.loads[i] = load.start(self.folder, bridge, words, true)
    end
    write(self.folder .. "/rubbish", RUBBISH:format(bridge.http.port))
    local rubbish = process.start(nil, "bash " .. process.quote(self.folder .. "/rubbish"), "/dev/null",
        {errors = "/dev/null"})

    local samples, reloads = watch(self, seconds)
    process.stop(rubbish)
    for i, one in ipairs(LOADS) do
        local figures, problem = self.loads[i]:finish()
        local faults = figures and load.faults(figures)
        self.figures[one.name] = figures or problem
        if one.strict then
            self:criterion({
                key = one.name, name = one.name .. ", lost, repeated or reordered", ours = "0", value = faults,
                measured = faults and ("%s of %s"):format(screen.count(faults), screen.count(figures.sent)) or problem,
                met = faults == 0,
            })
        elseif figures then
            self.facts[#self.facts + 1] = {one.name, ("%s sent, %s refused"):format(screen.count(figures.sent),
                screen.count(figures.refused))}
        end
        if i == 1 and figures then
            self:percentiles("talk", figures)
        end
    end
    judge(self, samples, seconds)
    local open_after = await_descriptors(descriptors, open_before)
    self:criterion({
        key = "descriptors", name = "open descriptors afterwards", ours = "at most " .. open_before,
        value = open_after, measured = tostring(open_after), met = open_after <= open_before,
    })
    local version = number(bridge:health(), "scriptVersion", "number")
    self:criterion({
        key = "reloads", name = "versions of the scripts", ours = tostring(reloads + 1), value = version,
        measured = tostring(version), met = version ~= nil and version >= reloads,
    })
    self:close_bridge()
end)
