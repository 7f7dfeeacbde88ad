-- Browsers, other names for the host, and the request rate.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local GOOD, EVIL = "https://good.example", "https://evil.example"

local function status(server, headers, path)
    local _, answer = http.get(server, path or "/agents", headers)
    return answer.status, answer
end

describe("a browser's Origin", function()
    after_each(bridge.clean)

    it("passes when it is configured, and is named in the answer", function()
        local server = bridge.start({config = {http = {corsOrigins = {GOOD, "http://other.example:8080"}}}})

        local code, answer = status(server, {Origin = GOOD})

        assert.equal(200, code)
        assert.equal(GOOD, answer.headers["access-control-allow-origin"])
        assert.equal(200, (status(server, {Origin = "http://other.example:8080"})))
    end)

    it("is refused when it is not, on every endpoint and for an upgrade", function()
        local server = bridge.start({config = {http = {corsOrigins = {GOOD}}}})

        for _, origin in ipairs({
            EVIL, "http://good.example", "https://good.example:444", "https://good.example.evil.example",
            "https://xgood.example", "null", "https://good.example/", "file://",
        }) do
            local code, answer = status(server, {Origin = origin})
            assert.equal(403, code, origin)
            assert.equal("forbidden", json.decode(answer.body).code)
            assert.is_nil(answer.headers["access-control-allow-origin"])
            assert.equal(403, (websocket.upgrade(server, {headers = {Origin = origin}})), origin)
        end
        local _, answer = http.post(server, "/broadcast", {}, {Origin = EVIL})
        assert.equal(403, answer.status)
        assert.equal(0, #http.get(server, "/history").history)
    end)

    it("is refused when none is configured", function()
        local server = bridge.start()

        assert.equal(403, (status(server, {Origin = EVIL})))
        assert.equal(403, (websocket.upgrade(server, {headers = {Origin = "http://localhost:3000"}})))
    end)

    it("passes when it is the bridge's own", function()
        local server = bridge.start()
        local host = "127.0.0.1:" .. server.http_port

        assert.equal(200, (status(server, {Host = host, Origin = "http://" .. host})))
        assert.equal(403, (status(server, {Host = host, Origin = "https://" .. host})))
        assert.equal(403, (status(server, {Host = host, Origin = "http://localhost:" .. server.http_port})))
    end)

    it("passes for an upgrade when it is configured", function()
        local server = bridge.start({config = {http = {corsOrigins = {GOOD}}}})

        assert.equal(101, (websocket.upgrade(server, {headers = {Origin = GOOD}})))
    end)

    it("passes whatever it is with *", function()
        local server = bridge.start({config = {http = {corsOrigins = {"*"}}}})

        local code, answer = status(server, {Origin = EVIL})

        assert.equal(200, code)
        local allowed = answer.headers["access-control-allow-origin"]
        assert.truthy(allowed == "*" or allowed == EVIL)
        assert.equal(101, (websocket.upgrade(server, {headers = {Origin = EVIL}})))
    end)

    it("can be configured by AI_BRIDGE_CORS_ORIGINS with commas", function()
        local server = bridge.start({env = {AI_BRIDGE_CORS_ORIGINS = GOOD .. ",https://second.example"}})

        assert.equal(200, (status(server, {Origin = GOOD})))
        assert.equal(200, (status(server, {Origin = "https://second.example"})))
        assert.equal(403, (status(server, {Origin = EVIL})))
    end)

    it("gets its preflight answered before authentication", function()
        local server = bridge.start({config = {http = {corsOrigins = {GOOD}}, auth = {token = "secret"}}})

        local answer = http.request(server, {method = "OPTIONS", path = "/send", headers = {
            Origin = GOOD, ["Access-Control-Request-Method"] = "POST",
            ["Access-Control-Request-Headers"] = "authorization,content-type",
        }})

        assert.truthy(answer.status == 204 or answer.status == 200, answer.status)
        assert.equal(GOOD, answer.headers["access-control-allow-origin"])
        assert.truthy(answer.headers["access-control-allow-methods"]:find("POST", 1, true))
        local allowed = answer.headers["access-control-allow-headers"]:lower()
        assert.truthy(allowed:find("authorization", 1, true) and allowed:find("content-type", 1, true))
    end)

    it("gets no preflight when it is not configured", function()
        local server = bridge.start({config = {http = {corsOrigins = {GOOD}}}})

        local answer = http.request(server, {method = "OPTIONS", path = "/send", headers = {
            Origin = EVIL, ["Access-Control-Request-Method"] = "POST",
        }})

        assert.equal(403, answer.status)
    end)
end)

describe("OPTIONS", function()
    after_each(bridge.clean)

    it("is answered without an Origin too", function()
        local server = bridge.start()

        local answer = http.request(server, {method = "OPTIONS", path = "/send"})

        assert.equal(204, answer.status)
    end)

    it("names the methods of the path, without a credential, and knows which there are", function()
        local server = bridge.start({config = {auth = {token = "correct horse battery staple"}}})
        for path, allow in pairs({
            ["/send"] = "POST, OPTIONS", ["/agents"] = "GET, HEAD, OPTIONS",
            ["/admin/log"] = "GET, HEAD, POST, OPTIONS",
        }) do
            local answer = http.request(server, {method = "OPTIONS", path = path})
            assert.same({204, allow, ""}, {answer.status, answer.headers.allow, answer.body})
        end
        local preflight = {["Access-Control-Request-Method"] = "GET", Origin = "http://127.0.0.1:1"}
        assert.equal(404, http.request(server, {method = "OPTIONS", path = "/nowhere"}).status)
        assert.equal(404, http.request(server, {method = "OPTIONS", path = "/nowhere/at/all", headers = {}}).status)
        assert.not_equal(404, http.request(server, {method = "OPTIONS", path = "/nowhere", headers = preflight}).status)
    end)
end)

describe("the Host", function()
    after_each(bridge.clean)

    it("must be an address or localhost while no credential is configured", function()
        local server = bridge.start()
        local port = server.http_port

        for _, host in ipairs({
            "127.0.0.1:" .. port, "127.0.0.1", "localhost", "localhost:" .. port, "LOCALHOST", "[::1]:" .. port,
            "[::1]", "192.0.2.7",
        }) do
            assert.equal(200, (status(server, {Host = host})), host)
        end
        for _, host in ipairs({
            "evil.example", "localhost.evil.example", "evil.example:" .. port, "127.0.0.1.evil.example", "1.2.3.4.5",
            "a.localhost",
        }) do
            assert.equal(403, (status(server, {Host = host})), host)
            assert.equal(403, (websocket.upgrade(server, {headers = {Host = host}})), host)
        end
    end)

    it("may be a configured name", function()
        local server = bridge.start({config = {http = {hosts = {"bridge.internal"}}}})

        assert.equal(200, (status(server, {Host = "bridge.internal"})))
        assert.equal(200, (status(server, {Host = "Bridge.Internal:" .. server.http_port})))
        assert.equal(403, (status(server, {Host = "other.internal"})))
    end)
end)

describe("the request rate", function()
    after_each(bridge.clean)

    it("past http.rateMax is answered 429 with Retry-After, but for health, readiness and metrics", function()
        local server = bridge.start({config = {http = {rateMax = 3}}})

        for _ = 1, 3 do
            assert.equal(200, (status(server)))
        end
        local code, answer = status(server)
        assert.equal(429, code)
        assert.equal("rate_limited", json.decode(answer.body).code)
        local seconds = tonumber(answer.headers["retry-after"])
        assert.is_true(seconds >= 1 and seconds <= 60)
        assert.equal(429, select(2, http.post(server, "/send", {to = "bob"})).status)
        for _, path in ipairs({"/health", "/ready", "/metrics"}) do
            assert.equal(200, (status(server, nil, path)))
        end
    end)

    it("counts preflights", function()
        local server = bridge.start({config = {http = {rateMax = 3}}})
        local function preflight()
            return http.request(server, {method = "OPTIONS", path = "/health"}).status
        end

        assert.same({204, 204, 204, 429}, {preflight(), preflight(), preflight(), preflight()})
        assert.equal(429, (status(server)))
    end)

    it("counts what is refused for its Origin or Host apart, so that a page uses up nothing of others", function()
        local server = bridge.start({config = {http = {rateMax = 3}}})
        local evil = {Origin = "https://evil.example"}
        for _ = 1, 3 do
            assert.equal(403, (status(server, evil)))
        end

        assert.equal(429, (status(server, evil, "/health")))
        assert.equal(429, (status(server, {Host = "evil.example"})))
        assert.equal(429, (websocket.upgrade(server, {headers = evil})))
        assert.equal(200, (status(server)))
    end)

    it("lets in without a credential who watches on this machine, and not a page that calls itself so", function()
        local server = bridge.start({config = {auth = {token = "correct horse battery staple"}}})
        for _, path in ipairs({"/health", "/ready", "/metrics"}) do
            assert.equal(200, (status(server, nil, path)))
            assert.equal(401, (status(server, {Host = "evil.example"}, path)))
        end
    end)

    it("counts all connections of an address, whichever reactor they meet", function()
        local server = bridge.start({config = {http = {rateMax = 10}, performance = {worker_threads = 4}}})

        local accepted = 0
        for _ = 1, 40 do
            accepted = accepted + (status(server) == 200 and 1 or 0)
        end

        assert.equal(10, accepted)
    end)

    it("is free again after http.rateWindowMs", function()
        local server = bridge.start({config = {http = {rateMax = 2, rateWindowMs = 300}}})
        status(server)
        status(server)

        wait.eventually(function()
            return status(server) == 200
        end, 10, "the window to be over")
    end)

    it("takes its figures from AI_BRIDGE_RATE_MAX and AI_BRIDGE_RATE_WINDOW_MS", function()
        local server = bridge.start({env = {AI_BRIDGE_RATE_MAX = "1", AI_BRIDGE_RATE_WINDOW_MS = "600000"}})

        assert.equal(200, (status(server)))
        local code, answer = status(server)

        assert.equal(429, code)
        assert.is_true(tonumber(answer.headers["retry-after"]) > 60)
    end)

    it("does not touch WebSocket agents", function()
        local server = bridge.start({config = {http = {rateMax = 1}}})
        local alice = websocket.agent(server, "alice")

        for number = 1, 50 do
            alice:send_envelope({to = "alice", payload = number})
            assert.equal(number, alice:receive_envelope().payload)
        end
    end)
end)
