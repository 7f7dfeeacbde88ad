-- Scripts that run away: stopped, logged, and everyone else is served meanwhile and afterwards.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local variants = require "tests.support.variants"
local websocket = require "tests.support.websocket"

local RUNAWAYS = require "tests.support.runaways"

-- ThreadSanitizer holds signals back in a Lua loop, so in its build the watchdog polls every thousand instructions.
-- This one is at the end of Lua's stack at nearly each of them, where no debug hook finds room to run.
if os.getenv("LUADUCT_TEST_TSAN") == "1" then
    RUNAWAYS["pcall that recurses into itself"] = nil
end

local function script(body)
    return "return {route = function(envelope, bridge)\nif envelope.intent == \"run away\" then\n" .. body ..
        "\nend\nend}\n"
end

describe("a route that runs away", function()
    after_each(bridge.clean)

    for name, body in pairs(RUNAWAYS) do
        it("by " .. name .. " is stopped and nobody else suffers", function()
            local server = bridge.start({script = script("do " .. body .. " end")})
            local alice = websocket.agent(server, "alice")
            local others = {}
            for index = 1, 4 do
                others[index] = websocket.agent(server, "other-" .. index)
            end

            alice:send_envelope({intent = "run away", to = "alice", id = "e1"})
            for round = 1, 3 do
                for index = 1, 4 do
                    others[index]:send_envelope({to = "other-" .. (index % 4 + 1), payload = round})
                end
                for index = 1, 4 do
                    assert.equal(round, others[index]:receive_envelope().payload)
                end
            end

            assert.equal("e1", alice:receive_envelope().id)
            server:wait_log("script.lua")
            alice:send_envelope({to = "alice", id = "e2"})
            assert.equal("e2", alice:receive_envelope().id)
            assert.equal("ok", http.get(server, "/health").status)
        end)
    end

    it("is dropped where script.onError says so", function()
        local server = bridge.start({config = {script = {onError = "drop"}}, script = script("while true do end")})
        local alice = websocket.agent(server, "alice")

        alice:send_envelope({intent = "run away", to = "alice", id = "e1"})

        assert.equal("e1", alice:expect_error("script_failed").id)
    end)

    for _, variant in ipairs(variants.reactors) do
        it(variant.name .. " again and again leaves the bridge as it was", function()
            local server = variant.start({config = {script = {budgetMs = 5}}, script = script("while true do end")})
            local alice = websocket.agent(server, "alice")
            local bob = websocket.agent(server, "bob")

            for number = 1, 50 do
                alice:send_envelope({intent = "run away", to = "bob", payload = number})
            end

            for number = 1, 50 do
                assert.equal(number, bob:receive_envelope().payload)
            end
        end)
    end

    it("by memory again and again stays under its ceiling", function()
        local server = bridge.start({
            config = {script = {memoryLimit = "16MiB"}, performance = {worker_threads = 1}},
            script = script("local list = {} while true do list[#list + 1] = {} end"),
        })
        local alice = websocket.agent(server, "alice")

        for number = 1, 10 do
            alice:send_envelope({intent = "run away", to = "alice", payload = number})
            assert.equal(number, alice:receive_envelope().payload)
        end

        if os.getenv("LUADUCT_TEST_SLOW") ~= "1" then
            assert.is_true(server:resident() < 80 * 1024 * 1024, server:resident() .. " bytes resident")
        end
    end)
end)

describe("another hook that runs away", function()
    after_each(bridge.clean)

    it("on_register: fails closed", function()
        local server = bridge.start({script = [[
            return {on_register = function(agent) while agent.role == "runaway" do end end}]]})
        local client = websocket.connect(server)

        client:send_register("alice", {role = "runaway"})

        assert.equal("error", client:receive_json().type)
        client:expect_close(1008)
        websocket.agent(server, "bob")
        assert.equal(1, #http.get(server, "/agents").agents)
    end)

    it("on_undeliverable: the sender gets its refusal", function()
        local server = bridge.start({script = [[
            return {
                route = function(_, bridge) return bridge.role("nobody") end,
                on_undeliverable = function() while true do end end,
            }]]})
        local alice = websocket.agent(server, "alice")

        alice:send_envelope({id = "e1"})

        assert.equal("error", alice:receive_json().type)
        alice:send_text('{"type":"heartbeat"}')
        assert.equal("heartbeat_ack", alice:receive_json().type)
    end)

    it("on_disconnect: the bridge goes on", function()
        local server = bridge.start({script = "return {on_disconnect = function() while true do end end}"})
        for round = 1, 5 do
            websocket.agent(server, "agent-" .. round):close()
        end

        websocket.agent(server, "alice"):expect_nothing()
        server:wait_log("script.lua")
    end)

    it("a hook that is stopped while the bridge shuts down does not hold it up", function()
        local server = bridge.start({script = script("while true do end")})
        local alice = websocket.agent(server, "alice")
        for _ = 1, 20 do
            alice:send_envelope({intent = "run away", to = "alice"})
        end

        server:stop()
    end)
end)
