--- From names and values of the Node bridge to keys of the schema. Gives entries {path, source, note}: the key, its
--- value as Lua source, and what a reader should know; and notes, one text for each thing that was left out.

local environment = require("luaduct.config.environment")
local schema = require("luaduct.config.schema")
local suggest = require("luaduct.config.suggest")
local validate = require("luaduct.config.validate")

local format = string.format

local translate = {}

-- Options of constructors and of createAIBridgeServer, by the name they had, wherever they stood.
local OPTIONS = {
    wsPort = "listen.wsPort", httpPort = "listen.httpPort", historyLimit = "history.limit",
    maxWorkers = "phase2.workerPool.maxWorkers", minWorkers = "phase2.workerPool.minWorkers",
    taskTimeout = "phase2.workerPool.taskTimeout", cooldownMs = "phase2.gcOptimization.cooldownMs",
    memoryThreshold = "phase2.gcOptimization.memoryThreshold",
    envelopePoolSize = "phase2.objectPooling.envelopePoolSize", arrayPoolSize = "phase2.objectPooling.arrayPoolSize",
}
for name, path in pairs(schema.former_names) do
    OPTIONS[name] = path
end

-- Rules of monitoring/phase2-alerts.js, which stood at its top.
for _, rule in ipairs({"gcFrequency", "poolHitRate", "workerUtilization"}) do
    for _, member in ipairs({"threshold", "action"}) do
        OPTIONS[rule .. "." .. member] = format("alerts.%s.%s", rule, member)
    end
end

-- Variables that the Node bridge's first versions read.
local FORMER_VARIABLES = {BRIDGE_PORT = "AI_BRIDGE_PORT", BRIDGE_HTTP_PORT = "AI_BRIDGE_HTTP_PORT"}
local CLIENTS = {AI_BRIDGE_URL = true, BRIDGE_URL = true, AGENT_ID = true, AGENT_ROLE = true}

local MODES = {AIBridge = "original", EnhancedAIBridge = "enhanced"}

-- Same name, another meaning.
local MEANINGS = {
    ["performance.worker_threads"] = "here: threads that serve connections; those for tasks are phase2.workerPool",
    ["performance.cache_enabled"] = "here: decisions of routes that declare their fields, and nothing else",
    ["performance.binary_protocol"] = "here: MessagePack for agents that ask for it",
    ["phase2.objectPooling.envelopePoolSize"] = "here: blocks that stay warm for each reactor, not the most there are",
    ["phase2.objectPooling.arrayPoolSize"] = "here: blocks that stay warm for each reactor, not the most there are",
    ["phase2.gcOptimization.enabled"] = "here: the memory controller of the whole process",
    ["phase2.gcOptimization.memoryThreshold"] = "here: a share of limits.memory, not of a heap",
    ["phase2.gcOptimization.cooldownMs"] = "here: between two full collections that pressure causes",
    ["phase2.workerPool.taskTimeout"] = "here: from asking to answer, waiting included",
    ["agents.ttlMs"] = "here: any frame is a sign of life, and the bridge asks for one",
    ["http.corsOrigins"] = "here: also who may open a WebSocket",
    ["history.limit"] = "here: history.bytes bounds it too",
}

--- What a file does not say, because it was the Node bridge's way.
translate.DIFFERENCES = {
    "It listened on every address; this one on loopback, unless listen.host says otherwise.",
    "It let every web page in, unless AI_BRIDGE_CORS_ORIGINS named some; this one none, unless http.corsOrigins does.",
    'AIBridge is mode = "original", EnhancedAIBridge mode = "enhanced", which is the standard.',
}

-- ---- values ----

local function literal(value)
    if type(value) == "table" then
        local items = {}
        for index, item in ipairs(value) do
            items[index] = literal(item)
        end
        return #items == 0 and "{}" or "{ " .. table.concat(items, ", ") .. " }"
    elseif type(value) == "number" then
        return format("%.17g", value):len() > 14 and format("%.14g", value) or format("%.17g", value)
    elseif type(value) == "string" then
        return (format("%q", value):gsub("\\\n", "\\n"):gsub("\r", "\\r"))
    end
    return tostring(value)
end

-- A list of plain values, or nil.
local function plain_list(node)
    local list = {}
    for index, item in ipairs(node.items) do
        if item.kind ~= "literal" or item.value == nil then
            return nil
        end
        list[index] = item.value
    end
    return list
end

local function listens_to(key, variable)
    for _, name in ipairs(key.variables or {}) do
        if name == variable then
            return true
        end
    end
    return false
end

-- What the schema would take, closest to what was meant.
local function fitted(key, value)
    if key.type == "origins" and type(value) == "string" and value ~= "*" then
        local list = {}
        for item in value:gmatch("[^,%s]+") do
            list[#list + 1] = item
        end
        return list
    elseif key.type == "integer" and type(value) == "string" and value:find("^%d+$") then
        return tonumber(value)
    elseif key.zero and key.min == 1 and value == math.huge then
        return 0
    end
    return value
end

local readers = {}

function readers.literal(key, node)
    if node.value == nil then
        return nil, "null is the same as leaving it out"
    end
    local value = fitted(key, node.value)
    local good, problem = validate.value(key, value)
    if not good then
        return nil, problem
    end
    return literal(value)
end

function readers.list(key, node)
    local list = plain_list(node)
    if not list then
        return nil, "expected a list of plain values"
    end
    local good, problem = validate.value(key, list)
    return good and literal(list) or nil, problem
end

function readers.object()
    return nil, "expected a value, got an object"
end

function readers.compare(key, node)
    if key.type ~= "boolean" then
        return nil, "expected " .. validate.expectation(key)
    end
    return format("os.getenv(%q) %s %q", node.name, node.equal and "==" or "~=", node.text)
end

function readers.variable(key, node, helpers)
    if key.type == "boolean" and node.as == "text" then
        -- JavaScript takes any text but an empty one for true.
        local default = node.default
        if default and (default.kind ~= "literal" or type(default.value) ~= "boolean") then
            return nil, "expected true or false"
        elseif default and default.value then
            return "true"
        end
        helpers.variable = true
        return format("variable(%q) ~= nil", node.name)
    end
    local default, problem
    if node.default then
        default, problem = readers[node.default.kind](key, node.default, helpers)
        if not default then
            return nil, problem
        end
    end
    if listens_to(key, node.name) then
        local note = format("%s overrides it, as before", node.name)
        if not default then
            return nil, format("comes from %s, as before", node.name), true
        end
        return default, note
    end
    local number = key.type == "integer" or key.type == "number" or node.as == "number"
    helpers.variable = true -- which `number` calls
    helpers.number = helpers.number or number
    local call = format("%s(%q)", number and "number" or "variable", node.name)
    return default and format("%s or %s", call, default) or call
end

-- ---- keys ----

local function known_path(path, name, parent)
    if schema.by_path[path] then
        return path
    end
    return OPTIONS[parent .. "." .. name] or OPTIONS[name]
end

local function is_section(path)
    return schema.sections[path] ~= nil
end

-- Whether any key is meant by what is in the object: else it is one unknown thing, not many.
local function holds_known(node, path, name)
    for _, inner in ipairs(node.names) do
        local value = node.fields[inner]
        if known_path(path .. "." .. inner, inner, name) then
            return true
        elseif value.kind == "object" and holds_known(value, path .. "." .. inner, inner) then
            return true
        end
    end
    return false
end

--- From the object that javascript.lua read. `line_of(at)` gives the line of a place. Gives entries by path, notes, and
--- which helpers the sources call.
function translate.object(object, line_of)
    local entries, notes, helpers = {}, {}, {}

    local function note(node, text, ...)
        notes[#notes + 1] = {line = line_of(node.at), text = (format(text, ...):gsub("%c", "?"))}
    end

    local function take(node, path, name, parent)
        local target = known_path(path, name, parent)
        local key = target and schema.by_path[target]
        if not key or not key.available then
            local hint = suggest.path(path)
            note(node, "%s: %s, left out%s", path, key and key.feature .. " is not available yet" or "unknown key",
                not key and hint and format("; did you mean %s?", hint) or "")
            return
        end
        local source, remark, silent = readers[node.kind](key, node, helpers)
        if not source then
            note(node, "%s: %s%s", path, silent and "" or "left out: ", remark)
            notes[#notes].silent = silent
            return
        end
        local known = entries[target]
        if known and known.exact and target ~= path then
            note(node, "%s: left out, for %s stands there too", path, target)
            return
        elseif known then
            note(node, "%s: takes the place of %s", path, known.was)
        end
        local words = {}
        words[1] = target ~= path and format("was %s", path) or nil
        words[#words + 1] = MEANINGS[target]
        words[#words + 1] = remark
        entries[target] = {
            source = source, note = (table.concat(words, "; "):gsub("%c", "?")), exact = target == path, was = path,
            line = line_of(node.at),
        }
    end

    local function walk(node, path, name)
        for _, inner in ipairs(node.names) do
            local value = node.fields[inner]
            local inner_path = path == "" and inner or path .. "." .. inner
            if value.kind == "object" and not schema.by_path[inner_path] and not OPTIONS[inner]
                and (is_section(inner_path) or holds_known(value, inner_path, inner)) then
                walk(value, inner_path, inner)
            else
                take(value, inner_path, inner, name)
            end
        end
        local mode = MODES[node.constructor or ""]
        if mode and not entries.mode then
            entries.mode = {source = literal(mode), note = "was " .. node.constructor, line = 1}
        end
    end

    walk(object, "", "")
    return entries, notes, helpers
end

--- From the variables that dotenv.lua read.
function translate.variables(list)
    local values, lines, notes = {}, {}, {}
    local known = {}
    for _, key in ipairs(schema.keys) do
        for _, name in ipairs(key.variables or {}) do
            known[name] = true
        end
    end
    local was = {}
    for _, variable in ipairs(list) do
        local name = FORMER_VARIABLES[variable.name] or variable.name
        if known[name] and not (values[name] and name ~= variable.name) then
            values[name], lines[name], was[name] = variable.value, variable.line, variable.name
        elseif CLIENTS[variable.name] then
            notes[#notes + 1] = {line = variable.line, text = variable.name .. ": for clients, left out"}
        else
            notes[#notes + 1] = {line = variable.line, text = variable.name .. ": not one of the bridge's, left out"}
        end
    end
    local normal = {}
    local problems, _, origin = environment.apply(normal, {}, function(name)
        return values[name]
    end)
    for _, problem in ipairs(problems) do
        local name = problem:match("^[%w_]+")
        notes[#notes + 1] = {line = lines[name], text = "left out: " .. problem}
    end
    local entries = {}
    for path, name in pairs(origin) do
        local words = {"was " .. was[name], MEANINGS[path]}
        if schema.by_path[path].secret then
            words[#words + 1] = 'better kept in a file that only the bridge may read: { file = "…" }'
        end
        entries[path] = {
            source = literal(normal[path]), note = table.concat(words, "; "), was = was[name], line = lines[name],
        }
    end
    table.sort(notes, function(a, b)
        return a.line < b.line
    end)
    return entries, notes, {}
end

return translate
