-- Priority lanes: some workers are kept for what is urgent (label "express"); everything else never reaches them.
-- Urgent work uses the ordinary ones too when no express lane is free.
local script = {}

local function has_room(agents)
    for _, agent in ipairs(agents) do
        if agent.openTasks < agent.maxConcurrentTasks then
            return true
        end
    end
    return false
end

function script.route(envelope, bridge)
    if envelope.intent ~= "task.assign" then
        return nil
    end
    if envelope.priority == "high" and has_room(bridge.agents{role = "worker", label = "express"}) then
        envelope.channel = "express"
        return bridge.any{role = "worker", label = "express"}
    end
    return bridge.any{role = "worker", label = "ordinary"}
end

-- A worker that names no lane is an ordinary one.
function script.on_register(agent)
    if agent.role ~= "worker" then
        return true
    end
    for _, label in ipairs(agent.labels) do
        if label == "express" or label == "ordinary" then
            return true
        end
    end
    agent.labels[#agent.labels + 1] = "ordinary"
    return agent
end

return script
