-- What the machine refuses, at any moment: memory, descriptors, buffers of sockets, threads. The scenario is what a
-- bridge is for; a failed call may end one connection or one request, never the bridge, and no accepted envelope.
-- LUADUCT_TEST_FAULTS=all tries every call of the scenario (`make faults`), else some of each kind.
local bridge = require "tests.support.bridge"
local fault = require "tests.support.fault"
local http = require "tests.support.http"
local process = require "tests.support.process"
local unistd = require "posix.unistd"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

if not fault.LIBRARY then
    return -- sanitizers bring their own malloc and threads
end

local ALL = os.getenv("LUADUCT_TEST_FAULTS") == "all"
local SAMPLES = 5
local TRIES = 20

local SCRIPT = [[
return {
    route = function(envelope, bridge)
        if envelope.intent == "work" then
            local result, text, code = luaduct.workers.execute{operation = "json_parse", data = "[1,2]"}
            return bridge.reply{result = result, text = text, code = code}
        elseif envelope.intent == "note" then
            luaduct.state.count = (luaduct.state.count or 0) + 1
            envelope.priority = "high"
        end
    end,
}
]]

local function start(plan)
    return fault.start(plan, {script = SCRIPT, config = {performance = {worker_threads = 1}, log = {level = "error"}}})
end

-- What a client of the bridge does: it tries again when a connection breaks.
local function agent(server, id)
    local problem
    for _ = 1, TRIES do
        local good, client = pcall(websocket.agent, server, id)
        if good then
            return client
        end
        problem = client
        assert(server:is_running(), "the bridge ended: " .. server:log())
    end
    error(id .. " could not register: " .. tostring(problem))
end

local function request(server, options)
    local problem
    for _ = 1, TRIES do
        local good, answer = pcall(http.request, server, options)
        if good and answer.status then
            return answer
        end
        problem = answer
        assert(server:is_running(), "the bridge ended: " .. server:log())
    end
    error(("%s %s was not answered: %s"):format(options.method or "GET", options.path, tostring(problem)))
end

-- Sends over HTTP until it is accepted, so that it is known which were; each try has an id of its own.
local function accepted(server, to, name, intent)
    for try = 1, TRIES do
        local id = name .. "/" .. try
        local body = ('{"to":"%s","id":"%s","intent":"%s","payload":{"text":"hello"}}'):format(to, id, intent)
        local good, answer = pcall(http.request, server, {method = "POST", path = "/send", body = body})
        assert(server:is_running(), "the bridge ended: " .. server:log())
        if good and answer.status == 202 then
            return id
        end
        if good and answer.status then -- told why not, by a code of the list
            assert.truthy(answer.body:find('"code":"%l+'), answer.body)
        end
    end
    error(name .. " was never accepted")
end

-- Reads what bob gets until all that were accepted have come; connects again when his connection breaks. What was sent
-- but whose answer was lost may come as well; nothing comes twice, and the accepted come in their order.
local function receive_all(server, bob, expected)
    local seen, place = {}, 1
    local deadline = wait.deadline(20)
    while place <= #expected do
        assert(wait.left(deadline) > 0, "missing " .. expected[place] .. "; the bridge said:\n" .. server:log())
        local good, message = pcall(bob.receive_json, bob, 2)
        if not good then
            assert(server:is_running(), "the bridge ended: " .. server:log())
            bob:close()
            bob = agent(server, "bob")
        elseif message.type == "envelope" then
            local id = message.envelope.id
            assert.is_nil(seen[id], id .. " came twice")
            seen[id] = true
            if id == expected[place] then
                place = place + 1
            end
        end
    end
    return bob
end

local function scenario(server)
    local alice, bob = agent(server, "alice"), agent(server, "bob")
    local ids = {}
    for number = 1, 4 do
        ids[number] = accepted(server, "bob", "present-" .. number, number % 2 == 0 and "note" or "chat")
    end
    bob = receive_all(server, bob, ids)
    bob:close()
    ids = {}
    for number = 1, 4 do
        ids[number] = accepted(server, "bob", "absent-" .. number, "chat")
    end
    bob = receive_all(server, agent(server, "bob"), ids)

    alice:send_envelope({to = "bob", id = "direct", intent = "chat"})
    alice:send_envelope({intent = "work", id = "work"})
    request(server, {path = "/health"})
    request(server, {path = "/metrics"})
    request(server, {path = "/history"})
    request(server, {method = "POST", path = "/admin/reload", body = "{}"})
    ids = {accepted(server, "bob", "last", "note")}
    receive_all(server, bob, ids):close()
    alice:close()
end

-- Calls try(number) for the numbers from 1 to `count`: all of them, or some, spread. Says of which it went wrong.
local function each_call(count, try)
    local failures = {}
    for number = 1, count, ALL and 1 or math.max(1, count / SAMPLES) do
        number = math.floor(number)
        local good, problem = pcall(try, number)
        pcall(bridge.clean)
        if not good then
            failures[#failures + 1] = ("call %d of %d: %s"):format(number, count, tostring(problem))
        end
    end
    assert(#failures == 0, #failures .. " calls:\n" .. table.concat(failures, "\n", 1, math.min(#failures, 20)))
end

describe("when the machine refuses", function()
    after_each(bridge.clean)

    for _, kind in ipairs(fault.KINDS) do
        it(kind .. ", once, all agents are served and nothing accepted is lost", function()
            local plan = fault.plan()
            local server = start(plan)
            fault.set(plan, kind, 0)
            scenario(server)
            local count = fault.asked(plan)
            fault.clear(plan)
            server:stop()

            each_call(count, function(number)
                local again = fault.plan()
                server = start(again)
                fault.set(again, kind, number)
                local good, problem = pcall(scenario, server)
                fault.clear(again)
                if not good then
                    error(problem, 0)
                end
                server:stop()
            end)
        end)

        -- libev gives up by itself, in its own words, when its wake-up cannot be watched.
        it(kind .. ", while it starts, it says why it does not, or serves", function()
            local plan = fault.plan()
            fault.set(plan, kind, 0)
            local server = start(plan)
            local count = fault.asked(plan)
            server:stop()

            each_call(count, function(number)
                local again = fault.plan()
                fault.set(again, kind, number)
                local good, problem = pcall(function()
                    local started = start(again)
                    fault.clear(again)
                    assert.equal(200, request(started, {path = "/health"}).status)
                    started:stop()
                end)
                fault.clear(again)
                local said = tostring(problem)
                if not good and not said:find("status 1:\n%s*%S")
                    and not (kind == "epoll" and said:find("libev: ", 1, true)) then
                    error(said, 0)
                end
            end)
        end)
    end

    it("memory again and again, the bridge neither grows nor falls", function()
        local plan = fault.plan()
        local server = start(plan)
        scenario(server)
        for _ = 1, 10 do
            fault.set(plan, "malloc", 40, 61)
            pcall(scenario, server)
        end
        local before = server:resident()
        for _ = 1, ALL and 200 or 30 do
            fault.set(plan, "malloc", 40, 61)
            pcall(scenario, server)
            assert.is_true(server:is_running(), server:log())
        end
        fault.clear(plan)

        scenario(server)
        assert.is_true(server:resident() < before + 4 * 1024 * 1024,
            ("from %d to %d bytes"):format(before, server:resident()))
    end)

    it("a steady wall clock, agents stay and envelopes keep flowing", function()
        local plan = fault.plan()
        local server = start(plan)
        local bob = agent(server, "bob")
        for number, seconds in ipairs({-86400, 86400 * 365, -3600, 0}) do
            fault.shift_clock(plan, seconds)
            local id = accepted(server, "bob", "jump-" .. number, "chat")
            bob = receive_all(server, bob, {id})
        end
        assert.equal(200, request(server, {path = "/health"}).status)
        server:stop()
    end)

    it("room on the disk of the log, the bridge goes on and says so when there is room again", function()
        local file = process.folder() .. "/log"
        assert(unistd.link("/dev/full", file, true))
        local server = bridge.start({config = {log = {file = file, access = true}}})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        alice:send_envelope({to = "bob", id = "e1"})

        assert.equal("e1", bob:receive_envelope().id)
        assert.equal(200, http.request(server, {path = "/health"}).status)
        os.remove(file)
        server:signal("SIGUSR1") -- opens the file of that name again
        wait.eventually(function()
            http.request(server, {path = "/health"})
            local log = process.read_file(file)
            return log and log:match("%d+ lines were lost")
        end, nil, "the log to say what was lost")
    end)

    it("to run for a while (SIGSTOP), everybody is still there afterwards", function()
        local server = bridge.start({config = {
            agents = {ttlMs = 1200, pingIntervalMs = 100, cleanupIntervalMs = 50},
        }})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        server:signal("SIGSTOP")
        process.run({"sleep", ALL and "60" or "1.5"})
        server:signal("SIGCONT")

        alice:send_envelope({to = "bob", id = "e1"})
        assert.equal("e1", bob:receive_envelope().id)
    end)
end)
