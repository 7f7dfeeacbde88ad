-- Limits that neither a reconnect nor another reactor resets: of an address, of a sender, of the whole bridge.
local bridge = require "tests.support.bridge"
local events = require "tests.support.events"
local http = require "tests.support.http"
local json = require "tests.support.json"
local tokens = require "tests.support.tokens"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local function limited(server, limit)
    local text = http.request(server, {path = "/metrics", headers = {Accept = "text/plain"}}).body
    return tonumber(text:match('luaduct_limited_total{limit="' .. limit .. '"} (%d+)'))
end

local function start(limits, more)
    local config = more or {}
    config.limits = limits
    return bridge.start({config = config})
end

-- What a burst of envelopes comes to: how many of them are refused.
local function refusals(client, count)
    for number = 1, count do
        client:send_envelope({to = "absent", id = tostring(number)})
    end
    client:send_frame({opcode = websocket.PING, payload = "end"})
    local refused = 0
    while true do
        local message = assert(client:receive())
        if message.type == "pong" then
            return refused
        end
        assert.truthy(message.payload:find('"code":"rate_limited"', 1, true), message.payload)
        refused = refused + 1
    end
end

describe("a sender's rate", function()
    after_each(bridge.clean)

    it("is not reset by a reconnect, on whatever reactor", function()
        local server = start({messagesPerSecond = 1, messageBurst = 20}, {performance = {worker_threads = 4}})
        local began, refused = wait.now(), 0
        for _ = 1, 9 do
            local again = websocket.agent(server, "alice")
            refused = refused + refusals(again, 30)
            again:close()
        end
        local seconds = math.ceil(wait.now() - began)

        assert.is_true(refused <= 250 and refused >= 250 - seconds, refused .. " in seconds: " .. seconds)
        assert.equal(0, refusals(websocket.agent(server, "bob"), 20))
        assert.is_true(limited(server, "messages") >= refused)
    end)

    it("counts every message, whatever is wrong with it", function()
        local alice = websocket.agent(start({messagesPerSecond = 1, messageBurst = 10}), "alice")

        local began = wait.now()
        for _ = 1, 30 do
            alice:send_text("no JSON")
            alice:send_text('{"type":"heartbeat"}')
        end

        local codes = {}
        for _ = 1, 60 do
            local message = alice:receive_json()
            local code = message.code or message.type
            codes[code] = (codes[code] or 0) + 1
        end
        local let_in = 60 - (codes.rate_limited or 0)
        assert.is_true(let_in <= 10 + math.ceil(wait.now() - began), let_in)
    end)

    it("counts bytes as they are inflated", function()
        local server = start({bytesPerSecond = "64KiB"})
        local alice = websocket.agent(server, "alice")
        for _ = 1, 20 do
            alice:send_envelope({to = "absent", payload = ("x"):rep(30000)})
        end
        alice:expect_error("rate_limited")
        wait.eventually(function() -- the rest is on its way
            return limited(server, "bytes") >= 5
        end)
    end)
end)

describe("the rate of an address", function()
    after_each(bridge.clean)

    it("holds all its agents together", function()
        local server = start({messagesPerSecondPerAddress = 10})
        local agents, refused = {}, 0
        for number = 1, 8 do
            agents[number] = websocket.agent(server, "agent-" .. number)
        end
        for number = 1, 8 do
            refused = refused + refusals(agents[number], 50)
        end

        -- 400 envelopes and 8 registers; a burst of 10 and some seconds' worth pass.
        assert.is_true(refused > 100, refused)
        assert.is_true(limited(server, "messages_per_address") >= refused)
    end)

    it("holds HTTP too", function()
        local server = start({messagesPerSecondPerAddress = 2})
        local statuses = {}
        for _ = 1, 40 do
            local _, answer = http.post(server, "/send", {to = "absent"})
            statuses[answer.status] = (statuses[answer.status] or 0) + 1
            assert.truthy(answer.status == 202 or answer.headers["retry-after"])
        end

        assert.is_true((statuses[429] or 0) > 10)
        assert.is_true(statuses[202] >= 2)
    end)

    it("is of bytes as well", function()
        local server = start({bytesPerSecondPerAddress = 10000})
        local alice = websocket.agent(server, "alice")
        for _ = 1, 40 do
            alice:send_envelope({to = "absent", payload = ("x"):rep(5000)})
        end
        alice:expect_error("rate_limited")
        assert.is_true(limited(server, "bytes_per_address") > 0)
    end)
end)

describe("the rate of all", function()
    after_each(bridge.clean)

    it("is of messages and of bytes", function()
        local server = start({messagesPerSecondTotal = 5, bytesPerSecondTotal = "1MiB"})
        local alice = websocket.agent(server, "alice")
        assert.is_true(refusals(alice, 100) > 20)
        assert.is_true(limited(server, "messages_total") > 20)
    end)

    it("of bytes refuses what is past it", function()
        local server = start({bytesPerSecondTotal = 10000})
        local alice = websocket.agent(server, "alice")
        for _ = 1, 40 do
            alice:send_envelope({to = "absent", payload = ("x"):rep(5000)})
        end
        alice:expect_error("rate_limited")
        assert.is_true(limited(server, "bytes_total") > 0)
    end)
end)

describe("new connections", function()
    after_each(bridge.clean)

    local function status_of(server)
        local ok, status, headers = pcall(websocket.upgrade, server)
        return ok and status or nil, headers
    end

    it("past the limit of one address do not use up what all may", function()
        local server = start({handshakesPerSecondPerAddress = 2, handshakesPerSecond = 20}, {
            listen = {host = "localhost"},
        })
        for _ = 1, 60 do
            status_of(server)
        end

        assert.equal(101, (websocket.upgrade(server, {host = "::1"})))
    end)

    for key, limit in pairs({
        handshakesPerSecondPerAddress = "handshakes_per_address", handshakesPerSecond = "handshakes",
    }) do
        it("past limits." .. key .. " get 429, and the open ones are served", function()
            local server = start({[key] = 5})
            local alice = websocket.agent(server, "alice")
            local counts = {}
            wait.eventually(function()
                local status = status_of(server) or "closed"
                counts[status] = (counts[status] or 0) + 1
                return (counts[429] or 0) + (counts.closed or 0) > 20
            end, nil, "twenty refusals")

            assert.is_true(counts[101] >= 3)
            alice:send_envelope({to = "alice", id = "still"})
            assert.equal("still", alice:receive_envelope().id)
            wait.eventually(function()
                return status_of(server) == 101
            end, 10, "another connection to be let in")
            local counted
            wait.eventually(function()
                local ok, number = pcall(limited, server, limit)
                counted = ok and number
                return counted
            end, 10, "the metrics")
            assert.is_true(counted > 20)
        end)
    end
end)

describe("agents", function()
    after_each(bridge.clean)

    for key, limit in pairs({agents = "agents", agentsPerAddress = "agents_per_address"}) do
        it("past limits." .. key .. " are refused, but one that comes back is not", function()
            local server = start({[key] = 2})
            websocket.agent(server, "alice")
            local bob = websocket.agent(server, "bob")

            local carol = websocket.connect(server)
            carol:send_register("carol")
            carol:expect_error("overloaded")
            carol:expect_close(1013)
            local bob_again = websocket.agent(server, "bob")
            bob:expect_close(4001)

            bob_again:finish(1000)
            bob_again:close()
            wait.eventually(function()
                local client = websocket.connect(server)
                client:send_register("carol")
                return client:receive_json().type == "registered"
            end, 10, "a place to be free again")
            assert.is_true(limited(server, limit) >= 1)
        end)
    end
end)

describe("script time", function()
    after_each(bridge.clean)

    it("past limits.scriptMsPerSecond is refused, and others' is untouched", function()
        local server = bridge.start({
            config = {limits = {scriptMsPerSecond = 20}, script = {budgetMs = 10000},
                performance = {worker_threads = 1}},
            script = [[return {route = function(envelope)
                if envelope.from == "alice" then
                    local till = os.clock() + 0.02
                    while os.clock() < till do end
                end
            end}]],
        })
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")

        assert.is_true(refusals(alice, 40) > 20)
        assert.equal(0, refusals(bob, 40))
        assert.is_true(limited(server, "script_time") > 20)
    end)

    it("of somebody who has not registered is his address's", function()
        local server = bridge.start({
            config = {mode = "original", limits = {scriptMsPerSecond = 20}, script = {budgetMs = 10000},
                performance = {worker_threads = 1}},
            script = [[return {route = function()
                local till = os.clock() + 0.02
                while os.clock() < till do end
            end}]],
        })
        assert.is_true(refusals(websocket.connect(server), 40) > 20)
    end)
end)

describe("script time of a hook that waits", function()
    after_each(bridge.clean)

    local BUSY = [[
        local function busy()
            local till = os.clock() + 0.02
            while os.clock() < till do end
        end
    ]]

    local function start_busy(script)
        return bridge.start({
            config = {limits = {scriptMsPerSecond = 1}, script = {budgetMs = 10000},
                performance = {worker_threads = 1}},
            script = BUSY .. script,
        })
    end

    it("is counted after its wait as well", function()
        local server = start_busy("return {route = function() luaduct.sleep(0) busy() end}")
        local alice = websocket.agent(server, "alice")

        for number = 1, 30 do
            alice:send_envelope({to = "absent", id = tostring(number)})
        end
        wait.eventually(function() -- a ping would overtake what waits for the hook
            return limited(server, "script_time") > 10
        end)
    end)

    it("is counted in an on_undeliverable as well", function()
        local server = start_busy([[return {
            route = function(_, bridge) return bridge.role("nobody") end,
            on_undeliverable = function(_, _, _, bridge) luaduct.sleep(0) busy() return bridge.mailbox("alice") end,
        }]])
        local alice = websocket.agent(server, "alice")

        for number = 1, 30 do
            alice:send_envelope({id = tostring(number)})
        end
        alice:send_frame({opcode = websocket.PING, payload = "end"})
        wait.eventually(function()
            return limited(server, "script_time") > 10
        end)
    end)
end)

describe("script time of on_register", function()
    after_each(bridge.clean)

    local WAYS = {["at once"] = "busy()", ["after a wait"] = "luaduct.sleep(0) busy()"}

    -- Answers to so many registers, by type or code.
    local function register(client, count, id)
        local answers = {}
        for _ = 1, count do
            client:send_register(id)
            local answer = client:receive_json()
            local name = answer.code or answer.type
            answers[name] = (answers[name] or 0) + 1
        end
        return answers
    end

    for way, body in pairs(WAYS) do
        it("is the sender's, " .. way, function()
            local server = bridge.start({
                config = {limits = {scriptMsPerSecond = 20}, script = {budgetMs = 10000},
                    performance = {worker_threads = 1}},
                script = [[return {on_register = function(agent)
                    local function busy()
                        local till = os.clock() + 0.02
                        while os.clock() < till do end
                    end
                    if agent.role == "slow" then ]] .. body .. [[ end
                end}]],
            })
            local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
            local refused = 0
            for _ = 1, 40 do
                alice:send_register("alice", {role = "slow"})
                local answer = alice:receive_json()
                refused = refused + (answer.code == "rate_limited" and 1 or 0)
            end
            assert.is_true(refused > 20, tostring(refused))
            assert.same({registered = 40}, register(bob, 40, "bob"))
            assert.is_true(limited(server, "script_time") > 20)
        end)
    end

    it("is the address's while nobody knows who it is, whatever name it takes", function()
        local server = bridge.start({
            config = {limits = {scriptMsPerSecond = 1}, script = {budgetMs = 10000},
                performance = {worker_threads = 1}},
            script = [[return {on_register = function()
                local till = os.clock() + 0.02
                while os.clock() < till do end
            end}]],
        })
        local refused = 0
        for number = 1, 20 do
            local client = websocket.connect(server)
            client:send_register("agent" .. number)
            if client:receive_json().code == "rate_limited" then
                refused = refused + 1
                client:expect_close(1013) -- come again later
            end
            client:close()
        end
        assert.is_true(refused > 10, tostring(refused))
    end)
end)

describe("mailboxes", function()
    after_each(bridge.clean)

    it("and what waits for a free agent hold no more of one sender than its share, in all together", function()
        local server = bridge.start({
            config = {limits = {mailboxBytesPerSender = "64KiB"}, performance = {worker_threads = 1}},
            script = 'return {route = function(_, bridge) return bridge.any{role = "worker", wait = true} end}',
        })
        local alice = websocket.agent(server, "alice")
        websocket.agent(server, "worker", {role = "worker"})
        alice:send_envelope({intent = "task.assign", taskId = "t0"}) -- which fills the one worker

        for number = 1, 20 do
            alice:send_envelope({intent = "task.assign", taskId = "t" .. number, payload = ("x"):rep(8000)})
        end

        alice:expect_error("overloaded")
        local waiting = http.get(server, "/optimization").delivery.waiting
        assert.is_true(waiting >= 6 and waiting <= 8, tostring(waiting))
    end)

    it("hold no more of one sender than limits.mailboxBytesPerSender, in all together", function()
        local server = start({mailboxBytesPerSender = "64KiB"}, {listen = {host = "localhost"}})
        local alice = websocket.agent(server, "alice")
        -- IPv6's loopback is another sender.
        local ok, other = pcall(websocket.agent, server, "other", nil, {host = "::1"})

        for number = 1, 20 do
            alice:send_envelope({to = "absent-" .. number, payload = ("x"):rep(8000)})
        end
        alice:expect_error("mailbox_full")
        local kept = http.get(server, "/api/status").performance.queuedMessages
        assert.is_true(kept >= 6 and kept <= 8, kept)
        if ok then
            other:send_envelope({to = "absent-20", payload = ("x"):rep(8000)})
            other:expect_nothing()
        end
        wait.eventually(function() -- the last of alice's are on their way
            return limited(server, "mailbox_per_sender") >= 12
        end)
    end)

    it("give a sender's share back when an envelope has gone", function()
        local server = start({mailboxBytesPerSender = "64KiB"})
        local alice = websocket.agent(server, "alice")
        for round = 1, 4 do
            for number = 1, 6 do
                alice:send_envelope({to = "bob", id = round .. "-" .. number, payload = ("x"):rep(8000)})
            end
            alice:expect_nothing()
            local bob = websocket.agent(server, "bob")
            for number = 1, 6 do
                assert.equal(round .. "-" .. number, bob:receive_envelope().id)
            end
            bob:finish(1000)
            bob:close()
            wait.eventually(function()
                return #http.get(server, "/agents").agents == 1
            end, 10, "bob to be gone")
        end
    end)
end)

describe("a message", function()
    after_each(bridge.clean)

    it("after another is timed by itself, also when every read ends inside one", function()
        local server = start({messageTimeoutMs = 2000})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        local frame = websocket.frame({payload = '{"type":"envelope","envelope":{"to":"bob"}}'})
        local half = math.floor(#frame / 2)
        alice:send_bytes(frame:sub(1, half))
        local till = wait.now() + 2.2
        while wait.now() < till do -- each message takes a tenth of a second, all together more than the limit
            assert.is_nil(bob:receive(0.1))
            alice:send_bytes(frame:sub(half + 1) .. frame:sub(1, half))
            bob:receive_envelope()
        end

        alice:send_bytes(frame:sub(half + 1))
        bob:receive_envelope()
    end)

    it("that is not complete after limits.messageTimeoutMs closes the connection, drip-fed or not", function()
        local server = start({messageTimeoutMs = 300}, {agents = {pingIntervalMs = 100}})
        local drip, silent = websocket.agent(server, "drip"), websocket.agent(server, "silent")
        local fine = websocket.agent(server, "fine")
        silent:send_frame({fin = false, payload = "{"})
        local closed = false
        wait.eventually(function()
            drip:send_bytes(websocket.frame({fin = false, payload = "{", opcode = closed == false
                and websocket.TEXT or websocket.CONTINUATION}))
            closed = nil
            local message = drip:receive(0.05)
            return message and message.type == "text" and message.payload:find('"code":"rate_limited"', 1, true)
        end, 10, "the drip to be refused")

        drip:expect_close(1008)
        silent:expect_error("rate_limited")
        silent:expect_close(1008)
        fine:send_envelope({to = "fine", id = "x"})
        assert.equal("x", fine:receive_envelope().id)
        assert.equal(2, limited(server, "message_time"))
    end)

    it("in pieces so small that they cost more than they bring closes the connection", function()
        local server = start({})
        local alice = websocket.agent(server, "alice")
        alice:send_frame({fin = false, payload = "{"})

        alice:send_bytes(websocket.frame({opcode = websocket.CONTINUATION, fin = false}):rep(20000))

        alice:expect_error("rate_limited")
        alice:expect_close(1008)
        assert.equal(1, limited(server, "costly_messages"))
    end)
end)

describe("pings", function()
    after_each(bridge.clean)

    it("without end are not all answered, but the last one is", function()
        local server = start({})
        local alice = websocket.agent(server, "alice")
        local ping = websocket.frame({opcode = websocket.PING, payload = ("p"):rep(100)})

        alice:send_bytes(ping:rep(20000) .. websocket.frame({opcode = websocket.PING, payload = "last"}))

        local pongs = 0
        repeat
            local message = assert(alice:receive())
            assert.equal("pong", message.type)
            pongs = pongs + 1
        until message.payload == "last"
        assert.is_true(pongs < 10000, pongs)
        assert.is_true(limited(server, "pings") > 0)
    end)
end)

describe("a request", function()
    after_each(bridge.clean)

    it("whose body takes longer than http.bodyTimeoutMs is answered 408, drip-fed or not", function()
        local server = start({}, {http = {bodyTimeoutMs = 200, headerTimeoutMs = 60000, rateMax = 0}})
        local client = http.connect(server)
        client:send_bytes("POST /send HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")

        local answer
        wait.eventually(function()
            client:send_bytes("x")
            answer = client:receive(false, 0.02)
            return answer
        end, 10, "the answer")

        assert.equal(408, answer.status)
    end)

    it("whose header is longer than http.headerBytes is answered 431", function()
        local server = start({}, {http = {headerBytes = 2048, rateMax = 0}})
        local function with(bytes)
            return http.request(server, {path = "/health", headers = {["X-Long"] = ("x"):rep(bytes)}}).status
        end

        assert.equal(200, with(1000))
        assert.equal(431, with(2000))
    end)
end)

describe("an identity", function()
    after_each(bridge.clean)

    local function start_with(people, limits)
        return bridge.start({
            config = {auth = {tokens = "tokens.jsonl"}, limits = limits, performance = {worker_threads = 4}},
            files = {["tokens.jsonl"] = tokens.file(people)},
        })
    end

    local function agent(server, id, token)
        return websocket.agent(server, id, {authToken = token or "crew-token"})
    end

    local CREW = {
        crew = {token = "crew-token", roles = {"agent"}, clientIds = {"*"}},
        other = {token = "other-token", roles = {"agent"}, clientIds = {"*"}},
    }

    it("has one rate, whatever its agents are called", function()
        local server = start_with(CREW, {messagesPerSecond = 1, messageBurst = 20})
        local refused = 0
        for number = 1, 4 do
            refused = refused + refusals(agent(server, "crew-" .. number), 20)
        end

        assert.is_true(refused > 50, refused)
        assert.equal(0, refusals(agent(server, "crew-1b", "other-token"), 20))
    end)

    it("has the same rate over HTTP", function()
        local server = start_with(CREW, {messagesPerSecond = 1, messageBurst = 10})
        assert.is_true(refusals(agent(server, "crew-1"), 40) > 0)

        wait.eventually(function() -- one may pass each second
            local _, answer = http.post(server, "/send", {to = "x", from = "crew-1"},
                {Authorization = "Bearer crew-token"})
            return answer.status == 429
        end, nil, "a refusal over HTTP")
        local _, answer = http.post(server, "/send", {to = "x"}, {Authorization = "Bearer other-token"})
        assert.equal(202, answer.status)
    end)

    it("may have limits of its own in the place of the config's", function()
        local server = start_with({
            crew = {token = "crew-token", roles = {"agent"}, clientIds = {"*"},
                limits = {messagesPerSecond = 1, messageBurst = 5, connections = 2}},
            other = {token = "other-token", roles = {"agent"}, clientIds = {"*"}},
        })

        assert.is_true(refusals(agent(server, "crew-1"), 40) >= 12)
        agent(server, "crew-2")
        local third = websocket.connect(server)
        third:send_register("crew-3", {authToken = "crew-token"})
        third:expect_error("overloaded")
        third:expect_close(1013)
        assert.equal(0, refusals(agent(server, "free", "other-token"), 100))
        for number = 1, 5 do
            agent(server, "free-" .. number, "other-token")
        end
    end)

    it("shows those of its credential at /agents", function()
        local server = start_with({
            crew = {token = "crew-token", roles = {"agent"}, clientIds = {"*"},
                limits = {messagesPerSecond = 7, connections = 2}},
            other = {token = "other-token", roles = {"agent", "reader"}, clientIds = {"*"}},
        })
        agent(server, "crew-1")
        agent(server, "free", "other-token")

        local limits = {}
        for _, each in ipairs(http.get(server, "/agents", {Authorization = "Bearer other-token"}).agents) do
            limits[each.id] = each.limits or "none"
        end
        assert.same({["crew-1"] = {messagesPerSecond = 7, connections = 2}, free = "none"}, limits)
    end)

    it("is not used up by the register, wherever the credential is shown", function()
        local server = start_with({
            crew = {token = "crew-token", roles = {"agent"}, clientIds = {"*"}, limits = {messagesPerSecond = 1}},
            other = {token = "other-token", roles = {"agent"}, clientIds = {"*"}, limits = {messagesPerSecond = 1}},
        })
        local function send_at_once(client, messages) -- one a second would pass
            local frames = {}
            for index, message in ipairs(messages) do
                frames[index] = websocket.frame({payload = json.encode(message)})
            end
            client:send_bytes(table.concat(frames))
        end
        local function send_behind(client, register)
            local messages = {{type = "register", clientId = "a-" .. register,
                authToken = register == "crew-token" and register or nil}}
            for number = 1, 4 do
                messages[#messages + 1] = {type = "envelope", envelope = {id = "e" .. number, to = "absent"}}
            end
            send_at_once(client, messages)
            assert.equal("registered", client:receive_json().type)
            assert.equal("e2", client:expect_error("rate_limited").id)
        end

        send_behind(websocket.connect(server), "crew-token")
        send_behind(websocket.connect(server, {headers = {Authorization = "Bearer other-token"}}), "other-token")
        -- … but one after the other is.
        local again = websocket.connect(server, {headers = {Authorization = "Bearer other-token"}})
        local register = {type = "register", clientId = "a-other-token"}
        send_at_once(again, {register, register})
        assert.equal("registered", again:receive_json().type)
        again:expect_error("rate_limited")
    end)

    it("has no more connections than limits.connectionsPerIdentity, shown at the upgrade or at the register", function()
        local server = start_with(CREW, {connectionsPerIdentity = 2})
        local shown = {headers = {Authorization = "Bearer crew-token"}}
        local _, _, first = websocket.upgrade(server, shown)
        first:register("crew-1")
        agent(server, "crew-2")

        assert.equal(503, (websocket.upgrade(server, shown)))
        agent(server, "elsewhere", "other-token")
        first:finish(1000)
        first:close()
        wait.eventually(function()
            return (websocket.upgrade(server, shown)) == 101
        end, 10, "a place to be free again")
        local text = http.request(server, {path = "/metrics", headers = {Accept = "text/plain"}}).body
        assert.truthy(text:find('luaduct_limited_total{limit="connections_per_identity"} %d'))
    end)

    it("counts once when it comes back while its old connection is still being closed", function()
        local server = start_with(CREW, {connectionsPerIdentity = 1, agentsPerIdentity = 1, messageBytes = "64KiB"})
        local first = agent(server, "crew-1")
        first:send_text(("x"):rep(70000))
        first:expect_error("too_large")
        first:expect_close(1009) -- which this side does not answer

        agent(server, "crew-2")
    end)

    it("counts what listens to events among its connections", function()
        local server = bridge.start({
            config = {auth = {tokens = "tokens.jsonl"}, limits = {connectionsPerIdentity = 2}},
            files = {["tokens.jsonl"] = tokens.file({
                crew = {token = "crew-token", roles = {"admin", "agent"}, clientIds = {"*"}},
                other = {token = "other-token", roles = {"admin"}},
            })},
        })
        local shown, others = {headers = tokens.bearer("crew-token")}, {headers = tokens.bearer("other-token")}
        local listener = events.listen(server, "/events", shown)
        agent(server, "crew-1")

        local body, answer = http.get(server, "/events", shown.headers)
        assert.equal(503, answer.status)
        assert.equal("overloaded", body.code)
        assert.equal(503, (websocket.upgrade(server, shown)))
        events.listen(server, "/events", others)
        listener.stream:close()
        wait.eventually(function()
            return (websocket.upgrade(server, shown)) == 101
        end, 10, "a place to be free again")
    end)

    it("has no more agents than limits.agentsPerIdentity", function()
        local server = start_with(CREW, {agentsPerIdentity = 2})
        agent(server, "crew-1")
        agent(server, "crew-2")

        local third = websocket.connect(server)
        third:send_register("crew-3", {authToken = "crew-token"})

        third:expect_error("overloaded")
        third:expect_close(1013)
        agent(server, "crew-1")
        agent(server, "elsewhere", "other-token")
    end)

    it("has one share of the mailboxes, wherever it connects from", function()
        local server = start_with(CREW, {mailboxBytesPerSender = "64KiB"})
        local crew, other = agent(server, "crew-1"), agent(server, "elsewhere", "other-token")
        for number = 1, 20 do
            crew:send_envelope({to = "absent-" .. number, payload = ("x"):rep(8000)})
        end

        crew:expect_error("mailbox_full")
        other:send_envelope({to = "absent-1", payload = ("x"):rep(8000)})
        other:expect_nothing()
    end)
end)
