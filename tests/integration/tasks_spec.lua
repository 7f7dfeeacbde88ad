-- Open tasks: who is full, which intents open and close, and envelopes that wait for an agent with room.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local variants = require "tests.support.variants"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local WAITING = [[
return {
    route = function(envelope, bridge)
        if envelope.intent == "task.assign" then
            return bridge.any{role = "worker", wait = true}
        end
    end,
    on_undeliverable = function(envelope, reason, recipient)
        print("undeliverable " .. envelope.payload.n .. " " .. reason .. " " .. tostring(recipient))
    end,
}
]]

local ANY = [[
return {
    route = function(envelope, bridge)
        if envelope.to then
            return nil
        end
        local agent = bridge.agent("worker")
        print("open " .. envelope.payload.n .. " " .. (agent and agent.openTasks or "-"))
        return bridge.any{role = "worker"}
    end,
}
]]

local function assign(client, number, intent)
    client:send_envelope({intent = intent or "task.assign", taskId = "t" .. number, payload = {n = number}})
end

local function complete(client, number, intent)
    client:send_envelope({to = "boss", intent = intent or "task.complete", taskId = "t" .. number, payload = {n = 0}})
end

local function expect_task(client, number)
    local envelope = client:receive_envelope()
    assert.equal(number, envelope.payload.n)
end

local function delivery(server)
    return http.get(server, "/optimization").delivery
end

describe("open tasks", function()
    after_each(bridge.clean)

    it("are opened and closed by the intents of the config", function()
        local server = bridge.start({script = ANY, config = {agents = {
            taskOpenIntents = {"job.start"}, taskCloseIntents = {"job.end", "job.broken"}}}})
        local boss = websocket.agent(server, "boss")
        local worker = websocket.agent(server, "worker", {role = "worker"})
        for number, intent in ipairs({"task.assign", "job.start", "job.start", "job.other", "job.start"}) do
            assign(boss, number, intent)
            expect_task(worker, number)
        end
        complete(worker, 2, "task.complete")
        complete(worker, 3, "job.end")
        complete(worker, 5, "job.broken")
        for _ = 1, 3 do
            boss:receive_envelope()
        end
        assign(boss, 6, "other")
        expect_task(worker, 6)

        local log = server:wait_log("open 6")
        for number, open in ipairs({0, 0, 1, 2, 2, 1}) do
            assert.truthy(log:find(("open %d %d\n"):format(number, open)), log)
        end
    end)

    it("are counted up to agents.maxOpenTasks", function()
        local server = bridge.start({script = ANY, config = {agents = {maxOpenTasks = 2}}})
        local boss = websocket.agent(server, "boss")
        local worker = websocket.agent(server, "worker", {role = "worker", maxConcurrentTasks = 10})
        for number = 1, 4 do
            assign(boss, number)
            expect_task(worker, number)
        end

        local log = server:wait_log("open 4")
        assert.truthy(log:find("open 3 2\n", 1, true) and log:find("open 4 2\n", 1, true), log)
    end)

    it("of a worker whose report the script drops are closed all the same", function()
        local server = bridge.start({script = [[
            return {
                route = function(envelope, bridge)
                    if envelope.intent == "task.complete" then
                        return bridge.drop("noted")
                    end
                    return bridge.any{role = "worker", wait = true}
                end,
            }]]})
        local boss = websocket.agent(server, "boss")
        local worker = websocket.agent(server, "worker", {role = "worker"})
        assign(boss, 1)
        assign(boss, 2)
        expect_task(worker, 1)
        worker:expect_nothing()
        complete(worker, 1)
        expect_task(worker, 2)
    end)
end)

-- Reports wait for a gate, as does whatever is sent to nobody in particular.
local GATED = [[
    local open = false
    return {
        route = function(envelope, bridge)
            if envelope.intent == "open" then
                open = true
                return bridge.drop("opened")
            elseif envelope.intent == "look" then
                return bridge.reply{open = bridge.agent("worker").openTasks}
            elseif envelope.intent == "task.complete" or not envelope.to then
                print("waits")
                while not open do luaduct.sleep(2) end
            end
        end,
    }
]]

describe("what waits while its sender connects anew", function()
    after_each(bridge.clean)

    local function start()
        -- The gate is a variable of one state, and so of one reactor.
        local server = bridge.start({script = GATED, config = {performance = {worker_threads = 1}}})
        return server, websocket.agent(server, "boss"), websocket.agent(server, "worker")
    end

    it("closes its task, if it is a report", function()
        local server, boss, worker = start()
        boss:send_envelope({to = "worker", intent = "task.assign", taskId = "t1", payload = {n = 1}})
        expect_task(worker, 1)
        complete(worker, 1)
        server:wait_log("waits")
        local again = websocket.agent(server, "worker")
        worker:expect_close(4001)
        boss:send_envelope({intent = "open"})
        assert.equal("task.complete", boss:receive_envelope().intent)

        boss:send_envelope({to = "x", intent = "look"})
        assert.equal(0, boss:receive_envelope().payload.open)
        again:expect_nothing()
    end)

    it("is not heard by the sender itself, if it was for all", function()
        local server, boss, worker = start()
        worker:send_envelope({id = "b1"})
        server:wait_log("waits")
        local again = websocket.agent(server, "worker")
        worker:expect_close(4001)
        boss:send_envelope({intent = "open"})

        assert.equal("b1", boss:receive_envelope().id)
        again:expect_nothing()
    end)
end)

describe("an envelope of bridge.any with wait", function()
    after_each(bridge.clean)

    for _, variant in ipairs(variants.reactors) do
        describe(variant.name, function()
            it("goes to the first agent that closes a task, in order of arrival", function()
                local server = variant.start({script = WAITING})
                local boss = websocket.agent(server, "boss")
                local one = websocket.agent(server, "one", {role = "worker"})
                local two = websocket.agent(server, "two", {role = "worker", maxConcurrentTasks = 2})
                local other = websocket.agent(server, "other", {role = "idler"})
                for number = 1, 3 do
                    assign(boss, number)
                    boss:expect_nothing()
                end
                local has, got = {}, {}
                has[one:receive_envelope().payload.n] = one
                for _ = 1, 2 do
                    has[two:receive_envelope().payload.n] = two
                end
                for number = 4, 9 do
                    assign(boss, number)
                end
                boss:expect_nothing()
                one:expect_nothing()
                two:expect_nothing()
                for number = 1, 6 do
                    complete(has[number], number)
                    boss:receive_envelope()
                    has[number + 3] = has[number]
                    got[number] = has[number]:receive_envelope().payload.n
                end

                assert.same({4, 5, 6, 7, 8, 9}, got)
                other:expect_nothing()
                local figures = delivery(server)
                assert.equal(0, figures.waiting)
                assert.equal(6, figures.waited)
            end)

            it("goes to an agent that registers, as far as that one has room", function()
                local server = variant.start({script = WAITING})
                local boss = websocket.agent(server, "boss")
                for number = 1, 5 do
                    assign(boss, number)
                end
                boss:expect_nothing()

                local late = websocket.agent(server, "late", {role = "worker", maxConcurrentTasks = 2})
                expect_task(late, 1)
                expect_task(late, 2)
                late:expect_nothing()
                late:send_register("late", {role = "worker", maxConcurrentTasks = 3})
                expect_task(late, 3)
                assert.equal("registered", late:receive_json().type)
                late:expect_nothing()
                local second = websocket.agent(server, "second", {role = "worker", maxConcurrentTasks = 9})
                expect_task(second, 4)
                expect_task(second, 5)
            end)

            it("finds a worker each, however many report at once", function()
                local server = variant.start({script = WAITING})
                local boss = websocket.agent(server, "boss")
                local workers, done, total = {}, {}, 240
                for number = 1, 8 do
                    workers[number] = websocket.agent(server, "w" .. number, {role = "worker"})
                end
                for number = 1, total do
                    assign(boss, number)
                end
                local count = 0
                while count < total do
                    for _, worker in ipairs(workers) do
                        local message = worker:receive(count < total - 8 and 10 or 0.2)
                        if message then
                            local number = tonumber(message.payload:match('"taskId":"t(%d+)"'))
                            assert.is_nil(done[number])
                            done[number] = true
                            count = count + 1
                            complete(worker, number)
                        end
                    end
                end
                assert.equal(0, delivery(server).waiting)
            end)
        end)
    end

    it("is refused as overloaded past agents.maxWaiting", function()
        local server = bridge.start({script = WAITING, config = {agents = {maxWaiting = 2}}})
        local boss = websocket.agent(server, "boss")
        for number = 1, 3 do
            assign(boss, number)
        end

        local refused = boss:expect_error("overloaded")
        assert.truthy(refused.error:find("all agents that match are full", 1, true), refused.error)
        server:wait_log("undeliverable 3 mailbox_full nil")
        local worker = websocket.agent(server, "worker", {role = "worker", maxConcurrentTasks = 3})
        expect_task(worker, 1)
        expect_task(worker, 2)
        assert.equal(1, delivery(server).waitingRefused)
        assert.equal(202, select(2, http.post(server, "/send",
            {to = "x", intent = "task.assign", taskId = "t7", payload = {n = 7}})).status)
        expect_task(worker, 7)
    end)

    it("goes to an agent that registers when what waits leaves no room in any mailbox", function()
        local server = bridge.start({script = WAITING,
            config = {performance = {worker_threads = 1}, agents = {mailboxTotalBytes = 4096}}})
        local boss = websocket.agent(server, "boss")
        local function assign_large(number)
            boss:send_envelope({intent = "task.assign", payload = {n = number, text = ("x"):rep(1000)}})
        end
        for number = 1, 4 do
            assign_large(number)
        end
        boss:expect_error("overloaded")

        local worker = websocket.agent(server, "worker", {role = "worker", maxConcurrentTasks = 10})

        for number = 1, 3 do
            expect_task(worker, number)
        end
    end)

    it("is given up after agents.waitingTtlMs and told to on_undeliverable", function()
        local server = bridge.start({script = WAITING, config = {agents = {waitingTtlMs = 1, cleanupIntervalMs = 10}}})
        local boss = websocket.agent(server, "boss")
        assign(boss, 1)

        server:wait_log("undeliverable 1 expired nil")
        local worker = websocket.agent(server, "worker", {role = "worker"})
        worker:expect_nothing()
        wait.eventually(function()
            return delivery(server).waitingExpired == 1
        end)
    end)

    it("goes to an agent that lost its task to a limit", function()
        local server = bridge.start({script = WAITING, config = {agents = {
            registerGraceMs = 10000, maxQueue = 1, cleanupIntervalMs = 600000}}})
        local boss = websocket.agent(server, "boss")
        websocket.agent(server, "worker", {role = "worker"}) -- what it gets waits in its mailbox
        assign(boss, 1)
        assign(boss, 2)
        boss:expect_nothing()
        assert.equal(1, delivery(server).waiting)
        boss:send_envelope({to = "worker", payload = {n = 3}})

        server:wait_log("undeliverable 1 evicted worker")
        server:wait_log("undeliverable 3 evicted worker")
        assert.equal(0, delivery(server).waiting)
    end)

    it("does not come back to its sender", function()
        local server = bridge.start({script = WAITING})
        local one = websocket.agent(server, "one", {role = "worker"})
        assign(one, 1)
        one:expect_nothing()

        expect_task(websocket.agent(server, "two", {role = "worker"}), 1)
    end)

    it("waits only where wait is true, which must be a boolean", function()
        local server = bridge.start({script = [[
            return {
                route = function(envelope, bridge)
                    return bridge.any{role = "worker", wait = envelope.payload.wait}
                end,
            }]], config = {script = {onError = "drop"}}})
        local boss = websocket.agent(server, "boss")
        boss:send_envelope({payload = {wait = false}})
        boss:expect_error("no_recipient")
        boss:send_envelope({payload = {wait = "yes"}})
        boss:expect_error("script_failed")
        server:wait_log("bridge.any: expected true or false for wait, got a string")
    end)
end)
