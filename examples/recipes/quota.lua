-- Quota by token count: each agent may have models read so many tokens a day, whatever the number of envelopes. Four
-- bytes of text are taken for one token. All reactors count together.
local script = {}

local DAILY, BYTES_PER_TOKEN, DAY_MS = 100000, 4, 86400000

-- The bytes of all texts in a value.
local function bytes_of(value)
    if type(value) == "string" then
        return #value
    elseif type(value) ~= "table" then
        return 0
    end
    local sum = 0
    for _, inner in pairs(value) do
        sum = sum + bytes_of(inner)
    end
    return sum
end

function script.route(envelope, bridge)
    if envelope.intent ~= "model.ask" then
        return nil
    end
    local key = "quota:" .. envelope.from
    local tokens = math.ceil(bytes_of(envelope.payload) / BYTES_PER_TOKEN)
    if luaduct.shared.incr(key, tokens, 0, DAY_MS) > DAILY then
        luaduct.shared.incr(key, -tokens) -- it is not sent, so it does not count
        return bridge.reply{error = "quota", asked = tokens, daily = DAILY}
    end
    return bridge.any{role = "model"}
end

return script
