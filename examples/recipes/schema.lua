-- Schema check: an envelope whose payload is not what its intent asks for comes back to its sender with the reason, so
-- that no agent has to guess.
local script = {}

-- By intent: the type of each field; a ? behind it: it may be absent.
local SCHEMAS = {
    ["order.place"] = {item = "string", count = "number", note = "string?"},
    ["order.cancel"] = {id = "string"},
}

local function find_mistake(payload, schema)
    if type(payload) ~= "table" then
        return "payload: expected an object, got a " .. type(payload)
    end
    for name, wanted in pairs(schema) do
        local kind, optional = wanted:match("^(%a+)(%??)$")
        local value = payload[name]
        if value == nil and optional == "" then
            return ("payload.%s is missing"):format(name)
        elseif value ~= nil and type(value) ~= kind then
            return ("payload.%s: expected a %s, got a %s"):format(name, kind, type(value))
        end
    end
    for name in pairs(payload) do
        if schema[name] == nil then
            return ("payload.%s: there is no such field"):format(tostring(name))
        end
    end
end

function script.route(envelope, bridge)
    local schema = SCHEMAS[envelope.intent]
    local mistake = schema and find_mistake(envelope.payload, schema)
    if mistake then
        return bridge.drop(mistake, {tell = true})
    end
end

return script
