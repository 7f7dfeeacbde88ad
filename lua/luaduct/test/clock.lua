-- The time of a spec: it stands until the spec, or a hook that waits, moves it. Timers of scripts run as it passes.
local room = require "luaduct.test.room"

local clock = {}

local START_MS = 1767268800000 -- 2026-01-01T12:00:00Z
local RUNS_MAXIMUM = 100000 -- of timers in one advance: more never end
local wall_ms, ahead_ms
local next_timer

local function move(ms)
    wall_ms, ahead_ms = wall_ms + ms, ahead_ms + ms
    room.set_time(wall_ms, ahead_ms)
end

-- Milliseconds since the epoch: what os.time() shows a script, in seconds.
function clock.now()
    return wall_ms
end

function clock.advance(ms)
    if type(ms) ~= "number" or ms ~= ms or ms < 0 then
        error("clock.advance: expected milliseconds, 0 or more", 2)
    end
    local target, runs = ahead_ms + ms, 0
    local due, run
    if next_timer then
        due, run = next_timer()
    end
    while due and due <= target do
        if due > ahead_ms then
            move(due - ahead_ms)
        end
        runs = runs + 1
        if runs > RUNS_MAXIMUM then
            error(("clock.advance: timers ran %d times, and there are more: do they set each other?"):format(runs), 2)
        end
        run()
        due, run = next_timer()
    end
    if target > ahead_ms then -- a timer that waited may have moved it further
        move(target - ahead_ms)
    end
end

-- Sets the wall clock; durations go on from where they are.
function clock.set(ms)
    wall_ms = ms
    room.set_time(wall_ms, ahead_ms)
end

-- `find` gives when the next timer is due, in milliseconds that were advanced, and a function that runs it.
function clock.run_timers(find)
    next_timer = find
end

wall_ms, ahead_ms = START_MS, room.ahead_ms()
room.set_time(wall_ms, ahead_ms)

return clock
