-- Agents and callers over TLS: clients that others wrote, and what the bridge says of itself.
local bridge = require "tests.support.bridge"
local certificates = require "tests.support.certificates"
local json = require "tests.support.json"
local process = require "tests.support.process"
local stream = require "tests.support.stream"
local tls = require "tests.support.tls"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

describe("with tls.cert the bridge", function()
    after_each(bridge.clean)

    it("says that it speaks wss and https", function()
        local output = tls.start():output()
        assert.match("WebSocket +wss://localhost:%d+", output)
        assert.match("HTTP +https://localhost:%d+", output)
        assert.match("%-%-url wss://localhost:%d+", output)
    end)

    it("serves curl that knows the authority, on both ports and both loopbacks", function()
        local server = tls.start()
        local status, body = tls.curl(server, "/health")
        assert.equal(0, status)
        assert.equal("ok", json.decode(body).status)
        server.http_port = server.ws_port
        for _, version in ipairs({"--ipv4", "--ipv6"}) do
            assert.equal(0, (tls.curl(server, "/health", {version})))
        end
    end)

    it("is not taken for genuine by a client with another authority", function()
        local server = tls.start()
        server.authority = certificates.authority("Another authority")
        local status, _, errors = tls.curl(server, "/health")
        assert.equal(60, status, errors) -- CURLE_PEER_FAILED_VERIFICATION
        local _, said = tls.s_client(server)
        assert.match("certificate verify failed", said, 1, true)
        wait.eventually(function()
            local failed = tls.figures(server, {"--insecure"}).handshakes.failed
            return failed.refusedByPeer + failed.closed == 2 -- its alert may be lost in the reset behind it
        end)
    end)

    it("passes messages of all sizes between agents of Node, in order, there and back", function()
        local server = tls.start()
        tls.node(server, "round trip")
        assert.is_true(tls.figures(server).handshakes.full >= 2)
    end)

    it("does so with compression", function()
        local server = tls.start({config = {performance = {compression = true, worker_threads = 1}}})
        tls.node(server, "round trip")
    end)

    it("loses and swaps nothing for a reader that stops for a while, through its mailbox too", function()
        for _, limits in ipairs({{}, {sendQueueBytes = "100KiB"}}) do
            local server = tls.start({config = {limits = limits, agents = {maxQueue = 100000, mailboxBytes = "1GiB"}}})
            tls.node(server, "slow reader")
        end
    end)

    it("serves an agent behind openssl s_client", function()
        local server = tls.start()
        local client = process.start({"openssl", "s_client", "-quiet", "-connect", "localhost:" .. server.ws_port,
            "-CAfile", server.authority.ca, "-verify_return_error"}, {input = "pipe"})
        local function expect(text)
            wait.eventually(function()
                return client:output():find(text, 1, true)
            end, nil, text .. " in " .. client:log())
        end
        client:send_input(websocket.request({port = server.ws_port}))
        expect("101 Switching Protocols")
        client:send_input(websocket.frame({payload = '{"type":"register","clientId":"s_client"}'}))
        expect('"type":"registered"')
        client:send_input(websocket.frame({
            payload = '{"type":"envelope","envelope":{"to":"s_client","payload":{"said":"hello"}}}',
        }))
        expect('"payload":{"said":"hello"}')
        client:close_input()
    end)

    it("takes a page of its own https origin, and no http one", function()
        local server = tls.start()
        local own = ("localhost:%d"):format(server.http_port)
        local _, answer = tls.curl(server, "/agents", {"-o", "/dev/null", "-w", "%{http_code}", "-H",
            "Origin: https://" .. own})
        assert.equal("200", answer)
        _, answer = tls.curl(server, "/agents", {"-o", "/dev/null", "-w", "%{http_code}", "-H",
            "Origin: http://" .. own})
        assert.equal("403", answer)
    end)

    it("keeps the administration socket plain", function()
        local server = tls.start({config = {listen = {admin = "admin.sock"}}})
        local status, body = process.run({"curl", "-sS", "--unix-socket", server.folder .. "/admin.sock",
            "http://localhost/metrics"})
        assert.equal(0, status)
        assert.equal("tls.cert", json.decode(body).tls.certificates[1].key)
    end)

    it("tells who speaks plain HTTP what to do, and closes", function()
        local server = tls.start()
        for _, port in ipairs({server.http_port, server.ws_port}) do
            local client = bridge.track(stream.connect(port))
            client:send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            local answer = client:read_to_end()
            assert.match("^HTTP/1%.1 400 Bad Request\r\n", answer)
            local body = json.decode(answer:match("\r\n\r\n(.*)$"))
            assert.equal("bad_request", body.code)
            assert.match("https://", body.error, 1, true)
        end
        assert.equal(2, tls.figures(server).handshakes.failed.plain)
    end)

    it("says nothing to what is neither TLS nor HTTP", function()
        local client = bridge.track(stream.connect(tls.start().http_port))
        client:send("\0\1\2\3")
        assert.equal("", client:read_to_end())
    end)

    it("answers a request that comes in pieces over several records, and several requests in one", function()
        local server = tls.start()
        local _, said = tls.s_client(server, {"-quiet"}, ("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"):rep(5)
            .. "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert.equal(6, select(2, said:gsub("HTTP/1.1 200 OK", "")), said)
    end)

    it("stops while agents are connected and hands are shaken, and tells the agents", function()
        local server = tls.start()
        local agent = tls.node_start(server, "stay")
        wait.eventually(function() return agent:output():find("registered") end)
        local silent = bridge.track(stream.connect(server.ws_port))
        local begun = bridge.track(stream.connect(server.ws_port))
        begun:send("\22\3\1")
        wait.eventually(function()
            local now = tls.figures(server).handshakes
            return now.waiting == 1 and now.inProgress == 1
        end)
        server:stop()
        wait.eventually(function() return agent:output():find("closed 1001") end)
        assert.equal("", silent:read_to_end())
    end)

    it("shows its certificates and handshakes to Prometheus", function()
        local server = tls.start()
        local _, text = tls.curl(server, "/metrics", {"-H", "Accept: text/plain"})
        assert.match('\nluaduct_tls_handshakes_total{kind="full"} 1\n', text)
        assert.match('\nluaduct_tls_handshakes_failed_total{reason="timeout"} 0\n', text)
        assert.match("\nluaduct_tls_connections 1\n", text)
        local left = tonumber(text:match('\nluaduct_tls_certificate_expiry_seconds{key="tls.cert"} (%d+)\n'))
        assert.is_true(left > 29 * 86400 and left <= 30 * 86400, tostring(left))
    end)

    it("shows nothing of TLS where the ports are plain", function()
        local server = bridge.start()
        local _, body = process.run({"curl", "-sS", server:url() .. "/metrics"})
        assert.equal(json.null, json.decode(body).tls)
        _, body = process.run({"curl", "-sS", "-H", "Accept: text/plain", server:url() .. "/metrics"})
        assert.falsy(body:find("luaduct_tls", 1, true))
    end)
end)
