-- What a script cannot reach.
local bridge = require "tests.support.bridge"
local websocket = require "tests.support.websocket"

-- Runs the body while the script is loaded and gives what it returns as payload of a reply.
local function evaluate(body, files)
    local server = bridge.start({
        script = "local function body()\n" .. body .. "\nend\nlocal result = {body()}\n" ..
            "return {route = function(_, bridge)\nreturn bridge.reply(result)\nend}",
        files = files,
    })
    local alice = websocket.agent(server, "alice")
    alice:send_envelope({to = "alice"})
    return alice:receive_envelope().payload, server
end

describe("the sandbox", function()
    after_each(bridge.clean)

    it("has none of what reaches outside", function()
        local names = {
            "io", "debug", "package", "jit", "ffi", "load", "loadstring", "loadfile", "dofile", "getfenv", "setfenv",
            "newproxy", "module", "os.execute", "os.exit", "os.getenv", "os.remove", "os.rename", "os.tmpname",
            "os.setlocale", "string.dump", "_G.io", "_G.load",
        }
        local checks = {}
        for index, name in ipairs(names) do
            local root, rest = name:match("^([%w_]+)%.?(.*)$")
            checks[index] = rest == "" and ("type(%s)"):format(root) or ("type((%s or {}).%s)"):format(root, rest)
        end

        local types = evaluate("return " .. table.concat(checks, ", "))

        for index, name in ipairs(names) do
            assert.equal("nil", types[index], name)
        end
    end)

    it("has what a script needs", function()
        local result = evaluate([[
            local list = {3, 1, 2}
            table.sort(list)
            local wrapped = coroutine.wrap(function() coroutine.yield("y") end)
            return table.concat(list, ","), math.floor(2.5), string.format("%05.1f", 2.5), ("x"):rep(3),
                bit.band(6, 3), wrapped(), type(os.time()), type(os.clock()), type(os.date()),
                type(collectgarbage("count")), select("#", 1, 2), tostring(pcall(error, "e")), unpack({"u"}),
                tostring(rawequal(list, list)), tostring(luaduct ~= nil), next({n = 1}), tonumber("7")]])

        assert.same({
            "1,2,3", 2, "002.5", "xxx", 2, "y", "number", "number", "string", "number", 2, "false", "u", "true",
            "true", "n", 7,
        }, result)
    end)

    it("lets no one change a shared library", function()
        local result = evaluate([[
            return tostring(pcall(function() string.format = nil end)),
                tostring(pcall(function() table.extra = 1 end)),
                tostring(pcall(rawset, string, "format", nil)),
                tostring(pcall(setmetatable, string, {})),
                tostring(pcall(function() getmetatable("").__index = nil end)),
                type(string.format), type(table.extra), ("x"):rep(2)]])

        assert.same({"false", "false", "false", "false", "false", "function", "nil", "xx"}, result)
    end)

    it("has no way to collect or to stop the collector", function()
        local result = evaluate([[
            return tostring(pcall(collectgarbage, "stop")), tostring(pcall(collectgarbage, "collect")),
                tostring(pcall(collectgarbage))]])

        assert.same({"false", "false", "false"}, result)
    end)

    it("lets require reach the script's folder alone", function()
        local result = evaluate([[
            return require("inside").value, tostring(pcall(require, "../outside")),
                tostring(pcall(require, "/etc/passwd")),
                tostring(pcall(require, "ffi")), tostring(pcall(require, "io")), tostring(pcall(require, "posix"))]],
            {["inside.lua"] = "return {value = 'inside'}"})

        assert.same({"inside", "false", "false", "false", "false", "false"}, result)
    end)

    it("applies to required files as well", function()
        local result = evaluate('return require("inside")', {["inside.lua"] = "return type(io) .. type(loadstring)"})

        assert.same({"nilnil"}, result)
    end)

    it("writes print to the log", function()
        local _, server = evaluate('print("hello from the script", 42) return 1')

        local line = server:wait_log("hello from the script"):match("hello from the script[^\n]*")
        assert.truthy(line:find("42", 1, true))
    end)

    it("lets no log line be forged by what is printed", function()
        local _, server = evaluate('print("one\\nforged line\\27[31m") return 1')

        local log = server:wait_log("one")
        assert.is_nil(log:find("\nforged", 1, true))
        assert.is_nil(log:find("\27", 1, true))
    end)
end)
