-- Peers that say nothing: never registered, gone without a word, or just quiet.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

describe("liveness", function()
    after_each(bridge.clean)

    it("a connection that does not register in time is told so and closed", function()
        local server = bridge.start({config = {agents = {registerTimeoutMs = 200}}})
        local client = websocket.connect(server)

        client:expect_error("register_timeout")
        client:expect_close(1008)
    end)

    it("frames that are no register do not stretch that time", function()
        local server = bridge.start({config = {agents = {registerTimeoutMs = 300}}})
        local client = websocket.connect(server)

        local answer
        wait.eventually(function()
            client:send_frame({opcode = websocket.PING, payload = "x"})
            answer = client:receive()
            return answer.type ~= "pong"
        end, 10, "the register timeout")

        assert.truthy(answer.type == "text" and answer.payload:find("register_timeout", 1, true))
        client:expect_close(1008)
    end)

    it("an agent that registered in time is not closed by the register timeout", function()
        local server = bridge.start({config = {agents = {registerTimeoutMs = 200}}})
        local late
        wait.eventually(function() -- in time, that is; a slow machine may need several tries
            local in_time, client = pcall(websocket.agent, server, "late")
            late = in_time and client
            return late
        end)
        websocket.connect(server):expect_error("register_timeout")

        late:expect_nothing()
    end)

    it("original mode has a register timeout only where a credential is configured", function()
        local open = bridge.start({config = {mode = "original", agents = {registerTimeoutMs = 200}}})
        local guarded = bridge.start({config = {
            mode = "original", agents = {registerTimeoutMs = 200}, auth = {token = "secret"},
        }})
        local unhurried = websocket.connect(open)
        local strict = websocket.connect(guarded)

        strict:expect_error("register_timeout")
        strict:expect_close(1008)

        unhurried:expect_nothing()
    end)

    it("the bridge pings a quiet agent", function()
        local server = bridge.start({config = {agents = {pingIntervalMs = 100}}})
        local client = websocket.agent(server, "alice")
        client.answer_ping = false

        assert.equal("ping", assert(client:receive()).type)
    end)

    it("an agent that answers no ping is closed with 1001 after agents.ttlMs", function()
        local server = bridge.start({config = {agents = {ttlMs = 400, pingIntervalMs = 100, cleanupIntervalMs = 100}}})
        local client = websocket.agent(server, "alice")
        client.answer_ping = false

        local message
        repeat
            message = assert(client:receive())
        until message.type ~= "ping"

        assert.equal("close", message.type)
        assert.equal(1001, message.status)
        wait.eventually(function()
            return #http.get(server, "/agents").agents == 0
        end, 10, "the agent to be unregistered")
    end)

    it("a pong is life enough", function()
        local server = bridge.start({config = {agents = {ttlMs = 1000, pingIntervalMs = 100, cleanupIntervalMs = 50}}})
        local quiet = websocket.agent(server, "quiet")
        local dead = websocket.agent(server, "dead")
        quiet.answer_ping, dead.answer_ping = false, false

        local before = wait.now()
        local message
        repeat -- one ping after the other of the quiet one's, until the other is over
            assert.equal("ping", assert(quiet:receive()).type)
            quiet:send_frame({opcode = websocket.PONG})
            message = dead:receive(0.001)
        until message and message.type ~= "ping"
        assert.equal("close", message.type)
        assert.is_true(wait.now() - before >= 0.9)
        quiet.answer_ping = true
        quiet:expect_nothing()
    end)

    it("takes the TTL from AI_BRIDGE_CLIENT_TTL_MS and the sweep from AI_BRIDGE_CLEANUP_INTERVAL_MS", function()
        local server = bridge.start({
            config = {agents = {pingIntervalMs = 100}},
            env = {AI_BRIDGE_CLIENT_TTL_MS = "400", AI_BRIDGE_CLEANUP_INTERVAL_MS = "100"},
        })
        local client = websocket.agent(server, "alice")
        client.answer_ping = false

        local message
        repeat
            message = assert(client:receive())
        until message.type ~= "ping"

        assert.equal(1001, message.status)
    end)
end)
