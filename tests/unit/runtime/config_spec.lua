-- The configuration: what a file may say, what overrides it, and the words for everything that is wrong.
package.path = "lua/?.lua;" .. package.path

local document = require("luaduct.config.document")
local load_config = require("luaduct.config.load").load
local schema = require("luaduct.config.schema")
local suggest = require("luaduct.config.suggest")
local validate = require("luaduct.config.validate")

-- The contract: every key with its default, as a reader of docs/config.md writes it. Sizes are compared as bytes.
local DEFAULTS = {
    mode = "enhanced",
    environment = "development",
    console = true,
    listen = { host = "localhost", wsPort = 4567, httpPort = 4568, insecure = false, proxyProtocol = false },
    script = {
        budgetMs = 50, onError = "default", suspendMs = 30000, memoryLimit = 64 * 2 ^ 20, jit = false, watch = false,
        stateBytes = 2 ^ 20, sharedBytes = 16 * 2 ^ 20,
        breakerOverruns = 10, breakerSenders = 3, breakerWindowMs = 60000, breakerCooldownMs = 30000,
    },
    canary = {
        minCalls = 50, maxErrorRate = 0.01, maxRefusedRate = 0.05, maxTimeRatio = 3, maxOverruns = 3, holdMs = 60000,
        promote = "auto",
    },
    agents = {
        maxQueue = 1000, maxMailboxes = 10000, mailboxBytes = 16 * 2 ^ 20, mailboxTotalBytes = "auto",
        mailboxTtlMs = 3600000, ttlMs = 600000, cleanupIntervalMs = 30000, pingIntervalMs = 30000,
        registerTimeoutMs = 10000, registerGraceMs = 10, verifyFrom = true, requireRegister = true,
        priorityOrder = false, expiry = true, taskOpenIntents = { "task.assign" },
        taskCloseIntents = { "task.complete", "task.failed", "task.cancelled" }, maxOpenTasks = 1024,
        dedupWindowMs = 0, dedupIds = 100000, maxWaiting = 1000, waitingTtlMs = 60000,
    },
    history = { limit = 500, bytes = 4 * 2 ^ 20 },
    limits = {
        messageBytes = 2 ^ 20, bodyBytes = 2 ^ 20, jsonDepth = 128, connections = "auto", connectionsPerAddress = 0,
        messagesPerSecond = 0, messageBurst = 0, bytesPerSecond = 0, sendQueueBytes = 4 * 2 ^ 20, slowAgent = "queue",
        memory = "auto", connectionsPerIdentity = 0, handshakesPerSecond = 0, handshakesPerSecondPerAddress = 0,
        agents = 0, agentsPerAddress = 0, agentsPerIdentity = 0, messagesPerSecondPerAddress = 0,
        bytesPerSecondPerAddress = 0, messagesPerSecondTotal = 0, bytesPerSecondTotal = 0, scriptMsPerSecond = 0,
        mailboxBytesPerSender = 0, messageTimeoutMs = 0, trustedProxies = {},
    },
    http = { corsOrigins = {}, hosts = {}, rateMax = 120, rateWindowMs = 60000, headerTimeoutMs = 10000,
        bodyTimeoutMs = 30000, headerBytes = 16384 },
    auth = { tokenIsAdmin = false, hook = false, jwt = { leewayMs = 10000, idClaim = { "sub" } } },
    tls = { certs = {}, requireClientCert = false, minVersion = "1.2", ciphers = {}, handshakeTimeoutMs = 10000,
        maxHandshakes = 1024, handshakeThreads = "auto" },
    performance = { cache_enabled = true, worker_threads = "auto", binary_protocol = true, compression = true },
    phase2 = {
        objectPooling = {
            enabled = true, envelopePoolSize = 100, arrayPoolSize = 50, bufferPoolSize = 256, maxAgeMs = 60000,
        },
        gcOptimization = {
            enabled = true, memoryThreshold = 0.75, cooldownMs = 15000, sampleIntervalMs = 1000,
            predictHorizonMs = 30000,
        },
        workerPool = {
            enabled = true, minWorkers = 2, maxWorkers = "auto", taskTimeout = 30000, queueLimit = 10000,
            idleTimeoutMs = 30000, allowRoles = {}, executeBytes = 16 * 2 ^ 20,
        },
        predictiveScaling = { enabled = true },
    },
    alerts = {
        webhook = { timeoutMs = 5000 },
        intervalMs = 1000, windowMs = 60000, cooldownMs = 60000,
        gcFrequency = { enabled = true, threshold = 10, forMs = 0, action = "WARN" },
        poolHitRate = { enabled = true, threshold = 0.8, forMs = 10000, action = "ALERT" },
        workerUtilization = { enabled = true, threshold = 0.9, forMs = 5000, action = "SCALE_UP" },
        certificateExpiry = { enabled = true, threshold = 14, forMs = 0, action = "WARN" },
    },
    policies = {},
    drain = { delayMs = 0, timeoutMs = 10000, retryMs = 1000 },
    upgrade = { timeoutMs = 30000, stillMs = 2000 },
    log = { level = "info", access = false, format = "text", levels = {} },
    tracing = {
        sampleRatio = 0, forcedPerSecond = 100, headers = {}, serviceName = "luaduct", batchSpans = 512,
        queueSpans = 8192, intervalMs = 1000, timeoutMs = 5000,
    },
    confinement = { files = "off", systemCalls = "off" },
}

local folder, file

local function write(path, text)
    local handle = assert(io.open(path, "wb"))
    handle:write(text)
    handle:close()
end

local function read(path)
    local handle = assert(io.open(path, "rb"))
    local text = handle:read("*a")
    handle:close()
    return text
end

-- Loads a file with this text, in an environment that has only what `env` says.
local function load_text(text, flags, env)
    write(file, text)
    return load_config(file, flags, env or {})
end

local function load_table(body, flags, env)
    return load_text("return {" .. body .. "}", flags, env)
end

-- Asserts that the table has exactly this one problem; FILE stands for the file's path.
local function refuses(body, expected, flags, env)
    local config, problems = load_table(body, flags, env)
    assert.is_nil(config)
    assert.are.same({ (expected:gsub("FILE", file)) }, problems)
end

local function accepts(body, flags, env)
    local config, problems = load_table(body, flags, env)
    assert.is_table(config, type(problems) == "table" and table.concat(problems, "\n") or problems)
    return config
end

setup(function()
    folder = os.tmpname()
    os.remove(folder)
    assert(os.execute("mkdir -p " .. folder .. "/routes") == 0)
    file = folder .. "/config.lua"
    write(folder .. "/routes/main.lua", "return {}")
end)

teardown(function()
    os.execute("rm -r " .. folder)
end)

describe("the defaults", function()
    it("are those of the contract, without a file and with an empty one", function()
        local config = load_config(nil, nil, {})
        assert.are.same(DEFAULTS, config)
        assert.are.same(DEFAULTS, (accepts("")))
    end)

    it("follow the mode where the mode decides", function()
        local agents = accepts('mode = "original"').agents
        assert.is_false(agents.verifyFrom)
        assert.is_false(agents.requireRegister)
        assert.is_true(accepts('mode = "original", agents = { verifyFrom = true }').agents.verifyFrom)
        assert.is_false(accepts("agents = { requireRegister = false }").agents.requireRegister)
    end)

    it("of every key pass the key's own check", function()
        for _, key in ipairs(schema.keys) do
            if key.default ~= nil then
                assert.is_true((validate.value(key, key.default)), key.path)
            end
        end
    end)
end)

describe("the committed files", function()
    it("are what the schema makes", function()
        assert.are.equal(document.reference(), read("docs/config.md"))
        assert.are.equal(document.default_file(), read("config/luaduct.lua"))
    end)

    it("config/luaduct.lua sets every key that has a default and works, and changes none", function()
        assert.are.same(DEFAULTS, (load_config("config/luaduct.lua", nil, {})))
        local values = validate.tree(dofile("config/luaduct.lua"))
        for _, key in ipairs(schema.keys) do
            if key.available and key.default ~= nil then
                assert.is_not_nil(values[key.path], key.path)
            end
        end
    end)

    it("config/production.lua is good and says so on /health", function()
        local config = load_config("config/production.lua", nil, {})
        assert.is_table(config)
        assert.are.equal("production", config.environment)
    end)

    it("docs/config.md names every key and every override", function()
        local text = read("docs/config.md")
        for _, key in ipairs(schema.keys) do
            assert.is_truthy(text:find("`" .. key.path .. "`", 1, true), key.path)
            for _, variable in ipairs(key.variables or {}) do
                assert.is_truthy(text:find("`" .. variable .. "`", 1, true), variable)
            end
        end
    end)
end)

describe("a wrong value", function()
    it("is named by file and path, with what was expected and what came", function()
        refuses('phase2 = { gcOptimization = { memoryThreshold = "x" } }',
            'FILE: phase2.gcOptimization.memoryThreshold: expected a number from 0 to 1, got "x"')
        refuses('listen = { wsPort = "4567" }',
            'FILE: listen.wsPort: expected a whole number from 0 to 65535, got "4567"')
        refuses("listen = { httpPort = 65536 }",
            "FILE: listen.httpPort: expected a whole number from 0 to 65535, got 65536")
        refuses("listen = { httpPort = -1 }", "FILE: listen.httpPort: expected a whole number from 0 to 65535, got -1")
        refuses("listen = { httpPort = 1.5 }",
            "FILE: listen.httpPort: expected a whole number from 0 to 65535, got 1.5")
        refuses("listen = 4567", "FILE: listen: expected a table, got 4567")
        refuses("listen = { insecure = 1 }", "FILE: listen.insecure: expected true or false, got 1")
        refuses('mode = "turbo"', 'FILE: mode: expected "enhanced" or "original", got "turbo"')
        refuses('log = { level = "loud" }',
            'FILE: log.level: expected "debug", "info", "warn" or "error", got "loud"')
        refuses("environment = {}", "FILE: environment: expected text, got a table")
        refuses('environment = ""', 'FILE: environment: expected text, got ""')
        refuses("environment = print or function() end", "FILE: environment: expected text, got a function")
        refuses("limits = { connections = 'many' }", "FILE: limits.connections: expected a whole number from 1 to "
            .. '1000000000, or 0 (no limit), or "auto", got "many"')
    end)

    it("is refused where it is not a number at all", function()
        refuses("history = { limit = 0/0 }",
            string.format("FILE: history.limit: expected a whole number from 0 to 10000000, got %.14g", 0 / 0))
        refuses("history = { limit = 1/0 }", "FILE: history.limit: expected a whole number from 0 to 10000000, got inf")
    end)

    it("stays on one line, in the length of a line, without control characters", function()
        refuses([[environment = "a\nb\27\"c"]], [[FILE: environment: expected text, got "a\nb\027\"c"]])
        refuses('mode = ("x"):rep(500)',
            'FILE: mode: expected "enhanced" or "original", got "' .. ("x"):rep(60) .. '…"')
    end)

    it("does not hide the others: all are told, in the order of the schema", function()
        local _, problems = load_table('log = { level = 1 }, listen = { host = "0.0.0.0", wsPort = {} }, nonsense = 1',
            { ["--http-port"] = "x" }, { AI_BRIDGE_MAX_QUEUE = "y" })
        assert.are.same({
            file .. ": nonsense: unknown key",
            file .. ": listen.wsPort: expected a whole number from 0 to 65535, got a table",
            file .. ': log.level: expected "debug", "info", "warn" or "error", got 1',
            '--http-port (listen.httpPort): expected a whole number from 0 to 65535, got "x"',
            'AI_BRIDGE_MAX_QUEUE (agents.maxQueue): expected a whole number from 1 to 1000000000, got "y"',
            file .. ': listen.host: "0.0.0.0" may be reached from other machines, which takes TLS (tls.cert and '
                .. "tls.key) and a credential (auth.token, auth.tokens, auth.jwt, auth.hook or tls.clientCa); "
                .. "listen.insecure = true (or AI_BRIDGE_INSECURE=1) allows it without",
        }, problems)
    end)
end)

describe("a size", function()
    it("is a number of bytes or text with a unit", function()
        local history = { ["4096"] = 4096, ["'4096'"] = 4096, ["'64MiB'"] = 64 * 2 ^ 20, ["'4KiB'"] = 4096,
            ["'1GiB'"] = 2 ^ 30, ["'1TiB'"] = 2 ^ 40, ["'500MB'"] = 500e6, ["'1.5KiB'"] = 1536, ["'7B'"] = 7 }
        for text, bytes in pairs(history) do
            assert.are.equal(bytes, accepts("history = { bytes = " .. text .. " }").history.bytes, text)
        end
    end)

    it("is refused with an example when it is none or out of range", function()
        for _, text in ipairs({ '"64M"', '"64mib"', '"MiB"', '"-1"', '"64 MiB"', '"0x10"', '"1e3"', '"0.3B"', '"auto"',
            '"65TiB"' }) do
            refuses("history = { bytes = " .. text .. " }", "FILE: history.bytes: expected a size such as 1048576 or "
                .. '"1MiB", from 1 to 64TiB, got ' .. text)
        end
        refuses("limits = { memory = 1000 }", 'FILE: limits.memory: expected a size such as 1048576 or "1MiB", from '
            .. '8MiB to 64TiB, or 0 (no limit), or "auto", got 1000')
    end)

    it("may be 0 where 0 means no limit", function()
        assert.are.equal(0, accepts("limits = { sendQueueBytes = 0 }").limits.sendQueueBytes)
        assert.are.equal(0, accepts("limits = { memory = 0 }").limits.memory)
    end)
end)

describe("an unknown key", function()
    it("gets the key that was probably meant", function()
        local meant = {
            ["listen.wsport"] = "listen.wsPort",
            ["listen.ws_port"] = "listen.wsPort",
            ["listen.hots"] = "listen.host",
            ["phase2.gcOptimisation"] = "phase2.gcOptimization",
            ["phase2.gcOptimization.memoryTreshold"] = "phase2.gcOptimization.memoryThreshold",
            ["gcOptimization"] = "phase2.gcOptimization",
            ["wsPort"] = "listen.wsPort",
            ["maxQueue"] = "agents.maxQueue",
            ["limits.maxQueue"] = "agents.maxQueue",
            ["logLevel"] = "log.level",
            ["performance.workerThreads"] = "performance.worker_threads",
            ["http.corsOrigin"] = "http.corsOrigins",
            ["agent"] = "agents",
            ["LISTEN.HTTPPORT"] = "listen.httpPort",
            ["phase2.workerPool.enable"] = "phase2.workerPool.enabled",
            ["phase2.gcOptimization.enable"] = "phase2.gcOptimization.enabled",
            -- the old names
            ["enableObjectPooling"] = "phase2.objectPooling.enabled",
            ["enableWorkerPool"] = "phase2.workerPool.enabled",
            ["phase2.enableGCOptimization"] = "phase2.gcOptimization.enabled",
            ["memoryPressureThreshold"] = "phase2.gcOptimization.memoryThreshold",
            ["phase2.gcOptimization.gcCooldownMs"] = "phase2.gcOptimization.cooldownMs",
            ["phase2.objectPooling.maxAge"] = "phase2.objectPooling.maxAgeMs",
        }
        for unknown, known in pairs(meant) do
            assert.are.equal(known, suggest.path(unknown), unknown)
        end
        refuses("listen = { wsport = 1 }", "FILE: listen.wsport: unknown key, did you mean listen.wsPort?")
        refuses("maxAge = 1", "FILE: maxAge: unknown key, did you mean phase2.objectPooling.maxAgeMs?")
    end)

    it("gets no hint when nothing is near", function()
        refuses("colour = 1", "FILE: colour: unknown key")
        refuses("listen = { [1] = 4567 }", "FILE: listen[1]: unknown key")
        refuses([[listen = { ["a\nb"] = 1 }]], [[FILE: listen["a\nb"]: unknown key]])
        refuses([[ [("listen"):rep(1000)] = 1 ]], "FILE: " .. ("listen"):rep(1000) .. ": unknown key")
    end)
end)

describe("a key of a later version", function()
    local function body_of(path, literal)
        local before, after = "", ""
        for name in path:gmatch("([^.]+)%.") do
            before, after = before .. name .. " = { ", " }" .. after
        end
        return before .. path:match("[^.]+$") .. " = " .. literal .. after
    end

    -- A value that is right for the type and not the default.
    local OTHER = { boolean = function(key) return tostring(not key.default) end,
        integer = function() return "77" end, number = function() return "0.5" end,
        size = function() return '"3MiB"' end, text = function() return '"other"' end,
        texts = function() return '{ "admin" }' end, choice = function(key) return '"' .. key.choices[2] .. '"' end,
        any = function() return "{}" end }

    local count = 0
    for _, key in ipairs(schema.keys) do
        if not key.available then
            count = count + 1
            it("stops the start when it is asked for: " .. key.path, function()
                refuses(body_of(key.path, OTHER[key.type](key)), string.format(
                    "FILE: %s: %s is not available yet in this version; remove the key", key.path, key.feature))
            end)
        end
    end

    it("is fine at its default", function()
        accepts('script = { watch = false }, phase2 = { workerPool = { allowRoles = {},'
            .. 'maxWorkers = "auto", executeBytes = 16777216 } }, policies = {},'
            .. 'performance = { cache_enabled = true }')
    end)

    it("is one of these, and no other", function()
        local later = { store = 1, cluster = 1 }
        local expected = 0
        for _, key in ipairs(schema.keys) do
            local is_later = later[key.path] ~= nil
            assert.are.equal(is_later, not key.available, key.path)
            expected = expected + (is_later and 1 or 0)
        end
        assert.are.equal(expected, count)
    end)
end)

describe("the environment", function()
    it("overrides the file", function()
        local config = accepts([[environment = "staging", listen = { wsPort = 1, httpPort = 2 }, auth = { token = "f" },
            http = { rateMax = 1 } ]], nil, {
            AI_BRIDGE_HOST = "127.0.0.1", AI_BRIDGE_PORT = "5001", AI_BRIDGE_HTTP_PORT = "5002",
            AI_BRIDGE_AUTH_TOKEN = "secret", AI_BRIDGE_CORS_ORIGINS = "https://a.example, http://b.example:8080,",
            AI_BRIDGE_HISTORY_LIMIT = "7", AI_BRIDGE_MAX_QUEUE = "8", AI_BRIDGE_CLIENT_TTL_MS = "90000",
            AI_BRIDGE_CLEANUP_INTERVAL_MS = "1000", AI_BRIDGE_RATE_WINDOW_MS = "2000", AI_BRIDGE_RATE_MAX = "0",
            NODE_ENV = "test",
        })
        assert.are.equal("127.0.0.1", config.listen.host)
        assert.are.equal(5001, config.listen.wsPort)
        assert.are.equal(5002, config.listen.httpPort)
        assert.are.equal("secret", config.auth.token)
        assert.are.same({ "https://a.example", "http://b.example:8080" }, config.http.corsOrigins)
        assert.are.equal(7, config.history.limit)
        assert.are.equal(8, config.agents.maxQueue)
        assert.are.equal(90000, config.agents.ttlMs)
        assert.are.equal(1000, config.agents.cleanupIntervalMs)
        assert.are.equal(2000, config.http.rateWindowMs)
        assert.are.equal(0, config.http.rateMax)
        assert.are.equal("test", config.environment)
    end)

    it("puts both ports on PORT, whatever the other variables say", function()
        local listen = accepts("", nil, { PORT = "8080", AI_BRIDGE_PORT = "1", AI_BRIDGE_HTTP_PORT = "2" }).listen
        assert.are.equal(8080, listen.wsPort)
        assert.are.equal(8080, listen.httpPort)
    end)

    it("reads booleans in the usual words", function()
        for word, value in pairs({ ["1"] = true, ["true"] = true, YES = true, on = true, ["0"] = false, False = false,
            no = false, off = false }) do
            assert.are.equal(value, accepts("listen = { insecure = " .. tostring(not value) .. " }", nil,
                { AI_BRIDGE_INSECURE = word }).listen.insecure, word)
        end
    end)

    it("allows any origin with a star", function()
        assert.are.same({ "*" }, accepts("", nil, { AI_BRIDGE_CORS_ORIGINS = "*" }).http.corsOrigins)
    end)

    it("is judged like the file, by the variable's name", function()
        for _, text in ipairs({ "x", "-1", "70000", "0x10", "1e3", " 80", "1.0", ("9"):rep(400) }) do
            local shown = text:find("^%d+$") and #text < 16 and text or validate.quote(text)
            refuses("", "AI_BRIDGE_PORT (listen.wsPort): expected a whole number from 0 to 65535, got " .. shown, nil,
                { AI_BRIDGE_PORT = text })
        end
        refuses("", 'AI_BRIDGE_INSECURE (listen.insecure): expected true or false, got "maybe"', nil,
            { AI_BRIDGE_INSECURE = "maybe" })
        refuses("", 'AI_BRIDGE_CORS_ORIGINS (http.corsOrigins): expected "*" or a list of origins such as '
            .. '"https://app.example", without a path, got "a.example"', nil, { AI_BRIDGE_CORS_ORIGINS = "a.example" })
        refuses("", "PORT (listen.wsPort): expected a whole number from 0 to 65535, got \"x\"",
            { ["--http-port"] = "1" }, { PORT = "x" })
    end)

    it("counts a variable that is empty as not set, but never an empty token", function()
        assert.are.same(DEFAULTS, (accepts("", nil, { AI_BRIDGE_HOST = "", PORT = "", NODE_ENV = "" })))
        refuses('auth = { token = "t" }',
            "AI_BRIDGE_AUTH_TOKEN (auth.token): is set but empty; unset it or give it a value", nil,
            { AI_BRIDGE_AUTH_TOKEN = "" })
    end)

    it("is the process's own when none is given", function()
        assert.are.equal(os.getenv("NODE_ENV") or "development", load_config(nil, nil).environment)
    end)
end)

describe("a flag", function()
    it("wins over the environment", function()
        local config = accepts('mode = "enhanced"', {
            ["--mode"] = "original", ["--host"] = "::1", ["--ws-port"] = "0", ["--http-port"] = "9",
            ["--workers"] = "3", ["--log-level"] = "debug",
        }, { PORT = "8080", AI_BRIDGE_HOST = "127.0.0.1" })
        assert.are.equal("original", config.mode)
        assert.is_false(config.agents.verifyFrom)
        assert.are.equal("::1", config.listen.host)
        assert.are.equal(0, config.listen.wsPort)
        assert.are.equal(9, config.listen.httpPort)
        assert.are.equal(3, config.performance.worker_threads)
        assert.are.equal("debug", config.log.level)
        assert.are.equal("auto", accepts("performance = { worker_threads = 2 }", { ["--workers"] = "auto" })
            .performance.worker_threads)
    end)

    it("is judged like the file, by the flag's name", function()
        refuses("", '--workers (performance.worker_threads): expected a whole number from 1 to 256, or "auto", got 0',
            { ["--workers"] = "0" })
        refuses("", '--mode (mode): expected "enhanced" or "original", got ""', { ["--mode"] = "" })
    end)
end)

describe("the file", function()
    local function fails(text, expected)
        local config, problems = load_text(text)
        assert.is_nil(config)
        assert.are.equal(1, #problems)
        assert.are.equal((expected:gsub("FILE", file)), problems[1])
    end

    it("is named with the line of a syntax error", function()
        fails("return {\n  mode = ,\n}", "FILE:2: unexpected symbol near ','")
    end)

    it("is named with the line of an error while it runs", function()
        fails('\nerror("no disk")', "FILE:2: no disk")
        fails("\n\nlocal x = nil + 1", "FILE:3: attempt to perform arithmetic on a nil value")
        fails('\nerror("two\\nlines", 0)', "FILE:2: two lines")
        fails("\n\nerror({})", "FILE:3: the file raised a table")
    end)

    it("is stopped when it never ends", function()
        fails("\nwhile true do end", "FILE:2: stopped: it ran longer than 5 seconds")
    end)

    it("is named for a stack overflow, with the line where LuaJIT leaves room to find it", function()
        local config, problems = load_text("local function deep() return 1 + deep() end\nreturn deep()")
        assert.is_nil(config)
        local text = problems[1]:gsub(file, "FILE", 1):gsub("^FILE:1:", "FILE:")
        assert.are.equal("FILE: stack overflow", text)
    end)

    it("returns a table or is refused", function()
        fails("return 3", "FILE: expected the file to return a table, got a number")
        fails("", "FILE: expected the file to return a table, got nothing")
    end)

    it("is Lua text, not bytecode", function()
        fails(string.dump(function() return {} end), "FILE: expected Lua text, got compiled Lua")
    end)

    it("is told when it cannot be read", function()
        local _, problems = load_config(folder .. "/none.lua", nil, {})
        assert.are.same({ folder .. "/none.lua: cannot read the config file: No such file or directory" }, problems)
        _, problems = load_config(folder, nil, {})
        assert.are.same({ folder .. ": cannot read the config file: Is a directory" }, problems)
        _, problems = load_config("/dev/zero", nil, {})
        assert.are.same({ "/dev/zero: cannot read the config file: larger than 1048576 bytes" }, problems)
    end)

    it("sees the environment and pure libraries, and nothing that reads, writes, runs or loads", function()
        local config = accepts('environment = os.getenv("STAGE") .. math.floor(2.5) .. ("x"):upper() .. bit.bor(1, 2)',
            nil, { STAGE = "blue" })
        assert.are.equal("blue2X3", config.environment)
        for _, name in ipairs({ "io", "require", "dofile", "loadfile", "load", "loadstring", "debug", "package", "ffi",
            "jit", "setmetatable", "getmetatable", "_G", "print", "os.execute", "os.exit", "os.remove", "string.dump",
            "getfenv", "setfenv", "collectgarbage", "newproxy", "coroutine" }) do
            assert.are.equal("nil", accepts("environment = type(" .. name .. ")").environment, name)
        end
    end)

    it("cannot change the libraries of the program", function()
        accepts("history = { limit = (function() string.format = nil; table.concat = nil; return 1 end)() }")
        assert.is_function(string.format)
        assert.is_function(table.concat)
    end)
end)

describe("the host", function()
    it("is loopback in these spellings", function()
        for _, host in ipairs({ "localhost", "LocalHost", "127.0.0.1", "127.8.9.255", "::1", "[::1]", "0:0:0:0:0:0:0:1",
            "0000:0:0:0:0:0:0:0001" }) do
            accepts(string.format("listen = { host = %q }", host))
        end
    end)

    it("is refused in every other, with the way to allow it, until it is allowed", function()
        for _, host in ipairs({ "0.0.0.0", "::", "192.168.1.2", "bridge.example", "localhost.", "127.1", "0127.0.0.1",
            "127.0.0.256", "127.0.0.01", "127.0.0.1.example", "::2", "::ffff:127.0.0.1", "fe80::1%eth0",
            "localhost.example", "2130706433", "1::1", "0:0:0:0:0:0:1" }) do
            local body = string.format("host = %q", host)
            refuses("listen = {" .. body .. "}", string.format("FILE: listen.host: %q may be reached from other "
                .. "machines, which takes TLS (tls.cert and tls.key) and a credential (auth.token, auth.tokens, "
                .. "auth.jwt, auth.hook or tls.clientCa); listen.insecure = true (or AI_BRIDGE_INSECURE=1) allows it "
                .. "without", host))
            accepts("listen = {" .. body .. ", insecure = true }")
            accepts("listen = {" .. body .. "}", nil, { AI_BRIDGE_INSECURE = "1" })
        end
    end)

    it("is refused open with a token too, and named by the variable that opened it", function()
        refuses('auth = { token = "t" }', 'AI_BRIDGE_HOST (listen.host): "::" may be reached from other machines, '
            .. "which takes TLS (tls.cert and tls.key); listen.insecure = true (or AI_BRIDGE_INSECURE=1) allows it "
            .. "without", nil, { AI_BRIDGE_HOST = "::" })
    end)

    it("is not judged while the key that would allow it is wrong", function()
        refuses('listen = { host = "0.0.0.0", insecure = 1 }', "FILE: listen.insecure: expected true or false, got 1")
    end)

    describe("of a running bridge, which a reload cannot change,", function()
        local PUBLIC = 'host = "0.0.0.0"'
        local CREDENTIAL = 'auth = { token = "t" }, '

        -- What a reload with `new` says while the bridge runs by `old`.
        local function reloads(old, new)
            local _, snapshot = load_table(old)
            write(file, "return {" .. new .. "}")
            local config, problems = load_config(file, nil, {}, snapshot)
            return config, type(problems) == "table" and table.concat(problems, "\n") or problems
        end

        before_each(function()
            write(folder .. "/cert.pem", "c")
            write(folder .. "/key.pem", "k")
        end)

        it("is judged with the values that it gets", function()
            local TLS = 'tls = { cert = "cert.pem", key = "key.pem" }, '
            local old = TLS .. CREDENTIAL .. "listen = {" .. PUBLIC .. "}"
            for _, new in ipairs({"", TLS, CREDENTIAL, 'listen = { host = "127.0.0.1" }'}) do
                local config, problems = reloads(old, new)
                assert.is_nil(config)
                assert.truthy(problems:find('listen.host: "0.0.0.0" may be reached from other machines', 1, true),
                    problems)
                assert.truthy(problems:find("listen.host keeps its value until a restart", 1, true), problems)
            end
            assert.is_table((reloads(old, TLS .. CREDENTIAL .. 'listen = { host = "::1" }')))
        end)

        it("is not opened by a listen.insecure that does not hold yet", function()
            local old = 'tls = { cert = "cert.pem", key = "key.pem" }, ' .. CREDENTIAL .. "listen = {" .. PUBLIC .. "}"
            local config, problems = reloads(old, "listen = {" .. PUBLIC .. ", insecure = true }")
            assert.is_nil(config)
            assert.truthy(problems:find("which takes TLS", 1, true), problems)
        end)
    end)

    it("has no port, scheme or star", function()
        for _, host in ipairs({ "127.0.0.1:80", "http://localhost", "*", "a b", "" }) do
            refuses(string.format("listen = { host = %q }", host), string.format(
                'FILE: listen.host: expected "localhost", an IP address or a host name, got %q', host))
        end
    end)
end)

describe("a path", function()
    it("of a script starts at the file's folder and must be there", function()
        assert.are.same({ folder .. "/routes/main.lua" }, accepts('script = { path = "routes/main.lua" }').script.path)
        assert.are.same({ folder .. "/routes/main.lua" },
            accepts(string.format("script = { path = %q }", folder .. "/routes/main.lua")).script.path)
        assert.are.same({ folder .. "/routes/main.lua", folder .. "/config.lua" },
            accepts('script = { path = { "routes/main.lua", "config.lua" } }').script.path)
        refuses('script = { path = "none.lua" }', 'FILE: script.path: expected a script that can be read, got "'
            .. folder .. '/none.lua" (No such file or directory)')
        refuses('script = { path = { "config.lua", "routes" } }', 'FILE: script.path[2]: expected a script that can be '
            .. 'read, got "' .. folder .. '/routes" (Is a directory)')
    end)

    it("of scripts is text or a list of texts that is not empty", function()
        local expected = "FILE: script.path: expected the path of a script or a list of them, got "
        refuses("script = { path = 1 }", expected .. "1")
        refuses("script = { path = {} }", expected .. "a table")
        refuses('script = { path = { "a", 2 } }', expected .. "2")
        refuses('script = { path = { a = "b" } }', expected .. "a table")
    end)

    it("of a folder must be one, and have a script that uses it", function()
        assert.are.equal(folder .. "/routes",
            accepts('script = { path = "routes/main.lua", folder = "routes" }').script.folder)
        refuses('script = { path = "routes/main.lua", folder = "config.lua" }',
            'FILE: script.folder: expected a folder, got "' .. folder .. '/config.lua"')
        refuses('script = { folder = "routes" }',
            "FILE: script.folder: expected script.path beside it; without a script it has no use")
    end)

    it("of the log needs a folder that is there", function()
        assert.are.equal(folder .. "/routes/bridge.log", accepts('log = { file = "routes/bridge.log" }').log.file)
        refuses('log = { file = "none/bridge.log" }', 'FILE: log.file: expected a file in a folder that exists, got "'
            .. folder .. '/none/bridge.log"')
        refuses('log = { file = "routes" }', 'FILE: log.file: expected a file in a folder that exists, got "'
            .. folder .. '/routes"')
    end)
end)

describe("the token", function()
    it("is text, or the text of a file without its line end", function()
        assert.are.equal("abc", accepts('auth = { token = "abc" }').auth.token)
        write(folder .. "/token", "from the file\r\n")
        assert.are.equal("from the file", accepts('auth = { token = { file = "token" } }').auth.token)
        assert.are.equal("stronger", accepts('auth = { token = { file = "none" } }', nil,
            { AI_BRIDGE_AUTH_TOKEN = "stronger" }).auth.token)
    end)

    it("is never empty, and its file is there", function()
        write(folder .. "/empty", "\n")
        refuses('auth = { token = { file = "empty" } }',
            'FILE: auth.token: the token file "' .. folder .. '/empty" is empty')
        refuses('auth = { token = { file = "none" } }',
            'FILE: auth.token: cannot read the token file "' .. folder .. '/none": No such file or directory')
    end)

    it("never stands in a message", function()
        local expected = ': expected 1 to 4096 bytes without control characters, or { file = "…" }'
        refuses('auth = { token = "top\\nsecret" }', "FILE: auth.token" .. expected)
        refuses('auth = { token = "" }', "FILE: auth.token" .. expected)
        for _, other in ipairs({ "path", "files", "value", "a", "b" }) do
            refuses(string.format('auth = { token = { file = "a", %s = "b" } }', other), "FILE: auth.token" .. expected)
        end
        refuses("", "AI_BRIDGE_AUTH_TOKEN (auth.token)" .. expected, nil, { AI_BRIDGE_AUTH_TOKEN = "top\1secret" })
        write(folder .. "/token", ("x"):rep(5000))
        refuses('auth = { token = { file = "token" } }',
            'FILE: auth.token: in "' .. folder .. '/token"' .. expected)
    end)

    it("has to be there for tokenIsAdmin", function()
        assert.is_true(accepts('auth = { token = "t", tokenIsAdmin = true }').auth.tokenIsAdmin)
        refuses("auth = { tokenIsAdmin = true }", "FILE: auth.tokenIsAdmin: expected auth.token (or "
            .. "AI_BRIDGE_AUTH_TOKEN) beside it; without a token it has no use")
    end)
end)

describe("the keys for JSON Web Tokens", function()
    it("are in files beside the config file, which are there", function()
        write(folder .. "/jwks.json", "{}")
        write(folder .. "/public.pem", "PEM")
        write(folder .. "/secret", "s\n")
        local jwt = accepts('auth = { jwt = { keys = "jwks.json", key = "public.pem", secret = { file = "secret" } } }')
            .auth.jwt
        assert.are.same({ folder .. "/jwks.json", folder .. "/public.pem", "s" }, { jwt.keys, jwt.key, jwt.secret })
        refuses('auth = { jwt = { keys = "none" } }', "FILE: auth.jwt.keys: expected a JWK set that can be read, got "
            .. '"' .. folder .. '/none" (No such file or directory)')
        refuses('auth = { jwt = { key = "none" } }', "FILE: auth.jwt.key: expected a public key that can be read, got "
            .. '"' .. folder .. '/none" (No such file or directory)')
        refuses('auth = { jwt = { secret = { file = "none" } } }',
            'FILE: auth.jwt.secret: cannot read the token file "' .. folder .. '/none": No such file or directory')
    end)

    it("must be there for what is said of tokens", function()
        for key, value in pairs({ issuer = '"a"', audience = '"a"', rolesClaim = '"a"', algorithms = '{ "RS256" }' }) do
            refuses(string.format("auth = { jwt = { %s = %s } }", key, value), "FILE: auth.jwt." .. key
                .. ": expected auth.jwt.keys, auth.jwt.key or auth.jwt.secret beside it; without keys it has no use")
        end
    end)

    it("are for algorithms that the program has", function()
        local expected = 'FILE: auth.jwt.algorithms: expected a list of "HS256", "RS256" or "ES256" '
            .. "(the crypto library has no EdDSA), got "
        refuses('auth = { jwt = { secret = "s", algorithms = { "ES256", "EdDSA" } } }', expected .. '"EdDSA"')
        refuses('auth = { jwt = { secret = "s", algorithms = { "none" } } }', expected .. '"none"')
        refuses('auth = { jwt = { secret = "s", algorithms = {} } }', expected .. "a table")
    end)
end)

describe("a claim", function()
    it("is a name, or the names on the way to it", function()
        local jwt = accepts('auth = { jwt = { secret = "s", idClaim = "a.b", rolesClaim = { "a", "b" } } }').auth.jwt
        assert.are.same({ "a.b" }, jwt.idClaim)
        assert.are.same({ "a", "b" }, jwt.rolesClaim)
        local expected = "FILE: auth.jwt.idClaim: expected the name of a claim, or a list of at most 8 names, got "
        refuses("auth = { jwt = { idClaim = {} } }", expected .. "a table")
        refuses('auth = { jwt = { idClaim = { "a", 1 } } }', expected .. "1")
        refuses('auth = { jwt = { idClaim = "" } }', expected .. '""')
        refuses('auth = { jwt = { idClaim = { "1", "2", "3", "4", "5", "6", "7", "8", "9" } } }', expected .. "a table")
    end)
end)

describe("a list", function()
    it("of origins is written as browsers send them", function()
        local origins = '"HTTPS://App.Example:443", "http://b.example:8080", "https://c", "null"'
        assert.are.same({ "https://app.example", "http://b.example:8080", "https://c", "null" },
            accepts("http = { corsOrigins = {" .. origins .. "} }").http.corsOrigins)
        assert.are.same({ "*" }, accepts('http = { corsOrigins = "*" }').http.corsOrigins)
        refuses('http = { corsOrigins = { "https://a.example/" } }', 'FILE: http.corsOrigins: expected "*" or a list '
            .. 'of origins such as "https://app.example", without a path, got "https://a.example/"')
    end)

    it("of hosts has names without port", function()
        assert.are.same({ "bridge.example" }, accepts('http = { hosts = { "Bridge.Example" } }').http.hosts)
        refuses('http = { hosts = { "a:80" } }', 'FILE: http.hosts: expected a list of host names such as '
            .. '"bridge.example", without a port, got "a:80"')
    end)
end)

describe("between keys", function()
    it("an agent is pinged twice before it is closed, however short the time", function()
        assert.are.equal(10000, accepts("", nil, { AI_BRIDGE_CLIENT_TTL_MS = "20000" }).agents.pingIntervalMs)
        assert.are.equal(5, accepts("agents = { ttlMs = 10 }").agents.pingIntervalMs)
        assert.are.equal(40, accepts("agents = { ttlMs = 200, pingIntervalMs = 40 }").agents.pingIntervalMs)
    end)

    it("a burst needs a rate, and is the rate when left out", function()
        assert.are.equal(20, accepts("limits = { messagesPerSecond = 20 }").limits.messageBurst)
        assert.are.equal(50, accepts("limits = { messagesPerSecond = 20, messageBurst = 50 }").limits.messageBurst)
        refuses("limits = { messageBurst = 50 }", "FILE: limits.messageBurst: expected limits.messagesPerSecond beside "
            .. "it; without a rate it has no use")
    end)
end)
