-- What a web page in the browser of somebody who runs a bridge on loopback can do to it: nothing.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local websocket = require "tests.support.websocket"

local EVIL = "https://evil.example"

local function request(server, method, path, headers, body)
    local connection = http.connect(server)
    connection:send_request({method = method, path = path, headers = headers, body = body})
    return connection:receive()
end

describe("a page of a foreign origin", function()
    after_each(bridge.clean)

    it("can post nothing, not even by a simple request that needs no preflight", function()
        local server = bridge.start()
        for path, body in pairs({
            ["/send"] = '{"to":"bob","from":"alice"}', ["/broadcast"] = "{}", ["/admin/gc"] = "",
            ["/admin/reload"] = "",
            ["/workers/execute"] = '{"operation":"sha256","data":"x"}', ["/admin/engines"] = "{}",
        }) do
            for _, kind in ipairs({"text/plain", "application/x-www-form-urlencoded", "multipart/form-data"}) do
                local answer = request(server, "POST", path, {Origin = EVIL, ["Content-Type"] = kind}, body)
                assert.equal(403, answer.status, path)
                assert.is_nil(answer.headers["access-control-allow-origin"])
            end
        end
        assert.equal(0, #http.get(server, "/history").history)
    end)

    it("is told apart by Sec-Fetch-Site where a browser leaves Origin out", function()
        local server = bridge.start()
        for _, site in ipairs({"cross-site", "same-site", "nonsense"}) do
            for _, path in ipairs({"/agents", "/history", "/health", "/admin/scripts"}) do
                assert.equal(403, request(server, "GET", path, {["Sec-Fetch-Site"] = site}).status, site)
            end
        end
        for _, site in ipairs({"same-origin", "none"}) do
            assert.equal(200, request(server, "GET", "/agents", {["Sec-Fetch-Site"] = site}).status, site)
        end
    end)

    it("cannot hide behind a name that was rebound to this machine", function()
        local server = bridge.start()
        for _, host in ipairs({"evil.example", "evil.example:" .. server.http_port, "localhost.evil.example"}) do
            assert.equal(403, request(server, "GET", "/history", {Host = host}).status, host)
            local own = {Host = host, Origin = "http://" .. host}
            assert.equal(403, request(server, "POST", "/admin/gc", own, "").status, host)
            assert.equal(403, (websocket.upgrade(server, {headers = own})))
        end
    end)

    it("opens no WebSocket", function()
        local server = bridge.start()
        for _, origin in ipairs({EVIL, "null", "http://localhost:1", "http://127.0.0.1.evil.example", "file://"}) do
            assert.equal(403, (websocket.upgrade(server, {headers = {Origin = origin}})), origin)
        end
        local own = "http://127.0.0.1:" .. server.ws_port
        assert.equal(101, (websocket.upgrade(server, {headers = {Origin = own}})))
    end)

    it("gets no permission by a preflight", function()
        local server = bridge.start()
        local answer = request(server, "OPTIONS", "/admin/gc", {
            Origin = EVIL, ["Access-Control-Request-Method"] = "POST",
            ["Access-Control-Request-Headers"] = "authorization",
        })
        assert.equal(403, answer.status)
        for name in pairs(answer.headers) do
            assert.is_nil(name:match("^access%-control"), name)
        end
    end)

    it("with http.corsOrigins = \"*\" may call, but never administer a bridge without credentials", function()
        local server = bridge.start({config = {http = {corsOrigins = {"*"}}}})

        assert.equal(202, request(server, "POST", "/send", {Origin = EVIL}, '{"to":"bob"}').status)
        assert.equal(403, request(server, "POST", "/admin/gc", {Origin = EVIL}, "").status)
        assert.equal(403, request(server, "GET", "/admin/scripts", {["Sec-Fetch-Site"] = "cross-site"}).status)
        assert.equal(403, request(server, "POST", "/send", {Origin = EVIL}, '{"to":"bob","from":"alice"}').status)
        assert.equal(202, request(server, "POST", "/admin/gc", {}, "").status)
    end)

    it("listed in http.corsOrigins may call, but not administer either", function()
        local server = bridge.start({config = {http = {corsOrigins = {EVIL}}}})

        assert.equal(200, request(server, "GET", "/agents", {Origin = EVIL}).status)
        assert.equal(403, request(server, "POST", "/admin/gc", {Origin = EVIL}, "").status)
    end)
end)

describe("CORS", function()
    after_each(bridge.clean)

    it("names the one origin that asked and is listed, and allows no credentials of the browser's own", function()
        local server = bridge.start({config = {
            http = {corsOrigins = {"https://good.example", "https://fine.example"}},
        }})
        for _, origin in ipairs({"https://good.example", "https://fine.example"}) do
            local answer = request(server, "GET", "/agents", {Origin = origin})
            assert.equal(origin, answer.headers["access-control-allow-origin"])
            assert.equal("Origin", answer.headers.vary)
            assert.is_nil(answer.headers["access-control-allow-credentials"])
        end
        for _, origin in ipairs({"https://good.example.evil.example", "https://notgood.example", "http://good.example",
            "https://good.example:444"}) do
            local answer = request(server, "GET", "/agents", {Origin = origin})
            assert.equal(403, answer.status, origin)
            assert.is_nil(answer.headers["access-control-allow-origin"])
        end
    end)

    it("is answered before a credential is asked for, and lets a page send one", function()
        local server = bridge.start({config = {auth = {token = "t"}, http = {corsOrigins = {"https://good.example"}}}})
        local answer = request(server, "OPTIONS", "/send", {
            Origin = "https://good.example", ["Access-Control-Request-Method"] = "POST",
            ["Access-Control-Request-Headers"] = "authorization,content-type",
        })
        assert.equal(204, answer.status)
        assert.truthy(answer.headers["access-control-allow-headers"]:lower():find("authorization", 1, true))
        assert.is_nil(answer.headers["access-control-allow-credentials"])
        assert.equal(401, request(server, "POST", "/send", {Origin = "https://good.example"}, "{}").status)
    end)

    it("has two Origins count as the worse one", function()
        local server = bridge.start({config = {http = {corsOrigins = {"https://good.example"}}}})
        local connection = http.connect(server)
        connection:send_bytes("GET /agents HTTP/1.1\r\nHost: localhost\r\nOrigin: " .. EVIL ..
            "\r\nOrigin: https://good.example\r\n\r\n")
        assert.equal(403, connection:receive().status)
    end)
end)
