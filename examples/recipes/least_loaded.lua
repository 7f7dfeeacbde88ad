-- Least loaded: each task goes to the worker with the fewest open tasks. The bridge counts them: a task is open from
-- task.assign until its taskId comes back with a result.
local script = {}

function script.route(envelope, bridge)
    if envelope.intent == "task.assign" and not envelope.to then
        return bridge.any{role = "worker"}
    end
end

return script
