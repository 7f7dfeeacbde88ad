-- The examples of docs/lua-api.md are scripts that load, and those of waits, timers and shared data do what they say.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local process = require "tests.support.process"
local websocket = require "tests.support.websocket"

local function examples()
    local list = {}
    for block in process.read_file("docs/lua-api.md"):gmatch("```lua\n(.-)```") do
        list[#list + 1] = block
    end
    return list
end

-- The example that has this text, as a script.
local function example(text)
    for _, block in ipairs(examples()) do
        if block:find(text, 1, true) then
            return "local script = {}\n" .. block .. "\nreturn script"
        end
    end
    error("docs/lua-api.md has no example with " .. text)
end

describe("docs/lua-api.md", function()
    after_each(bridge.clean)

    it("has examples that load", function()
        local count = 0
        for _, block in ipairs(examples()) do
            local source = block
            if not block:find("in the config file", 1, true) then
                if not block:find("function", 1, true) then
                    source = "function script.route(envelope, bridge)\n" .. block .. "\nend"
                end
                if not block:find("return script", 1, true) then
                    source = "local script = {}\n" .. source .. "\nreturn script"
                end
                local hook = source:find("script.authenticate", 1, true) ~= nil
                local path = bridge.write({script = source, config = {auth = {hook = hook}}})
                local status, _, errors = bridge.luaduct({"check", path})
                assert.equal(0, status, block .. errors)
                count = count + 1
            end
        end
        assert.is_true(count > 8)
    end)

    it("limits an agent by luaduct.shared", function()
        local server = bridge.start({script = example("luaduct.shared.incr(\"sent:\"")})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")

        for i = 1, 101 do
            alice:send_envelope({to = "bob", id = tostring(i)})
        end
        for i = 1, 100 do
            assert.equal(tostring(i), bob:receive_envelope().id)
        end
        assert.equal("101", alice:expect_error("script_dropped").id)
    end)

    it("asks the doorman who may join", function()
        local server = bridge.start({script = example("\"may.join\"")})
        websocket.agent(server, "early") -- nobody to ask
        local doorman = websocket.agent(server, "doorman")
        local late = websocket.connect(server)
        late:send_json({type = "register", clientId = "late"})

        local asked = doorman:receive_envelope()
        assert.same({id = "late", role = "agent"}, asked.payload)
        doorman:send_envelope({to = "bridge", replyTo = asked.id, payload = {welcome = false}})

        assert.equal("the doorman said no", late:receive_json().error)
    end)

    it("counts votes", function()
        local server = bridge.start({script = example("intent = \"vote\"")})
        local ann, ben, asker =
            websocket.agent(server, "ann"), websocket.agent(server, "ben"), websocket.agent(server, "asker")

        asker:send_envelope({intent = "poll", payload = {about = "lunch"}})
        for _, agent in ipairs({ann, ben}) do
            local asked = agent:receive_envelope()
            assert.same({about = "lunch"}, asked.payload)
            agent:send_envelope({to = "bridge", replyTo = asked.id, payload = {yes = agent == ann}})
        end

        local answer = asker:receive_envelope().payload
        assert.same({1, 2, "cem"}, {answer.yes, answer.votes, answer.missing[1].to})
    end)

    it("tells who has left", function()
        local server = bridge.start({script = example("\"agent.left\"")})
        local operator, alice = websocket.agent(server, "operator"), websocket.agent(server, "alice")

        alice:close()
        local told = operator:receive_envelope()
        assert.same({"agent.left", "alice"}, {told.intent, told.payload.id})
    end)

    it("calls the roll from one reactor", function()
        local server = bridge.start({script = (example("\"roll call\""):gsub("every%(60000", "every(200"))})
        local operator = websocket.agent(server, "operator")

        assert.equal("roll.call", operator:receive_envelope().intent)
        local calls = tonumber(http.request(server, {path = "/metrics", headers = {Accept = "text/plain"}}).body:match(
            'script_calls_total{hook="timer"} (%d+)'))
        assert.is_true(calls >= 1)
        assert.equal(1, #http.get(server, "/history").history)
    end)
end)
