-- Retry to another agent: a task that its agent could not be given goes to the others of the same role, one of them.
-- The bridge asks once for an envelope: when that fails too, its sender hears of it.
local script = {}
local RETRIED = {no_recipient = true, mailbox_full = true, slow_agent = true, expired = true}

function script.on_undeliverable(envelope, reason, recipient, bridge)
    if envelope.intent ~= "task.assign" or not RETRIED[reason] then
        return nil
    end
    for _, agent in ipairs(bridge.agents{role = "worker"}) do
        if agent.id ~= recipient and agent.openTasks < agent.maxConcurrentTasks then
            luaduct.log.info("task", envelope.taskId or envelope.id, "goes to", agent.id, "after", reason)
            return bridge.to(agent.id)
        end
    end
end

return script
