-- Decisions as data: what the constructors of `bridge` make in a spec, and what a script has decided. A decision is a
-- list of items, `{kind = "to", ids = {…}}` and the like; printed it reads as the script would write it.
local room = require "luaduct.test.room"

local decision = {}

local DECISION = {}
local SELECTORS = {"role", "label", "intent", "tool", "id"}

-- A Lua value as its source, keys in order.
function decision.show(value)
    if value == room.null then
        return "null"
    elseif type(value) == "string" then
        return ("%q"):format(value):gsub("\\\n", "\\n")
    elseif type(value) ~= "table" then
        return tostring(value)
    elseif getmetatable(value) == DECISION then
        return tostring(value)
    end
    local parts, keys = {}, {}
    for index = 1, #value do
        parts[index] = decision.show(value[index])
    end
    for key in pairs(value) do
        if type(key) ~= "number" or key < 1 or key > #value then
            keys[#keys + 1] = key
        end
    end
    table.sort(keys, function(a, b)
        return tostring(a) < tostring(b)
    end)
    for _, key in ipairs(keys) do
        local name = tostring(key):match("^[%a_][%w_]*$") or "[" .. decision.show(key) .. "]"
        parts[#parts + 1] = name .. " = " .. decision.show(value[key])
    end
    return "{" .. table.concat(parts, ", ") .. "}"
end

local function show_selector(item)
    local given = {}
    for key, value in pairs(item) do
        if key ~= "kind" then
            given[key] = value
        end
    end
    if item.kind == "all" then
        local key, value = next(given)
        if next(given, key) == nil and (key == "role" or key == "label") then
            return ("bridge.%s(%q)"):format(key, value)
        end
    end
    return "bridge." .. item.kind .. decision.show(given)
end

local function show_item(item)
    if item.kind == "default" then
        return "nil (decided by the bridge: to if it is set, else all but the sender)"
    elseif item.kind == "to" then
        local options = item.expiresMs and (", {expiresMs = %d}"):format(item.expiresMs) or ""
        return ("bridge.to(%s%s)"):format(decision.show(#item.ids == 1 and item.ids[1] or item.ids), options)
    elseif item.kind == "broadcast" then
        return item.expiresMs and ("bridge.broadcast{expiresMs = %d}"):format(item.expiresMs) or "bridge.broadcast()"
    elseif item.kind == "reply" then
        local payload = decision.show(item.payload)
        return type(item.payload) == "table" and "bridge.reply" .. payload or ("bridge.reply(%s)"):format(payload)
    elseif item.kind == "drop" then
        return ("bridge.drop(%q%s)"):format(item.reason, item.tell and ", {tell = true}" or "")
    end
    return show_selector(item)
end

function DECISION.__tostring(list)
    local parts = {}
    for index, item in ipairs(list) do
        parts[index] = show_item(item)
    end
    return #parts == 1 and parts[1] or "{" .. table.concat(parts, ", ") .. "}"
end

function decision.is(value)
    return getmetatable(value) == DECISION
end

-- From items. Further fields of the table are the caller's.
function decision.new(list)
    return setmetatable(list, DECISION)
end

local function same(a, b)
    if type(a) ~= "table" or type(b) ~= "table" then
        return a == b
    end
    for key, value in pairs(a) do
        if not same(value, b[key]) then
            return false
        end
    end
    for key in pairs(b) do
        if a[key] == nil then
            return false
        end
    end
    return true
end
decision.same = same

local function as_set(ids)
    local set = {}
    for _, id in ipairs(ids) do
        set[id] = true
    end
    return set
end

local function same_item(a, b)
    if a.kind == "to" and b.kind == "to" then
        return a.expiresMs == b.expiresMs and same(as_set(a.ids), as_set(b.ids)) -- who gets it has no order
    end
    return same(a, b)
end

-- One decision, a list of them, or nil, as a decision.
function decision.from(value)
    if value == nil then
        return decision.new({{kind = "default"}})
    elseif decision.is(value) then
        return value
    elseif type(value) ~= "table" or #value == 0 then
        error("expected a decision, a list of them or nil, got " .. decision.show(value), 0)
    end
    local items = {}
    for index, element in ipairs(value) do
        if not decision.is(element) then
            error(("element %d is no decision: %s"):format(index, decision.show(element)), 0)
        end
        for _, item in ipairs(element) do
            items[#items + 1] = item
        end
    end
    return decision.new(items)
end

-- The same recipients by the same words; a list in any order.
function decision.equal(a, b)
    if #a ~= #b then
        return false
    end
    local used = {}
    for _, item in ipairs(a) do
        local found
        for index, other in ipairs(b) do
            if not used[index] and same_item(item, other) then
                found = index
                break
            end
        end
        if not found then
            return false
        end
        used[found] = true
    end
    return true
end

local function selects(selector)
    for _, name in ipairs(SELECTORS) do
        if type(selector) == "table" and selector[name] ~= nil then
            return true
        end
    end
    return false
end

local function selecting(kind, what)
    return function(selector)
        if not selects(selector) then
            error(what .. ": expected a table with at least one of role, label, intent, tool, id", 2)
        end
        local item = {kind = kind}
        for key, value in pairs(selector) do
            item[key] = value
        end
        item.wait = item.wait or nil -- false is what holds without it
        return decision.new({item})
    end
end

local function expires(options)
    return options and options.expiresMs
end

-- The constructors of a script's `bridge`.
decision.constructors = {
    to = function(ids, options)
        return decision.new({
            {kind = "to", ids = type(ids) == "table" and ids or {ids}, expiresMs = expires(options)},
        })
    end,
    role = function(name, options)
        return decision.new({{kind = "all", role = name, expiresMs = expires(options)}})
    end,
    label = function(name, options)
        return decision.new({{kind = "all", label = name, expiresMs = expires(options)}})
    end,
    all = selecting("all", "bridge.all"),
    any = selecting("any", "bridge.any"),
    broadcast = function(options)
        return decision.new({{kind = "broadcast", expiresMs = expires(options)}})
    end,
    reply = function(payload)
        return decision.new({{kind = "reply", payload = payload}})
    end,
    drop = function(reason, options)
        return decision.new({{kind = "drop", reason = reason, tell = options and options.tell or false}})
    end,
}

return decision
