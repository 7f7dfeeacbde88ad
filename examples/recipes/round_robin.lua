-- Round robin: workers take turns, whatever they have to do. Each reactor has a turn of its own, which is as even when
-- there are many envelopes.
local script = {}
local turn = 0

function script.route(envelope, bridge)
    if envelope.intent ~= "task.assign" then
        return nil
    end
    local workers = bridge.agents{role = "worker"}
    if #workers == 0 then
        return bridge.drop("no worker is connected", {tell = true})
    end
    table.sort(workers, function(a, b)
        return a.id < b.id
    end)
    turn = turn % #workers + 1
    return bridge.to(workers[turn].id)
end

return script
