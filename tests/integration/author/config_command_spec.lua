-- `luaduct config migrate`: what the Node bridge was told becomes a config that this one takes.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local process = require "tests.support.process"

-- The config of the Node bridge's notes, with what its constructors took.
local MODULE = [[
// config/production.js
require('dotenv').config();
const MINUTE = 60 * 1000;
module.exports = {
  performance: { cache_enabled: true, worker_threads: 2, binary_protocol: true },
  enableWorkerPool: false,
  gcOptimizer: { memoryPressureThreshold: 0.6, criticalMemoryThreshold: 0.9 },
  wsPort: Number(process.env.AI_BRIDGE_PORT) || 0, httpPort: 0,
  historyLimit: parseInt(process.env.HISTORY, 10) || 250,
  agents: { ttlMs: 5 * MINUTE },
  phase2: {
    objectPooling: { enabled: true, envelopePoolSize: 100, arrayPoolSize: 50 },
    gcOptimization: { enabled: true, cooldownMs: 15000 },
    workerPool: { maxWorkers: 'auto', taskTimeout: 30_000, },
  },
  alerts: { gcFrequency: { threshold: 12, action: 'WARN' } },
  logger: { level: 'info' },
};
]]

local function migrate(text, name)
    local folder = process.folder()
    local path = folder .. "/" .. (name or "production.js")
    process.write_file(path, text)
    local status, output, errors = bridge.luaduct({"config", "migrate", path, "--output", folder .. "/config.lua"})
    return status, process.read_file(folder .. "/config.lua"), errors, folder .. "/config.lua", output
end

describe("luaduct config migrate", function()
    after_each(bridge.clean)

    it("writes a config that a bridge starts with", function()
        local status, text, _, path = migrate(MODULE)
        assert.equal(0, status)

        local checked, said, errors = bridge.luaduct({"check", path})
        assert.equal(0, checked, errors)
        assert.equal(path .. ": ok\n", said)
        local server = bridge.run(path)
        assert.equal(250, http.get(server, "/api/status").storage.historyLimit)
        assert.equal("off", http.get(server, "/admin/engines").engines.workerPool.state)
        assert.truthy(text:find("threshold = 12", 1, true))
        assert.truthy(text:find("ttlMs = 300000", 1, true))
    end)

    it("says beside a key what changed", function()
        local _, text = migrate(MODULE)

        for key, words in pairs({
            memoryThreshold = "was gcOptimizer.memoryPressureThreshold; here: a share", limit = "was historyLimit",
            wsPort = "AI_BRIDGE_PORT overrides it, as before", worker_threads = "threads that serve connections",
        }) do
            local comment = text:match("%-%- ([^\n]*)\n%s*" .. key .. " = ")
            assert.truthy(comment:find(words, 1, true), comment)
        end
        assert.truthy(text:find('limit = number("HISTORY") or 250', 1, true))
    end)

    it("follows the variables that the module followed", function()
        local _, _, _, path = migrate(MODULE)

        local server = bridge.start({
            config_text = process.read_file(path), env = {HISTORY = "40"}, args = {"--ws-port", "0"},
        })

        assert.equal(40, http.get(server, "/api/status").storage.historyLimit)
    end)

    it("names what it left out, in the config and on standard error", function()
        local _, text, errors = migrate(MODULE)

        for _, words in ipairs({"gcOptimizer.criticalMemoryThreshold: unknown key", "logger: unknown key"}) do
            assert.truthy(text:find(words, 1, true))
            assert.truthy(errors:find(words, 1, true))
        end
        assert.truthy(errors:find("production.js:7: gcOptimizer", 1, true))
    end)

    it("leaves out what this bridge would refuse, with the reason", function()
        local status, text, errors, path = migrate([[
            export default {
                listen: {host: '0.0.0.0'}, http: {rateMax: -1}, phase2: {workerPool: {minWorkers: 9, maxWorkers: 3}},
            };
        ]])

        assert.equal(0, status)
        assert.truthy(errors:find("listen.host: left out", 1, true))
        assert.truthy(errors:find("http.rateMax: left out: expected a whole number", 1, true))
        assert.truthy(text:find("phase2.workerPool.maxWorkers: left out", 1, true))
        assert.equal(0, (bridge.luaduct({"check", path})))
    end)

    it("knows the old constructors", function()
        for name, mode in pairs({AIBridge = "original", EnhancedAIBridge = "enhanced"}) do
            local _, text = migrate(("const b = new %s({ historyLimit: 5, enableObjectPooling: false });"):format(name))
            assert.truthy(text:find(('mode = "%s"'):format(mode), 1, true))
            assert.truthy(text:find("limit = 5", 1, true))
        end
    end)

    it("reads a file of variables, and repeats none that is not the bridge's", function()
        local status, text, errors, path = migrate(
            "PORT=9000\nAI_BRIDGE_AUTH_TOKEN=s3cret\nAI_BRIDGE_RATE_MAX=many\nOPENAI_API_KEY=sk-123\nBRIDGE_PORT=3\n" ..
            "AI_BRIDGE_CORS_ORIGINS=https://a.example,https://b.example\nAI_BRIDGE_URL=ws://x\n", ".env")

        assert.equal(0, status)
        assert.truthy(text:find("wsPort = 9000", 1, true))
        assert.truthy(text:find('token = "s3cret"', 1, true))
        assert.truthy(text:find('{ "https://a.example", "https://b.example" }', 1, true))
        assert.truthy(errors:find(".env:3: left out: AI_BRIDGE_RATE_MAX", 1, true))
        assert.truthy(errors:find("OPENAI_API_KEY: not one of the bridge's", 1, true))
        assert.is_nil((text .. errors):find("sk-123", 1, true))
        assert.equal(0, (bridge.luaduct({"check", path})))
    end)

    it("executes nothing, and says where it cannot read", function()
        local folder = process.folder()
        local status, _, errors, _, output = migrate(
            ("module.exports = {\n  a: require('fs').writeFileSync('%s/x', '')\n};"):format(folder))

        assert.equal(1, status)
        assert.equal("", output)
        assert.truthy(errors:find("production.js:2:6: require would have to be executed", 1, true), errors)
        assert.equal("", process.read_file(folder .. "/x"))
    end)

    it("keeps a token to whom it belongs, and follows no link", function()
        local folder = process.folder()
        local files = {secret = "AI_BRIDGE_AUTH_TOKEN=correct-horse-battery\n", plain = "AI_BRIDGE_PORT=1\n"}
        for name, text in pairs(files) do
            process.write_file(folder .. "/" .. name .. ".env", text)
            local output = folder .. "/" .. name .. ".lua"
            local source = folder .. "/" .. name .. ".env"
            assert.equal(0, (bridge.luaduct({"config", "migrate", source, "--output", output})))
            local _, mode = process.run({"stat", "-c", "%a", output})
            assert.equal(name == "secret" and "600\n" or "644\n", mode)
        end
        assert.equal(0, (process.run({"ln", "-s", folder .. "/elsewhere", folder .. "/link.lua"})))
        local status, _, errors = bridge.luaduct({
            "config", "migrate", folder .. "/secret.env", "-o", folder .. "/link.lua",
        })
        assert.equal(1, status)
        assert.truthy(errors:find("exists", 1, true), errors)
        assert.is_nil(io.open(folder .. "/elsewhere"))
    end)

    it("passes over the code of an app, and says where it stands", function()
        local status, config, errors = migrate(
            "const b = new EnhancedAIBridge({wsPort: 4000});\nb.start().then(() => console.log(`up`));\n", "app.js")
        assert.equal(0, status, errors)
        assert.truthy(config:find("wsPort = 4000", 1, true), config)
        assert.truthy(config:find("-- line 2: ignored: `b` would have to be executed", 1, true), config)
        assert.truthy(errors:find("app.js:2: ignored: ", 1, true), errors)
    end)

    it("writes to standard output, and over no file", function()
        local _, _, _, path = migrate(MODULE)
        local source = path:gsub("config.lua$", "production.js")

        local status, output = bridge.luaduct({"config", "migrate", source})
        assert.equal(0, status)
        assert.equal(process.read_file(path), output)

        local again, _, errors = bridge.luaduct({"config", "migrate", source, "--output=" .. path})
        assert.equal(1, again)
        assert.truthy(errors:find("is there already", 1, true))
    end)

    it("says what is wrong with its usage", function()
        for _, row in ipairs({
            {{}, 2, "what?"}, {{"migrat"}, 2, "there is no migrat"}, {{"migrate"}, 2, "a file is missing"},
            {{"migrate", "-x"}, 2, "there is no option -x"}, {{"migrate", "a", "b"}, 2, "no place for b"},
            {{"migrate", "a", "--output"}, 2, "a value is missing"}, {{"migrate", "/nowhere.js"}, 1, "No such file"},
        }) do
            local status, _, errors = bridge.luaduct({"config", unpack(row[1])})
            assert.equal(row[2], status)
            assert.truthy(errors:find(row[3], 1, true), errors)
            assert.equal(1, select(2, errors:gsub("\n", "")))
        end
        local status, output = bridge.luaduct({"help", "config"})
        assert.equal(0, status)
        assert.truthy(output:find("usage: luaduct config migrate FILE", 1, true))
    end)

    it("writes from any module that it can read a config that is good", function()
        math.randomseed(7)
        local names = {
            "listen", "host", "wsPort", "agents", "maxQueue", "ttlMs", "phase2", "workerPool", "maxWorkers",
            "minWorkers", "enabled", "enableWorkerPool", "maxAge", "alerts", "gcFrequency", "threshold", "action",
            "http", "corsOrigins", "rateMax", "auth", "token", "tokenIsAdmin", "limits", "memory", "messageBurst",
            "mode", "tls", "cert", "user",
            "script", "path", "log", "file", "'a\\nb'", "'--[['", "performance", "worker_threads", "historyLimit",
        }
        local values = {
            "true", "false", "0", "1", "-1", "1e9", "1/0", "0.5", "'auto'", "'*'", "'x'", "'enhanced'", "'a\\n]]b'",
            "[]", "['x']", "null", "process.env.A", "process.env.A || 1", "Number(process.env.A) || 5",
            "process.env.A === 'x'", "process.env.PORT || 'x'", "'0.0.0.0'", "'1MiB'", "'WARN'",
        }
        local function object(depth)
            local parts = {}
            for index = 1, math.random(1, 6) do
                local inner = depth < 3 and math.random(3) > 1 and object(depth + 1) or values[math.random(#values)]
                parts[index] = names[math.random(#names)] .. ": " .. inner
            end
            return "{" .. table.concat(parts, ", ") .. "}"
        end
        for _ = 1, 20 do
            local text = "module.exports = " .. object(0)
            local status, _, errors, path = migrate(text)
            assert.equal(0, status, text .. "\n" .. errors)
            local checked, _, problems = bridge.luaduct({"check", path})
            assert.equal(0, checked, text .. "\n" .. problems .. process.read_file(path))
            process.clean()
        end
    end)
end)
