-- Fan-out and gather: a question goes to all experts at once, and who asked gets one answer with what they said, when
-- two thirds of them have replied or five seconds are over.
local script = {}

local function experts(envelope, bridge)
    local ids = {}
    for _, agent in ipairs(bridge.agents{role = "expert"}) do
        -- What the sender says while this hook waits stands behind its question: it could not reply.
        if not envelope.sender or agent.id ~= envelope.sender.id then
            ids[#ids + 1] = agent.id
        end
    end
    return ids
end

function script.route(envelope, bridge)
    if envelope.intent ~= "panel.ask" then
        return nil
    end
    local ids = experts(envelope, bridge)
    if #ids == 0 then
        return bridge.drop("no expert is there", {tell = true})
    end
    local replies, missing = bridge.gather{
        to = ids, intent = "panel.question", payload = envelope.payload,
        count = math.ceil(#ids * 2 / 3), timeoutMs = 5000,
    }
    local answers, silent = luaduct.array(), luaduct.array()
    for index, reply in ipairs(replies) do
        answers[index] = {from = reply.from, payload = reply.payload}
    end
    for index, one in ipairs(missing) do
        silent[index] = one.to
    end
    return bridge.reply{answers = answers, silent = silent}
end

return script
