-- The same sender always to the same of 32 workers, also when some come or go: rendezvous hashing.
local WORKERS = 32

local function hash(text, start)
    local value = start
    for i = 1, #text do
        value = (value * 33 + text:byte(i)) % 4294967296
    end
    return value
end

return {
    cache = {"from", "channel"},
    route = function(envelope, bridge)
        local key = hash(envelope.channel, hash(envelope.from, 5381))
        local best, most = nil, -1
        for number = 1, WORKERS do
            local name = "worker-" .. number
            local weight = hash(name, key)
            if weight > most then
                best, most = name, weight
            end
        end
        return bridge.to(best)
    end,
}
