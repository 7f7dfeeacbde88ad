-- Scripts that raise, return nonsense or cannot be loaded.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local websocket = require "tests.support.websocket"

local function route(body)
    return "return {\n    route = function(envelope, bridge)\n" .. body .. "\n    end,\n}\n"
end

local NONSENSE = {
    "return {}", "return bridge.to{}", "return 42", 'return "carol"', "return true", "return false",
    'return {bridge.drop("x"), bridge.to("carol")}', "return {42}", 'return {to = "carol"}', "return function() end",
    "return bridge", "return envelope",
}

local RAISES = {
    'error("broken on purpose")', "error({code = 1})", "error()", "local x = nil; return x.y", 'return bridge.to()',
    "return bridge.to(42)", "return bridge.to({1})", 'return bridge.all{colour = "x"}', "return bridge.role(nil)",
    "return envelope.payload.a.b.c",
}

describe("a route that goes wrong", function()
    after_each(bridge.clean)

    for _, body in ipairs(NONSENSE) do
        it("by nonsense leaves the envelope to the mode's own rule, by default: " .. body, function()
            local server = bridge.start({script = route(body)})
            local alice = websocket.agent(server, "alice")
            local bob = websocket.agent(server, "bob")

            alice:send_envelope({to = "bob", id = "e1"})

            assert.equal("e1", bob:receive_envelope().id)
            alice:expect_nothing()
            server:wait_log("script.lua")
        end)
    end

    for _, body in ipairs(RAISES) do
        it("by an error leaves the envelope to the mode's own rule, by default: " .. body, function()
            local server = bridge.start({script = route(body)})
            local alice = websocket.agent(server, "alice")
            local bob = websocket.agent(server, "bob")

            alice:send_envelope({to = "bob", id = "e1"})

            assert.equal("e1", bob:receive_envelope().id)
            alice:expect_nothing()
        end)
    end

    for _, body in ipairs({"return {}", 'error("broken")', "return bridge.to()"}) do
        it("drops the envelope with onError = \"drop\", and says so: " .. body, function()
            local server = bridge.start({config = {script = {onError = "drop"}}, script = route(
                'if envelope.intent == "good" then return nil end ' .. body)})
            local alice = websocket.agent(server, "alice")
            local bob = websocket.agent(server, "bob")

            alice:send_envelope({to = "bob", id = "e1"})
            assert.equal("e1", alice:expect_error("script_failed").id)
            local answer_body, answer = http.post(server, "/send", {to = "bob"})
            assert.equal(503, answer.status)
            assert.equal("script_failed", answer_body.code)
            alice:send_envelope({to = "bob", id = "e2", intent = "good"})

            assert.equal("e2", bob:receive_envelope().id)
            assert.equal(1, #http.get(server, "/history").history)
        end)
    end

    it("is logged with file, line and traceback", function()
        local server = bridge.start({script = [[
local function helper()
    error("broken on purpose")
end
return {
    route = function()
        helper()
    end,
}]]})
        local alice = websocket.agent(server, "alice")

        alice:send_envelope({to = "alice"})

        server:wait_log("script.lua:2: broken on purpose")
        server:wait_log("script.lua:6")
    end)

    it("is not logged a thousand times", function()
        local server = bridge.start({script = route('error("broken on purpose")')})
        local alice = websocket.agent(server, "alice")

        for number = 1, 1000 do
            alice:send_envelope({to = "alice", payload = number})
        end
        for number = 1, 1000 do
            assert.equal(number, alice:receive_envelope().payload)
        end

        local _, times = server:wait_log("broken on purpose"):gsub("broken on purpose", "")
        assert.is_true(times >= 1 and times < 300, times .. " times")
    end)

    it("does not keep an assignment that it made before it broke", function()
        local server = bridge.start({script = route('envelope.to = "mallory" envelope.priority = "high" error("x")')})
        local alice = websocket.agent(server, "alice")
        local bob = websocket.agent(server, "bob")

        alice:send_envelope({to = "bob", id = "e1"})

        local envelope = bob:receive_envelope()
        assert.equal("bob", envelope.to)
        assert.equal("normal", envelope.priority)
    end)

    it("by an on_undeliverable that breaks keeps the refusal", function()
        local server = bridge.start({script = [[
            return {
                route = function(_, bridge) return bridge.role("nobody") end,
                on_undeliverable = function() error("broken on purpose") end,
            }]]})
        local alice = websocket.agent(server, "alice")

        alice:send_envelope({id = "e1"})

        local message = alice:receive_json()
        assert.equal("error", message.type)
        server:wait_log("broken on purpose")
    end)

    it("by an envelope field that does not exist or cannot hold the value is an error", function()
        local wrong = {"envelope.colour = 1", "envelope.to = {}", 'envelope.to = "a\\0b"', "envelope.tools = 1"}
        for _, body in ipairs(wrong) do
            local server = bridge.start({script = route(body)})
            local alice = websocket.agent(server, "alice")
            alice:send_envelope({to = "alice", id = "e1"})
            assert.equal("e1", alice:receive_envelope().id)
            server:wait_log("script.lua")
        end
    end)
end)

describe("a script that cannot be loaded refuses the start", function()
    after_each(bridge.clean)

    local BAD = {
        ["with a syntax error"] = {"return {\n    route = function(\n}", "script.lua:3"},
        ["that raises"] = {'\nerror("no good")', "script.lua:2"},
        ["that returns no table"] = {"return 42", "script.lua"},
        ["that returns nothing"] = {"local x = 1", "script.lua"},
        ["whose hook is no function"] = {'return {route = "x"}', "route"},
        ["that requires what is not there"] = {'local x = require "absent" return {}', "absent"},
        ["that runs on for ever"] = {"while true do end", "script.lua"},
        ["that is bytecode"] = {"\27LJ\2\0", "script.lua"},
    }
    for name, row in pairs(BAD) do
        it(name, function()
            local status, errors = bridge.start_failing({script = row[1]})

            assert.equal(1, status)
            assert.truthy(errors:find(row[2], 1, true), errors)
        end)
    end

    it("with a path where nothing is", function()
        local status, errors = bridge.start_failing({config = {script = {path = "absent.lua"}}})

        assert.equal(1, status)
        assert.truthy(errors:find("absent.lua", 1, true), errors)
    end)
end)
