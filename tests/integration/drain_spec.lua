-- Going away in order: no new agents, HTTP to the end, what waits before the goodbye, and an end in time.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local TOKEN = "correct horse battery staple"
-- Long enough that the test decides what happens next, not the clock.
local ANNOUNCED = {drain = {delayMs = 60000}}

-- Each way to begin it.
local WAYS = {
    SIGTERM = function(server) server:signal("SIGTERM") end,
    ["POST /admin/drain"] = function(server)
        local body, answer = http.post(server, "/admin/drain")
        assert.equal(202, answer.status)
        assert.equal("started", body.status)
    end,
}

-- A bridge whose bob does not read, with more for him than the kernel takes.
local function start_with_unread(config)
    local server = bridge.start({config = config})
    local alice = websocket.agent(server, "alice")
    local bob = websocket.agent(server, "bob", {features = {"batch"}}, {receive_buffer = 4096})
    for number = 1, 100 do
        alice:send_envelope({to = "bob", payload = {number = number, fill = ("x"):rep(30000)}})
    end
    alice:expect_nothing()
    return server, alice, bob
end

-- The payload numbers of all that an agent gets until it is closed, and the close.
local function read_to_close(agent)
    local numbers = {}
    while true do
        local message = agent:receive()
        if message.status then
            return numbers, message
        end
        local content = json.decode(message.text or message.payload)
        for _, envelope in ipairs(content.envelopes or {content.envelope}) do
            numbers[#numbers + 1] = envelope.payload.number
        end
    end
end

describe("a drain", function()
    after_each(bridge.clean)

    for name, begin in pairs(WAYS) do
        it("begun by " .. name .. " tells agents to come back elsewhere, and ends with status 0", function()
            local server = bridge.start({config = {drain = {retryMs = 500}}})
            local agents = {}
            for index = 1, 300 do
                agents[index] = websocket.agent(server, "agent-" .. index)
            end

            begin(server)

            for index = 1, 300 do
                local reason = agents[index]:expect_close(1001).reason
                local ms = tonumber(reason:match("^the bridge is going away; retry in (%d+) ms$"))
                assert.is_true(ms >= 500 and ms <= 1000, reason)
            end
            assert.equal(0, server:wait_exit())
            server.expected_end = true
        end)

        it("begun by " .. name .. " lets no agent in and says so on /ready, while HTTP goes on", function()
            local server = bridge.start({config = ANNOUNCED})
            local alice = websocket.agent(server, "alice")
            local unregistered = websocket.connect(server)

            begin(server)
            wait.eventually(function()
                return http.request(server, {path = "/ready"}).status == 503
            end)

            local ready = http.request(server, {path = "/ready"})
            assert.equal("draining", json.decode(ready.body).code)
            local status, answer = websocket.upgrade(server)
            assert.equal(503, status)
            assert.equal("draining", json.decode(answer[""]).code)
            unregistered:send_register("bob")
            unregistered:expect_error("draining")
            unregistered:expect_close(1001)
            assert.equal("ok", http.get(server, "/health").status)
            assert.equal(202, select(2, http.post(server, "/send", {to = "alice", id = "e1"})).status)
            assert.equal("e1", alice:receive_envelope().id)
            alice:send_envelope({to = "alice", id = "e2"})
            assert.equal("e2", alice:receive_envelope().id)
            server:kill()
            server.expected_end = true
        end)
    end

    it("lets go what waits for an agent before it says goodbye, in its order; HTTP is answered until then", function()
        local server, alice, bob = start_with_unread({drain = {timeoutMs = 60000}})

        server:signal("SIGTERM")
        alice:expect_close(1001)
        assert.equal("ok", http.get(server, "/health").status) -- for bob has not read yet

        local numbers = read_to_close(bob)
        for number = 1, 100 do
            assert.equal(number, numbers[number])
        end
        assert.equal(100, #numbers)
        assert.equal(0, server:wait_exit())
        server.expected_end = true
    end)

    it("delivers from the mailbox what was past an agent's send queue", function()
        local server, alice, bob = start_with_unread({limits = {sendQueueBytes = "64KiB"},
            drain = {timeoutMs = 60000}})

        server:signal("SIGTERM")
        alice:expect_close(1001)

        assert.equal(100, #(read_to_close(bob)))
        assert.equal(0, server:wait_exit())
        server.expected_end = true
    end)

    it("is over in time though an agent does not read", function()
        local server = start_with_unread({drain = {timeoutMs = 300}})

        server:signal("SIGTERM")

        assert.equal(0, server:wait_exit())
        server:wait_log("drain.timeoutMs is over")
        server.expected_end = true
    end)

    -- Threads that are left behind are what the thread sanitizer looks for.
    if not os.getenv("LUADUCT_TEST_SLOW") then
        it("is over in time though a task runs", function()
            local server = bridge.start({config = {drain = {timeoutMs = 300},
                phase2 = {workerPool = {allowRoles = {"agent"}}}},
                script = [[luaduct.workers.register("forever", "forever.lua") return {}]],
                files = {["forever.lua"] = "return function() while true do end end"}})
            local alice = websocket.agent(server, "alice")
            alice:send_envelope({to = "bridge", intent = "bridge.execute", payload = {operation = "forever"}})
            alice:expect_nothing()

            server:signal("SIGTERM")

            assert.equal(0, server:wait_exit())
            server.expected_end = true
        end)
    end

    it("handles what an agent sent behind a hook that waits", function()
        local server = bridge.start({script = [[
            return {route = function() luaduct.sleep(300) end}
        ]]})
        local alice = websocket.agent(server, "alice")
        for number = 1, 3 do
            alice:send_envelope({to = "alice", id = "e" .. number})
        end
        alice:send_frame({opcode = websocket.PING, payload = "all sent"})

        local seen, message = 0, alice:receive()
        while message.type ~= "close" do
            if message.type == "pong" then -- all has been read; on a slow machine the first may be through already
                server:signal("SIGTERM")
            else
                seen = seen + 1
                assert.equal("e" .. seen, json.decode(message.payload).envelope.id)
            end
            message = alice:receive()
        end
        assert.same({3, 1001}, {seen, message.status})
        assert.equal(0, server:wait_exit())
        server.expected_end = true
    end)

    it("ends at once by a second signal", function()
        local server = bridge.start({config = ANNOUNCED})
        server:signal("SIGTERM")
        server:wait_log("SIGTERM: draining")

        server:signal("SIGTERM")

        assert.equal(1, server:wait_exit())
        server.expected_end = true
    end)

    it("is not hurried by the signal that comes after POST /admin/drain", function()
        local server = bridge.start({config = ANNOUNCED})
        local alice = websocket.agent(server, "alice")
        http.post(server, "/admin/drain")

        server:signal("SIGTERM")

        assert.equal("draining", http.post(server, "/admin/drain").status)
        alice:send_envelope({to = "alice", id = "e1"})
        assert.equal("e1", alice:receive_envelope().id)
        server:kill()
        server.expected_end = true
    end)

    it("is begun over HTTP by an administrator only", function()
        local server = bridge.start({config = {auth = {token = TOKEN}}})

        local answer = http.request(server, {method = "POST", path = "/admin/drain",
            headers = {Authorization = "Bearer " .. TOKEN}})

        assert.equal(403, answer.status)
        assert.equal(200, http.request(server, {path = "/ready"}).status)
    end)
end)
