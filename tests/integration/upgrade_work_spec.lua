-- What is under way when another process takes over: tasks, slowed senders, reloads, the service manager's view.
local bridge = require "tests.support.bridge"
local fake_successor = require "tests.support.fake_successor"
local http = require "tests.support.http"
local manager = require "tests.support.manager"
local process = require "tests.support.process"
local tls = require "tests.support.tls"
local upgrade = require "tests.support.upgrade"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local SCRIPT = [[
luaduct.workers.register("count", "count.lua")
luaduct.workers.register("forever", "forever.lua")
luaduct.workers.register("large", "large.lua")
return {}
]]

-- `count` and `large` take longer than an upgrade does, and what `large` comes to is more than a socket holds.
local FILES = {
    ["count.lua"] = "return function(turns) local sum = 0 for _ = 1, turns do sum = sum + 1 end return sum end",
    ["large.lua"] = [[return function(turns)
        local sum = 0
        for _ = 1, turns do sum = sum + 1 end
        print("large is done")
        return ("x"):rep(1000000)
    end]],
    ["forever.lua"] = "return function() while true do end end",
}
local TURNS = 150000000

local function options(config)
    config = config or {}
    config.phase2 = {workerPool = {allowRoles = {"agent"}, taskTimeout = 120000}}
    return {config = config, script = SCRIPT, files = FILES}
end

local function ask(agent, id, operation, data, timeout)
    agent:send_envelope({to = "bridge", intent = "bridge.execute", id = id,
        payload = {operation = operation, data = data, timeoutMs = timeout}})
end

local function wait_running(server, count)
    wait.eventually(function()
        return http.get(server, "/optimization").cpuOptimization.workerPool.busyWorkers == count
    end, nil, count .. " tasks that run")
end

describe("a task of an agent that runs while another process takes over", function()
    after_each(bridge.clean)

    it("is done, and the agent gets its result on its open connection", function()
        local server = bridge.start(options({drain = {timeoutMs = 60000}}))
        local alice = websocket.agent(server, "alice")
        local turns, successor, first = TURNS
        repeat -- on a busy machine it may be done before the new process serves
            if successor then
                assert.equal("meanwhile", alice:receive_envelope().id)
                assert.equal(0, server:wait_exit(30))
                server, turns = successor, turns * 4
            end
            ask(alice, "e1", "count", turns)
            wait_running(server, 1)

            successor = upgrade.start(server)

            alice:send_envelope({to = "alice", id = "meanwhile"})
            first = alice:receive_envelope()
        until first.id == "meanwhile"
        local answer = wait.eventually(function()
            local good, envelope = pcall(alice.receive_envelope, alice)
            return good and envelope
        end, 60, "the answer")
        assert.equal("bridge.execute", answer.intent)
        assert.equal(turns, answer.payload.result)
        assert.equal(0, server:wait_exit(60))
        ask(alice, "e2", "count", 5)
        assert.equal(5, alice:receive_envelope().payload.result)
        assert.equal("ok", http.get(successor, "/health").status)
    end)

    it("that fails then is answered with its error", function()
        local server = bridge.start(options({drain = {timeoutMs = 60000}}))
        local alice = websocket.agent(server, "alice")
        ask(alice, "e1", "forever", nil, 4000)
        wait_running(server, 1)

        local successor = upgrade.start(server)

        assert.truthy(upgrade.fail(successor):find("the process before this one still has tasks", 1, true))
        local answer = wait.eventually(function()
            local good, message = pcall(alice.expect_error, alice, "task_timeout")
            return good and message
        end, 30, "the answer")
        assert.equal("e1", answer.id)
        assert.equal(0, server:wait_exit(30))
        upgrade.run(successor)
        alice:send_envelope({to = "alice", id = "e2"})
        assert.equal("e2", alice:receive_envelope().id)
    end)

    -- Threads that are left behind are what the thread sanitizer looks for.
    if not os.getenv("LUADUCT_TEST_SLOW") then
        it("that is not done when the old one ends is answered with overloaded", function()
            local server = bridge.start(options({drain = {timeoutMs = 300}}))
            local alice = websocket.agent(server, "alice")
            ask(alice, "e1", "forever")
            wait_running(server, 1)

            upgrade.start(server)

            local answer = alice:expect_error("overloaded")
            assert.equal("e1", answer.id)
            assert.truthy(answer.error:find("went away", 1, true), answer.error)
            assert.equal(0, server:wait_exit(30))
        end)
    end

    it("is answered by the new one, however late that comes to read it", function()
        local server = bridge.start(options({drain = {timeoutMs = 60000}}))
        local alice = websocket.agent(server, "alice")
        local turns, successor, running = TURNS
        local function receive_answer()
            local answer = wait.eventually(function()
                local good, envelope = pcall(alice.receive_envelope, alice)
                return good and envelope
            end, 60, "the answer")
            assert.equal(1000000, #answer.payload.result)
        end
        repeat -- as above
            if successor then
                receive_answer()
                server, turns = successor, turns * 4
            end
            ask(alice, "e1", "large", turns)
            wait_running(server, 1)
            successor = upgrade.start(server)
            successor:signal("SIGSTOP")
            running = server:is_running()
            if not running then
                successor:signal("SIGCONT")
            end
        until running

        server:wait_log("large is done", 60)
        -- It waits for the new one with that, however long: here a while.
        pcall(wait.eventually, function() return not server:is_running() end, 5)

        successor:signal("SIGCONT")
        receive_answer()
        assert.equal(0, server:wait_exit(60))
    end)

    it("is answered with overloaded when the old one is killed", function()
        local server = bridge.start(options({drain = {timeoutMs = 60000}}))
        local alice = websocket.agent(server, "alice")
        ask(alice, "e1", "forever")
        wait_running(server, 1)
        upgrade.start(server)

        server:kill()

        local answer = alice:expect_error("overloaded")
        assert.equal("e1", answer.id)
        assert.truthy(answer.error:find("went away", 1, true), answer.error)
    end)

    it("is waited for by a new one that is told to go away", function()
        local server = bridge.start(options({drain = {timeoutMs = 60000}}))
        local alice = websocket.agent(server, "alice")
        ask(alice, "e1", "forever", nil, 3000)
        wait_running(server, 1)
        local successor = upgrade.start(server)

        successor:signal("SIGTERM")

        assert.equal("e1", alice:expect_error("task_timeout").id)
        alice:expect_close(1001)
        assert.equal(0, successor:wait_exit(30))
        assert.equal(0, server:wait_exit(30))
    end)

    it("is done for one with TLS too, who finds the result when it comes back", function()
        local settings = options({drain = {timeoutMs = 60000}})
        local server = tls.start(settings)
        local arguments = {"agent", "bob", "--to", "bridge", "--intent", "bridge.execute", "--url",
            "wss://localhost:" .. server.ws_port, "--ca", server.authority.ca}
        local turns, successor, bob = TURNS
        repeat -- as above
            if successor then
                assert.equal(0, server:wait_exit(30))
                successor.authority = server.authority
                server, turns = successor, turns * 4
            end
            bob = bridge.luaduct_start(arguments, {input = "pipe"})
            bob:send_input(('{"operation": "count", "data": %d}\n'):format(turns))
            wait.eventually(function()
                local status, body = tls.curl(server, "/optimization")
                return status == 0 and body:find('"busyWorkers":1', 1, true)
            end, nil, "the task to run")

            successor = upgrade.start(server)

            wait.eventually(function() return bob:log():find("1012", 1, true) end)
        until not bob:output():find('"result"', 1, true)
        local again = bridge.luaduct_start(arguments, {input = "pipe"})
        wait.eventually(function() return again:output():find('"result":' .. turns, 1, true) end, 60)
        assert.equal(0, server:wait_exit(60))
    end)
end)

describe("while another process takes over", function()
    after_each(bridge.clean)

    it("a sender that is slowed stays so, and what it sent meanwhile keeps its order", function()
        local server = bridge.start({
            config = {performance = {worker_threads = 1}, script = {budgetMs = 1000, breakerOverruns = 50}},
            script = [[return {route = function(envelope) while envelope.intent == "run away" do end end}]],
        })
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        alice:send_envelope({intent = "run away", to = "bob", id = "e0"})
        assert.equal("e0", bob:receive_envelope().id)
        for number = 1, 100 do
            alice:send_envelope({to = "bob", id = "e" .. number})
        end
        bob:send_envelope({to = "bob", id = "mine"})
        assert.equal("mine", bob:receive_envelope().id)

        upgrade.run(server)

        for number = 1, 100 do
            assert.equal("e" .. number, bob:receive_envelope().id)
        end
    end)

    if not os.getenv("LUADUCT_TEST_SLOW") then -- as above
        it("a bridge that is told to stop does, in time, whatever runs", function()
            local server = bridge.start({
                config = {performance = {worker_threads = 1}, script = {budgetMs = 60000}, drain = {timeoutMs = 2000}},
                script = [[return {route = function(envelope)
                    if envelope.intent == "wait" then luaduct.sleep(60000) end
                    while envelope.intent == "run away" do end
                end}]],
            })
            local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
            alice:send_envelope({intent = "wait"}) -- for some seconds the bridge waits for it
            alice:expect_nothing()
            server:signal("SIGUSR2")
            server:wait_log("handover: starting the program anew")
            bob:send_envelope({intent = "run away"})

            server:signal("SIGTERM")

            assert.equal(0, server:wait_exit(20))
        end)
    end

    it("what one with TLS has sent is kept in its order, up to where the bridge stopped to read", function()
        local server = tls.start()
        local writer = bridge.luaduct_start({"agent", "writer", "--to", "absent", "--url",
            "wss://localhost:" .. server.ws_port, "--ca", server.authority.ca}, {input = "pipe"})
        local function kept()
            local status, text = tls.curl(server, "/admin/export")
            local numbers = {}
            for number in (status == 0 and text or ""):gmatch('{"mailbox":"absent".-"number": (%d+)') do
                numbers[#numbers + 1] = tonumber(number)
            end
            return numbers
        end
        local fill = ("x"):rep(300)
        for number = 1, 100 do
            writer:send_input(('{"number": %d, "fill": "%s"}\n'):format(number, fill))
        end
        local before = wait.eventually(function()
            local numbers = kept()
            return #numbers > 0 and numbers
        end, nil, "envelopes in the mailbox")

        upgrade.run(server)

        local after = kept()
        assert.is_true(#after >= #before)
        for number = 1, #after do
            assert.equal(number, after[number])
        end
    end)

    it("what the old one gave away is not reported as lost", function()
        local server = bridge.start({
            config = {agents = {mailboxBytes = "64KiB"}, limits = {sendQueueBytes = "16MiB"},
                drain = {timeoutMs = 60000}, phase2 = {workerPool = {allowRoles = {"agent"}, taskTimeout = 120000}}},
            script = SCRIPT:gsub("return {}", "return {on_undeliverable = function() print('lost one') end}"),
            files = FILES,
        })
        local alice = websocket.agent(server, "alice")
        local bob = websocket.agent(server, "bob", nil, {receive_buffer = 4096})
        bob:send_envelope({to = "bob"})
        bob:receive_envelope()
        for number = 1, 300 do
            alice:send_envelope({to = "bob", payload = {number, ("x"):rep(20000)}})
        end
        ask(alice, "e1", "count", 10)
        assert.equal(10, alice:receive_envelope().payload.result)

        upgrade.run(server)

        for number = 1, 300 do
            assert.equal(number, bob:receive_envelope().payload[1])
        end
        assert.is_nil(server:log():find("lost one", 1, true))
    end)

    it("a reload is refused, and works again after it", function()
        local folder = process.folder()
        local program = folder .. "/luaduct"
        os.execute(("cp %s %s"):format(bridge.BINARY, program))
        local server = bridge.start({binary = program, script = "return {}", config = {upgrade = {timeoutMs = 4000}}})
        os.remove(program)
        process.write_file(program, fake_successor("sleeps"))
        os.execute("chmod +x " .. program)
        local said = #server:errors()
        server:signal("SIGUSR2")
        server:wait_log("handover: starting the program anew")

        local answer = http.request(server, {method = "POST", path = "/admin/reload", body = "{}"})
        assert.equal(409, answer.status)
        assert.truthy(answer.body:find('"code":"busy"', 1, true), answer.body)
        assert.truthy(answer.body:find("an upgrade is under way", 1, true), answer.body)
        server:signal("SIGHUP")
        server:wait_log("SIGHUP: refused, version 1 stays in use: an upgrade is under way")

        assert.is_nil((upgrade.outcome(server, said)))
        wait.eventually(function()
            return http.request(server, {method = "POST", path = "/admin/reload", body = "{}"}).status == 200
        end)
    end)

    it("no version of the scripts goes on trial: the new process would serve it to everybody", function()
        local server = bridge.start({script = "return {}", config = {performance = {worker_threads = 1}}})
        process.write_file(server.folder .. "/script.lua", [[
            print("loading it")
            local till = os.clock() + 0.5
            while os.clock() < till do end
            return {}
        ]])
        local asking = http.connect(server)
        asking:send_request({method = "POST", path = "/admin/reload", body = '{"canary":{"percent":1}}'})
        server:wait_log("loading it")
        local said = #server:errors()
        server:signal("SIGUSR2")

        local pid, log = upgrade.outcome(server, said)

        assert.is_nil(pid)
        assert.truthy(log:find("is on trial: promote or abort it first", 1, true), log)
        assert.equal(200, asking:receive().status)
    end)

    it("the service manager hears of the new process before it hears from it", function()
        local service = manager.listen()
        local server = bridge.start({env = {NOTIFY_SOCKET = service.path}})
        local _, ready = service:expect("READY")

        local successor = upgrade.run(server)

        local main, place = service:expect("MAINPID", ready + 1)
        assert.equal(tostring(successor:pid()), main.MAINPID)
        local again, last = service:expect("READY", ready + 1)
        assert.equal("serving", again.STATUS)
        assert.equal(place + 1, last)
        for _, message in ipairs(service:messages()) do
            assert.is_nil(message.STOPPING)
        end
    end)
end)
