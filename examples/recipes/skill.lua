-- Route by skill: a task goes to an agent that has the tool it needs, the least busy of them. An agent says what it can
-- do when it registers (`tools`), so this script need not know its name.
local script = {}

function script.route(envelope, bridge)
    local skill = envelope.intent == "task.assign" and envelope.payload.skill
    if not skill then
        return nil
    end
    if #bridge.agents{tool = skill} == 0 then
        return bridge.drop("nobody here can do " .. skill, {tell = true})
    end
    return bridge.any{tool = skill}
end

return script
