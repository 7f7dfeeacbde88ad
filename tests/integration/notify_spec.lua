-- Alerts that go out: to a webhook, and to an agent.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local ports = require "tests.support.ports"
local sha256 = require "tests.support.sha256"
local socket = require "socket"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local SECRET = "an open secret"
local POLICY = 'return {{name = "someone", value = "agents", above = 0, action = "ALERT"}}'

local function start(alerts)
    local config = {
        alerts = {
            intervalMs = 20, cooldownMs = 0, gcFrequency = {enabled = false}, poolHitRate = {enabled = false},
            workerUtilization = {enabled = false},
        },
        policies = {alerts = "policy.lua"},
    }
    for name, value in pairs(alerts) do
        config.alerts[name] = value
    end
    return bridge.start({config = config, files = {["policy.lua"] = POLICY}})
end

-- Takes one request and answers it: {line, headers, body}.
local function receive(listener, status)
    local request, peer = http.accept(listener, wait.left(wait.deadline()))
    assert(request, "nobody came")
    peer:send(("HTTP/1.1 %d Whatever\r\nContent-Length: 0\r\n\r\n"):format(status))
    peer:close()
    return request
end

local function metric(server, name)
    local text = http.request(server, {path = "/metrics", headers = {Accept = "text/plain"}}).body
    return tonumber(text:match("\n" .. name .. " (%S+)"))
end

local function wait_metric(server, name, least)
    wait.eventually(function()
        return metric(server, name) >= least
    end, nil, name)
end

describe("a webhook", function()
    local listener, port

    before_each(function()
        listener = assert(socket.bind("127.0.0.1", 0))
        port = select(2, listener:getsockname())
    end)

    after_each(function()
        listener:close()
        bridge.clean()
    end)

    it("gets what fires and what is over, signed with the time", function()
        local server = start({webhook = {url = ("http://127.0.0.1:%d/hook?a=1"):format(port), secret = SECRET}})
        local alice = websocket.agent(server, "alice")
        local request = receive(listener, 200)
        assert.equal("POST /hook?a=1 HTTP/1.1", request.line)
        assert.equal("application/json", request.headers["content-type"])
        local fired = json.decode(request.body)
        assert.same({"someone", "firing", "ALERT", 1}, {fired.name, fired.state, fired.severity, fired.value})
        local time = request.headers["luaduct-timestamp"]
        assert.equal("sha256=" .. sha256.hmac(SECRET, time .. "." .. request.body),
            request.headers["luaduct-signature"])
        assert.truthy(math.abs(os.time() - tonumber(time)) < 60)
        alice:close()
        assert.equal("resolved", json.decode(receive(listener, 204).body).state)
        wait_metric(server, "luaduct_webhook_delivered_total", 2)
    end)

    it("that answers 500 is asked again, and gets the same", function()
        local server = start({webhook = {url = "http://127.0.0.1:" .. port}})
        websocket.agent(server, "alice")
        local first = receive(listener, 500)
        local second = receive(listener, 200)
        assert.equal("POST / HTTP/1.1", second.line)
        assert.equal(first.body, second.body)
        assert.is_nil(first.headers["luaduct-signature"])
        wait_metric(server, "luaduct_webhook_delivered_total", 1)
        assert.equal(1, metric(server, "luaduct_webhook_retried_total"))
    end)

    it("that answers with a status of four digits has not answered", function()
        local server = start({webhook = {url = "http://127.0.0.1:" .. port}})
        websocket.agent(server, "alice")
        local first = receive(listener, 2000)
        assert.equal(first.body, receive(listener, 200).body)
        wait_metric(server, "luaduct_webhook_delivered_total", 1)
    end)

    it("that is not there holds nobody up, and in the end the log says so", function()
        local closed = ports.free()
        local server = start({webhook = {url = ("http://127.0.0.1:%d/"):format(closed)}})
        local alice = websocket.agent(server, "alice")
        wait_metric(server, "luaduct_webhook_retried_total", 1)
        alice:send_envelope({id = "1", to = "alice", payload = {}})
        assert.equal("1", alice:receive_envelope().id)
        server:wait_log("alerts.webhook: an alert was not delivered in 5 tries: cannot connect to 127.0.0.1 port "
            .. closed, 20)
        wait_metric(server, "luaduct_webhook_lost_total", 1)
    end)

    it("that never answers does not hold up the end", function()
        local server = start({webhook = {url = "http://127.0.0.1:" .. port, timeoutMs = 60000}})
        websocket.agent(server, "alice")
        local peer = assert(listener:accept())
        server:signal("TERM")
        assert.equal(0, server:wait_exit())
        server.expected_end = true
        peer:close()
    end)

    for _, url in ipairs({
        "localhost:9000", "http://", "https://", "http://a b", "http://user@host/", "https://user@host/",
    }) do
        it("at " .. url .. " is refused", function()
            local status, errors = bridge.start_failing({config = {alerts = {webhook = {url = url}}}})
            assert.equal(1, status)
            assert.truthy(errors:find("alerts.webhook.url", 1, true), errors)
        end)
    end
end)

describe("alerts.notify", function()
    after_each(bridge.clean)

    it("sends each alert to an agent, and keeps it for one that is away", function()
        local server = start({notify = "operator"})
        websocket.agent(server, "alice")
        wait.eventually(function()
            return metric(server, "luaduct_mailbox_envelopes") == 1
        end, nil, "the envelope in the mailbox")
        local operator = websocket.agent(server, "operator")
        local envelope = operator:receive_envelope()
        assert.same({"bridge", "bridge", "bridge.alert", "operator"},
            {envelope.from, envelope.role, envelope.intent, envelope.to})
        assert.same({"someone", "firing"}, {envelope.payload.name, envelope.payload.state})
    end)
end)
