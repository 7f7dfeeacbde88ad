-- Upgrades (SIGUSR2) of a bridge that a test has started.
local bridge = require "tests.support.bridge"
local wait = require "tests.support.wait"

local upgrade = {}

-- What became of it: the process that serves, or nil, and what the log says since it had `said` bytes.
function upgrade.outcome(server, said)
    local pid, log
    wait.eventually(function()
        log = server:errors():sub(said + 1)
        pid = tonumber(log:match("handover: process (%d+) serves now"))
        return pid or log:find("this process goes on", 1, true)
    end, 30, "the hand-over")
    return pid, log
end

-- Has the bridge hand over; gives the process that serves then. The old one may still be there. A process that has just
-- taken over itself may know a little late that the one before it has ended, and says so until then.
function upgrade.start(server)
    local pid, log
    wait.eventually(function()
        local said = #server:errors()
        server:signal("SIGUSR2")
        pid, log = upgrade.outcome(server, said)
        return pid or not log:find("the process before this one still has", 1, true)
    end)
    assert(pid, log)
    server.expected_end = true
    return bridge.adopt(server, pid)
end

-- The same, and the old one has ended.
function upgrade.run(server)
    local successor = upgrade.start(server)
    assert(server:wait_exit(30) == 0, server:log())
    return successor
end

-- It must come to nothing; gives what the log says of it.
function upgrade.fail(server)
    local said = #server:errors()
    server:signal("SIGUSR2")
    local pid, log = upgrade.outcome(server, said)
    assert(not pid, log)
    return log
end

return upgrade
