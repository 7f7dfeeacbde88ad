-- A/B test of two agents: a fixed share of the conversations goes to the new one. Which side a conversation is on
-- depends on its name alone, so it does not change sides, and both sides can be compared afterwards by the trace.
local script = {}
local OLD, NEW, NEW_PERCENT = "writer", "writer-next", 10

-- 0 to 99.
local function bucket(text)
    local hash = 0
    for index = 1, #text do
        hash = (hash * 31 + text:byte(index)) % 1000003
    end
    return hash % 100
end

function script.route(envelope, bridge)
    if envelope.to ~= OLD then
        return nil
    end
    local conversation = envelope.context.conversation or envelope.from
    local side = bucket(conversation) < NEW_PERCENT and bridge.agent(NEW) and "B" or "A"
    local trace = envelope.trace
    trace.side = side
    envelope.trace = trace
    return bridge.to(side == "B" and NEW or OLD)
end

return script
