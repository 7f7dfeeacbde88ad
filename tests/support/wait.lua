-- Waiting for conditions, bounded. A sanitizer build is slower: LUADUCT_TEST_SLOW=1 stretches every bound by three.
local socket = require "socket"

local wait = {}

local stretch = os.getenv("LUADUCT_TEST_SLOW") == "1" and 3 or 1

wait.DEFAULT = 10

-- The moment (as wait.now) after which waiting `seconds` from now is over.
function wait.deadline(seconds)
    return socket.gettime() + (seconds or wait.DEFAULT) * stretch
end

function wait.now()
    return socket.gettime()
end

-- Seconds left until a deadline, never negative.
function wait.left(deadline)
    return math.max(0, deadline - socket.gettime())
end

-- Calls `condition` until it returns something true, and returns that; raises with `what` (text, or what gives it) when
-- the bound is over.
-- Other things (a process, a file) give no event to wait on, so it looks every few milliseconds.
function wait.eventually(condition, seconds, what)
    local deadline = wait.deadline(seconds)
    while true do
        local result = condition()
        if result then
            return result
        end
        if socket.gettime() > deadline then
            local text = type(what) == "function" and what() or what or "a condition"
            error("waited in vain for " .. text, 2)
        end
        socket.sleep(0.003)
    end
end

return wait
