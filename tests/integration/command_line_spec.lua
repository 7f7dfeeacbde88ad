-- The command line: what each command says, and with which exit status.
local bridge = require "tests.support.bridge"
local process = require "tests.support.process"

local function lines(text)
    local _, count = text:gsub("\n", "")
    return count
end

-- Writes a config file (text of the returned table, or a table) and gives its path.
local function config_file(content)
    return (bridge.write(type(content) == "table" and {config = content} or {config_text = content}))
end

describe("luaduct version", function()
    after_each(bridge.clean)

    it("prints the version on standard output", function()
        for _, argument in ipairs({"version", "--version", "-v"}) do
            local status, output, errors = bridge.luaduct({argument})
            assert.equal(0, status)
            assert.truthy(output:lower():match("^luaduct %d+%.%d+%.%d+"), output)
            assert.equal("", errors)
        end
    end)
end)

describe("luaduct help", function()
    after_each(bridge.clean)

    it("names every command on standard output", function()
        for _, argument in ipairs({"help", "--help", "-h"}) do
            local status, output, errors = bridge.luaduct({argument})
            assert.equal(0, status)
            for _, command in ipairs({"run", "check", "agent", "send", "bench", "new", "test", "version", "help"}) do
                assert.truthy(output:find("%f[%w]" .. command .. "%f[%W]"), command)
            end
            assert.equal("", errors)
        end
    end)

    it("explains each command, as its --help and its -h do", function()
        local _, overview = bridge.luaduct({"help"})
        local count = 0
        for command in overview:gmatch("\n  (%l+)  ") do
            count = count + 1
            local status, output = bridge.luaduct({"help", command})
            assert.equal(0, status, command)
            assert.truthy(output:find("luaduct " .. command, 1, true), output)
            for _, flag in ipairs({"--help", "-h"}) do
                local with_flag, same = bridge.luaduct({command, flag})
                assert.equal(0, with_flag, command)
                assert.equal(output, same)
            end
        end
        assert.is_true(count > 20, overview)
    end)

    it("takes a command's word too", function()
        for command, word in pairs({config = "migrate", token = "revoke", canary = "diff", cert = "dev"}) do
            local _, expected = bridge.luaduct({command, "--help"})
            assert.same({0, expected, ""}, {bridge.luaduct({"help", command, word})})
        end
    end)

    it("names the signals of a bridge, once for all pages", function()
        local _, of_run = bridge.luaduct({"help", "run"})
        local _, page = bridge.luaduct({"help", "--man", "luaduct.1"})
        local signals = page:match("\n%.SH SIGNALS\n(.-)\n%.SH ")
        for _, signal in ipairs({"SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2"}) do
            assert.truthy(of_run:find(signal, 1, true), of_run)
            assert.truthy(signals:find(signal, 1, true), signals)
        end
    end)
end)

describe("wrong usage", function()
    after_each(bridge.clean)

    local WRONG = {
        {"nonsense"}, {}, {"--nonsense"}, {"help", "nonsense"}, {"run", "--nonsense"}, {"run", "--mode"},
        {"run", "--mode", "other"}, {"run", "a.lua", "b.lua"}, {"run", "--ws-port", "x"}, {"run", "--ws-port", "70000"},
        {"check", "--nonsense"}, {"send"}, {"send", "--to"}, {"send", "--to", "a", "--broadcast"}, {"agent"},
        {"agent", "a", "b"}, {"agent", "--role"}, {"version", "more"}, {"bench", "--nonsense"},
        {"help", "config", "nonsense"}, {"help", "config", "migrate", "more"}, {"drain", "more"},
        {"history", "--limit", "2.5"}, {"history", "--limit", "1e3"}, {"history", "--limit", "-1"},
        {"tasks", "--limit", " 5"}, {"tail", "--count", "0x10"}, {"trace", "--count", ""}, {"reload", "--to", "1.0"},
        {"bench", "echo", "--agents", "1e1"}, {"token", "new", "a", "--connections", "1.5"},
    }
    for _, arguments in ipairs(WRONG) do
        it("exits 2 with one line that says what was wrong: luaduct " .. table.concat(arguments, " "), function()
            local status, output, errors = bridge.luaduct(arguments)

            assert.equal(2, status, errors)
            assert.equal("", output)
            assert.equal(1, lines(errors), errors)
        end)
    end
end)

describe("luaduct check", function()
    after_each(bridge.clean)

    it("exits 0 for a good config", function()
        local status, _, errors = bridge.luaduct({"check", config_file({})})

        assert.equal(0, status, errors)
        assert.equal("", errors)
    end)

    it("exits 0 for the built-in config, from any folder", function()
        local status, _, errors = bridge.luaduct({"check"}, {directory = "/"})

        assert.equal(0, status, errors)
    end)

    it("says file, path, what was expected and what is there", function()
        local path = config_file('return {phase2 = {gcOptimization = {memoryThreshold = "x"}}}')

        local status, _, errors = bridge.luaduct({"check", path})

        assert.equal(1, status)
        local expected = 'config.lua: phase2.gcOptimization.memoryThreshold: expected a number from 0 to 1, got "x"'
        assert.truthy(errors:find(expected, 1, true), errors)
    end)

    it("has a hint for a near miss", function()
        for text, hint in pairs({
            ["return {agents = {maxqueue = 5}}"] = "maxQueue", ["return {mod = 'enhanced'}"] = "mode",
            ["return {listen = {wsport = 1}}"] = "wsPort", ["return {logs = {level = 'info'}}"] = "log",
        }) do
            local status, _, errors = bridge.luaduct({"check", config_file(text)})
            assert.equal(1, status)
            assert.truthy(errors:find("did you mean", 1, true) and errors:find(hint, 1, true), errors)
        end
    end)

    it("reports every problem, not the first alone", function()
        local _, _, errors = bridge.luaduct({"check", config_file('return {mode = 7, history = {limit = -1}}')})

        assert.truthy(errors:find("mode", 1, true) and errors:find("history.limit", 1, true), errors)
    end)

    local BAD = {
        "return {mode = 'other'}", "return {listen = {wsPort = 65536}}", "return {unknown = 1}", "return 7", "return",
        "return {", "error('x')", "return {limits = {messageBytes = '1XiB'}}", "return {history = {limit = 1.5}}",
        "return {http = {corsOrigins = 'https://one.example'}}", "return {[1] = 2}", "return {log = {level = 'loud'}}",
        "return {tls = {cert = 'x.pem'}}", "return {store = {}}", "return nil",
    }
    for _, text in ipairs(BAD) do
        it("exits 1 for " .. text, function()
            local status, _, errors = bridge.luaduct({"check", config_file(text)})

            assert.equal(1, status)
            assert.truthy(errors:find("config.lua", 1, true), errors)
        end)
    end

    it("says file and line of a config that is no Lua", function()
        local status, _, errors = bridge.luaduct({"check", config_file("return {\n    mode = ,\n}")})

        assert.equal(1, status)
        assert.truthy(errors:find("config.lua:2", 1, true), errors)
    end)

    it("says so when there is no such file", function()
        local status, _, errors = bridge.luaduct({"check", "/nowhere/config.lua"})

        assert.equal(1, status)
        assert.truthy(errors:find("/nowhere/config.lua", 1, true), errors)
    end)

    it("looks at the script that the config names and at those on the command line", function()
        local good = bridge.write({script = "return {route = function() end}"})
        local bad = bridge.write({script = "return {\nroute = function("})
        local _, folder = bridge.write({files = {["other.lua"] = "return {\n\nroute = = }"}})

        assert.equal(0, (bridge.luaduct({"check", good})))
        local status, _, errors = bridge.luaduct({"check", bad})
        assert.equal(1, status)
        assert.truthy(errors:find("script.lua:2", 1, true), errors)
        status, _, errors = bridge.luaduct({"check", good, folder .. "/other.lua"})
        assert.equal(1, status)
        assert.truthy(errors:find("other.lua:3", 1, true), errors)
    end)

    it("does not run on a config that uses the environment wrongly", function()
        local status, _, errors = bridge.luaduct({"check", config_file({})}, {env = {AI_BRIDGE_HISTORY_LIMIT = "many"}})

        assert.equal(1, status)
        assert.truthy(errors:find("AI_BRIDGE_HISTORY_LIMIT", 1, true), errors)
    end)
end)

describe("luaduct send and agent", function()
    after_each(bridge.clean)

    it("say in one line what to do when the bridge cannot be reached", function()
        for _, arguments in ipairs({{"send", "--to", "bob", "{}"}, {"agent", "alice"}}) do
            arguments[#arguments + 1] = "--url"
            arguments[#arguments + 1] = "http://127.0.0.1:1"
            local status, output, errors = bridge.luaduct(arguments)
            assert.equal(1, status)
            assert.equal("", output)
            assert.equal(1, lines(errors), errors)
        end
    end)
end)

describe("any command", function()
    after_each(bridge.clean)

    it("writes no colour where NO_COLOR is set or nobody looks", function()
        for _, env in ipairs({{}, {NO_COLOR = "1"}}) do
            local _, output, errors = bridge.luaduct({"help"}, {env = env})
            assert.is_nil((output .. errors):find("\27", 1, true))
        end
    end)

    it("survives an output that nobody reads", function()
        local status = process.run({"sh", "-c", '"$0" help | true', bridge.BINARY})

        assert.equal(0, status)
    end)
end)
