-- The time of a spec: it stands until the spec, or a hook that sleeps, moves it.
local room = require "luaduct.test.room"

local clock = {}

local START_MS = 1767268800000 -- 2026-01-01T12:00:00Z
local wall_ms, ahead_ms

local function apply()
    room.set_time(wall_ms, ahead_ms)
end

-- Milliseconds since the epoch: what os.time() shows a script, in seconds.
function clock.now()
    return wall_ms
end

function clock.advance(ms)
    wall_ms, ahead_ms = wall_ms + ms, ahead_ms + ms
    apply()
end

-- Sets the wall clock; durations go on from where they are.
function clock.set(ms)
    wall_ms = ms
    apply()
end

wall_ms, ahead_ms = START_MS, room.ahead_ms()
apply()

return clock
