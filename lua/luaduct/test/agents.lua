-- The fake agents of a spec. They stand in the bridge's real registry, so that roles, labels and load mean what they do
-- there.
local decision = require "luaduct.test.decision"
local envelope = require "luaduct.test.envelope"
local room = require "luaduct.test.room"

local agents = {}
local connected = {} -- by id

local KEYS = {
    id = true, role = true, labels = true, tools = true, intents = true, identity = true, maxConcurrentTasks = true,
    openTasks = true, reply = true,
}

-- An agent as the C side takes it: lists as JSON.
function agents.encode(agent)
    for key in pairs(agent) do
        if not KEYS[key] then
            error(("agent: there is no field %s"):format(tostring(key)), 3)
        end
    end
    if type(agent.id) ~= "string" then
        error("agent: expected an id (string), got " .. decision.show(agent.id), 3)
    end
    local encoded = {}
    for key, value in pairs(agent) do
        encoded[key] = value
    end
    encoded.role = agent.role or "agent"
    for _, key in ipairs({"labels", "tools", "intents"}) do
        encoded[key] = room.encode(room.array(agent[key] or {}))
    end
    return encoded
end

function agents.join(agent)
    room.join(agents.encode(agent))
    connected[agent.id] = agent
end

function agents.leave(id)
    room.leave(id)
    connected[id] = nil
end

function agents.is_connected(id)
    return connected[id] ~= nil
end

-- The JSON of what the agent replies to what it was asked, and after how many milliseconds; nil: it does not. Its
-- `reply` is the fields of an envelope, or a function of what was asked that gives them and the milliseconds.
function agents.reply(id, asked)
    local agent = connected[id]
    local fields, after_ms = agent.reply, 0
    if type(fields) == "function" then
        fields, after_ms = fields(asked)
    end
    if fields == nil then
        return nil
    elseif type(fields) ~= "table" then
        error(("agent %s: expected its reply to be the fields of an envelope, got %s"):format(
            id, decision.show(fields)), 0)
    end
    local reply = {from = id, role = agent.role, to = "bridge", replyTo = asked.id, taskId = asked.taskId}
    for name, value in pairs(fields) do
        reply[name] = value
    end
    return envelope.encode(envelope.new(reply)), after_ms
end

function agents.forget(id)
    connected[id] = nil
end

function agents.reset(list)
    room.reset()
    connected = {}
    for _, agent in ipairs(list or {}) do
        agents.join(agent)
    end
end

-- What the bridge knows of an envelope's sender; nil over HTTP.
function agents.sender(sent)
    local sender = rawget(sent, "sender")
    if sender == false then
        return nil
    end
    local id = sender and sender.id or rawget(sent, "from")
    if not id then
        return nil
    end
    local known = sender or connected[id] or {}
    return {
        id = id, role = known.role or "agent", labels = room.encode(room.array(known.labels or {})),
        identity = known.identity,
    }
end

-- Who gets it: fake agents, and absent ones whose mailbox keeps it. In order of their ids.
function agents.recipients(made)
    local ids, list = {}, {}
    for _, delivery in ipairs(made.deliveries) do
        ids[delivery.id] = true
    end
    if made.accepted then
        for _, item in ipairs(made) do
            local named = item.kind == "to" and item.ids or item.kind == "default" and {made.envelope.to} or {}
            for _, id in ipairs(named) do
                if not connected[id] then
                    ids[id] = true
                end
            end
        end
    end
    for id in pairs(ids) do
        list[#list + 1] = id
    end
    table.sort(list)
    return list
end

return agents
