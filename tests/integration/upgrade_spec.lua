-- SIGUSR2: another process goes on with the connections, the agents, the mailboxes and the history; or, where that
-- cannot be, the old one does.
local bridge = require "tests.support.bridge"
local deflate = require "tests.support.deflate"
local fake_successor = require "tests.support.fake_successor"
local http = require "tests.support.http"
local msgpack = require "tests.support.msgpack"
local process = require "tests.support.process"
local socket = require "posix.sys.socket"
local stream = require "tests.support.stream"
local tls = require "tests.support.tls"
local tokens = require "tests.support.tokens"
local unistd = require "posix.unistd"
local upgrades = require "tests.support.upgrade"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local upgrade, upgrade_failing = upgrades.run, upgrades.fail

local function talk(from, to, name, id)
    from:send_envelope({to = name, id = id})
    assert.equal(id, to:receive_envelope().id)
end

local function agents_of(server)
    local list = {}
    for _, agent in ipairs(http.get(server, "/agents").agents) do
        agent.uptime = nil
        list[agent.id] = agent
    end
    return list
end

-- A bridge that was started from a copy of its program, which a test may replace.
local function start_copy(options)
    local folder = process.folder()
    local program = folder .. "/luaduct"
    os.execute(("cp %s %s"):format(bridge.BINARY, program))
    options = options or {}
    options.binary = program
    local server = bridge.start(options)
    return server, function(text)
        os.remove(program)
        process.write_file(program, text)
        os.execute("chmod +x " .. program)
    end
end

describe("an upgrade", function()
    after_each(bridge.clean)

    it("keeps agents, who they are and what they have done", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice", {role = "boss", labels = {"x", "y"}, tools = {"t"},
            intents = {"i"}, maxConcurrentTasks = 7})
        local bob = websocket.agent(server, "bob")
        talk(alice, bob, "bob", "e1")
        -- Both are counted once the envelope was written, when bob may long have read it.
        local before = wait.eventually(function()
            local agents = agents_of(server)
            return agents.alice.messageCount == 1 and agents.bob.receivedCount == 1 and agents
        end)

        local successor = upgrade(server)

        assert.same(before, agents_of(successor))
        talk(alice, bob, "bob", "e2")
        talk(bob, alice, "alice", "e3")
        talk(websocket.agent(successor, "carol"), alice, "alice", "e4")
        alice:send_envelope({intent = "all"})
        assert.equal("all", bob:receive_envelope().intent)
    end)

    it("can be done again and again", function()
        local server = bridge.start()
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        for number = 1, 4 do
            server = upgrade(server)
            talk(alice, bob, "bob", "e" .. number)
        end
        alice:finish(1000)
        wait.eventually(function() return not agents_of(server).alice end)
    end)

    it("loses nothing of what flows meanwhile, and keeps its order", function()
        local server = bridge.start()
        local pairs_of = {}
        for index = 1, 4 do
            pairs_of[index] = {from = websocket.agent(server, "from-" .. index),
                to = websocket.agent(server, "to-" .. index), sent = 0, seen = 0, name = "to-" .. index}
        end
        local function round()
            for _, pair in ipairs(pairs_of) do
                for _ = 1, 20 do
                    pair.sent = pair.sent + 1
                    pair.from:send_envelope({to = pair.name, payload = pair.sent})
                end
            end
            for _, pair in ipairs(pairs_of) do
                while pair.seen < pair.sent do
                    pair.seen = pair.seen + 1
                    assert.equal(pair.seen, pair.to:receive_envelope().payload)
                end
            end
        end
        for _ = 1, 3 do
            local said = #server:errors()
            server:signal("SIGUSR2")
            local pid
            repeat
                round()
                pid = server:errors():sub(said + 1):match("handover: process (%d+) serves now")
            until pid
            round()
            local successor = bridge.adopt(server, tonumber(pid))
            assert.equal(0, server:wait_exit(30))
            server.expected_end = true
            server = successor
        end
    end)

    it("takes along connections whose PROXY header has not come, or half of it", function()
        local server = bridge.start({config = {
            listen = {proxyProtocol = true, host = "localhost"}, limits = {trustedProxies = {"127.0.0.0/8"}},
            http = {rateMax = 3}, performance = {worker_threads = 1},
        }})
        local function header(address)
            return ("PROXY TCP4 %s 127.0.0.1 5000 80\r\n"):format(address)
        end
        local function open()
            return bridge.track(stream.connect(server.http_port))
        end
        local function status(connection, text)
            connection:send(text .. "GET /agents HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            return connection:read_line(wait.deadline()):match("^HTTP/1%.1 (%d+)")
        end
        local silent, half = open(), open()
        half:send(header("192.0.2.1"):sub(1, 10))
        for _ = 1, 3 do -- then it has been read
            assert.equal("200", status(open(), header("192.0.2.2")))
        end

        upgrade(server)

        assert.equal("200", status(silent, header("192.0.2.3")))
        for _ = 1, 3 do
            assert.equal("200", status(open(), header("192.0.2.1")))
        end
        assert.equal("429", status(half, header("192.0.2.1"):sub(11)))
    end)

    it("goes on in the middle of a frame, of its header, of a fragmented message", function()
        local server = bridge.start()
        local agents = {}
        local text = '{"type":"envelope","envelope":{"to":"reader","payload":"' .. ("ä"):rep(1000) .. '"}}'
        local frame = websocket.frame({payload = text, key = "\9\8\7\6"})
        local cuts = {1, 3, 7, 9, 500, 1501, #frame - 1}
        for index, cut in ipairs(cuts) do
            agents[index] = websocket.agent(server, "a" .. index)
            agents[index]:send_bytes(frame:sub(1, cut))
        end
        local fragmented = websocket.agent(server, "fragmented")
        fragmented:send_frame({payload = text:sub(1, 100), fin = false})
        fragmented:send_frame({opcode = websocket.CONTINUATION, payload = text:sub(101, 301), fin = false})
        fragmented:expect_nothing()
        local reader = websocket.agent(server, "reader")

        upgrade(server)

        for index, cut in ipairs(cuts) do
            agents[index]:send_bytes(frame:sub(cut + 1))
            assert.equal(("ä"):rep(1000), reader:receive_envelope().payload)
        end
        fragmented:expect_nothing()
        fragmented:send_frame({opcode = websocket.CONTINUATION, payload = text:sub(302)})
        assert.equal(("ä"):rep(1000), reader:receive_envelope().payload)
    end)

    it("keeps the window of a client that compresses across messages", function()
        local server = bridge.start()
        local offer = {headers = {["Sec-WebSocket-Extensions"] =
            "permessage-deflate; client_max_window_bits"}}
        local status, headers, client = websocket.upgrade(server, offer)
        assert.equal(101, status)
        assert.is_nil(headers["sec-websocket-extensions"]:find("client_no_context_takeover", 1, true))
        client:register("alice")
        local text = '{"type":"envelope","envelope":{"to":"alice","id":"e1"}}'
        client:send_frame({payload = deflate.stored(text), rsv1 = true})
        assert.equal("e1", client:receive_envelope().id)

        upgrade(server)

        client:send_frame({payload = deflate.copy(#text, #text), rsv1 = true})
        assert.equal("e1", client:receive_envelope().id)
    end)

    it("takes along what an agent has not read, to the byte", function()
        local server = bridge.start({config = {limits = {sendQueueBytes = "256KiB"}, agents = {maxQueue = 5000}}})
        local alice = websocket.agent(server, "alice")
        local bob = websocket.agent(server, "bob", nil, {receive_buffer = 4096})
        local batched = websocket.agent(server, "batched", {features = {"batch"}}, {receive_buffer = 4096})
        for number = 1, 150 do
            alice:send_envelope({to = "bob", payload = {number = number, fill = ("x"):rep(20000)}})
            alice:send_envelope({to = "batched", payload = {number = number, fill = ("x"):rep(20000)}})
        end
        alice:expect_nothing()

        upgrade(server)

        for number = 151, 160 do
            alice:send_envelope({to = "bob", payload = {number = number}})
            alice:send_envelope({to = "batched", payload = {number = number}})
        end
        for number = 1, 160 do
            assert.equal(number, bob:receive_envelope().payload.number)
        end
        bob:expect_nothing()
        local seen = 0
        while seen < 160 do
            local message = batched:receive_json()
            for _, envelope in ipairs(message.envelopes or {message.envelope}) do
                seen = seen + 1
                assert.equal(seen, envelope.payload.number)
            end
        end
    end)

    it("takes along what waits by priority for a full socket", function()
        local server = bridge.start({config = {agents = {priorityOrder = true}}})
        local alice = websocket.agent(server, "alice")
        local bob = websocket.agent(server, "bob", nil, {receive_buffer = 4096})
        for number = 1, 100 do
            for _, priority in ipairs({"low", "high"}) do
                alice:send_envelope({to = "bob", priority = priority, payload = {number = number,
                    fill = ("x"):rep(20000)}})
            end
        end
        alice:expect_nothing()

        upgrade(server)

        local seen = {low = 0, high = 0}
        for _ = 1, 200 do
            local envelope = bob:receive_envelope()
            seen[envelope.priority] = seen[envelope.priority] + 1
            assert.equal(seen[envelope.priority], envelope.payload.number)
        end
    end)

    it("takes along mailboxes, the history and who may see it, expiry, MessagePack", function()
        local server = bridge.start({config = {agents = {expiry = true, priorityOrder = true}}})
        local options = {headers = {["Sec-WebSocket-Protocol"] = "luaduct.msgpack"}}
        local alice = websocket.agent(server, "alice")
        for number = 1, 200 do
            alice:send_envelope({to = "bob", payload = number})
        end
        alice:send_envelope({to = "carol", id = "e1", context = {expiresAt = os.time() * 1000 + 3600000}})
        local packer = websocket.connect(server, options)
        packer:send_frame({opcode = websocket.BINARY, payload = msgpack.encode({type = "register", clientId = "p"})})
        packer:receive()
        local payload = "\x82\xa1b\xc4\x03\x00\xff\x10\xa1i\xcd\x00\x07"
        packer:send_frame({opcode = websocket.BINARY, payload = "\x82\xa4type\xa8envelope\xa8envelope" ..
            "\x82\xa2to\xa3dan\xa7payload" .. payload})
        packer:expect_nothing()
        alice:expect_nothing()
        local export = select(2, bridge.luaduct({"export", "--url", server:url()}))
        local history = http.get(server, "/history")

        local successor = upgrade(server)

        assert.same(history, http.get(successor, "/history"))
        local after = select(2, bridge.luaduct({"export", "--url", successor:url()}))
        assert.equal(export:match("\n(.*)"), after:match("\n(.*)"))
        local bob, registered = websocket.agent(successor, "bob")
        assert.equal(10, #registered.history)
        for number = 1, 200 do
            assert.equal(number, bob:receive_envelope().payload)
        end
        local dan = websocket.connect(successor, options)
        dan:send_frame({opcode = websocket.BINARY, payload = msgpack.encode({type = "register", clientId = "dan"})})
        dan:receive()
        assert.truthy(dan:receive().payload:find(payload, 1, true))
        packer:send_frame({opcode = websocket.BINARY, payload = msgpack.encode({type = "envelope",
            envelope = {to = "dan", id = "e2"}})})
        assert.truthy(dan:receive().payload:find("e2", 1, true))
    end)

    it("takes along open tasks and envelopes that wait for a free agent", function()
        local server = bridge.start({script = [[
            return {route = function(envelope, bridge)
                if envelope.intent == "task.assign" then return bridge.any{role = "worker", wait = true} end
            end}
        ]]})
        local alice, worker = websocket.agent(server, "alice"), websocket.agent(server, "w", {role = "worker"})
        for number = 1, 3 do
            alice:send_envelope({intent = "task.assign", taskId = "t" .. number})
        end
        assert.equal("t1", worker:receive_envelope().taskId)
        worker:expect_nothing()

        upgrade(server)

        worker:expect_nothing()
        worker:send_envelope({to = "alice", intent = "task.complete", taskId = "t1"})
        assert.equal("t2", worker:receive_envelope().taskId)
        worker:expect_nothing()
        assert.equal("t1", alice:receive_envelope().taskId)
    end)

    it("takes along what waits for a free agent where the new config has less room for it", function()
        local config = {agents = {mailboxTotalBytes = "1MiB", maxWaiting = 10}}
        local server = bridge.start({config = config, script = [[
            return {route = function(envelope, bridge)
                if envelope.intent == "task.assign" then return bridge.any{role = "worker", wait = true} end
            end}
        ]]})
        local alice, worker = websocket.agent(server, "alice"), websocket.agent(server, "w", {role = "worker"})
        for number = 1, 4 do
            alice:send_envelope({intent = "task.assign", taskId = "t" .. number, payload = ("x"):rep(10000)})
        end
        assert.equal("t1", worker:receive_envelope().taskId)
        worker:expect_nothing()
        config.agents = {mailboxTotalBytes = "15KiB", maxWaiting = 2}
        config.script = {path = "script.lua"}
        process.write_file(server.folder .. "/config.lua", bridge.config_text(bridge.config(config)))

        upgrade(server)

        for number = 1, 3 do
            worker:send_envelope({to = "alice", intent = "task.complete", taskId = "t" .. number})
            assert.equal("t" .. number + 1, worker:receive_envelope().taskId)
        end
    end)

    it("keeps idle connections of HTTP, and finishes a request that is under way", function()
        local server = bridge.start()
        local idle, asking = http.connect(server), http.connect(server)
        assert.equal(200, idle:request({path = "/health"}).status)
        asking:send_bytes("POST /send HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n\r\n{\"to\":")
        http.get(server, "/health")

        upgrade(server)

        assert.equal(200, idle:request({path = "/health"}).status)
        local answer = asking:receive()
        assert.is_true(answer == nil or answer.status == 503)
    end)

    it("lets a hook that waits end before, and stops it when it takes too long", function()
        local server = bridge.start({script = [[
            return {
                route = function(envelope, bridge)
                    luaduct.sleep(envelope.payload)
                    return bridge.to{"bob"}
                end,
                on_register = function(agent)
                    if agent.role == "slow" then luaduct.sleep(20000) end
                end,
            }
        ]]})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        alice:send_envelope({id = "e1", payload = 200})
        alice:send_envelope({id = "e2", payload = 1, to = "bob"})
        alice:expect_nothing()

        server = upgrade(server)
        assert.equal("e1", bob:receive_envelope().id)
        assert.equal("e2", bob:receive_envelope().id)
        alice:send_envelope({id = "e3", payload = 20000, to = "bob"})
        alice:expect_nothing()
        local dan = websocket.agent(server, "dan")
        dan:send_register("dan", {role = "slow"})
        local carol = websocket.connect(server)
        carol:send_register("carol", {role = "slow"})
        dan:expect_nothing()
        carol:expect_nothing()
        upgrade(server)

        assert.equal("e3", bob:receive_envelope().id)
        dan:expect_error("overloaded")
        dan:register("dan")
        assert.truthy(carol:expect_error("overloaded").error:find("register again", 1, true))
        carol:expect_close(1013)
        assert.truthy(server:log():find("stopped: it waits, and another process takes over", 1, true), server:log())
    end)

    it("looks at credentials as they are now", function()
        local people = {
            red = {token = "red-token", roles = {"agent"}, clientIds = {"red"}},
            blue = {token = "blue-token", roles = {"agent"}, clientIds = {"blue"}},
        }
        local server = bridge.start({config = {auth = {tokens = "tokens"}}, files = {tokens = tokens.file(people)}})
        local red = websocket.agent(server, "red", {authToken = "red-token"})
        local blue = websocket.agent(server, "blue", {authToken = "blue-token"})
        people.blue = nil
        process.write_file(server.folder .. "/tokens", tokens.file(people))

        local successor = upgrade(server)

        blue:expect_error("unauthorized")
        blue:expect_close(1008)
        red:send_envelope({to = "red", id = "e1"})
        assert.equal("e1", red:receive_envelope().id)
        local other = websocket.connect(successor)
        other:send_register("red", {authToken = "blue-token"})
        other:expect_error("unauthorized")
    end)

    it("takes up the config and the scripts as they are now", function()
        local server = bridge.start({script = "return {}"})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        process.write_file(server.folder .. "/script.lua",
            "return {route = function(envelope, bridge) return bridge.to{'bob'} end}")

        upgrade(server)

        alice:send_envelope({to = "alice", id = "e1"})
        assert.equal("e1", bob:receive_envelope().id)
    end)

    it("sends agents with TLS over with 1012, and what they had not read after them", function()
        local server = tls.start()
        local url = "wss://localhost:" .. server.ws_port
        local bob = bridge.luaduct_start({"agent", "bob", "--url", url, "--ca", server.authority.ca}, {input = "pipe"})
        wait.eventually(function() return tls.curl(server, "/agents") == 0 and
            select(2, tls.curl(server, "/agents")):find('"bob"', 1, true) end)

        local successor = upgrade(server)

        wait.eventually(function() return bob:log():find("1012", 1, true) end)
        successor.authority = server.authority
        local status, answer = tls.curl(successor, "/send", {"-d", '{"to":"bob","payload":"later"}'})
        assert.equal(0, status, answer)
        local again = bridge.luaduct_start({"agent", "bob", "--url", url, "--ca", server.authority.ca},
            {input = "pipe"})
        wait.eventually(function() return again:output():find("later", 1, true) end)
    end)

    it("works with all that the process can give up", function()
        -- The sanitizers' own work at the end of a process needs calls that the filter forbids.
        local calls = os.getenv("LUADUCT_TEST_SLOW") and "off" or "required"
        local server = bridge.start({config = {confinement = {files = "required", systemCalls = calls}}})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")

        upgrade(upgrade(server))

        talk(alice, bob, "bob", "e1")
    end)

    it("keeps the administration socket", function()
        local folder = process.folder()
        local server = bridge.start({config = {listen = {admin = folder .. "/admin"}}})

        upgrade(server)

        local status, out, errors = bridge.luaduct({"export", "--url", "unix:" .. folder .. "/admin"})
        assert.equal(0, status, errors)
        assert.truthy(out:find('"end"', 1, true))
    end)
end)

describe("an upgrade that comes to nothing", function()
    after_each(bridge.clean)

    -- What stands in for the new program, and what the log says then.
    local FAKES = {
        ends = "ended with status 3",
        sleeps = "the new process: nothing came in time",
        refuses = "the new process says: I will not do it",
        babbles = "a record has no length that could be",
        leaves = "it ended with status 0",
        lies = "it ended with status 0",
        ["reads nothing"] = "the new process does not take what it is given in time",
    }
    for how, expected in pairs(FAKES) do
        it("because the new process " .. how .. " leaves the old one serving", function()
            local server, replace = start_copy({config = {upgrade = {timeoutMs = 1000}}})
            local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
            local absent, rounds = 0, 0
            for _ = 1, 100 do
                absent = absent + 1
                alice:send_envelope({to = "absent", payload = {absent, ("x"):rep(20000)}})
            end
            alice:expect_nothing()
            replace(fake_successor(how))
            for number = 1, 2 do
                local said = #server:errors()
                server:signal("SIGUSR2")
                local log
                repeat
                    rounds = rounds + 1
                    if absent < 500 then
                        absent = absent + 1
                        alice:send_envelope({to = "absent", payload = {absent}})
                    end
                    talk(alice, bob, "bob", "e" .. rounds)
                    log = server:errors():sub(said + 1)
                until log:find("this process goes on", 1, true)
                assert.truthy(log:find(expected, 1, true), server:log() .. number)
            end

            assert.equal("ok", http.get(server, "/health").status)
            local other = websocket.agent(server, "absent")
            for number = 1, absent do
                assert.equal(number, other:receive_envelope().payload[1])
            end
        end)
    end

    it("because there is no program leaves the old one serving", function()
        local server = start_copy()
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        os.remove(server.binary)

        assert.truthy(upgrade_failing(server):find("ended with status 127", 1, true))

        talk(alice, bob, "bob", "e1")
    end)

    local CHANGES = {
        ["a config that is wrong"] = {{listen = {wsPort = "x"}}, "ended with status 1"},
        ["another port"] = {{listen = {wsPort = 1}}, "listen.wsPort: is another one"},
        ["another host"] = {{listen = {host = "127.0.0.1"}}, "listen.host: is another one"},
        ["another number of reactors"] = {{performance = {worker_threads = 3}},
            "performance.worker_threads: is another one"},
        ["a script that does not load"] = {{script = {path = "broken.lua"}}, "broken.lua"},
    }
    for name, change in pairs(CHANGES) do
        it("because of " .. name .. " leaves the old one serving", function()
            local server = bridge.start({files = {["broken.lua"] = "return nonsense("}})
            local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
            local good = process.read_file(server.folder .. "/config.lua")
            process.write_file(server.folder .. "/config.lua", bridge.config_text(bridge.config(change[1])))

            local log = upgrade_failing(server)
            assert.truthy(log:find(change[2], 1, true), log)

            talk(alice, bob, "bob", "e1")
            process.write_file(server.folder .. "/config.lua", good)
            upgrade(server)
            talk(alice, bob, "bob", "e2")
        end)
    end

    it("because the new process does not know the version of what it is given has it say so", function()
        local ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM, 0)
        local path = bridge.write({})
        local new = process.start({bridge.BINARY, "run", path}, {keep_input = theirs, env = {LUADUCT_HANDOVER = "0"}})

        -- SETUP, its length and kind before it, of version 99.
        socket.send(ours, "\8\0\0\0" .. "\1\0\0\0" .. "\99\0\0\0\0\0\0\0")

        assert.equal(1, new:wait_exit())
        local answer = socket.recv(ours, 1000)
        assert.equal("\3\0\0\0", answer:sub(5, 8))
        assert.truthy(answer:find("version 99, and this program knows version 3", 1, true))
        unistd.close(ours)
    end)

    it("because it is going away says so", function()
        local server = bridge.start({config = {drain = {delayMs = 60000}}})
        server:signal("SIGTERM")
        server:wait_log("draining")

        assert.truthy(upgrade_failing(server):find("this process is going away", 1, true))

        server:kill()
        server.expected_end = true
    end)
end)
