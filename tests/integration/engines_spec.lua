-- The engines: switched off and on while messages flow, off from the start, and off by themselves when the system has
-- nothing to give, until it has again.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local process = require "tests.support.process"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local ENGINES = {"objectPooling", "gcOptimization", "workerPool"}
local TOKEN = "correct horse battery staple"
local FAULT = os.getenv("LUADUCT_THREAD_FAULT")

local function engine_of(server, name)
    return http.get(server, "/admin/engines").engines[name]
end

local function wait_state(server, name, state, seconds)
    return wait.eventually(function()
        local engine = engine_of(server, name)
        return engine.state == state and engine
    end, seconds, name .. " to be " .. state)
end

local function switch(server, name, on)
    local body, answer = http.post(server, "/admin/engines", {[name] = on})
    assert.equal(202, answer.status, answer.body)
    assert.equal(on, body.engines[name].enabled)
end

local function optimization(server)
    return http.get(server, "/optimization")
end

-- Sends `count` more envelopes from alice to bob, and holds each to its turn.
local function talk(pair, count)
    for _ = 1, count do
        pair.sent = pair.sent + 1
        pair.alice:send_envelope({id = "e" .. pair.sent, to = "bob", payload = {text = ("x"):rep(200)}})
    end
    for _ = 1, count do
        pair.seen = pair.seen + 1
        assert.equal("e" .. pair.seen, pair.bob:receive_envelope().id)
    end
end

local function pair_on(server)
    return {alice = websocket.agent(server, "alice"), bob = websocket.agent(server, "bob"), sent = 0, seen = 0}
end

local function work(server)
    return http.post(server, "/workers/execute", {operation = "sort", data = {items = {2, 1}}})
end

-- What /optimization says of an engine that runs, and of one that does not.
local RUNS = {
    objectPooling = function(server, pair)
        local before = optimization(server).memoryOptimization.objectPools.envelopes
        talk(pair, 100)
        local after = optimization(server).memoryOptimization.objectPools.envelopes
        return after.totalAcquired - before.totalAcquired >= 100
            and optimization(server).performance.pooledEnvelopes - before.totalAcquired * before.hitRate >= 90
    end,
    gcOptimization = function(server)
        return optimization(server).memoryOptimization.gcOptimizer.configuration.enabled
    end,
    workerPool = function(server)
        local _, answer = work(server)
        return answer.status == 200 and optimization(server).cpuOptimization.workerPool.currentWorkers > 0
    end,
}

-- Under AddressSanitizer every block is malloc's own, pooled or not.
local PLAIN_MALLOC = os.getenv("LUADUCT_TEST_SLOW") and not os.getenv("LUADUCT_TEST_TSAN")

local function assert_runs(expected, name, server, pair)
    if name ~= "objectPooling" or not PLAIN_MALLOC then
        assert.equal(expected, RUNS[name](server, pair))
    end
end

describe("an engine", function()
    after_each(bridge.clean)

    for _, name in ipairs(ENGINES) do
        it("is switched off and on while messages flow, and nothing is lost: " .. name, function()
            local server = bridge.start()
            local pair = pair_on(server)
            talk(pair, 500)
            assert.equal("on", engine_of(server, name).state)
            assert_runs(true, name, server, pair)

            for _ = 1, 5 do
                switch(server, name, false)
                talk(pair, 500)
                wait_state(server, name, "off")
                talk(pair, 500)
                assert_runs(false, name, server, pair)
                assert.same({}, optimization(server).degraded)
                switch(server, name, true)
                talk(pair, 500)
                wait_state(server, name, "on")
            end

            talk(pair, 500)
            assert_runs(true, name, server, pair)
            assert.equal(0, engine_of(server, name).failures)
        end)

        it("can be off from the start, and switched on later: " .. name, function()
            local server = bridge.start({config = {phase2 = {[name] = {enabled = false}}}})
            local pair = pair_on(server)

            local engine = engine_of(server, name)
            assert.is_false(engine.enabled)
            assert.equal("off", engine.state)
            assert.equal(json.null, engine.reason)
            talk(pair, 500)
            assert_runs(false, name, server, pair)
            assert.same({}, http.get(server, "/alerts").alerts)

            switch(server, name, true)
            wait_state(server, name, "on")
            assert_runs(true, name, server, pair)
        end)
    end

    it("can be switched with the others in one request, also when all are off already", function()
        local server = bridge.start()
        local pair = pair_on(server)

        for _, on in ipairs({false, false, true, true}) do
            local all = {}
            for _, name in ipairs(ENGINES) do
                all[name] = on
            end
            http.post(server, "/admin/engines", all)
            for _, name in ipairs(ENGINES) do
                wait_state(server, name, on and "on" or "off")
            end
            talk(pair, 200)
        end
    end)

    it("may be switched as fast as requests come, and ends as the last one says", function()
        local server = bridge.start()
        local pair = pair_on(server)

        for i = 1, 50 do
            http.post(server, "/admin/engines", {workerPool = i % 2 == 0, objectPooling = i % 3 == 0})
            talk(pair, 10)
        end
        switch(server, "objectPooling", true)

        wait_state(server, "workerPool", "on")
        wait_state(server, "objectPooling", "on")
        assert.same({1, 2}, work(server).result)
    end)

    it("leaves others as they are when the request names none", function()
        local body, answer = http.post(bridge.start(), "/admin/engines", "{}")
        assert.equal(202, answer.status)
        for _, name in ipairs(ENGINES) do
            assert.equal("on", body.engines[name].state)
        end
    end)

    for name, case in pairs({
        ["an engine that does not exist"] = {'{"turbo":true}', "bad_field", 'got "turbo"'},
        ["a number"] = {'{"workerPool":1}', "bad_field", "workerPool: expected true or false, got a number"},
        ["a text"] = {'{"workerPool":"off"}', "bad_field", "workerPool: expected true or false, got a string"},
        ["null"] = {'{"workerPool":null}', "bad_field", "workerPool: expected true or false, got null"},
        ["one twice"] = {'{"workerPool":true,"workerPool":false}', "duplicate_field", '"workerPool" is there twice'},
        ["no object"] = {"[]", "bad_field", "expected an object"},
        ["no JSON"] = {"off", "bad_json", ""},
        ["nothing"] = {"", "bad_json", ""},
        ["a right one beside a wrong one"] = {'{"workerPool":false,"turbo":true}', "bad_field", 'got "turbo"'},
    }) do
        it("is not switched by " .. name, function()
            local server = bridge.start()

            local body, answer = http.post(server, "/admin/engines", case[1])

            assert.equal(400, answer.status, answer.body)
            assert.equal(case[2], body.code)
            assert.truthy(body.error:find(case[3], 1, true), body.error)
            assert.is_true(engine_of(server, "workerPool").enabled)
        end)
    end

    it("is switched and shown to administrators only", function()
        local server = bridge.start({config = {auth = {token = TOKEN, tokenIsAdmin = false}}})
        local bearer = {Authorization = "Bearer " .. TOKEN}

        local body, answer = http.post(server, "/admin/engines", {workerPool = false}, bearer)
        assert.equal(403, answer.status)
        assert.equal("forbidden", body.code)
        assert.equal("forbidden", http.get(server, "/admin/engines", bearer).code)
        assert.equal("unauthorized", http.post(server, "/admin/engines", {workerPool = false}).code)

        server = bridge.start({config = {auth = {token = TOKEN, tokenIsAdmin = true}}})
        assert.equal(202, select(2, http.post(server, "/admin/engines", {workerPool = false}, bearer)).status)
    end)
end)

-- A bridge without threads or memory for new ones while the test says so; sanitizers want both for themselves.
local function start_faulty(options)
    local folder = process.folder()
    local env = {
        LD_PRELOAD = FAULT, LUADUCT_THREAD_FAULT_FILE = folder .. "/threads",
        LUADUCT_MEMORY_FAULT_FILE = folder .. "/memory",
    }
    for name, value in pairs(options and options.env or {}) do
        env[name] = value
    end
    local server = bridge.start({env = env, config = options and options.config, script = options and options.script})
    server.threads, server.memory = folder .. "/threads", folder .. "/memory"
    return server
end

local function alert_of(server, name)
    for _, alert in ipairs(http.get(server, "/alerts").alerts) do
        if alert.name == name then
            return alert
        end
    end
    return nil
end

-- Everywhere that an operator may look.
local function assert_degraded(server, name, reason)
    local engine = wait_state(server, name, "degraded")
    assert.truthy(engine.reason:find(reason, 1, true), engine.reason)
    assert.is_true(engine.enabled)
    assert.is_true(engine.failures >= 1)
    local expected = {{name = name, reason = engine.reason}}
    assert.same(expected, http.get(server, "/health").degraded)
    assert.same(expected, optimization(server).degraded)
    assert.equal("ok", http.get(server, "/health").status)
    local alert = alert_of(server, name .. ".degraded")
    assert.is_true(alert.active)
    assert.equal(json.null, alert["until"])
    assert.truthy(alert.text:find(reason, 1, true), alert.text)
    server:wait_log("alert " .. name .. ".degraded: " .. name .. " is off: ")
end

local function assert_recovered(server, name)
    wait_state(server, name, "on", 20)
    assert.same({}, http.get(server, "/health").degraded)
    assert.same({}, optimization(server).degraded)
    local alert = alert_of(server, name .. ".degraded")
    assert.is_false(alert.active)
    assert.is_string(alert["until"])
    server:wait_log("alert " .. name .. ".degraded: over")
    server:wait_log(name .. " is on again")
end

if FAULT then
    describe("without what threads need", function()
        after_each(bridge.clean)

        it("the workers do not come on, say so, and come back by themselves", function()
            local server = start_faulty({script = [[return {route = function(envelope, bridge)
                if envelope.intent == "work" then
                    local _, text, code = luaduct.workers.execute{operation = "hash", data = {text = "x"}}
                    return bridge.reply{text = text, code = code}
                end
            end}]]})
            local pair = pair_on(server)
            switch(server, "workerPool", false)
            wait_state(server, "workerPool", "off")
            process.write_file(server.threads, "")

            switch(server, "workerPool", true)

            assert_degraded(server, "workerPool", "Resource temporarily unavailable")
            talk(pair, 500)
            local body, answer = work(server)
            assert.equal(503, answer.status)
            assert.equal("overloaded", body.code)
            assert.equal("the worker pool is off", body.error)
            pair.alice:send_envelope({to = "bob", intent = "work"})
            assert.same({text = "the worker pool is off", code = "overloaded"}, pair.alice:receive_envelope().payload)

            os.remove(server.threads)
            assert_recovered(server, "workerPool")
            talk(pair, 500)
            assert.same({1, 2}, work(server).result)
        end)

        -- The first thread of all writes the log, the next one supervises the workers.
        for number, what in pairs({[2] = "the workers' supervisor", [3] = "the workers"}) do
            it("the bridge starts when it cannot start " .. what .. ", and they come later", function()
                local server = start_faulty({env = {LUADUCT_THREAD_FAULT_NUMBER = tostring(number)}})
                local pair = pair_on(server)

                talk(pair, 100)
                server:wait_log("workerPool is off: cannot start " .. what .. ": Resource temporarily unavailable")
                assert_recovered(server, "workerPool")
                assert.same({1, 2}, work(server).result)
            end)
        end

        -- After the supervisor there are two workers, and then the reactors, without which there is no bridge.
        for number, said in pairs({
            [1] = "cannot start the log: Resource temporarily unavailable",
            [5] = "cannot start a thread: Resource temporarily unavailable",
            [6] = "cannot start a thread: Resource temporarily unavailable",
        }) do
            it("the bridge refuses to start, and says why, when it cannot make its thread " .. number, function()
                local status, errors = bridge.start_failing({
                    env = {LD_PRELOAD = FAULT, LUADUCT_THREAD_FAULT_NUMBER = tostring(number)},
                })

                assert.equal(1, status)
                assert.truthy(errors:find(said, 1, true), errors)
            end)
        end

        it("the workers are tried again at once when they are switched on", function()
            local server = start_faulty()
            switch(server, "workerPool", false)
            wait_state(server, "workerPool", "off")
            process.write_file(server.threads, "")
            switch(server, "workerPool", true)
            wait.eventually(function() return engine_of(server, "workerPool").failures >= 2 end, 20)
            os.remove(server.threads)

            switch(server, "workerPool", true)

            wait_state(server, "workerPool", "on")
            assert.same({1, 2}, work(server).result)
        end)

        it("workers that failed can be switched off, which ends the alert and the attempts", function()
            local server = start_faulty()
            switch(server, "workerPool", false)
            wait_state(server, "workerPool", "off")
            process.write_file(server.threads, "")
            switch(server, "workerPool", true)
            wait_state(server, "workerPool", "degraded")

            switch(server, "workerPool", false)

            local engine = wait_state(server, "workerPool", "off")
            assert.equal(json.null, engine.reason)
            assert.is_false(alert_of(server, "workerPool.degraded").active)
            assert.same({}, http.get(server, "/health").degraded)
        end)

        it("a pool that cannot grow goes on with the workers that it has", function()
            local server = start_faulty({config = {phase2 = {workerPool = {minWorkers = 1, maxWorkers = 4}}}})
            process.write_file(server.threads, "")

            local waiting = {}
            for i = 1, 8 do
                waiting[i] = http.connect(server)
                waiting[i]:send_request({
                    method = "POST", path = "/workers/execute",
                    body = json.encode({operation = "hash", data = {text = ("x"):rep(900000)}}),
                })
            end

            for i = 1, 8 do
                assert.equal(200, waiting[i]:receive().status)
            end
            assert.equal("on", engine_of(server, "workerPool").state)
            assert.equal(1, optimization(server).cpuOptimization.workerPool.currentWorkers)
        end)

        it("the pools go on without magazines, say so, and come back by themselves", function()
            local server = start_faulty()
            local pair = pair_on(server)
            talk(pair, 100)
            process.write_file(server.memory, "")

            -- Threads that are new have no magazines yet.
            switch(server, "workerPool", false)
            wait_state(server, "workerPool", "off")
            switch(server, "workerPool", true)
            wait_state(server, "workerPool", "on")
            assert.same({1, 2}, work(server).result)

            assert_degraded(server, "objectPooling", "no memory for its magazines")
            talk(pair, 500)
            assert.same({1, 2}, work(server).result)
            os.remove(server.memory)
            assert_recovered(server, "objectPooling")
            talk(pair, 500)
        end)
    end)
end
