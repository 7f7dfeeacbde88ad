-- HTTP as an attacker speaks it: smuggling shapes, bombs and patience games.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local process = require "tests.support.process"
local wait = require "tests.support.wait"

local GET = "GET /health HTTP/1.1\r\n"
local POST = "POST /send HTTP/1.1\r\nHost: localhost\r\n"
local SMUGGLED = "GET /agents HTTP/1.1\r\nHost: localhost\r\n\r\n"

local SHAPES = {
    ["two lengths that differ"] = POST .. 'Content-Length: 10\r\nContent-Length: 12\r\n\r\n{"to":"x"}',
    ["two lengths that agree"] = POST .. 'Content-Length: 10\r\nContent-Length: 10\r\n\r\n{"to":"x"}',
    ["a list of lengths"] = POST .. 'Content-Length: 10, 10\r\n\r\n{"to":"x"}',
    ["a length beside chunks"] = POST ..
        'Content-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\na\r\n{"to":"x"}\r\n0\r\n\r\n',
    ["chunks beside a length"] = POST ..
        'Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\na\r\n{"to":"x"}\r\n0\r\n\r\n',
    ["two transfer codings"] = POST .. "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ["chunked twice"] = POST .. "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ["an unknown transfer coding"] = POST .. "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ["a transfer coding behind a vertical tab"] = POST .. "Transfer-Encoding:\11chunked\r\n\r\n0\r\n\r\n",
    ["a signed length"] = POST .. 'Content-Length: +10\r\n\r\n{"to":"x"}',
    ["a negative length"] = POST .. "Content-Length: -1\r\n\r\n",
    ["a hexadecimal length"] = POST .. 'Content-Length: 0xa\r\n\r\n{"to":"x"}',
    ["an empty length"] = POST .. "Content-Length:\r\n\r\n",
    ["a length past 64 bits"] = POST .. "Content-Length: 18446744073709551626\r\n\r\n",
    ["a length with a space in it"] = POST .. 'Content-Length: 1 0\r\n\r\n{"to":"x"}',
    ["a bare line feed after the request line"] = "GET /health HTTP/1.1\nHost: localhost\r\n\r\n",
    ["a bare line feed after a header"] = GET .. "Host: localhost\nX: y\r\n\r\n",
    ["a bare line feed at the end"] = GET .. "Host: localhost\r\n\n",
    ["a bare carriage return in a value"] = GET .. "Host: localhost\r\nX: a\rb\r\n\r\n",
    ["a NUL in a value"] = GET .. "Host: localhost\r\nX: a\0b\r\n\r\n",
    ["a NUL in a name"] = GET .. "Host: localhost\r\nX\0: a\r\n\r\n",
    ["a space before the colon"] = POST .. 'Content-Length : 10\r\n\r\n{"to":"x"}',
    ["a space before a name"] = GET .. " Host: localhost\r\n\r\n",
    ["a folded header"] = GET .. "Host: localhost\r\nX: a\r\n b\r\n\r\n",
    ["a header without a colon"] = GET .. "Host: localhost\r\nnonsense\r\n\r\n",
    ["a header without a name"] = GET .. "Host: localhost\r\n: x\r\n\r\n",
    ["no Host"] = GET .. "\r\n",
    ["two Hosts"] = GET .. "Host: localhost\r\nHost: localhost\r\n\r\n",
    ["a Host that is no host"] = GET .. "Host: local host\r\n\r\n",
    ["a Host with a path"] = GET .. "Host: localhost/x\r\n\r\n",
    ["a method that is no token"] = "G{T /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ["a lower-case protocol"] = "GET /health http/1.1\r\nHost: localhost\r\n\r\n",
    ["a protocol with two digits"] = "GET /health HTTP/1.10\r\nHost: localhost\r\n\r\n",
    ["no protocol"] = "GET /health\r\nHost: localhost\r\n\r\n",
    ["two spaces before the target"] = "GET  /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ["a control character in the target"] = "GET /hea\1lth HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ["a target without a slash"] = "GET health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ["a chunk size that is no number"] = POST .. "Transfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n",
    ["a chunk size with 0x"] = POST .. 'Transfer-Encoding: chunked\r\n\r\n0xa\r\n{"to":"x"}\r\n0\r\n\r\n',
    ["a negative chunk size"] = POST .. "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    ["a chunk size past 64 bits"] = POST .. "Transfer-Encoding: chunked\r\n\r\n1000000000000000a\r\n",
    ["a chunk line with a bare line feed"] = POST .. 'Transfer-Encoding: chunked\r\n\r\na\n{"to":"x"}\r\n0\r\n\r\n',
    ["a chunk longer than it says"] = POST .. 'Transfer-Encoding: chunked\r\n\r\n9\r\n{"to":"x"}\r\n0\r\n\r\n',
    ["a TLS greeting"] = "\22\3\1\2\0\1\0\1\252\3\3" .. ("x"):rep(50) .. "\r\n\r\n",
    ["a SOCKS greeting"] = "\5\1\0\r\n\r\n",
}

describe("an HTTP request with", function()
    after_each(bridge.clean)

    for name, bytes in pairs(SHAPES) do
        it(name .. " is refused, closed, and nothing behind it is read", function()
            local server = bridge.start({config = {performance = {worker_threads = 1}}})
            local connection = http.connect(server)

            connection:send_bytes(bytes .. SMUGGLED)

            local answer = connection:receive()
            assert.truthy(answer.status == 400 or answer.status == 501 or answer.status == 505 or answer.status == 413,
                answer.status)
            assert.is_string(json.decode(answer.body).code)
            assert.is_true(connection:ended())
            assert.equal("ok", http.get(server, "/health").status)
        end)
    end

    it("a header block that is too big is answered 431", function()
        local server = bridge.start()
        local connection = http.connect(server)

        connection:send_bytes(GET .. "Host: localhost\r\n" .. ("X-Filler: " .. ("y"):rep(1000) .. "\r\n"):rep(200) ..
            "\r\n")

        local answer = connection:receive()
        assert.equal(431, answer.status)
        assert.equal("headers_too_large", json.decode(answer.body).code)
    end)

    it("too many headers is answered 431", function()
        local server = bridge.start()
        local connection = http.connect(server)

        connection:send_bytes(GET .. "Host: localhost\r\n" .. ("A: b\r\n"):rep(5000) .. "\r\n")

        assert.equal(431, connection:receive().status)
    end)

    it("a header line without end is refused before it fills the memory", function()
        local server = bridge.start()
        local connection = http.connect(server)
        connection:send_bytes(GET .. "Host: localhost\r\nX: ")

        for _ = 1, 64 do
            if not connection:send_bytes(("z"):rep(65536)) then
                break
            end
        end

        local answer = connection:receive()
        assert.truthy(answer == nil or answer.status == 431)
    end)

    it("a header that dawdles is answered 408 and closed", function()
        local server = bridge.start({config = {http = {headerTimeoutMs = 200}}})
        local connection = http.connect(server)
        connection:send_bytes("GET /health HTTP/1.1\r\nHost: loc")

        local answer = connection:receive()

        assert.equal(408, answer.status)
        assert.equal("request_timeout", json.decode(answer.body).code)
        assert.is_true(connection:ended())
    end)

    it("a header that comes in drips is closed all the same", function()
        local server = bridge.start({config = {http = {headerTimeoutMs = 300}}})
        local connection = http.connect(server)
        connection:send_bytes("GET /health HTTP/1.1\r\nHost: localhost\r\nX: ")

        local deadline = wait.deadline(10)
        repeat
            connection:send_bytes("y")
            local filled = connection.stream:fill(wait.now() + 0.02)
        until filled or connection.stream.ended or wait.left(deadline) == 0

        assert.equal(408, connection:receive().status)
    end)

    it("a body that dawdles is closed in the end", function()
        local server = bridge.start({config = {http = {bodyTimeoutMs = 200}}})
        local connection = http.connect(server)
        connection:send_bytes(POST .. "Content-Length: 10\r\n\r\n{")

        local answer = connection:receive()

        assert.truthy(answer == nil or answer.status == 408)
        assert.is_true(connection.stream.ended or connection:ended())
    end)

    it("nothing in it at all is closed in the end", function()
        local server = bridge.start({config = {http = {headerTimeoutMs = 200}}})
        local connection = http.connect(server)

        local answer, reason = connection:receive()

        assert.truthy(answer and answer.status == 408 or reason == "closed", tostring(reason))
    end)
end)

describe("the bridge", function()
    after_each(bridge.clean)

    it("serves others while hundreds of half requests are open", function()
        local server = bridge.start()
        for _ = 1, 300 do
            http.connect(server):send_bytes("GET /health HTT")
        end

        assert.equal("ok", http.get(server, "/health").status)
    end)

    it("goes on after it ran out of file descriptors", function()
        local path = bridge.write({config = {limits = {connections = "auto"}}})
        local server = process.start({"sh", "-c", "ulimit -n 96; exec \"$0\" run \"$1\"", bridge.BINARY, path})
        local port
        wait.eventually(function()
            port = tonumber(server:output():match("HTTP%s+http://[^%s]-:(%d+)"))
            return port or not server:is_running()
        end, 10, "the bridge to start")
        assert.truthy(port, server:log())
        local held, refused = {}, 0
        for index = 1, 120 do
            local ok, connection = pcall(http.connect, {http_port = port})
            held[index] = ok and connection or nil
            refused = refused + (ok and 0 or 1)
        end

        for index = 1, 120 do
            if held[index] then
                held[index]:close()
            end
        end

        wait.eventually(function()
            local ok, answer = pcall(http.get, {http_port = port}, "/health")
            return ok and answer and answer.status == "ok"
        end, 10, "the bridge to serve again")
        server:signal("SIGTERM")
        assert.equal(0, server:wait_exit())
    end)
end)
