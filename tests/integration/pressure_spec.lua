-- A budget of 64 MiB and input that would like more: the process stays within it, says what it did about it, goes on
-- serving those who did not cause it, and comes back by itself.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

-- A sanitizer takes more than this budget for itself, and its figures of memory say nothing: there only the rest runs.
local PLAIN = os.getenv("LUADUCT_TEST_SLOW") ~= "1"
local MIB = 1024 * 1024
local BUDGET = 64 * MIB

local function start(options)
    options = options or {}
    return bridge.start {
        config = {
            limits = {memory = PLAIN and "64MiB" or "2GiB"},
            script = options.script and {budgetMs = 200} or nil,
            phase2 = {gcOptimization = {sampleIntervalMs = 50, cooldownMs = 100, enabled = options.enabled}},
        },
        script = options.script,
    }
end

local function memory(server)
    local body = http.get(server, "/optimization")
    return body.memoryOptimization.memoryPressure, body.memoryOptimization.gcOptimizer
end

-- Writes as far as the bridge reads; false when it does not (any more).
local function push(client, bytes)
    return (client.stream:send(bytes, 1))
end

local function envelope(to, payload, fields)
    return websocket.frame({
        payload = ('{"type":"envelope","envelope":{"to":"%s","payload":"%s"%s}}'):format(to, payload, fields or ""),
    })
end

-- The most that the process had while `attack` ran; a quiet agent's envelopes pass meanwhile.
local function watch(server, attack)
    local quiet, peer = websocket.agent(server, "quiet"), websocket.agent(server, "peer")
    local most, number = 0, 0
    local function look()
        most = math.max(most, server:resident())
        number = number + 1
        quiet:send_envelope({to = "peer", id = "q" .. number})
        assert.equal("q" .. number, peer:receive_envelope().id)
    end
    attack(look)
    look()
    if PLAIN then
        assert.is_true(most <= BUDGET, ("%.1f MiB"):format(most / MIB))
    end
    return quiet, peer
end

local function wait_level(server, levels)
    return wait.eventually(function()
        local figures = memory(server)
        return levels:find(figures.level, 1, true) and figures
    end, 10, "the level to be " .. levels)
end

describe("a small memory budget", function()
    after_each(bridge.clean)

    it("holds against readers that do not read", function()
        local server = start()
        local slow = {}
        for index = 1, 24 do
            slow[index] = websocket.agent(server, "slow" .. index, nil, {receive_buffer = 4096})
        end
        local flooder = websocket.agent(server, "flooder")
        local payload = ("x"):rep(16000)
        watch(server, function(look)
            for round = 1, PLAIN and 2000 or 20 do -- the kernel's buffers take the first hundred megabytes
                local parts = {}
                for index = 1, 24 do
                    parts[index] = envelope("slow" .. index, payload)
                end
                local pushed = push(flooder, table.concat(parts))
                if round % 10 == 0 or not pushed then
                    look()
                    if not pushed or memory(server).shed.paused > 0 then
                        break
                    end
                end
            end
        end)

        if not PLAIN then
            return
        end
        local figures, collector = memory(server)
        assert.is_true(figures.shed.paused + figures.shed.refused > 0, json.encode(figures.shed))
        assert.is_true(figures.shed.trimmed > 0 and figures.historyShare < 1)
        assert.is_true(collector.pressureAlerts > 0)
        server:wait_log("memory: critical")
        -- The last resort: who holds most goes, until there is room again.
        wait_level(server, "low moderate high")
        for index = 1, 24 do
            slow[index]:close()
        end
        flooder:close()
        -- What waits for them is within the mailboxes' quarter; the pressure is over, and new agents are let in.
        local after = wait_level(server, "low moderate")
        assert.is_true(after.mailboxes <= BUDGET / 4)
        assert.equal(200, select(2, http.get(server, "/ready")).status)
        -- The history gets its bytes again at low; mailboxes and what malloc cannot give back may keep it above.
        wait.eventually(function()
            local now = memory(server)
            return now.level ~= "low" or now.historyShare == 1
        end, 10, "the history to have its bytes again")
        local late = websocket.agent(server, "late")
        late:send_envelope({to = "late", id = "mine"})
        assert.equal("mine", late:receive_envelope().id)
        assert.is_nil(server:log():find("lost", 1, true))
        assert.equal(0, http.get(server, "/metrics").messages.lostWithoutMemory)
    end)

    it("holds against messages that never end, and bodies", function()
        local server = start()
        local parts = {}
        watch(server, function(look)
            for index = 1, PLAIN and 90 or 10 do
                local ok, client = pcall(websocket.agent, server, "big" .. index)
                if ok then
                    parts[#parts + 1] = client
                    for piece = 1, 14 do
                        local frame = {payload = ("x"):rep(64000), fin = false, opcode = piece > 1 and 0 or nil}
                        if not push(client, websocket.frame(frame)) then
                            break
                        end
                    end
                end
                if index % 10 == 0 then
                    look()
                end
            end
        end)
        for _, client in ipairs(parts) do
            client:close()
        end
        wait_level(server, "low moderate")
        websocket.agent(server, "late")
    end)

    it("closes the agent whose messages wait for a hook, and has its memory back before the hook ends", function()
        if not PLAIN then
            return
        end
        local server = start({script = [[
            return {route = function(envelope, bridge)
                if envelope.intent == "wait" then luaduct.sleep(60000) end
                return bridge.to(envelope.to)
            end}
        ]]})
        local big = websocket.agent(server, "big")
        push(big, envelope("big", "", ',"intent":"wait"'))
        for _ = 1, 62 do
            if not push(big, envelope("big", ("x"):rep(900000))) then
                break
            end
        end
        server:wait_log("memory: high")
        assert.is_true(server:resident() <= BUDGET)
        wait_level(server, "low moderate")
        websocket.agent(server, "late")
    end)

    it("refuses new work at critical with 503 and Retry-After, and still answers probes", function()
        if not PLAIN then
            return
        end
        local server = start()
        local held = {}
        for index = 1, 80 do
            local ok, client = pcall(websocket.agent, server, "big" .. index)
            if not ok then
                break
            end
            held[index] = client
            for piece = 1, 14 do
                local frame = {payload = ("x"):rep(64000), fin = false, opcode = piece > 1 and 0 or nil}
                if not push(client, websocket.frame(frame)) then
                    break
                end
            end
        end
        -- The level may leave critical by itself while this looks: what it did is remembered by its figures.
        wait.eventually(function()
            local shed = memory(server).shed
            return shed.refused + shed.paused > 0
        end, nil, "something to be refused")
        local status, headers = websocket.upgrade(server)
        assert.is_true(status == 503 and headers["retry-after"] ~= nil or status == 101, tostring(status))
        for _, path in ipairs({"/health", "/metrics", "/optimization"}) do
            assert.equal(200, http.request(server, {path = path}).status)
        end
        assert.is_true(server:resident() <= BUDGET)
        for _, client in ipairs(held) do
            client:close()
        end
        wait_level(server, "low moderate")
        websocket.agent(server, "late")
    end)

    it("holds against absent recipients, deep JSON and a script that hoards", function()
        local server = start({script = [[
            local hoard = {}
            return {route = function(envelope, bridge)
                if envelope.intent == "hoard" then
                    for i = 1, 2000 do
                        hoard[#hoard + 1] = ("x"):rep(100) .. #hoard
                    end
                end
                return bridge.to(envelope.to)
            end}
        ]]})
        local flooder = websocket.agent(server, "flooder")
        local deep = ("["):rep(100) .. ("]"):rep(100)
        local many = {}
        for index = 1, 100 do
            many[index] = envelope("absent" .. index, ("y"):rep(3000), ',"context":{"a":' .. deep .. "}")
        end
        many[#many + 1] = envelope("peer", "", ',"intent":"hoard"')
        many = table.concat(many)
        local quiet, peer = websocket.agent(server, "quiet"), websocket.agent(server, "peer2")
        for round = 1, PLAIN and 120 or 10 do
            push(flooder, many)
            if round % 10 == 0 then
                quiet:send_envelope({to = "peer2", id = "q" .. round})
                assert.equal("q" .. round, peer:receive_envelope().id)
                assert.is_true(not PLAIN or server:resident() <= BUDGET)
            end
        end
        local figures = memory(server)
        assert.is_true(not PLAIN or figures.mailboxes <= BUDGET / 4)
        assert.is_true(not PLAIN or figures.luaHeaps <= BUDGET / 2 + MIB)
    end)

    it("is only looked at with the engine off", function()
        local server = start({enabled = false, script = [[
            return {route = function(envelope, bridge)
                local garbage = {}
                for i = 1, 200 do garbage[i] = {i} end
                return bridge.to(envelope.to)
            end}
        ]]})
        local alice = websocket.agent(server, "alice")
        for number = 1, 500 do
            alice:send_envelope({to = "alice", id = "e" .. number})
            alice:receive_envelope()
        end
        local figures, collector = memory(server)
        assert.is_false(collector.configuration.enabled)
        assert.is_string(figures.level)
        assert.equal(0, collector.pauses.count)
        assert.equal(500, collector.hookTimes.count)
        assert.is_true(collector.totalGCTriggers > 0)
        assert.equal(0, figures.shed.trimmed)
    end)
end)

describe("POST /admin/gc", function()
    after_each(bridge.clean)

    it("collects in every state, and the figures show it", function()
        local server = start()
        local body, answer = http.post(server, "/admin/gc", "")
        assert.equal(202, answer.status)
        assert.same({status = "started", manualTriggers = 0, memoryReclaimed = 0}, body)
        wait.eventually(function()
            local _, collector = memory(server)
            return collector.manualTriggers == 2 and collector.totalGCTriggers == 2 and collector.underWay == 0
        end, 10, "both reactors' states to be collected")
        server:wait_log("a full collection of all Lua states (asked for)")
        assert.truthy(http.request(server, {path = "/metrics", headers = {Accept = "text/plain"}}).body:find(
            'luaduct_gc_collections_total{trigger="manual"} 2', 1, true))
    end)

    it("is for administrators", function()
        local server = bridge.start {config = {auth = {token = "secret", tokenIsAdmin = false}}}
        local body, answer = http.post(server, "/admin/gc", "", {Authorization = "Bearer secret"})
        assert.equal(403, answer.status)
        assert.equal("forbidden", body.code)
    end)
end)
