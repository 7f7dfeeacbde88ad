-- What the commands do over TLS, with a server that is not the bridge: whom they trust, and what they say when not.
local bridge = require "tests.support.bridge"
local process = require "tests.support.process"
local socket = require "socket"
local dev_certs = require "tests.support.dev_certs"
local wait = require "tests.support.wait"

local ANSWER = "HTTP/1.1 202 Accepted\r\nContent-Length: 19\r\n\r\n{\"status\":\"queued\"}"

local function start_send(server, host, ...)
    return bridge.luaduct_start({
        "send", '{"n":1}', "--to", "bob", "--url", ("https://%s:%d"):format(host, server.port), ...,
    })
end

-- `luaduct send` to that server, which answers once it has the request.
local function send(server, host, ...)
    local client = start_send(server, host, ...)
    wait.eventually(function()
        return server:output():find('{"n":1}', 1, true) or not client:is_running()
    end, nil, "the request to arrive, or a refusal")
    if client:is_running() then
        server:send_input(ANSWER)
    end
    return client:wait_exit(), client:output(), client:errors()
end

-- The only line of a refusal, after "luaduct send: ".
local function refusal(server, host, ...)
    local status, output, errors = send(server, host, ...)
    assert.equal(1, status, errors)
    assert.equal("", output)
    assert.equal(1, select(2, errors:gsub("\n", "")), errors)
    return errors
end

local function assert_says(expected, text)
    assert.truthy(text:find(expected, 1, true), text)
end

describe("commands over TLS", function()
    local folder

    before_each(function()
        folder = dev_certs.certs("--name", "bridge.example", "--agent", "alice")
    end)

    after_each(bridge.clean)

    it("trust a server whose certificate is for that name or address and leads to --ca", function()
        for _, host in ipairs({"localhost", "127.0.0.1"}) do
            local server = dev_certs.server(folder)
            local status, output, errors = send(server, host, "--ca", folder .. "/ca.pem")
            assert.equal(0, status, errors)
            assert_says("queued", output)
            assert_says("POST /send HTTP/1.1\r\nHost: " .. host .. ":" .. server.port, server:output())
        end
    end)

    it("ask for the name of the host (SNI), and never for an address, which is no name", function()
        local named = dev_certs.server(folder, "-servername", "localhost", "-cert2", folder .. "/server.pem", "-key2",
            folder .. "/server.key", "-servername_fatal")
        assert.equal(0, (send(named, "localhost", "--ca", folder .. "/ca.pem")))
        assert_says('Hostname in TLS extension: "localhost"', named:output())

        local bare = dev_certs.server(folder, "-servername", "localhost", "-cert2", folder .. "/server.pem", "-key2",
            folder .. "/server.key", "-servername_fatal")
        assert.equal(0, (send(bare, "127.0.0.1", "--ca", folder .. "/ca.pem")))
        assert.is_nil(bare:output():find("Hostname in TLS extension", 1, true))
    end)

    it("offer TLS 1.2 with ECDHE and AEAD only, and http/1.1", function()
        local server = dev_certs.server(folder, "-alpn", "http/1.1")
        send(server, "localhost", "--ca", folder .. "/ca.pem")
        assert_says("ALPN protocols selected: http/1.1", server:output())
        local offered = server:output():match("Shared ciphers:([^\n]+)")
        for cipher in offered:gmatch("[^:]+") do
            assert.truthy(cipher:find("^ECDHE%-") and (cipher:find("GCM") or cipher:find("POLY1305")), offered)
        end
        local old = dev_certs.server(folder, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
        assert_says("the server refused: ", refusal(old, "localhost", "--ca", folder .. "/ca.pem"))
    end)

    it("take SSL_CERT_FILE for the system's authorities", function()
        local server = dev_certs.server(folder)
        local client = bridge.luaduct_start({
            "send", "--to", "bob", "--url", "https://localhost:" .. server.port, '{"n":1}',
        }, {env = {SSL_CERT_FILE = folder .. "/ca.pem"}})
        wait.eventually(function()
            return server:output():find('{"n":1}', 1, true)
        end, nil, "the request")
        server:send_input(ANSWER)
        assert.equal(0, client:wait_exit(), client:errors())
    end)

    it("refuse an authority that they do not know", function()
        local other = dev_certs.certs()
        assert_says("the server's certificate is not signed by an authority that is trusted here",
            refusal(dev_certs.server(folder), "localhost", "--ca", other .. "/ca.pem"))
    end)

    it("refuse a certificate for somebody else", function()
        local agent = {"-cert", folder .. "/agent-alice.pem", "-key", folder .. "/agent-alice.key"}
        assert_says("the server's certificate is not for localhost",
            refusal(dev_certs.server(folder, unpack(agent)), "localhost", "--ca", folder .. "/ca.pem"))
        assert_says("the server's certificate is not for 127.0.0.1",
            refusal(dev_certs.server(folder, unpack(agent)), "127.0.0.1", "--ca", folder .. "/ca.pem"))
    end)

    it("refuse a certificate that is over, or has not begun", function()
        for which, words in pairs({expired = "has expired", future = "is not valid yet"}) do
            local certificate, key = dev_certs.untimely(folder, which)
            local server = dev_certs.server(folder, "-cert", certificate, "-key", key)
            assert_says("the server's certificate " .. words, refusal(server, "localhost", "--ca", folder .. "/ca.pem"))
        end
    end)

    it("send nothing to whom they refuse", function()
        local other = dev_certs.certs()
        local server = dev_certs.server(folder)
        refusal(server, "localhost", "--ca", other .. "/ca.pem")
        assert.is_nil(server:output():find("POST", 1, true))
    end)

    it("trust anybody with --insecure-skip-verify", function()
        local status, _, errors = send(dev_certs.server(folder), "localhost", "--insecure-skip-verify")
        assert.equal(0, status, errors)
    end)

    it("say when what answers speaks no TLS", function()
        local plain = bridge.start()
        local status, _, errors = bridge.luaduct({
            "send", "--to", "bob", "--url", "https://127.0.0.1:" .. plain.http_port, "--ca", folder .. "/ca.pem", "{}",
        })
        assert.equal(1, status)
        assert_says("what answers there does not speak TLS", errors)
    end)

    it("give up on a server that ends the connection in the handshake", function()
        local silent = assert(socket.bind("127.0.0.1", 0))
        silent:settimeout(10)
        local client = start_send({port = select(2, silent:getsockname())}, "localhost", "--ca", folder .. "/ca.pem")
        local peer = assert(silent:accept())
        peer:settimeout(10)
        assert.truthy(peer:receive(5))
        peer:close()
        assert.equal(1, client:wait_exit())
        assert_says("what answers there does not speak TLS", client:errors())
        silent:close()
    end)

    it("show a certificate where one is asked for", function()
        local asking = {"-Verify", "1", "-verify_return_error", "-CAfile", folder .. "/ca.pem"}
        local shown = {
            "--ca", folder .. "/ca.pem", "--cert", folder .. "/agent-alice.pem", "--key", folder .. "/agent-alice.key",
        }
        local server = dev_certs.server(folder, unpack(asking))
        local status, _, errors = send(server, "localhost", unpack(shown))
        assert.equal(0, status, errors)
        assert_says("CN = alice", server:log())

        assert_says("the server wants a client certificate",
            refusal(dev_certs.server(folder, unpack(asking)), "localhost", "--ca", folder .. "/ca.pem"))

        local other = dev_certs.certs("--agent", "alice")
        shown[4], shown[6] = other .. "/agent-alice.pem", other .. "/agent-alice.key"
        assert_says("the server refused this client's certificate: unknown authority",
            refusal(dev_certs.server(folder, unpack(asking)), "localhost", unpack(shown)))
    end)

    it("say which file is wrong", function()
        local missing, ca = folder .. "/missing.pem", folder .. "/ca.pem"
        process.write_file(folder .. "/junk.pem", "junk\n")
        for _, case in ipairs({
            {missing .. ": No such file or directory", "--ca", missing},
            {folder .. "/junk.pem: ", "--ca", folder .. "/junk.pem"},
            {folder .. "/junk.pem: ", "--ca", ca, "--cert", folder .. "/junk.pem", "--key", folder .. "/server.key"},
            {"server.key is not the key of", "--ca", ca, "--cert", folder .. "/agent-alice.pem", "--key",
                folder .. "/server.key"},
        }) do
            local status, _, errors = bridge.luaduct({
                "send", "--broadcast", "--url", "https://localhost:1", unpack(case, 2),
            })
            assert.equal(1, status)
            assert.equal(1, select(2, errors:gsub("\n", "")), errors)
            assert_says(case[1], errors)
        end
    end)

    it("take options that fit each other and the URL only", function()
        local ca = folder .. "/ca.pem"
        for _, arguments in ipairs({
            {"--url", "http://localhost:1", "--ca", ca},
            {"--url", "http://localhost:1", "--insecure-skip-verify"},
            {"--url", "https://localhost:1", "--cert", ca},
            {"--url", "https://localhost:1", "--key", ca},
            {"--url", "https://localhost:1", "--ca", ca, "--insecure-skip-verify"},
        }) do
            for _, command in ipairs({"send", "reload", "trace", "agent", "bench"}) do
                local words = {command, unpack(arguments)}
                if command == "send" then
                    words[#words + 1] = "--broadcast"
                elseif command == "agent" or command == "bench" then
                    words[#words + 1] = command == "agent" and "alice" or "idle"
                end
                local status, output, errors = bridge.luaduct(words)
                assert.equal(2, status, table.concat(words, " ") .. ": " .. errors)
                assert.equal("", output)
                assert.equal(1, select(2, errors:gsub("\n", "")), errors)
            end
        end
    end)
end)
