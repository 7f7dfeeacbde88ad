-- scripts/load-test.sh: an open loop, so a bridge that falls behind shows in the percentiles.
local load = require "scripts.proof.load"
local proof = require "scripts.proof.proof"
local screen = require "scripts.proof.screen"

local PATIENCE = 60 -- seconds for agents to join and for what is on the way at the end

local describe = {
    command = "scripts/load-test.sh",
    summary = "Messages at a steady rate between many agents over WebSocket, and how long each took to arrive.",
    options = {
        {"duration", "duration", "30m", "TIME", "of the load"},
        {"rps", "count", "2000", "N", "messages a second, from all agents together"},
        {"agents", "agents", "1000", "N", "that send to each other in pairs"},
        {"size", "size", "256B", "SIZE", "of a message's JSON"},
    },
    notes = "Criteria: nothing lost, repeated, reordered, refused or cut off; P95 below 2 ms from when a message was\n"
        .. "due; 99 % of the rate reached. Latency is that of the generator and the bridge on one machine.\n",
}

proof.main(describe, function(self)
    local options = self.options
    local bridge = self:open_bridge({})
    local warmup = math.min(2, options.duration / 10)
    local run = load.start(self.folder, bridge,
        ("open --agents %d --rate %d --size %d --seconds %g --warmup %g --progress 1"):format(
            options.agents, options.rps, options.size, options.duration, warmup))
    local function over()
        return not run:alive() or not bridge:alive()
    end
    proof.watch(options.duration + warmup + PATIENCE, over, function(elapsed)
        local at = run:progress()
        screen.progress(options.duration + warmup - elapsed, at and ("%s messages, P99 of the last second %s"):format(
            screen.count(at.delivered), screen.time(at.p99us)) or "agents join")
    end)
    local figures, problem = run:finish()
    if not figures then
        error(problem, 0)
    end
    local faults = load.faults(figures)
    local share = faults / math.max(1, figures.sent)
    self.figures = figures
    figures.worstSecondP99us = run:worst("p99us")
    figures.peakRss = bridge:process_bytes("VmHWM")
    self:percentiles(("%s messages"):format(screen.count(figures.delivered)), figures)
    self.facts = {
        {"worst second's P99", screen.time(figures.worstSecondP99us)},
        {"peak memory of the bridge", screen.bytes(figures.peakRss)},
        {"processor of the load generator", ("%.0f %% of one"):format(figures.generatorCpu * 100)},
    }
    self:criterion({
        key = "errorRate", name = "errors of all messages", old = "< 0.1 %", ours = "0", value = share,
        measured = ("%s of %s"):format(screen.count(faults), screen.count(figures.sent)), met = faults == 0,
    })
    self:criterion({
        key = "p95", name = "latency P95", old = "< 120 ms", ours = "< 2 ms", value = figures.p95us,
        measured = screen.time(figures.p95us), met = figures.p95us and figures.p95us < 2000,
    })
    self:criterion({
        key = "rate", name = "messages a second", ours = ("≥ 99 %% of %s"):format(screen.count(options.rps)),
        value = figures.messagesPerSecond, measured = screen.count(figures.messagesPerSecond),
        met = figures.messagesPerSecond >= 0.99 * options.rps,
    })
    self:criterion({
        key = "cpu", name = "processor of the bridge", old = "< 70 %", ours = "< 70 % of one",
        value = figures.serverCpu, optional = not bridge.own, met = figures.serverCpu and figures.serverCpu < 0.7,
        measured = figures.serverCpu and ("%.1f %%"):format(figures.serverCpu * 100),
    })
    self:note_limits(figures.refusedBy)
    self:note_generator(figures)
    self:close_bridge()
end)
