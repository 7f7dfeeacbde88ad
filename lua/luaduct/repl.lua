-- What a prompt (`luaduct repl`) has beside what scripts have: functions to look at agents and to ask the scripts, and
-- how values are shown. Gets what only the bridge can do, and gives the globals and `show`.
local HELP = [[
agents()            who is connected; agents{role = "worker"}: those that match, as for bridge.agents
agent("ann")        one of them, or nil
envelope{…}         an envelope to ask about: envelope{from = "ann", to = "ben", payload = {n = 1}}
route(envelope)     what the scripts decide about it, and who would get it. The sender is the agent that `from` names;
                    sender = {id =, role =, labels =} in the envelope says otherwise; without both, a caller over HTTP
bridge, luaduct     as scripts have them, but whatever would act on the bridge raises
print, help()       and what the sandbox has. Globals last for the session, locals for the line
An expression shows its value, `=` before it is fine; the scripts' globals are there to be read.]]

local FIELDS = {
    id = true, timestamp = true, intent = true, taskId = true, channel = true, priority = true, from = true,
    role = true, to = true, replyTo = true, context = true, payload = true, tools = true, attachments = true,
    trace = true, sender = true,
}

local WIDTH = 100 -- a table that is longer is shown in lines
local DEPTH = 6
local ENTRIES = 100 -- of one table
local STRING_BYTES = 1000
local SHOWN_BYTES = 16384 -- of all values of a line

-- --- Showing values -----------------------------------------------------------------------------------------------

local function quote(text)
    local cut = #text > STRING_BYTES and (" … (%d bytes)"):format(#text) or ""
    local mark = text:find('"', 1, true) and not text:find("'", 1, true) and "'" or '"'
    text = text:sub(1, STRING_BYTES):gsub('[%c"\\\127]', function(byte)
        if byte == mark or byte == "\\" then
            return "\\" .. byte
        elseif byte == '"' then
            return byte
        end
        return byte == "\n" and "\\n" or byte == "\t" and "\\t" or ("\\%03d"):format(byte:byte())
    end)
    return mark .. text .. mark .. cut
end

-- Keys of the table that are no elements of its list, in order; and how many are left out.
local function other_keys(value, length)
    local keys, more = {}, 0
    for key in next, value do
        if type(key) ~= "number" or key < 1 or key > length or key % 1 ~= 0 then
            if #keys < ENTRIES then
                keys[#keys + 1] = key
            else
                more = more + 1
            end
        end
    end
    table.sort(keys, function(a, b)
        local kind_a, kind_b = type(a), type(b)
        if kind_a ~= kind_b then
            return kind_a < kind_b
        end
        return (kind_a == "string" or kind_a == "number") and a < b
    end)
    return keys, more
end

local function list_length(value)
    local length = 0
    while length < ENTRIES and rawget(value, length + 1) ~= nil do
        length = length + 1
    end
    local more = 0
    while rawget(value, length + more + 1) ~= nil do
        more = more + 1
    end
    return length, more
end

return function(native)
    local budget

    local show_value

    local function show_table(value, indent, depth, within)
        if within[value] then
            return "{… a table within itself}"
        elseif depth == DEPTH then
            return next(value) == nil and "{}" or "{…}"
        end
        within[value] = true
        local parts = {}
        local length, more = list_length(value)
        local inner = indent .. "  "
        for index = 1, length do
            parts[#parts + 1] = show_value(rawget(value, index), inner, depth + 1, within)
        end
        if more > 0 then
            parts[#parts + 1] = ("… %d more"):format(more)
        end
        local keys, others = other_keys(value, length + more)
        for _, key in ipairs(keys) do
            if budget < 0 then
                break
            end
            local name = type(key) == "string" and key:match("^[%a_][%w_]*$")
                or "[" .. show_value(key, inner, DEPTH, within) .. "]"
            parts[#parts + 1] = name .. " = " .. show_value(rawget(value, key), inner, depth + 1, within)
        end
        if others > 0 then
            parts[#parts + 1] = ("… %d more"):format(others)
        end
        within[value] = nil
        local text = "{" .. table.concat(parts, ", ") .. "}"
        if #text + #indent <= WIDTH and not text:find("\n", 1, true) then
            return text
        end
        return "{\n" .. inner .. table.concat(parts, ",\n" .. inner) .. "\n" .. indent .. "}"
    end

    function show_value(value, indent, depth, within)
        local kind = type(value)
        local text
        if budget < 0 then
            return "…"
        elseif kind == "table" then
            text = show_table(value, indent, depth, within)
            budget = budget - 2
            return text
        elseif kind == "string" then
            text = quote(value)
        elseif kind == "number" or kind == "boolean" or kind == "nil" then
            text = tostring(value)
        elseif kind == "userdata" then
            text = native.describe(value)
            if not text then
                local name = tostring(value)
                text = name:find("^userdata") and "a library" or name
            end
        else
            text = kind == "thread" and "a coroutine" or "a function"
        end
        budget = budget - #text
        return text
    end

    local function show(...)
        local parts = {}
        budget = SHOWN_BYTES
        for index = 1, select("#", ...) do
            parts[index] = show_value((select(index, ...)), "", 0, {})
        end
        return table.concat(parts, "  ")
    end

    -- --- Asking ---------------------------------------------------------------------------------------------------

    local function check_names(fields, level)
        if type(fields) ~= "table" then
            error("expected a table with the fields of an envelope: envelope{to = \"ann\"}", level + 1)
        end
        for name in next, fields do
            if not FIELDS[name] then
                error(("an envelope has no field %s"):format(tostring(name)), level + 1)
            end
        end
    end

    local function envelope(fields)
        check_names(fields, 2)
        return fields
    end

    -- What the bridge would know of who sent it.
    local function sender_of(fields)
        local given = rawget(fields, "sender")
        if given == false then
            return nil
        elseif type(given) == "table" then
            return {id = given.id, role = given.role or "agent", labels = given.labels or {}}
        end
        local from = rawget(fields, "from")
        if type(from) ~= "string" then
            return nil
        end
        local known = native.bridge.agent(from) or {}
        return {id = from, role = known.role or "agent", labels = known.labels or {}}
    end

    local function sorted_once(list)
        local seen, ids = {}, {}
        for _, id in ipairs(list) do
            if not seen[id] then
                seen[id] = true
                ids[#ids + 1] = id
            end
        end
        table.sort(ids)
        return ids
    end

    local function route(fields)
        check_names(fields, 2)
        local sent = {}
        for name, value in next, fields do
            if name ~= "sender" then
                sent[name] = value
            end
        end
        for _, name in ipairs({"tools", "attachments"}) do
            if type(sent[name]) == "table" and next(sent[name]) == nil then
                sent[name] = native.array()
            end
        end
        local outcome, refusal = native.route(sent, sender_of(fields))
        if not outcome then
            error("the bridge would refuse this envelope: " .. refusal, 2)
        end
        outcome.recipients = sorted_once(outcome.recipients)
        outcome.mailboxes = outcome.mailboxes[1] and sorted_once(outcome.mailboxes) or nil
        outcome.assigned = next(outcome.assigned) ~= nil and outcome.assigned or nil
        return outcome
    end

    local function help()
        native.print(HELP)
    end

    return {
        agents = native.bridge.agents, agent = native.bridge.agent, bridge = native.bridge, envelope = envelope,
        route = route, help = help,
    }, show
end
