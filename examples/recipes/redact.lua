-- Redaction: secrets do not leave the bridge. Keys that sound like one are emptied, at any depth, and so is what looks
-- like an address or a card number in texts. Set script.onError = "drop" with it: what could not be looked at must not
-- pass.
local script = {}
local SECRET = {password = true, token = true, secret = true, apikey = true, authorization = true}

local function clean_text(text)
    text = text:gsub("[%w._%%+-]+@[%w.-]+%.%a+", "[address]")
    return (text:gsub("%f[%d]%d%d%d%d[ -]?%d%d%d%d[ -]?%d%d%d%d[ -]?%d%d%d%d%f[%D]", "[card]"))
end

-- The cleaned value, and whether anything was found.
local function clean(value)
    if type(value) == "string" then
        local cleaned = clean_text(value)
        return cleaned, cleaned ~= value
    elseif type(value) ~= "table" then
        return value, false
    end
    local found = false
    for key, inner in pairs(value) do
        if type(key) == "string" and SECRET[key:lower():gsub("[_-]", "")] then
            value[key], found = "[removed]", true
        else
            local cleaned, changed = clean(inner)
            value[key], found = cleaned, found or changed
        end
    end
    return value, found
end

function script.route(envelope)
    local payload, found = clean(envelope.payload)
    if found then
        envelope.payload = payload -- only then: the rest passes byte for byte
    end
end

return script
