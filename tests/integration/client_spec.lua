-- `luaduct send` and `luaduct agent` against a running bridge.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local function until_registered(server, id)
    wait.eventually(function()
        for _, agent in ipairs(http.get(server, "/agents").agents) do
            if agent.id == id then
                return agent
            end
        end
    end, 10, id .. " to register")
end

describe("luaduct send", function()
    after_each(bridge.clean)

    it("sends a JSON payload to an agent and prints the bridge's answer", function()
        local server = bridge.start()
        local bob = websocket.agent(server, "bob")

        local status, output = bridge.luaduct({
            "send", "--to", "bob", "--intent", "ask", "--url", server:url(), '{"n":1.10}',
        })

        assert.equal(0, status)
        assert.equal("queued", json.decode(output).status)
        local envelope, raw = bob:receive_envelope()
        assert.equal("ask", envelope.intent)
        assert.equal("api", envelope.from)
        assert.truthy(raw:find('"payload":{"n":1.10}', 1, true))
    end)

    it("sends other text as an object with the text", function()
        local server = bridge.start()
        local bob = websocket.agent(server, "bob")

        bridge.luaduct({"send", "--to", "bob", "--url", server:url(), 'say "hello"\n\1 é'})

        assert.same({text = 'say "hello"\n\1 é'}, bob:receive_envelope().payload)
    end)

    it("reads the payload from standard input with -", function()
        local server = bridge.start()
        local bob = websocket.agent(server, "bob")

        local arguments = {"send", "--to", "bob", "--url", server:url(), "-"}
        local status = bridge.luaduct(arguments, {input = '{"from":"a pipe"}'})

        assert.equal(0, status)
        assert.same({from = "a pipe"}, bob:receive_envelope().payload)
    end)

    it("broadcasts", function()
        local server = bridge.start()
        local bob = websocket.agent(server, "bob")

        bridge.luaduct({"send", "--broadcast", "--url", server:url(), "[1.10]"})

        assert.same({1.1}, bob:receive_envelope().payload)
    end)

    it("finds the bridge by AI_BRIDGE_URL", function()
        local server = bridge.start()

        local status = bridge.luaduct({"send", "--to", "bob", "{}"}, {env = {AI_BRIDGE_URL = server:url()}})

        assert.equal(0, status)
    end)

    it("exits 1 and says why when the bridge refuses", function()
        local server = bridge.start({config = {agents = {maxMailboxes = 0}}})

        local status, output, errors = bridge.luaduct({"send", "--to", "bob", "--url", server:url(), "{}"})

        assert.equal(1, status)
        assert.truthy((output .. errors):find("mailbox_full", 1, true), output .. errors)
    end)
end)

describe("luaduct agent", function()
    after_each(bridge.clean)

    it("with a pipe: sends each line, and ends when the bridge has taken them", function()
        local server = bridge.start()
        local bob = websocket.agent(server, "bob")
        local carol = websocket.agent(server, "carol")

        local status = bridge.luaduct({"agent", "alice", "--to", "bob", "--url", server:url()}, {
            input = '{"n":1.10}\nplain text\n@carol hello\n',
        })

        assert.equal(0, status)
        local first = bob:receive_envelope()
        assert.equal("alice", first.from)
        assert.same({n = 1.1}, first.payload)
        assert.same({text = "plain text"}, bob:receive_envelope().payload)
        assert.same({text = "hello"}, carol:receive_envelope().payload)
    end)

    it("registers with role, labels and tools", function()
        local server = bridge.start()
        local agent = bridge.luaduct_start({
            "agent", "alice", "--role", "writer", "--label", "eu", "--label", "gpu", "--tool", "search", "--url",
            server:url(),
        }, {input = "pipe"})

        until_registered(server, "alice")

        local meta = http.get(server, "/agents").agents[1]
        assert.equal("writer", meta.role)
        assert.same({"eu", "gpu"}, meta.labels)
        assert.same({"search"}, meta.tools)
        agent:close_input()
        assert.equal(0, agent:wait_exit())
    end)

    it("shows what it gets, harmless to a terminal", function()
        local server = bridge.start()
        local agent = bridge.luaduct_start({"agent", "alice", "--url", server:url()}, {input = "pipe"})
        until_registered(server, "alice")

        http.post(server, "/send", {to = "alice", payload = "look \27[31mhere"})

        wait.eventually(function()
            return agent:output():find("look", 1, true)
        end, 10, "the envelope to be shown")
        assert.is_nil(agent:output():find("\27", 1, true))
        agent:close_input()
        assert.equal(0, agent:wait_exit())
    end)

    it("ends with an error when it is refused", function()
        local server = bridge.start({script = "return {on_register = function() return false, 'members only' end}"})

        local status, _, errors = bridge.luaduct({"agent", "alice", "--url", server:url()}, {input = ""})

        assert.equal(1, status)
        assert.truthy(errors:find("members only", 1, true), errors)
    end)
end)
