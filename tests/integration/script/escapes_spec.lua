-- Known ways out of a sandbox, each tried on a bridge that must go on serving.
local bridge = require "tests.support.bridge"
local escapes = require "tests.support.escapes"
local http = require "tests.support.http"
local websocket = require "tests.support.websocket"

-- `again()` has the sender ask once more, so that a case can look at what an earlier call left.
local function script(escape)
    return ([[
        local envelope, bridge
        local function again() return "again" end
        local function try()
            %s
        end
        return {route = function(now, functions)
            if now.intent ~= "try" then return nil end
            envelope, bridge = now, functions
            return bridge.reply({try()})
        end}]]):format(escape.body)
end

describe("a script that tries", function()
    after_each(bridge.clean)

    for _, escape in ipairs(escapes) do
        it(escape.name, function()
            local server = bridge.start({
                config = {script = {memoryLimit = "32MiB", budgetMs = 1000}, performance = {worker_threads = 1}},
                script = script(escape),
            })
            local alice = websocket.agent(server, "alice")
            local function try()
                alice:send_envelope({intent = "try", to = "alice", id = "e1"})
                return alice:receive_envelope()
            end

            local answer = try()
            if escape.gives and answer.payload[1] == "again" then
                answer = try()
            end

            if escape.gives then
                assert.equal("bridge", answer.from, server:log())
                assert.same(escape.gives, answer.payload)
            else
                assert.equal("e1", answer.id)
                assert.truthy(server:wait_log("route failed: "):find(escape.fails, 1, true), server:log())
            end
            local bob = websocket.agent(server, "bob")
            bob:send_envelope({to = "bob", id = "e2"})
            assert.equal("e2", bob:receive_envelope().id)
            assert.equal("ok", http.get(server, "/health").status)
        end)
    end
end)

describe("scripts of one chain", function()
    after_each(bridge.clean)

    it("share neither globals nor what they wrote over", function()
        local server = bridge.start({
            config = {script = {path = {"one.lua", "two.lua"}}},
            files = {
                ["one.lua"] = [[
                    shared, print, tostring = "mine", nil, function() return "mine" end
                    return {route = function() end}]],
                ["two.lua"] = [[
                    return {route = function(_, bridge)
                        return bridge.reply({type(shared), type(print), tostring(1)})
                    end}]],
            },
        })
        local alice = websocket.agent(server, "alice")

        alice:send_envelope({to = "alice"})

        assert.same({"nil", "function", "1"}, alice:receive_envelope().payload)
    end)

    it("do not choose one another's random numbers", function()
        local server = bridge.start({
            config = {script = {path = {"one.lua", "two.lua"}}, performance = {worker_threads = 1}},
            files = {
                ["one.lua"] = "return {route = function() math.randomseed(42) end}",
                ["two.lua"] = "return {route = function(_, bridge) return bridge.reply({math.random(2 ^ 31)}) end}",
            },
        })
        local alice = websocket.agent(server, "alice")
        local seen = {}
        for _ = 1, 2 do
            alice:send_envelope({to = "alice"})
            seen[#seen + 1] = alice:receive_envelope().payload[1]
        end

        assert.are_not.equal(seen[1], seen[2])
    end)
end)

describe("a script file that is bytecode", function()
    after_each(bridge.clean)

    it("is refused", function()
        local status, errors = bridge.start_failing({script = string.dump(function() return {} end)})

        assert.are_not.equal(0, status)
        assert.truthy(errors:find("this is bytecode; a script is text", 1, true), errors)
    end)

    it("is refused as a module, also behind a line of text", function()
        local code = string.dump(function() return {} end)
        for _, content in ipairs({code, "#!x\n" .. code, "\n" .. code}) do
            local status, errors = bridge.start_failing({
                script = 'require "inside" return {}', files = {["inside.lua"] = content}})
            assert.are_not.equal(0, status)
            assert.truthy(errors:find("inside.lua", 1, true), errors)
        end
    end)
end)
