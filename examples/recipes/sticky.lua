-- Sticky session: all that belongs to one session goes to the same agent. Which one is computed, not remembered, so
-- every reactor finds the same: of all agents the one whose id, hashed with the session, gives the highest number
-- (rendezvous hashing). When an agent leaves only its own sessions move.
local script = {}

local function score(text)
    local hash = 5381
    for index = 1, #text do
        hash = bit.bxor(bit.tobit(hash * 33), text:byte(index))
    end
    hash = bit.bxor(hash, bit.rshift(hash, 15))
    return bit.bxor(bit.tobit(hash * 1103), bit.rshift(hash, 7)) % 4294967296
end

function script.route(envelope, bridge)
    local session = envelope.context.session
    if not session then
        return nil
    end
    local best, best_score
    for _, agent in ipairs(bridge.agents{role = "assistant"}) do
        local its = score(session .. "\0" .. agent.id)
        if not best or its > best_score or (its == best_score and agent.id < best) then
            best, best_score = agent.id, its
        end
    end
    return best and bridge.to(best)
end

return script
