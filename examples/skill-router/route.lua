-- A router for agents with skills. A task says what has to be done, not who does it; the bridge knows who is there.
--
--   a worker      registers its skills as labels: --label count --label translate
--   a task        is an envelope with the intent task.assign and payload.skill (or else its first tool)
--   the router    gives it to the connected worker with that label that has the fewest open tasks
--   the result    is an envelope to whoever sent the task, with the intent task.complete or task.failed
--
-- A task that nobody can do now waits in the mailbox "waiting.SKILL". An agent that joins under that name gets all that
-- waited, in order. With "wait": false in its payload the task is refused instead, and its sender hears so at once.
--
-- The router keeps nothing of its own: every reactor thread has its own copy of this script, so a table in it would
-- know only a part of the truth. Who is connected and who is busy is kept by the bridge, for all of them.

local WAITING = "waiting."

-- What ends a task. The bridge counts these too: by them bridge.any knows who is free again.
local ENDS = {["task.complete"] = true, ["task.failed"] = true, ["task.cancelled"] = true}

-- A skill becomes a label and the name of a mailbox, so a sender cannot make it just anything.
local function skill_from(value)
    if type(value) == "string" and #value <= 64 and value:find("^[%w_.-]+$") then
        return value
    end
end

local function skill_of(envelope)
    local payload = envelope.payload -- decoded here, at the first touch; an envelope without a task never is
    local wanted = type(payload) == "table" and payload.skill or nil
    return skill_from(wanted or envelope.tools[1])
end

-- A client that sends payloads only (a shell script, say) may give the task's name there.
local function name_task(envelope)
    if envelope.taskId then
        return
    end
    local payload = envelope.payload
    local name = type(payload) == "table" and payload.taskId or nil
    if type(name) == "string" then
        envelope.taskId = name
    elseif envelope.intent == "task.assign" then
        envelope.taskId = envelope.id
    end
end

local hooks = {}

-- Asked for every envelope. It returns a decision and does nothing itself; nil means the bridge's own rule: to the
-- agent named in `to`, else to everyone.
function hooks.route(envelope, bridge)
    local intent = envelope.intent
    if ENDS[intent] then
        name_task(envelope)
        return nil
    end
    if intent ~= "task.assign" or envelope.to then
        return nil
    end
    local skill = skill_of(envelope)
    if not skill then
        return bridge.drop("a task names the skill that it needs in payload.skill", {tell = true})
    end
    name_task(envelope)
    return bridge.any{label = skill}
end

-- Asked when a delivery failed: here, when no connected worker has the skill. What it returns is tried once.
function hooks.on_undeliverable(envelope, reason, recipient, bridge)
    if envelope.intent ~= "task.assign" then
        return nil
    end
    if reason ~= "no_recipient" then
        -- "evicted", "expired", "mailbox_full": a task is lost, and somebody should know
        luaduct.log.warn(("task %s for %s is lost: %s"):format(envelope.taskId, tostring(recipient), reason))
        return nil
    end
    local payload = envelope.payload
    if type(payload) == "table" and payload.wait == false then
        return nil -- the refusal stands
    end
    return bridge.to(WAITING .. skill_of(envelope))
end

-- Asked when an agent registers. A worker without a skill would wait for ever, so it hears at once what is missing.
function hooks.on_register(agent)
    if agent.role == "worker" and #agent.labels == 0 then
        return false, "a worker registers its skills as labels"
    end
end

return hooks
