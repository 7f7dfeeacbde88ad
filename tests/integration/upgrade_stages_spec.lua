-- An upgrade whose new process is killed: before each of the calls by which it speaks with the old one, up to the last.
local bridge = require "tests.support.bridge"
local fake_successor = require "tests.support.fake_successor"
local fault = require "tests.support.fault"
local http = require "tests.support.http"
local process = require "tests.support.process"
local upgrade = require "tests.support.upgrade"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

if not fault.LIBRARY then
    return -- sanitizers bring their own malloc and threads
end

-- SETUP, READY, GIVE, what is given, TAKEN, GO, SERVES.
local LEAST_STEPS = 7
local MOST_STEPS = 60

describe("an upgrade whose new process is killed", function()
    after_each(bridge.clean)

    it("at any point before it serves leaves the old one serving, and loses nothing", function()
        local plan = fault.plan()
        local server = fault.start(plan, {config = {performance = {worker_threads = 1}}})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        local sent = 0
        local function send()
            sent = sent + 1
            alice:send_envelope({to = "absent", payload = sent})
            alice:send_envelope({to = "bob", payload = sent})
            assert.equal(sent, bob:receive_envelope().payload)
        end
        send()
        local step = 0
        repeat
            step = step + 1
            assert.is_true(step < MOST_STEPS)
            fault.kill_successor(plan, step)
            local said = #server:errors()
            server:signal("SIGUSR2")
            local pid, log = upgrade.outcome(server, said)
            if not pid then
                assert.truthy(log:find("it ended by signal 9: this process goes on", 1, true), log)
                send()
                assert.equal("ok", http.get(server, "/health").status)
                fault.kill_successor(plan, 0)
            end
        until pid
        assert.is_true(step > LEAST_STEPS, "killed only " .. step .. " times")
        server.expected_end = true -- the one that was killed while it served was the bridge
    end)

    it("and the next one that is not finds everything", function()
        local plan = fault.plan()
        local server = fault.start(plan)
        local alice = websocket.agent(server, "alice")
        for number = 1, 300 do
            alice:send_envelope({to = "absent", payload = {number, ("x"):rep(5000)}})
        end
        alice:expect_nothing()
        for step = 2, 9 do
            fault.kill_successor(plan, step)
            assert.truthy(upgrade.fail(server):find("ended by signal 9", 1, true))
        end
        fault.kill_successor(plan, 0)

        local successor = upgrade.run(server)

        alice:send_envelope({to = "absent", payload = {301}})
        local absent = websocket.agent(successor, "absent")
        for number = 1, 301 do
            assert.equal(number, absent:receive_envelope().payload[1])
        end
        absent:expect_nothing()
    end)
end)

describe("a bridge that is told to stop while it hands over", function()
    after_each(bridge.clean)

    it("stops, at whatever point of it that is: none of both processes serves on", function()
        local step, serves = 0
        repeat
            step = step + 1
            assert.is_true(step < MOST_STEPS)
            local plan = fault.plan()
            local server = fault.start(plan, {config = {performance = {worker_threads = 1},
                upgrade = {stillMs = 60000}}})
            local alice = websocket.agent(server, "alice")
            server.expected_end = true
            local function said(text)
                return server:errors():match(text)
            end
            fault.stop_successor(plan, step)
            server:signal("SIGUSR2")
            wait.eventually(function() return fault.stopped(plan) or said("serves now") end)

            pcall(server.signal, server, "SIGTERM") -- it may have ended, where the new one serves

            wait.eventually(function() return said("SIGTERM: draining") or said("serves now") end)
            serves = tonumber(said("process (%d+) serves now"))
            local successor = bridge.adopt(server, serves or fault.stopped(plan))
            successor.expected_end = true
            if serves then
                successor:kill()
            else
                successor:signal("SIGCONT")
                alice:expect_close(1001)
                alice:close()
                assert.equal(0, server:wait_exit(30))
                successor:wait_exit(30)
            end
            bridge.clean()
        until serves
        assert.is_true(step > LEAST_STEPS, "stopped only " .. step .. " times")
    end)
end)

describe("what happens between the start of the new process and its first word as the bridge", function()
    after_each(bridge.clean)

    -- Of one that has read its files and opened its log: the answer to SETUP is behind it.
    local READY = 3

    -- A bridge that hands over, to a process that has stopped there; goes on with what is returned.
    local function hand_over(options)
        local plan = fault.plan()
        local server = fault.start(plan, options)
        return server, function()
            fault.stop_successor(plan, READY)
            server:signal("SIGUSR2")
            wait.eventually(function() return fault.stopped(plan) end)
            server.expected_end = true
            return bridge.adopt(server, fault.stopped(plan))
        end
    end

    it("a log rotation moves the new process to the new file as well", function()
        local log = process.folder() .. "/log"
        local server, begin = hand_over({config = {performance = {worker_threads = 1}, log = {file = log},
            upgrade = {stillMs = 60000}}})
        local successor = begin()

        os.rename(log, log .. ".1")
        server:signal("SIGUSR1")
        wait.eventually(function() return io.open(log) end)
        successor:signal("SIGCONT")

        assert.equal(0, server:wait_exit(30))
        successor:signal("SIGHUP")
        wait.eventually(function() return process.read_file(log):find("SIGHUP", 1, true) end)
    end)

    it("a file that changes is read by the new process", function()
        local function script(recipient)
            return ([[return {route = function(envelope, bridge)
                if envelope.intent == "wait" then luaduct.sleep(1500) end
                return bridge.to{"%s"}
            end}]]):format(recipient)
        end
        local server, begin = hand_over({config = {performance = {worker_threads = 1}, script = {watch = true}},
            script = script("alice")})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        alice:send_envelope({intent = "wait"}) -- meanwhile it is not handed over
        alice:expect_nothing()
        local successor = begin()

        successor:signal("SIGCONT")
        process.write_file(server.folder .. "/script.lua", script("bob"))

        assert.equal(0, server:wait_exit(30))
        local got = wait.eventually(function()
            alice:send_envelope({id = "e1"})
            local good, envelope = pcall(bob.receive_envelope, bob)
            return good and envelope
        end, 30, "the new script")
        assert.equal("e1", got.id)
    end)
end)

describe("an upgrade while the wall clock is set back", function()
    after_each(bridge.clean)

    it("keeps nobody waiting for longer than upgrade.stillMs", function()
        local plan, folder = fault.plan(), process.folder()
        local program = folder .. "/luaduct"
        os.execute(("cp %s %s"):format(bridge.BINARY, program))
        local server = fault.start(plan, {binary = program,
            config = {limits = {sendQueueBytes = "16MiB"}, history = {limit = 0}, upgrade = {stillMs = 300}}})
        local alice = websocket.agent(server, "alice")
        local bob = websocket.agent(server, "bob", nil, {receive_buffer = 4096})
        for number = 1, 600 do -- what he does not read is not sent ahead
            alice:send_envelope({to = "bob", payload = {number, ("x"):rep(20000)}})
        end
        alice:expect_nothing()
        os.remove(program)
        process.write_file(program, fake_successor("reads nothing"))
        os.execute("chmod +x " .. program)

        fault.shift_clock(plan, 3600) -- the kernel's is an hour behind what the bridge has read
        local log = upgrade.fail(server)

        assert.truthy(log:find("nobody was served for 300 ms (upgrade.stillMs)", 1, true), log)
        for number = 1, 600 do
            assert.equal(number, bob:receive_envelope().payload[1])
        end
    end)
end)
