-- Envelopes in a spec: a table of the fields that were sent, which reads as a script's envelope does: an absent field
-- gives its default, a name that is no field raises.
local room = require "luaduct.test.room"

local envelope = {}

local NULL = {} -- a default that reads as nil
local DEFAULTS = {
    id = NULL, timestamp = NULL, intent = "agent.message", taskId = NULL, channel = "default", priority = "normal",
    from = "unknown", role = "agent", to = NULL, replyTo = NULL, context = {}, payload = {}, tools = {},
    attachments = {}, trace = {},
}

local ENVELOPE = {}

function ENVELOPE.__index(_, name)
    local default = DEFAULTS[name]
    if type(default) == "table" then
        return default ~= NULL and {} or nil
    end
    return default
end

local function check_name(name, level)
    if name ~= "sender" and DEFAULTS[name] == nil then
        error(("envelope: there is no field %s"):format(tostring(name)), level)
    end
end

function ENVELOPE.__newindex(fields, name, value)
    check_name(name, 3)
    rawset(fields, name, value)
end

-- envelope{intent = …, payload = …, sender = {id =, role =, labels =, identity =}}: `sender` is what the bridge knows
-- of who sent it; without it, the fake agent that `from` names, or somebody of that id; false: a caller over HTTP.
function envelope.new(fields)
    local new = {}
    for name, value in pairs(fields or {}) do
        check_name(name, 3)
        new[name] = value
    end
    return setmetatable(new, ENVELOPE)
end

-- The JSON text of what was sent.
function envelope.encode(fields)
    local sent = {}
    for name, value in pairs(fields) do
        check_name(name, 4)
        if name ~= "sender" then
            sent[name] = value
        end
    end
    for _, name in ipairs({"tools", "attachments"}) do
        if type(sent[name]) == "table" and next(sent[name]) == nil then
            sent[name] = room.array({})
        end
    end
    local ok, json = pcall(room.encode, sent)
    if not ok then
        error("envelope: " .. tostring(json):gsub(" to a worker", ""), 4)
    end
    return json
end

-- The table of the 15 fields of an outgoing envelope's JSON; null reads as nil.
function envelope.decode(json)
    local fields = room.decode(json)
    for name, value in pairs(fields) do
        if value == room.null and DEFAULTS[name] == NULL then
            fields[name] = nil
        end
    end
    return fields
end

return envelope
