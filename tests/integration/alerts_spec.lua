-- Alerts: the three built-in rules and those of a policy file, how they fire, what they do, how they are over.
local bridge = require "tests.support.bridge"
local events = require "tests.support.events"
local http = require "tests.support.http"
local json = require "tests.support.json"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"
local socket = require "socket"

local OFF = {enabled = false}
local FILLING = ("x"):rep(30000)

-- Only the rules that `alerts` turns on, looked at often and over short windows.
local function start(alerts, options)
    options = options or {}
    local config = {
        alerts = {
            intervalMs = 20, windowMs = 600, cooldownMs = 0,
            gcFrequency = OFF, poolHitRate = OFF, workerUtilization = OFF,
        },
        phase2 = options.phase2, script = options.script_limits, limits = options.limits, agents = options.agents,
    }
    for name, value in pairs(alerts) do
        config.alerts[name] = value
    end
    if options.policy then
        config.policies = {alerts = "policy.lua"}
    end
    local files = options.files or {}
    files["policy.lua"] = options.policy
    return bridge.start({config = config, files = files, script = options.script})
end

local function alert_of(server, name)
    for _, alert in ipairs(http.get(server, "/alerts").alerts) do
        if alert.name == name then
            return alert
        end
    end
end

local function wait_alert(server, name, active)
    return wait.eventually(function()
        local alert = alert_of(server, name)
        return alert and alert.active == active and alert
    end, nil, ("the alert %s to be %s"):format(name, active and "active" or "over"))
end

local function metric(server, name)
    local text = http.request(server, {path = "/metrics", headers = {Accept = "text/plain"}}).body
    return tonumber(text:match("\n" .. name:gsub("[{}]", "%%%0") .. " (%S+)"))
end

describe("a built-in alert", function()
    after_each(bridge.clean)

    it("gcFrequency fires when collections are frequent, and is over when they are not", function()
        local server = start({gcFrequency = {enabled = true, threshold = 1}})
        local listener = events.listen(server, "/events?kinds=alert")
        http.post(server, "/admin/gc", "")
        local fired = listener:next()
        assert.same({"gcFrequency", "firing", "WARN"}, {fired.data.name, fired.data.state, fired.data.severity})
        assert.truthy(fired.data.value > 1)
        assert.equal(1, fired.data.threshold)
        assert.equal("resolved", listener:next().data.state)
        local alert = alert_of(server, "gcFrequency")
        assert.same({false, 1, "WARN", 1}, {alert.active, alert.count, alert.severity, alert.threshold})
        assert.truthy(alert["until"] >= alert.since)
        wait.eventually(function() -- the metrics follow when all rules were looked at
            return metric(server, 'luaduct_alert_active{rule="gcFrequency"}') == 0
                and metric(server, 'luaduct_alerts_fired_total{rule="gcFrequency"}') == 1
        end, nil, "the alert in the metrics")
        server:wait_log("alert gcFrequency (WARN): ")
    end)

    it("poolHitRate fires when much is not served from the pools, and says nothing of little traffic", function()
        local server = start({poolHitRate = {enabled = true, threshold = 1, forMs = 0}})
        local alice = websocket.agent(server, "alice")
        for i = 1, 5 do
            alice:send_envelope({id = "few" .. i, to = "absent", payload = {}})
        end
        wait.eventually(function()
            socket.sleep(0.05) -- each question is traffic too
            return metric(server, 'luaduct_mailbox_envelopes') == 5
                and metric(server, 'luaduct_alert_active{rule="poolHitRate"}')
        end)
        assert.is_nil(metric(server, 'luaduct_alert_value{rule="poolHitRate"}'))
        assert.equal(0, metric(server, 'luaduct_alert_active{rule="poolHitRate"}'))
        -- What mailboxes keep comes from malloc at first.
        local name = 0
        wait.eventually(function()
            local frames = {} -- sent at once: what counts is how many there are within the window
            for i = 1, 500 do
                name = name + 1
                frames[i] = websocket.frame({payload = json.encode({type = "envelope", envelope = {
                    id = "m" .. name, to = "absent" .. i % 100, payload = {text = ("x"):rep(700)},
                }})})
            end
            alice:send_bytes(table.concat(frames))
            local alert = alert_of(server, "poolHitRate")
            return alert and alert.active
        end, nil, "the alert")
        assert.equal("ALERT", alert_of(server, "poolHitRate").severity)
        wait_alert(server, "poolHitRate", false)
    end)

    it("workerUtilization fires when workers are busy, has one more started, and is over when they are not", function()
        -- With a cool-down, for each look in which both are still thought busy would ask for one more.
        local server = start({workerUtilization = {enabled = true, threshold = 0.9, forMs = 0}, cooldownMs = 600000}, {
            phase2 = {
                workerPool = {minWorkers = 1, maxWorkers = 3, taskTimeout = 60000},
                predictiveScaling = {enabled = false},
            },
            files = {["endless.lua"] = "return function() while true do end end"},
            script = 'luaduct.workers.register("endless", "endless.lua")\nreturn {}',
        })
        assert.equal(1, http.get(server, "/optimization").cpuOptimization.workerPool.currentWorkers)
        local asking = http.connect(server)
        asking:send_request({
            method = "POST", path = "/workers/execute", body = json.encode({operation = "endless", timeoutMs = 60000}),
        })
        wait.eventually(function()
            return http.get(server, "/optimization").cpuOptimization.workerPool.currentWorkers == 2
        end, nil, "a second worker")
        local alert = wait_alert(server, "workerUtilization", false) -- one of two is busy
        assert.same({"SCALE_UP", 1, "asked for 2 workers"}, {alert.severity, alert.value, alert.done})
        assert.equal(1, alert.count)
    end)

    it("that is off is not there", function()
        local server = start({})
        http.post(server, "/admin/gc", "")
        wait.eventually(function()
            return metric(server, 'luaduct_gc_collections_total{trigger="manual"}') > 0
        end)
        assert.is_nil(metric(server, 'luaduct_alert_active{rule="gcFrequency"}'))
        assert.is_nil(alert_of(server, "gcFrequency"))
    end)
end)

describe("a policy file", function()
    after_each(bridge.clean)

    it("has rules over metrics, which fire, run their function, and are over", function()
        local server = start({}, {policy = [[
            return {
                {name = "many", value = "agents", above = 1, clear = 0, action = "RUN", run = function(alert, metrics)
                    luaduct.log.info(("rule %s is %s at %s of %d"):format(alert.name, alert.state, alert.value,
                        metrics.agents))
                end},
                {name = "none", value = function(metrics) return metrics.agents end, below = 1, action = "ALERT"},
            }
        ]]})
        wait_alert(server, "none", true)
        local agents = {websocket.agent(server, "a"), websocket.agent(server, "b")}
        local many = wait_alert(server, "many", true)
        assert.same({"RUN", 2, 1, "ran its function"}, {many.severity, many.value, many.threshold, many.done})
        wait_alert(server, "none", false)
        server:wait_log("rule many is firing at 2 of 2")
        agents[1]:close()
        wait.eventually(function()
            return #http.get(server, "/agents").agents == 1
        end)
        assert.truthy(alert_of(server, "many").active) -- one is between clear and the threshold
        agents[2]:close()
        wait_alert(server, "many", false)
        server:wait_log("rule many is resolved at 0 of 0")
    end)

    it("with a rule that raises, and one that never ends, is watched all the same", function()
        local server = start({}, {script_limits = {budgetMs = 20}, policy = [[
            return {
                {name = "raises", value = function() error("no way") end, above = 1},
                {name = "endless", value = function() while true do end end, above = 1},
                {name = "text", value = function() return "much" end, above = 1},
                {name = "good", value = "agents", below = 1},
            }
        ]]})
        wait_alert(server, "good", true)
        server:wait_log("policy: rule raises: ")
        server:wait_log("policy.lua:2: no way")
        server:wait_log("policy: rule endless: ")
        server:wait_log("expected the function to return a number or nil, got a string")
        wait.eventually(function() -- the log has a failure at once, the metrics after all rules were looked at
            return (metric(server, 'luaduct_alert_rule_failures_total{rule="endless"}') or 0) > 0
        end, nil, "the failure to be counted")
        assert.equal(0, metric(server, 'luaduct_alert_rule_failures_total{rule="good"}'))
    end)

    -- Each makes the value rise, again and again until the alert fires; how it falls again is written beside it.
    for value, case in pairs({
        errorRate = {above = 0.5, rise = function(_, alice) -- the window passes
            for _ = 1, 120 do
                alice:send_bytes(websocket.frame({payload = "{}"}))
            end
            for _ = 1, 120 do
                assert.equal("error", alice:receive_json().type)
            end
        end},
        queueDepth = {above = 1, config = { -- tasks run into their time
            phase2 = {workerPool = {minWorkers = 1, maxWorkers = 1}, predictiveScaling = {enabled = false}},
            files = {["endless.lua"] = "return function() while true do end end"},
            script = 'luaduct.workers.register("endless", "endless.lua")\nreturn {}',
        }, rise = function(server, _, round)
            if round % 50 == 1 then
                for _ = 1, 4 do
                    http.connect(server):send_request({method = "POST", path = "/workers/execute",
                        body = json.encode({operation = "endless", timeoutMs = 400})})
                end
            end
        end},
        scriptOverrunsPerMinute = {above = 0, config = { -- the window passes
            script_limits = {budgetMs = 5},
            script = "return {route = function(e) while e.intent == 'endless' do end end}",
        }, rise = function(_, alice, round)
            alice:send_envelope({to = "alice", intent = "endless", id = "o" .. round})
        end},
        slowAgentLossesPerMinute = {above = 0, config = { -- the window passes
            limits = {sendQueueBytes = "16KiB", slowAgent = "drop"},
        }, prepare = function(server)
            return websocket.agent(server, "slow", nil, {receive_buffer = 4096})
        end, rise = function(_, alice, round)
            for index = 1, 50 do
                alice:send_envelope({to = "slow", id = "s" .. round .. "-" .. index, payload = ("x"):rep(16000)})
            end
        end},
        memoryTrend = {above = 1000000, config = { -- nothing more comes
            phase2 = {gcOptimization = {sampleIntervalMs = 10}}, agents = {mailboxBytes = "1GiB"},
        }, rise = function(_, alice, round)
            for index = 1, 10 do
                alice:send_envelope({to = "absent" .. index, id = "m" .. round .. "-" .. index, payload = FILLING})
            end
        end},
    }) do
        it("has a rule over " .. value .. ", which fires and is over", function()
            local config = case.config or {}
            config.policy = ('return {{name = "rule", value = "%s", above = %g}}'):format(value, case.above)
            local server = start({}, config)
            local alice = websocket.agent(server, "alice")
            local kept = case.prepare and case.prepare(server)
            local round = 0
            wait.eventually(function()
                round = round + 1
                case.rise(server, alice, round)
                return (metric(server, 'luaduct_alerts_fired_total{rule="rule"}') or 0) >= 1
            end, 60, "the alert to fire")
            wait.eventually(function()
                socket.sleep(0.1) -- to ask takes memory too, of which AddressSanitizer keeps all for a while
                return not alert_of(server, "rule").active
            end, 60, "the alert to be over")
            assert.equal(case.above, alert_of(server, "rule").threshold)
            if kept then
                kept:close()
            end
        end)
    end

    it("asks for as many workers as it says, and not more than there may be", function()
        local server = start({}, {
            phase2 = {workerPool = {minWorkers = 1, maxWorkers = 3}},
            policy = 'return {{name = "more", value = "agents", above = 0, action = "SCALE_UP", workers = 8}}',
        })
        websocket.agent(server, "alice")
        wait.eventually(function()
            return http.get(server, "/optimization").cpuOptimization.workerPool.currentWorkers == 3
        end, nil, "three workers")
        assert.truthy(wait_alert(server, "more", true).done:find("3 workers", 1, true))
    end)

    it("asks the memory controller for a step", function()
        local server = start({cooldownMs = 60000}, {
            policy = 'return {{name = "less", value = "agents", above = 0, action = "SHED"}}',
        })
        websocket.agent(server, "alice")
        server:wait_log("memory: a full collection of all Lua states (an alert)")
        assert.equal("asked the memory controller for a step", wait_alert(server, "less", true).done)
    end)

    for what, case in pairs({
        ["no list"] = {"return 7", "expected the file to return a list of rules, got a number"},
        ["an unknown metric"] = {'return {{name = "a", value = "agent", above = 1}}', "got agent"},
        ["two thresholds"] = {'return {{name = "a", value = "agents", above = 1, below = 1}}',
            "one of above and below"},
        ["an unknown member"] = {'return {{name = "a", value = "agents", above = 1, abov = 1}}', "nothing like abov"},
        ["a name twice"] = {
            'return {{name = "a", value = "agents", above = 1}, {name = "a", value = "agents", above = 1}}',
            "rule a: there is a rule or an alert of that name already"},
        ["a built-in's name"] = {'return {{name = "gcFrequency", value = "agents", above = 1}}',
            "there is a rule or an alert of that name already"},
        ["the name of an alert of the bridge's"] = {'return {{name = "memory.leak", value = "agents", above = 1}}',
            "there is a rule or an alert of that name already"},
        ["the name of an engine's alert"] = {'return {{name = "workerPool.degraded", value = "agents", above = 1}}',
            "there is a rule or an alert of that name already"},
        ["a threshold that is no number"] = {'return {{name = "a", value = "agents", above = 0/0}}',
            "above: expected a finite number, got "},
        ["an unknown action"] = {'return {{name = "a", value = "agents", above = 1, action = "PANIC"}}', "SCALE_UP"},
        ["no run"] = {'return {{name = "a", value = "agents", above = 1, action = "RUN"}}', "run: expected a function"},
        ["a syntax error"] = {"return {", "policy.lua:1:"},
        ["files in reach"] = {"return io.open('x')", "policy.lua:1:"},
    }) do
        it("with " .. what .. " stops the start and is found by check", function()
            local options = {config = {policies = {alerts = "policy.lua"}}, files = {["policy.lua"] = case[1]}}
            local status, errors = bridge.start_failing(options)
            assert.equal(1, status)
            assert.truthy(errors:find(case[2], 1, true), errors)
            local _
            status, _, errors = bridge.luaduct({"check", (bridge.write(options))})
            assert.equal(1, status)
            assert.truthy(errors:find(case[2], 1, true), errors)
        end)
    end

    it("that is not there stops the start", function()
        local status, errors = bridge.start_failing({config = {policies = {alerts = "nowhere.lua"}}})
        assert.equal(1, status)
        assert.truthy(errors:find("policies.alerts: expected a policy file that can be read", 1, true), errors)
    end)

    it("comes with the bridge as an example that is good", function()
        local policy = assert(io.open("config/policies/alerts.lua")):read("*a")
        local path = bridge.write({config = {policies = {alerts = "policy.lua"}}, files = {["policy.lua"] = policy}})
        local status, output, errors = bridge.luaduct({"check", path})
        assert.equal(0, status, errors)
        assert.truthy(output:find("policy.lua: ok", 1, true))
    end)
end)
