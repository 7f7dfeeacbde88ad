-- Every endpoint: what it answers and how it refuses.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local variants = require "tests.support.variants"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local ISO = "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$"

-- The value of a path such as "a.b" in decoded JSON.
local function at(value, path)
    for name in path:gmatch("[^.]+") do
        assert(type(value) == "table", "no table on the way to " .. path)
        value = value[name]
    end
    return value
end

local function assert_numbers(value, paths)
    for _, path in ipairs(paths) do
        assert.equal("number", type(at(value, path)), path)
    end
end

describe("GET /health", function()
    after_each(bridge.clean)

    for _, variant in ipairs(variants.modes) do
        it(variant.name .. " says how the bridge is", function()
            local server = variant.start()
            websocket.agent(server, "alice")

            local body, answer = http.get(server, "/health")

            assert.equal(200, answer.status)
            assert.matches("^application/json", answer.headers["content-type"])
            assert.equal("ok", body.status)
            assert.matches(ISO, body.timestamp)
            assert.matches("^%d+%.%d+%.%d+", body.version)
            assert.equal(server.ws_port, body.wsPort)
            assert.equal(server.http_port, body.httpPort)
            assert.equal(1, body.connectedClients)
            assert.equal(0, body.historySize)
            assert.is_true(body.uptime >= 0 and body.uptime < 600)
            assert.equal("development", body.environment)
            local extras = variant.mode == "enhanced"
            for _, name in ipairs({"metrics", "scriptVersion", "memoryLevel", "degraded"}) do
                assert.equal(extras, body[name] ~= nil, name)
            end
        end)
    end

    it("in enhanced mode gives figures that move", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice")
        local before = http.get(server, "/health")
        for _ = 1, 10 do
            alice:send_envelope({to = "alice", payload = ("x"):rep(1000)})
            alice:receive_envelope()
        end

        wait.eventually(function()
            local after = http.get(server, "/health")
            return after.historySize == 10 and after.metrics.messages >= before.metrics.messages + 10
        end, 10, "ten more messages")
        assert.is_number(before.scriptVersion.number)
        assert.is_string(before.scriptVersion.hash)
        assert.is_string(before.memoryLevel)
        assert.same({}, before.degraded)
    end)

    it("shows NODE_ENV as the environment", function()
        local server = bridge.start({env = {NODE_ENV = "staging"}})

        assert.equal("staging", http.get(server, "/health").environment)
    end)
end)

describe("GET /api/status", function()
    after_each(bridge.clean)

    it("describes the service", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice")
        alice:send_envelope({to = "absent"})
        alice:expect_nothing()

        local body, answer = http.get(server, "/api/status")

        assert.equal(200, answer.status)
        assert.is_string(body.service)
        assert.equal("healthy", body.status)
        assert.matches(ISO, body.timestamp)
        assert_numbers(body, {
            "uptime", "performance.connectedClients", "performance.messagesProcessed", "performance.messagesPerSecond",
            "performance.queuedMessages", "performance.errors", "storage.historySize", "storage.historyLimit",
        })
        assert.equal(1, body.performance.connectedClients)
        assert.equal(1, body.performance.queuedMessages)
        assert.equal(server.ws_port, body.websocket.port)
        assert.is_true(body.websocket.enabled)
        assert.equal(1, body.websocket.connections)
        assert.equal(server.http_port, body.http.port)
        assert.is_true(body.http.enabled)
        assert.equal(500, body.storage.historyLimit)
        assert.equal("development", body.environment)
    end)
end)

describe("GET /agents", function()
    after_each(bridge.clean)

    for _, variant in ipairs(variants.reactors) do
        it(variant.name .. " lists who is there, as `registered` told them", function()
            local server = variant.start()
            local _, empty = http.get(server, "/agents")
            assert.equal('{"agents":[]}', empty.body)
            local expected = {}
            for index = 1, 6 do
                local _, registered = websocket.agent(server, "agent-" .. index, {
                    role = "r" .. index, labels = {"l"}, tools = {"t"}, intents = {"i"}, maxConcurrentTasks = index,
                })
                expected["agent-" .. index] = registered.client
            end

            local list = http.get(server, "/agents").agents

            assert.equal(6, #list)
            for _, agent in ipairs(list) do
                local known = expected[agent.id]
                for _, name in ipairs({"role", "labels", "tools", "intents", "maxConcurrentTasks", "connectedAt"}) do
                    assert.same(known[name], agent[name])
                end
                assert.matches(ISO, agent.lastSeen)
            end
        end)
    end

    it("forgets an agent that has left", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice")
        alice:finish(1000)

        wait.eventually(function()
            return #http.get(server, "/agents").agents == 0
        end, 10, "alice to be gone")
    end)

    it("lists four hundred while messages flow", function()
        local server = bridge.start()
        local clients = {}
        for index = 1, 400 do
            clients[index] = websocket.agent(server, ("agent-%03d"):format(index), {labels = {("x"):rep(200)}})
        end

        for round = 1, 5 do
            clients[1]:send_envelope({to = "agent-400", payload = round})
            local list = http.get(server, "/agents").agents
            assert.equal(400, #list)
            assert.equal(round, clients[400]:receive_envelope().payload)
        end
    end)
end)

describe("POST /send", function()
    after_each(bridge.clean)

    it("delivers and answers 202 with the envelope as it went out", function()
        local server = bridge.start()
        local bob = websocket.agent(server, "bob")

        local _, answer = http.post(server, "/send", '{"to":"bob","payload":{"n":1.10},"intent":"ask"}')

        local _, raw = bob:receive_envelope()
        assert.equal(202, answer.status)
        assert.equal('{"status":"queued","envelope":' .. raw .. "}", answer.body)
        local _, fields = json.fields(raw)
        assert.equal('"api"', fields.from)
        assert.equal('{"n":1.10}', fields.payload)
    end)

    it("needs `to`", function()
        local server = bridge.start()

        for _, text in ipairs({"{}", '{"to":null}'}) do
            local body, answer = http.post(server, "/send", text)
            assert.equal(400, answer.status)
            assert.same({error = "Recipient `to` is required", code = "recipient_required"}, body)
        end
    end)

    it("refuses what is no envelope", function()
        local server = bridge.start()

        for text, code in pairs({
            [""] = "bad_json", ["{"] = "bad_json", ["nope"] = "bad_json", ['{"to":7}'] = "bad_field",
            ['{"to":"a","to":"b"}'] = "duplicate_field", ['{"to":"a","tools":{}}'] = "bad_field",
        }) do
            local body, answer = http.post(server, "/send", text)
            assert.equal(400, answer.status, text)
            assert.equal(code, body.code, text)
        end
        for _, text in ipairs({"[]", "7", "null", '"x"'}) do
            local _, answer = http.post(server, "/send", text)
            assert.equal(400, answer.status, text)
        end
        assert.equal(0, #http.get(server, "/history").history)
    end)

    it("refuses a body that is nested too deep", function()
        local server = bridge.start({config = {limits = {jsonDepth = 20}}})
        local text = '{"to":"a","payload":' .. ("["):rep(50) .. ("]"):rep(50) .. "}"

        local body, answer = http.post(server, "/send", text)

        assert.equal(400, answer.status)
        assert.equal("too_deep", body.code)
    end)

    it("refuses a body past limits.bodyBytes with 413, by its length or chunk by chunk", function()
        local server = bridge.start({config = {limits = {bodyBytes = 1000}}})
        local text = '{"to":"a","payload":"' .. ("x"):rep(2000) .. '"}'

        local body, answer = http.post(server, "/send", text)
        assert.equal(413, answer.status)
        assert.equal("too_large", body.code)
        local connection = http.connect(server)
        connection:send_bytes("POST /send HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" ..
            ("%x\r\n%s\r\n"):format(#text, text))
        assert.equal(413, connection:receive().status)
    end)

    it("takes a body up to limits.bodyBytes", function()
        local server = bridge.start()
        local bob = websocket.agent(server, "bob")
        local text = ("x"):rep(1000000)

        local _, answer = http.post(server, "/send", {to = "bob", payload = text})

        assert.equal(202, answer.status)
        assert.is_true(bob:receive_envelope().payload == text)
    end)
end)

describe("POST /broadcast", function()
    after_each(bridge.clean)

    it("delivers to all and answers 202", function()
        local server = bridge.start()
        local agents = {}
        for index = 1, 5 do
            agents[index] = websocket.agent(server, "agent-" .. index)
        end

        local body, answer = http.post(server, "/broadcast", {payload = "hello"})

        assert.equal(202, answer.status)
        assert.equal("queued", body.status)
        for index = 1, 5 do
            local envelope = agents[index]:receive_envelope()
            assert.equal("hello", envelope.payload)
            assert.equal(json.null, envelope.to)
        end
    end)

    it("may find nobody", function()
        local _, answer = http.post(bridge.start(), "/broadcast", {})

        assert.equal(202, answer.status)
    end)
end)

describe("GET /metrics", function()
    after_each(bridge.clean)

    it("is Prometheus text for one who accepts text", function()
        local server = bridge.start()
        websocket.agent(server, "alice")

        local kinds = {"text/plain", "text/plain;version=0.0.4", "application/openmetrics-text;q=0.9,*/*;q=0.1"}
        for _, accept in ipairs(kinds) do
            local _, answer = http.get(server, "/metrics", {Accept = accept})
            assert.equal(200, answer.status)
            assert.is_nil(answer.headers["content-type"]:find("json", 1, true))
            local samples = 0
            for line in answer.body:gmatch("[^\n]+") do
                if line:sub(1, 1) ~= "#" then
                    assert.truthy(line:match("^[%a_:][%w_:]* [%d.eE+-]+$") or
                        line:match("^[%a_:][%w_:]*{.*} [%d.eE+-]+$") or line:match("{.*} %+Inf$"), line)
                    samples = samples + 1
                end
            end
            assert.is_true(samples > 10)
            assert.equal("\n", answer.body:sub(-1))
        end
    end)

    it("is JSON otherwise: the figures of /optimization, messages and latency", function()
        local server = bridge.start()

        for _, accept in ipairs({false, "*/*", "application/json"}) do
            local body = http.get(server, "/metrics", {Accept = accept or nil})
            for _, name in ipairs({"memoryOptimization", "cpuOptimization", "performance", "messages", "latency"}) do
                assert.is_not_nil(body[name], name)
            end
        end
    end)
end)

describe("GET /optimization", function()
    after_each(bridge.clean)

    it("has every figure of the protocol", function()
        local body, answer = http.get(bridge.start(), "/optimization")

        assert.equal(200, answer.status)
        assert_numbers(body.memoryOptimization, {
            "gcOptimizer.totalGCTriggers", "gcOptimizer.averageGCTime", "gcOptimizer.memoryReclaimed",
        })
        for _, pool in ipairs({"envelopes", "arrays", "buffers"}) do
            local figures = body.memoryOptimization.objectPools[pool]
            assert_numbers(figures, {
                "hitRate", "totalAcquired", "totalReleased", "available", "acquired", "created", "destroyed", "maxSize",
                "evicted.lru", "evicted.ttl", "evicted.pressure",
            })
            assert.equal(figures.totalAcquired - figures.totalReleased, figures.acquired, pool)
        end
        assert_numbers(body, {"performance.pooledEnvelopes", "performance.gcTriggers", "performance.workerTasks"})
        assert.is_table(body.cpuOptimization.workerPool)
        assert.same({}, body.degraded)
    end)
end)

describe("GET /ready", function()
    after_each(bridge.clean)

    it("is 200 while the bridge serves", function()
        assert.equal(200, select(2, http.get(bridge.start(), "/ready")).status)
    end)
end)

describe("the HTTP API", function()
    after_each(bridge.clean)

    it("answers every endpoint on either port", function()
        local server = bridge.start()

        for _, port in ipairs({server.ws_port, server.http_port}) do
            for path in ("/health /agents /history /tasks /metrics /ready /optimization"):gmatch("%S+") do
                assert.equal(200, http.request(server, {path = path, port = port}).status, path)
            end
        end
    end)

    it("answers an unknown path with 404", function()
        local server = bridge.start()

        for _, path in ipairs({"/nothing", "/agents/", "/Agents", "//agents", "/agents%00", "/send/x", "/../health"}) do
            local body, answer = http.get(server, path)
            assert.equal(404, answer.status, path)
            assert.equal("not_found", body.code)
            assert.is_string(body.error)
        end
    end)

    it("answers a wrong method with 405 and the ones that are allowed", function()
        local server = bridge.start()

        for path, allowed in pairs({["/send"] = "POST", ["/broadcast"] = "POST", ["/agents"] = "GET"}) do
            for _, method in ipairs({"GET", "POST", "PUT", "DELETE", "PATCH"}) do
                if method ~= allowed then
                    local answer = http.request(server, {path = path, method = method})
                    assert.equal(405, answer.status, method .. " " .. path)
                    assert.truthy(answer.headers.allow:find(allowed, 1, true))
                    assert.equal("method_not_allowed", json.decode(answer.body).code)
                end
            end
        end
    end)

    it("answers HEAD as GET without the body", function()
        local server = bridge.start()
        local connection = http.connect(server)

        for _, path in ipairs({"/health", "/agents", "/metrics", "/nothing"}) do
            local answer = connection:request({method = "HEAD", path = path})
            assert.equal(path == "/nothing" and 404 or 200, answer.status)
        end

        assert.equal("ok", json.decode(connection:request({path = "/health"}).body).status)
    end)
end)
