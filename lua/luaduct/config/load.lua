--- Reads a config file and what overrides it, and gives either the whole configuration, every key filled in, or the
--- list of everything that is wrong. The steps, each on what the one before left:
---   run the file (Lua text, pure libraries) -> judge it by the schema -> overrides -> files that keys name ->
---   rules between keys -> for a reload, the values that stay, and the rules again.
---
--- In the result sizes are bytes, script.path is a list, paths are joined to the file's folder, auth.token is the token
--- itself, and what the mode decides is decided. "auto" stays "auto" and 0 stays 0: the program resolves those.

local environment = require("luaduct.config.environment")
local schema = require("luaduct.config.schema")
local validate = require("luaduct.config.validate")

local format = string.format
local open = io.open

local LARGEST_FILE = 1024 * 1024 -- bytes: a longer config file is some other file
local LONGEST_SOCKET = 107 -- bytes: sockaddr_un has no room for more
local LARGEST_TOKEN_FILE = 8192 -- bytes: the longest token and white space around it
local CHUNK = "(config)" -- stands for the file in Lua's own messages, which cut long names

-- What a config file sees: nothing that reads, writes, runs or waits, and copies, so that it cannot change ours.
local function new_globals(variable)
    local globals = {
        assert = assert, error = error, ipairs = ipairs, next = next, pairs = pairs, pcall = pcall, select = select,
        tonumber = tonumber, tostring = tostring, type = type, unpack = unpack, bit = {}, math = {}, string = {},
        table = {}, os = { getenv = variable },
    }
    for _, name in ipairs({ "bit", "math", "string", "table" }) do
        for member, value in pairs(require(name)) do
            globals[name][member] = value
        end
    end
    globals.string.dump = nil
    return globals
end

-- All of a file, or nil and why not; without `largest` only whether it can be read.
local function read_anything(path, largest)
    local file, reason = open(path, "rb")
    if not file then
        -- io.open puts the path before the reason; our messages have it already.
        return nil, (reason:gsub("^.*: ", ""))
    end
    local text, problem = file:read((largest or 0) + 1)
    file:close()
    if problem then
        return nil, problem
    end
    text = text or ""
    if largest and #text > largest then
        return nil, format("larger than %d bytes", largest)
    end
    return text
end

-- The program's own, for a load at a time: one that a pipe does not hold up, and one that stops patterns, which no hook
-- reaches, after a time in seconds (nil: not any more).
local read_file, bound_patterns = read_anything, function() end

-- For xpcall: the error as one line that starts with FILE:LINE.
local function describe_error(label, problem)
    bound_patterns()
    local text = type(problem) == "string" and problem or format("the file raised a %s", type(problem))
    local line, rest = text:match("^%(config%):(%d+): (.*)$")
    if not line then
        rest = text
        for level = 2, 200 do
            local info = debug.getinfo(level, "Sl")
            if not info then
                break
            elseif info.short_src == CHUNK then
                line = info.currentline
                break
            end
        end
    end
    rest = rest:gsub("%c+", " ")
    return line and format("%s:%s: %s", label, line, rest) or format("%s: %s", label, rest)
end

-- A config file that runs this long is a mistake; every real one is done in milliseconds.
local RUN_SECONDS = 5

-- Calls the function, and stops it when its time is over. Hooks do not fire in compiled code: JIT off for that long.
local function call_bounded(call)
    local compiled = jit.status()
    local deadline = os.clock() + RUN_SECONDS
    jit.off()
    local function look()
        if os.clock() <= deadline then
            return
        end
        debug.sethook(look, "", 1) -- the file's own pcall must not swallow it
        if debug.getinfo(2, "S").short_src == CHUNK then
            error(format("stopped: it ran longer than %d seconds", RUN_SECONDS), 2)
        end
    end
    debug.sethook(look, "", 10000)
    bound_patterns(RUN_SECONDS)
    local good, result = call()
    debug.sethook()
    bound_patterns()
    if compiled then
        jit.on()
    end
    return good, result
end

-- The table that the file returns, or nil and one text.
local function run_file(path, label, variable)
    local text, reason = read_file(path, LARGEST_FILE)
    if not text then
        return nil, format("%s: cannot read the config file: %s", label, reason)
    elseif text:byte() == 27 then
        return nil, format("%s: expected Lua text, got compiled Lua", label)
    end
    local chunk, problem = load(text, "=" .. CHUNK, "t", new_globals(variable))
    if not chunk then
        return nil, describe_error(label, problem)
    end
    local good, result = call_bounded(function()
        return xpcall(chunk, function(raised)
            return describe_error(label, raised)
        end)
    end)
    if not good then
        -- After a stack overflow there may be no room for the handler: then LuaJIT's own words are what is left.
        result = tostring(result)
        return nil, result:sub(1, #label) == label and result or format("%s: %s", label, result)
    elseif type(result) ~= "table" then
        return nil, format("%s: expected the file to return a table, got %s", label,
            result == nil and "nothing" or "a " .. type(result))
    end
    return result
end

local function join(folder, path)
    return path:sub(1, 1) == "/" and path or folder .. path
end

local function is_folder(path)
    local _, _, code = open(path .. "/.", "rb")
    return code == nil
end

-- Nil when the file can be read, else why not.
local function unreadable(path)
    return select(2, read_file(path))
end

-- The steps below share one object: `values` by path, `failed` paths (a rule about them would only repeat), `report`.

local function resolve_scripts(state)
    local paths = state.values["script.path"]
    for index, path in ipairs(paths or {}) do
        paths[index] = join(state.folder, path)
        local problem = unreadable(paths[index])
        if problem then
            state.report(#paths > 1 and format("script.path[%d]", index) or "script.path",
                format("expected a script that can be read, got %s (%s)", validate.quote(paths[index]), problem))
        end
    end
    local folder = state.values["script.folder"]
    if folder then
        folder = join(state.folder, folder)
        state.values["script.folder"] = folder
        if not is_folder(folder) then
            state.report("script.folder", "expected a folder, got " .. validate.quote(folder))
        elseif not paths and not state.failed["script.path"] then
            state.report("script.folder", "expected script.path beside it; without a script it has no use")
        end
    end
end

local function resolve_admin_socket(state)
    local path = state.values["listen.admin"]
    if path then
        path = join(state.folder, path)
        state.values["listen.admin"] = path
        if #path > LONGEST_SOCKET then
            state.report("listen.admin", format("expected at most %d bytes, got %s", LONGEST_SOCKET,
                validate.quote(path)))
        elseif is_folder(path) or not is_folder(path:match("^(.*)/") or ".") then
            state.report("listen.admin", "expected a file in a folder that exists, got " .. validate.quote(path))
        end
    end
end

local function resolve_log(state)
    local path = state.values["log.file"]
    if path then
        path = join(state.folder, path)
        state.values["log.file"] = path
        if is_folder(path) or not is_folder(path:match("^(.*)/") or ".") then
            state.report("log.file", "expected a file in a folder that exists, got " .. validate.quote(path))
        end
    end
end

local function resolve_file(state, key, kind)
    local path = state.values[key]
    if path then
        path = join(state.folder, path)
        state.values[key] = path
        local problem = unreadable(path)
        if problem then
            state.report(key,
                format("expected a %s that can be read, got %s (%s)", kind, validate.quote(path), problem))
        end
    end
end

local function resolve_files(state)
    resolve_file(state, "policies.alerts", "policy file")
    resolve_file(state, "policies.access", "policy file")
    resolve_file(state, "auth.tokens", "file of tokens")
    resolve_file(state, "auth.jwt.keys", "JWK set")
    resolve_file(state, "auth.jwt.key", "public key")
end

-- What the files hold is judged by the program; here, that they can be read and belong together.
local function resolve_tls_file(state, path, name)
    path = join(state.folder, path)
    local problem = unreadable(path)
    if problem then
        state.report(name, format("expected a file that can be read, got %s (%s)", validate.quote(path), problem))
    end
    return path
end

local TLS_FILES = { "tls.cert", "tls.key", "tls.clientCa", "tls.crl" }

local function resolve_tls(state)
    local values = state.values
    for _, name in ipairs(TLS_FILES) do
        if values[name] then
            values[name] = resolve_tls_file(state, values[name], name)
        end
    end
    for index, pair in ipairs(values["tls.certs"]) do
        pair.cert = resolve_tls_file(state, pair.cert, format("tls.certs[%d].cert", index))
        pair.key = resolve_tls_file(state, pair.key, format("tls.certs[%d].key", index))
    end
end

-- Keys that have no use without another.
local TLS_NEEDS = {
    { "tls.cert", "tls.key" }, { "tls.key", "tls.cert" }, { "tls.crl", "tls.clientCa" },
    { "tls.requireClientCert", "tls.clientCa" },
}

local function has_tls(values)
    return values["tls.cert"] ~= nil or #values["tls.certs"] > 0
end

local function check_tls(state)
    for _, need in ipairs(TLS_NEEDS) do
        if state.values[need[1]] and not state.values[need[2]] then
            state.report(need[1], format("expected %s beside it", need[2]))
        end
    end
    if state.values["tls.clientCa"] and not has_tls(state.values) then
        state.report("tls.clientCa", "expected tls.cert and tls.key beside it")
    end
end

-- A secret that a file holds.
local function resolve_secret(state, key)
    local token = state.values[key]
    if type(token) ~= "table" then
        return
    end
    local path = join(state.folder, token.file)
    state.secret_files[#state.secret_files + 1] = path
    local text, problem = read_file(path, LARGEST_TOKEN_FILE)
    if not text then
        state.report(key, format("cannot read the token file %s: %s", validate.quote(path), problem))
        return
    end
    text = text:gsub("[\r\n]+$", "")
    local good, expected = validate.value(schema.by_path[key], text)
    if good then
        state.values[key] = text
    else
        state.report(key, text == "" and format("the token file %s is empty", validate.quote(path))
            or format("in %s: %s", validate.quote(path), expected))
    end
end

local function resolve_secrets(state)
    resolve_secret(state, "auth.token")
    resolve_secret(state, "alerts.webhook.secret")
    resolve_secret(state, "auth.jwt.secret")
end

local function check_jwt(state)
    local values = state.values
    if values["auth.jwt.keys"] or values["auth.jwt.key"] or values["auth.jwt.secret"] then
        return
    end
    for _, key in ipairs(schema.keys) do
        if key.path:match("^auth%.jwt%.") and key.default == nil and values[key.path] then
            state.report(key.path, "expected auth.jwt.keys, auth.jwt.key or auth.jwt.secret beside it; without keys it "
                .. "has no use")
        end
    end
end

local function check_webhook(state)
    local url = state.values["alerts.webhook.url"]
    if url and not url:find("^https?://[^%s/@#]+[^%s@#]*$") then
        state.report("alerts.webhook.url",
            "expected http://host[:port][/path] or https://…, got " .. validate.quote(url))
    end
    if not url and state.values["alerts.webhook.secret"] then
        state.report("alerts.webhook.secret", "expected alerts.webhook.url beside it; without a webhook it has no use")
    end
end

local function check_tracing(state)
    local url = state.values["tracing.endpoint"]
    if url and not url:find("^https?://[^%s/@#]+[^%s@#]*$") then
        state.report("tracing.endpoint",
            "expected http://host[:port][/path] or https://…, got " .. validate.quote(url))
    end
end

-- Only spellings that every resolver reads as loopback: 127.1 or 0127.0.0.1 may mean another address.
local function is_loopback(host)
    if host == "localhost" then
        return true
    end
    local first, rest = host:match("^(%d+)((%.%d+)%.%d+%.%d+)$")
    if first == "127" then
        for octet in rest:gmatch("%d+") do
            if tonumber(octet) > 255 or octet:find("^0%d") then
                return false
            end
        end
        return true
    end
    if host == "::1" then
        return true
    end
    local groups = host:match("^([0:]*):0*1$")
    -- All eight groups written out.
    return groups ~= nil and select(2, groups:gsub("0+", "")) == 7 and not groups:find("::", 1, true)
end

local function has_credential(values)
    for _, key in ipairs({ "auth.token", "auth.tokens", "auth.jwt.keys", "auth.jwt.key", "auth.jwt.secret",
        "tls.clientCa" }) do
        if values[key] then
            return true
        end
    end
    return values["auth.hook"]
end

local function check_open_listening(state)
    local values = state.values
    local host, missing = values["listen.host"], {}
    if is_loopback(host) or values["listen.insecure"] then
        return
    end
    if not has_tls(values) then
        missing[#missing + 1] = "TLS (tls.cert and tls.key)"
    end
    if not has_credential(values) then
        missing[#missing + 1] = "a credential (auth.token, auth.tokens, auth.jwt, auth.hook or tls.clientCa)"
    end
    if #missing > 0 then
        state.report("listen.host", format("%s may be reached from other machines, which takes %s; "
            .. "listen.insecure = true (or AI_BRIDGE_INSECURE=1) allows it without", validate.quote(host),
            table.concat(missing, " and ")))
    end
end

-- Life is asked for twice within the time an agent has to show it: a short ttlMs (AI_BRIDGE_CLIENT_TTL_MS sets it
-- alone) would else close agents that nobody asked.
local function bound_ping_interval(state)
    local values = state.values
    values["agents.pingIntervalMs"] = math.min(values["agents.pingIntervalMs"],
        math.floor(values["agents.ttlMs"] / 2))
end

local function check_burst(state)
    local values = state.values
    if values["limits.messagesPerSecond"] == 0 and values["limits.messageBurst"] > 0 then
        state.report("limits.messageBurst", "expected limits.messagesPerSecond beside it; without a rate it has no use")
    elseif values["limits.messageBurst"] == 0 then
        values["limits.messageBurst"] = values["limits.messagesPerSecond"]
    end
end

local function check_admin(state)
    if state.values["auth.tokenIsAdmin"] and not state.values["auth.token"] then
        state.report("auth.tokenIsAdmin", "expected auth.token (or AI_BRIDGE_AUTH_TOKEN) beside it; without a token "
            .. "it has no use")
    end
end

local function check_workers(state)
    local least, most = state.values["phase2.workerPool.minWorkers"], state.values["phase2.workerPool.maxWorkers"]
    if most ~= "auto" and most < least then
        state.report("phase2.workerPool.maxWorkers", format("expected at least minWorkers (%d), got %d", least, most))
    end
end

local function decide_by_mode(state)
    local enhanced = state.values.mode == "enhanced"
    for _, path in ipairs({ "agents.verifyFrom", "agents.requireRegister", "agents.expiry" }) do
        if state.values[path] == nil then
            state.values[path] = enhanced
        end
    end
end

-- Each with the keys that it looks at.
local rules = {
    { resolve_scripts, "script.folder" },
    { resolve_admin_socket },
    { resolve_log },
    { resolve_files },
    { resolve_secrets },
    { check_jwt, "auth.jwt.keys", "auth.jwt.key", "auth.jwt.secret" },
    { resolve_tls, "tls.certs" },
    { check_tls, "tls.cert", "tls.key", "tls.certs", "tls.clientCa", "tls.crl" },
    { check_webhook, "alerts.webhook.url" },
    { check_tracing, "tracing.endpoint" },
    { check_open_listening, "listen.host", "listen.insecure", "auth.token", "tls.cert", "tls.certs" },
    { bound_ping_interval },
    { check_burst, "limits.messagesPerSecond", "limits.messageBurst" },
    { check_admin, "auth.token", "auth.tokenIsAdmin" },
    { check_workers, "phase2.workerPool.minWorkers", "phase2.workerPool.maxWorkers" },
    { decide_by_mode, "mode" },
}

local function apply_rules(state)
    for _, rule in ipairs(rules) do
        local applies = true
        for index = 2, #rule do
            applies = applies and not state.failed[rule[index]]
        end
        if applies then
            rule[1](state)
        end
    end
end

-- The rules that only look: they hold of what a reload leaves too, where some values stay those of the running process.
local lasting_rules = {
    check_jwt, check_tls, check_webhook, check_tracing, check_open_listening, check_admin, check_workers,
}

local function nested(values)
    local config = {}
    for _, key in ipairs(schema.keys) do
        local section, rest = config, key.path
        for name in key.path:gmatch("([^.]+)%.") do
            section[name] = section[name] or {}
            section, rest = section[name], rest:sub(#name + 2)
        end
        section[rest] = values[key.path]
    end
    return config
end

local function variable_reader(env)
    if type(env) == "function" then
        return env
    elseif env then
        return function(name)
            return env[name]
        end
    end
    return os.getenv
end

-- A value as Lua text that reads back the same.
local function literal(value)
    if type(value) == "string" then
        return format("%q", value)
    elseif type(value) ~= "table" then
        return type(value) == "number" and format("%.17g", value) or tostring(value)
    end
    local parts = {}
    for name, item in pairs(value) do
        parts[#parts + 1] = format("[%s] = %s", literal(name), literal(item))
    end
    table.sort(parts)
    return "{" .. table.concat(parts, ", ") .. "}"
end

-- Puts the values of `snapshot` in the place of those that a reload cannot change, and gives the paths of the changed.
local function keep_running_values(values, snapshot)
    local running, kept = assert(load(snapshot, "=(snapshot)", "t", {}))(), {}
    for _, key in ipairs(schema.keys) do
        if not key.live and literal(values[key.path]) ~= literal(running[key.path]) then
            kept[#kept + 1] = key.path
            values[key.path] = running[key.path]
        end
    end
    return kept
end

local loader = {}

--- `path` of the file, nil for every key at its default. `flags`: texts by flag ("--ws-port"), or nil. `env`: a table
--- or function of variables, nil for the process's own. `snapshot`: what the running configuration gave, for a reload;
--- nil at the start. `read(path, largest)`: gives the text of a file, or nil and why not; nil for Lua's own way, which
--- waits for a pipe. `bound(seconds)`: stops patterns after that time, or nil. Gives the configuration, a snapshot of
--- it, and the paths whose change waits for a restart (with commas between); or nil and a list of one-line texts.
function loader.load(path, flags, env, snapshot, read, bound)
    read_file, bound_patterns = read or read_anything, bound or function() end
    local variable = variable_reader(env)
    local label = path or "built-in configuration"
    local config = {}
    if path then
        local result, problem = run_file(path, label, variable)
        if not result then
            return nil, { problem }
        end
        config = result
    end

    local texts = {}
    local values, problems = validate.tree(config)
    local overrides, failed, origin = environment.apply(values, flags or {}, variable)
    for _, found in ipairs(problems) do
        texts[#texts + 1] = format("%s: %s: %s", label, found.path, found.text)
        failed[found.path] = true
    end
    for _, text in ipairs(overrides) do
        texts[#texts + 1] = text
    end

    for _, key in ipairs(schema.keys) do
        if values[key.path] == nil then
            values[key.path] = validate.default(key)
        end
    end
    local secret_files = {}
    apply_rules({
        secret_files = secret_files,
        folder = path and path:match("^.*/") or "",
        values = values,
        failed = failed,
        report = function(name, text)
            local source = origin[name] and format("%s (%s)", origin[name], name) or format("%s: %s", label, name)
            texts[#texts + 1] = format("%s: %s", source, text)
        end,
    })
    if #texts > 0 then
        return nil, texts
    end
    local kept = snapshot and keep_running_values(values, snapshot) or {}
    for _, rule in ipairs(#kept > 0 and lasting_rules or {}) do
        rule({
            values = values,
            report = function(name, text)
                texts[#texts + 1] = format("%s: %s: %s (%s keeps its value until a restart)", label, name, text,
                    table.concat(kept, ", "))
            end,
        })
    end
    if #texts > 0 then
        return nil, texts
    end
    local loaded = nested(values)
    if #secret_files > 0 then
        loaded.secretFiles = secret_files -- no key: where a process that is confined must be able to read again
    end
    return loaded, "return " .. literal(values), table.concat(kept, ", ")
end

return loader
