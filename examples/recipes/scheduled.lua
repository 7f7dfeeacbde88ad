-- Scheduled message: an envelope whose `context.afterMs` says so is delivered that much later, and the sender is told
-- at once. What waits is kept over a reload (luaduct.state), but not over the end of the bridge.
local script = {}

local WAITING_MAXIMUM = 500 -- a state has 1000 timers, and luaduct.state a bound of its own: script.stateBytes
local AFTER_MAXIMUM_MS = 24 * 3600 * 1000

local state = luaduct.state
state.waiting = state.waiting or {} -- by id: {at = seconds, envelope = {…}}
state.count = state.count or 0

local function plan(id, after_ms)
    luaduct.after(after_ms, function(bridge)
        local envelope = luaduct.state.waiting[id].envelope
        luaduct.state.waiting[id], luaduct.state.count = nil, luaduct.state.count - 1
        bridge.send(envelope)
    end)
end

function script.route(envelope, bridge)
    local context = envelope.context
    local after_ms = type(context) == "table" and tonumber(context.afterMs)
    if not after_ms then
        return nil
    elseif not envelope.to or after_ms < 0 or after_ms > AFTER_MAXIMUM_MS then
        return bridge.drop("a scheduled message has `to`, and is sent within a day", {tell = true})
    elseif luaduct.state.count >= WAITING_MAXIMUM or luaduct.state.waiting[envelope.id] then
        return bridge.drop("too many messages are scheduled, or this one is already", {tell = true})
    end
    context.afterMs = nil
    local at = os.time() + math.ceil(after_ms / 1000)
    luaduct.state.waiting[envelope.id] = {
        at = at,
        envelope = {
            id = envelope.id, from = envelope.from, role = envelope.role, to = envelope.to, intent = envelope.intent,
            taskId = envelope.taskId, replyTo = envelope.replyTo, channel = envelope.channel,
            priority = envelope.priority, context = context, payload = envelope.payload,
        },
    }
    luaduct.state.count = luaduct.state.count + 1
    plan(envelope.id, after_ms)
    return bridge.reply{scheduled = envelope.id, at = os.date("!%Y-%m-%dT%H:%M:%SZ", at)}
end

function script.on_reload(_, kept)
    for id, one in pairs(kept.waiting) do
        plan(id, math.max(0, one.at - os.time()) * 1000)
    end
end

return script
