-- HTTP/1.1 as it is spoken well: connections that are kept, requests in a row, bodies in chunks.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local variants = require "tests.support.variants"
local websocket = require "tests.support.websocket"

describe("HTTP/1.1", function()
    after_each(bridge.clean)

    for _, variant in ipairs(variants.reactors) do
        it(variant.name .. " keeps a connection for many requests", function()
            local server = variant.start()
            local connection = http.connect(server)

            for _ = 1, 100 do
                assert.equal("ok", json.decode(connection:request({path = "/health"}).body).status)
            end
        end)
    end

    it("answers pipelined requests in their order", function()
        local server = bridge.start()
        local connection = http.connect(server)

        for _ = 1, 50 do
            connection:send_request({path = "/health"})
            connection:send_request({path = "/nothing"})
            connection:send_request({path = "/send", method = "POST", body = '{"to":"x"}'})
            connection:send_request({path = "/agents"})
        end

        for _ = 1, 50 do
            assert.equal("ok", json.decode(connection:receive().body).status)
            assert.equal(404, connection:receive().status)
            assert.equal(202, connection:receive().status)
            assert.equal('{"agents":[]}', connection:receive().body)
        end
    end)

    it("answers pipelined requests of a peer that reads late", function()
        local server = bridge.start()
        for number = 1, 200 do
            websocket.agent(server, "agent-" .. number, {labels = {("x"):rep(200)}})
        end
        local connection = http.connect(server, {receive_buffer = 4096})
        for _ = 1, 100 do
            connection:send_request({path = "/agents"})
        end

        for _ = 1, 100 do
            assert.equal(200, #json.decode(connection:receive().body).agents)
        end
    end)

    it("takes a request byte by byte", function()
        local server = bridge.start()
        local connection = http.connect(server)
        local body = '{"to":"bob","payload":"é"}'
        local text = ("POST /send HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s"):format(#body, body)

        for index = 1, #text do
            connection:send_bytes(text:sub(index, index))
        end

        assert.equal(202, connection:receive().status)
    end)

    it("takes a chunked body, cut anywhere, with extensions and trailers", function()
        local server = bridge.start()
        local bob = websocket.agent(server, "bob")
        local connection = http.connect(server)

        for _, text in ipairs({
            '11\r\n{"to":"bob","id":\r\n5\r\n"e1"}\r\n0\r\n\r\n',
            '11;note=x\r\n{"to":"bob","id":\r\n0005;a="b"\r\n"e1"}\r\n0\r\nX-Trailer: y\r\n\r\n',
            '1\r\n{\r\n15\r\n"to":"bob","id":"e1"}\r\n000\r\n\r\n',
        }) do
            local whole = "POST /send HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" .. text
            local middle = math.floor(#whole * 0.8)
            connection:send_bytes(whole:sub(1, middle))
            connection:send_bytes(whole:sub(middle + 1))
            assert.equal(202, connection:receive().status, text)
            assert.equal("e1", bob:receive_envelope().id)
        end
    end)

    it("says 100 Continue to one who waits for it", function()
        local server = bridge.start()
        local connection = http.connect(server)

        connection:send_bytes("POST /send HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n" ..
            "Expect: 100-continue\r\n\r\n")
        assert.equal(100, connection:receive().status)
        connection:send_bytes('{"to":"x"}')

        assert.equal(202, connection:receive().status)
    end)

    it("refuses at once what it would not read after 100 Continue", function()
        local server = bridge.start({config = {limits = {bodyBytes = 1000}}})
        local connection = http.connect(server)

        connection:send_bytes("POST /send HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n" ..
            "Expect: 100-continue\r\n\r\n")

        assert.equal(413, connection:receive().status)
    end)

    it("closes after the answer when it is asked to", function()
        local server = bridge.start()

        for _, value in ipairs({"close", "Close", "keep-alive, close"}) do
            local connection = http.connect(server)
            local answer = connection:request({path = "/health", headers = {Connection = value}})
            assert.equal(200, answer.status)
            assert.equal("close", (answer.headers.connection or ""):lower())
            assert.is_true(connection:ended())
        end
    end)

    it("closes after the answer to HTTP/1.0, unless it is asked to keep the connection", function()
        local server = bridge.start()
        local connection = http.connect(server)

        assert.equal(200, connection:request({path = "/health", version = "1.0"}).status)

        assert.is_true(connection:ended())
    end)

    it("answers one who has shut down its sending side", function()
        local server = bridge.start()
        local connection = http.connect(server)

        connection:send_request({path = "/health"})
        connection:half_close()

        assert.equal(200, connection:receive().status)
        assert.is_true(connection:ended())
    end)

    it("leaves a body of a refused request behind and goes on", function()
        local server = bridge.start()
        local connection = http.connect(server)

        connection:send_request({method = "POST", path = "/nothing", body = "GET /health HTTP/1.1\r\n\r\n"})
        connection:send_request({path = "/agents"})

        assert.equal(404, connection:receive().status)
        local second = connection:receive()
        assert.truthy(second == nil or second.body == '{"agents":[]}')
    end)

    it("skips an empty line before a request", function()
        local server = bridge.start()
        local connection = http.connect(server)

        connection:send_bytes("\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")

        assert.equal(200, connection:receive().status)
    end)

    it("takes an absolute target as the path it holds", function()
        local server = bridge.start()
        local connection = http.connect(server)

        connection:send_request({path = ("http://127.0.0.1:%d/agents?x=1"):format(server.http_port)})

        assert.equal('{"agents":[]}', connection:receive().body)
    end)
end)
