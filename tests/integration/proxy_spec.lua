-- Peers behind a proxy: the PROXY protocol, and X-Forwarded-For. What a proxy says counts only if it is trusted.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local stream = require "tests.support.stream"
local tls = require "tests.support.tls"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local GET = "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n%s\r\n"

-- The status of one request whose connection begins with that header; nil when it is closed without an answer.
local function status_behind(server, header, path, headers)
    local connection = bridge.track(stream.connect(server.http_port))
    connection:send(header .. GET:format(path or "/agents", headers or ""))
    local line = connection:read_line(wait.deadline())
    connection:close()
    return line and tonumber(line:match("^HTTP/1%.1 (%d%d%d)"))
end

local function v1(address)
    return ("PROXY TCP4 %s 127.0.0.1 5000 80\r\n"):format(address)
end

local SIGNATURE = "\r\n\r\n\0\r\nQUIT\n"

local function v2(address)
    local a, b, c, d = address:match("(%d+)%.(%d+)%.(%d+)%.(%d+)")
    return SIGNATURE .. "\33\17\0\16" .. string.char(a, b, c, d) .. "\127\0\0\1\19\136\0\80" .. "\4\0\1x"
end

local function metric(server, path, headers)
    local text = http.request(server, {path = path or "/metrics", headers = headers or {Accept = "text/plain"}}).body
    return tonumber(text:match('luaduct_limited_total{limit="proxy_header"} (%d+)'))
end

describe("a PROXY header", function()
    after_each(bridge.clean)

    local function start(config)
        config = config or {}
        config.listen = {proxyProtocol = true, host = "localhost"}
        config.limits = config.limits or {}
        config.limits.trustedProxies = config.limits.trustedProxies or {"127.0.0.0/8"}
        return bridge.start({config = config})
    end

    for name, header in pairs({["version 1"] = v1, ["version 2"] = v2}) do
        it("of " .. name .. " says whose connection it is", function()
            local server = start({http = {rateMax = 3}})

            for _ = 1, 3 do
                assert.equal(200, status_behind(server, header("192.0.2.1")))
            end
            assert.equal(429, status_behind(server, header("192.0.2.1")))
            assert.equal(200, status_behind(server, header("192.0.2.2")))
        end)
    end

    it("may come in any pieces, and what is behind it is the connection's", function()
        local server = start()
        for _, header in ipairs({v1("192.0.2.1"), v2("192.0.2.1")}) do
            for cut = 1, #header - 1, 5 do
                local connection = bridge.track(stream.connect(server.http_port))
                connection:send(header:sub(1, cut))
                -- The part has been looked at when another connection has been served.
                assert.equal(200, status_behind(server, v1("192.0.2.9")))
                connection:send(header:sub(cut + 1) .. GET:format("/health", ""))
                assert.equal("HTTP/1.1 200 OK", connection:read_line(wait.deadline()))
                connection:close()
            end
        end
    end)

    it("stands before a WebSocket too, whose limits are the peer's", function()
        local server = start({limits = {connectionsPerAddress = 1}})
        local function upgrade(address)
            return websocket.upgrade(server, {request = v1(address) .. websocket.request({port = server.ws_port})})
        end
        local _, _, client = upgrade("192.0.2.1")

        assert.equal("registered", (client:register("alice")).type)
        assert.equal(503, (upgrade("192.0.2.1")))
        assert.equal(101, (upgrade("192.0.2.2")))
    end)

    it("gives nobody the rights of this machine", function()
        local server = start()

        assert.equal(403, status_behind(server, v1("127.0.0.1"), "/admin/scripts"))
        assert.equal(403, status_behind(server, "PROXY UNKNOWN\r\n", "/admin/scripts"))
        assert.equal(403, status_behind(server, SIGNATURE .. "\33\0\0\0", "/admin/scripts"))
        assert.equal(403, status_behind(server, SIGNATURE .. "\32\0\0\0", "/admin/scripts"))
        -- The proxy itself, which looks whether the bridge is there.
        assert.equal(200, status_behind(server, SIGNATURE .. "\32\0\0\0", "/health"))
    end)

    it("stands before the TLS handshake", function()
        local server = tls.start({config = {
            listen = {proxyProtocol = true}, limits = {trustedProxies = {"127.0.0.0/8", "::1"}},
        }})

        assert.equal(0, (tls.curl(server, "/health", {"--haproxy-protocol"})))
        assert.not_equal(0, (tls.curl(server, "/health")))
    end)

    it("that is none closes the connection, and is counted", function()
        local server = start()
        local wrong = {"", "PROXY TCP4 1.2.3.4\r\n", "PROXY ", SIGNATURE .. "\49\17\0\12", "\22\3\1\2\0\1\0\1\252"}
        for _, header in ipairs(wrong) do
            if header == "PROXY " then
                header = ("PROXY UNKNOWN "):rep(20)
            end
            assert.is_nil(status_behind(server, header))
        end

        local connection = bridge.track(stream.connect(server.http_port))
        connection:send(v1("127.0.0.1") .. GET:format("/metrics", "Accept: text/plain\r\n"))
        local text = assert(connection:read_to_end())
        assert.equal(5, tonumber(text:match('luaduct_limited_total{limit="proxy_header"} (%d+)')))
    end)

    it("that does not come in time closes the connection", function()
        local server = start({http = {headerTimeoutMs = 200, rateMax = 0}})
        local silent, half = stream.connect(server.http_port), stream.connect(server.http_port)
        bridge.track(silent)
        bridge.track(half)
        half:send("PROXY TCP4")

        assert.equal("", silent:read_to_end())
        assert.equal("", half:read_to_end())
    end)

    it("is not looked for where the peer is no trusted proxy", function()
        local server = start({limits = {trustedProxies = {"10.0.0.0/8", "2001:db8::/32"}}})

        assert.equal(200, status_behind(server, ""))
        assert.equal(400, status_behind(server, v1("192.0.2.1")))
    end)

    it("is waited for while the bridge stops, no longer", function()
        local server = start()
        bridge.track(stream.connect(server.http_port))
        assert.equal(200, status_behind(server, v1("192.0.2.1")))
        server:stop()
    end)

    it("needs a proxy that is trusted", function()
        local status, errors = bridge.start_failing({config = {listen = {proxyProtocol = true}}})
        assert.equal(1, status)
        assert.truthy(errors:find("listen.proxyProtocol: no proxy is trusted", 1, true), errors)
    end)

    it("needs proxies that are addresses", function()
        for _, wrong in ipairs({"10.0.0.1/8", "10.0.0.0/33", "10.0.0", "1::2::3", "300.1.1.1"}) do
            local status, errors = bridge.start_failing({config = {limits = {trustedProxies = {"::1", wrong}}}})
            assert.equal(1, status)
            assert.truthy(errors:find("limits.trustedProxies[2]: expected an IP address", 1, true), errors)
        end
        local status, errors = bridge.start_failing({config = {limits = {trustedProxies = {"proxy.example"}}}})
        assert.equal(1, status)
        assert.truthy(errors:find("limits.trustedProxies: expected a list of IP addresses", 1, true), errors)
    end)
end)

describe("X-Forwarded-For", function()
    after_each(bridge.clean)

    local function start(trusted, more)
        local config = more or {}
        config.limits = config.limits or {}
        config.limits.trustedProxies = trusted
        return bridge.start({config = config})
    end

    local function status(server, value, path)
        return http.request(server, {path = path or "/agents", headers = {["X-Forwarded-For"] = value}}).status
    end

    it("of a trusted proxy says whose request it is", function()
        local server = start({"127.0.0.1"}, {http = {rateMax = 2}})

        for _ = 1, 2 do
            assert.equal(200, status(server, "192.0.2.1"))
        end
        assert.equal(429, status(server, "192.0.2.1"))
        assert.equal(429, status(server, "192.0.2.1:4711"))
        assert.equal(200, status(server, "192.0.2.2"))
        assert.equal(200, status(server, "2001:db8::1"))
        assert.equal(200, status(server, "[2001:db8::2]:80"))
        assert.equal(429, status(server, "2001:db8::3")) -- the same /64
    end)

    it("is read from its end: what a client wrote itself proves nothing", function()
        local server = start({"127.0.0.1", "10.0.0.0/8"}, {http = {rateMax = 2}})

        assert.equal(200, status(server, "203.0.113.1, 192.0.2.1"))
        assert.equal(200, status(server, "203.0.113.2, 192.0.2.1, 10.1.1.1"))
        assert.equal(429, status(server, "203.0.113.3,192.0.2.1 ,10.1.1.1,10.2.2.2"))
        assert.equal(429, status(server, "nonsense, \t, 192.0.2.1"))
        -- In several headers as in one list.
        local connection = http.connect(server)
        connection:send_bytes("GET /agents HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: 203.0.113.4\r\n"
            .. "x-forwarded-for: 192.0.2.1\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n")
        assert.equal(429, connection:receive().status)
    end)

    it("gives nobody the rights of this machine, and its absence neither", function()
        local server = start({"127.0.0.1"})

        for _, value in ipairs({"127.0.0.1", "::1", "unknown", "", ","}) do
            assert.equal(403, status(server, value, "/admin/scripts"))
        end
        assert.equal(403, http.request(server, {path = "/admin/scripts"}).status)
        assert.equal(200, http.request(server, {path = "/health"}).status)
    end)

    it("of anybody else means nothing", function()
        local server = start({"10.0.0.0/8"}, {http = {rateMax = 2}})

        assert.equal(200, status(server, "192.0.2.1"))
        assert.equal(200, status(server, "192.0.2.2"))
        assert.equal(429, status(server, "192.0.2.3"))
    end)

    it("counts a WebSocket as its peer's", function()
        local server = start({"127.0.0.1"}, {limits = {connectionsPerAddress = 1, agentsPerAddress = 1}})
        local function connect(value)
            return websocket.upgrade(server, {headers = {["X-Forwarded-For"] = value}})
        end
        local _, _, client = connect("192.0.2.1")
        client:register("alice")

        local refused, headers = connect("192.0.2.1")
        assert.equal(503, refused)
        assert.truthy(headers[""]:find('"code":"overloaded"', 1, true))
        assert.equal(101, (connect("192.0.2.2")))
        client:finish(1000)
        client:close()
        wait.eventually(function()
            return (connect("192.0.2.1")) == 101
        end, 10, "the place to be free again")
        assert.is_nil(metric(server, "/nowhere"))
    end)

    it("that a proxy leaves out makes the WebSocket count as the proxy's own", function()
        local server = start({"127.0.0.1"}, {limits = {connectionsPerAddress = 1}})
        local _, _, client = websocket.upgrade(server)
        client:register("alice")

        assert.equal(503, (websocket.upgrade(server)))
        assert.equal(101, (websocket.upgrade(server, {headers = {["X-Forwarded-For"] = "192.0.2.1"}})))
    end)

    it("of a proxy does not count the proxy's own connections", function()
        local server = start({"127.0.0.1"}, {limits = {connectionsPerAddress = 1, handshakesPerSecondPerAddress = 1}})
        for _ = 1, 10 do
            assert.equal(200, status(server, "192.0.2.1", "/health"))
        end
    end)
end)

describe("a proxy on the same machine that is not trusted", function()
    after_each(bridge.clean)

    local SAID = {"X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1", "X-Real-IP: 192.0.2.1", "Via: 1.1 proxy"}

    it("makes nobody an administrator where no credential is configured, and says what does", function()
        local server = bridge.start()
        assert.equal(202, select(2, http.post(server, "/admin/gc", {})).status)
        for _, header in ipairs(SAID) do
            local name, value = header:match("^(.-): (.*)$")
            local answer, raw = http.post(server, "/admin/gc", {}, {[name] = value})
            assert.same({403, "forbidden"}, {raw.status, answer.code})
            assert.matches("listen.admin", answer.error, 1, true)
            assert.matches("not through a proxy", answer.error, 1, true)
            assert.equal(200, status_behind(server, "", "/agents", header .. "\r\n"))
        end
    end)

    it("may not look without a credential where one is configured", function()
        local server = bridge.start({config = {auth = {token = "secret"}}})
        assert.equal(200, status_behind(server, "", "/health"))
        for _, header in ipairs(SAID) do
            assert.equal(401, status_behind(server, "", "/health", header .. "\r\n"))
        end
    end)
end)
