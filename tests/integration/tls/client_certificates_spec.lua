-- Certificates of clients: asked for with tls.clientCa, required with tls.requireClientCert, revoked by tls.crl.
local bridge = require "tests.support.bridge"
local certificates = require "tests.support.certificates"
local process = require "tests.support.process"
local tls = require "tests.support.tls"
local wait = require "tests.support.wait"

describe("a client certificate", function()
    -- Any agent, that may send and read.
    local ANY = "URI:luaduct:agent:*,URI:luaduct:role:agent,URI:luaduct:role:reader"
    -- Connections that wait for a request end when they are made to, and not before.
    local PATIENT = {headerTimeoutMs = 600000}
    local clients -- the authority that tls.clientCa names

    before_each(function()
        clients = certificates.authority("Clients")
    end)
    after_each(bridge.clean)

    local function start(settings)
        settings.clientCa = clients.ca
        return tls.start({config = {tls = settings, http = PATIENT}})
    end

    -- What the bridge counts of refused ones, seen by a client that is welcome.
    local function refused(server)
        local cert, key = clients:issue("witness", {names = ANY})
        return tls.figures(server, {"--cert", cert, "--key", key}).handshakes.failed.certificate
    end

    local function passes(server, cert, key)
        local status, body, errors = tls.curl(server, "/health", cert and {"--cert", cert, "--key", key})
        assert.equal(0, status, errors)
        assert.match('"status":"ok"', body)
    end

    local function fails(server, cert, key, alert)
        local arguments = cert and {"-tls1_2", "-cert", cert, "-key", key, "-cipher", "DEFAULT:@SECLEVEL=0"}
            or {"-tls1_2"}
        local status, said = tls.s_client(server, arguments)
        assert.not_equal(0, status, said)
        assert.match("alert [^\n]*" .. alert, said)
    end

    it("is not asked for without tls.clientCa", function()
        local server = tls.start()
        assert.match("No client certificate CA names sent", select(2, tls.s_client(server)), 1, true)
    end)

    it("may be absent until it is required, and then lets in curl, openssl and Node", function()
        local cert, key = clients:issue("agent", {usage = "clientAuth", subject = "/CN=agent", names = ANY})
        local server = start({})
        passes(server)
        passes(server, cert, key)
        server = start({requireClientCert = true})
        passes(server, cert, key)
        tls.node(server, "round trip", {cert, key})
        assert.equal(0, (tls.s_client(server, {"-cert", cert, "-key", key})))
        fails(server, nil, nil, "handshake failure")
        assert.equal(1, refused(server))
    end)

    it("is refused when it is wrong, required or not", function()
        local others = certificates.authority("Others")
        for _, required in ipairs({true, false}) do
            local server = start({requireClientCert = required})
            local function wrong(authority, options, alert)
                local cert, key = authority:issue("wrong" .. tostring(required), options)
                fails(server, cert, key, required and alert or "access denied")
            end
            wrong(others, {}, "unknown ca")
            wrong(clients, {from = "20200101000000Z", ["until"] = "20200201000000Z"}, "certificate expired")
            wrong(clients, {from = "20490101000000Z", ["until"] = "20490201000000Z"}, "certificate")
            wrong(clients, {usage = "serverAuth"}, "unsupported certificate")
            wrong(clients, {key = "small rsa"}, "certificate")
            assert.equal(5, refused(server))
        end
    end)

    it("may have an RSA key, or one on P-384", function()
        local server = start({requireClientCert = true})
        for _, kind in ipairs({"rsa", "P-384"}) do
            local cert, key = clients:issue("client", {key = kind})
            passes(server, cert, key)
        end
    end)

    it("is refused when its key is not the client's", function()
        local server = start({requireClientCert = true})
        local cert = clients:issue("mine")
        local _, key = clients:issue("other")
        -- Whoever uses openssl has the mistake pointed out before he comes that far.
        local status, _, errors = tls.curl(server, "/health", {"--cert", cert, "--key", key})
        assert.equal(58, status, errors)
    end)

    -- A certificate for the agent of that name, which may send.
    local function issue(authority, id)
        return authority:issue(id, {names = ("URI:luaduct:agent:%s,URI:luaduct:role:agent"):format(id)})
    end

    local function wait_said(child, text)
        wait.eventually(function()
            return child:output():find(text, 1, true)
        end, nil, function() return child:log() end)
    end

    -- `luaduct agent` with a certificate, registered.
    local function agent(server, id, cert, key)
        local child = bridge.luaduct_start({"agent", id, "--url", "wss://localhost:" .. server.ws_port, "--ca",
            server.authority.ca, "--cert", cert, "--key", key}, {input = "pipe"})
        child:send_input(("@%s hello\n"):format(id))
        wait_said(child, "hello")
        return child
    end

    -- Open, and served a request.
    local function kept_alive(server, cert, key, session)
        local command = {"openssl", "s_client", "-tls1_2", "-quiet", "-connect", "localhost:" .. server.http_port,
            "-CAfile", server.authority.ca, "-cert", cert, "-key", key}
        if session then
            command[#command + 1], command[#command + 2] = "-sess_in", session
        end
        local child = process.start(command, {input = "pipe"})
        child:send_input("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_said(child, "200 OK")
        return child
    end

    local function assert_stays(child, id)
        child:send_input(("@%s still here\n"):format(id))
        wait_said(child, "still here")
    end

    local function assert_ended(child)
        assert.not_equal(0, child:wait_exit())
        assert.truthy(child:errors():find("unauthorized", 1, true), child:errors())
    end

    local function reload(server)
        server:signal("SIGHUP")
        server:wait_log("is in use after version 1")
    end

    it("is refused once a reload brings a list that revokes it, by an old session too, and ends who is in", function()
        local cert, key = clients:issue("agent", {subject = "/CN=agent", names = ANY})
        local other, other_key = issue(clients, "good")
        local crl = clients:crl()
        local server = start({requireClientCert = true, crl = crl})
        local session = server.folder .. "/session"
        local revoked, good = agent(server, "revoked", cert, key), agent(server, "good", other, other_key)
        local request = kept_alive(server, cert, key)
        local with = {"-tls1_2", "-cert", cert, "-key", key}
        assert.equal(0, (tls.s_client(server, {"-sess_out", session, unpack(with)})))
        local _, said = tls.s_client(server, {"-sess_in", session, unpack(with)})
        assert.match("Reused, TLSv1.2", said, 1, true)

        clients:revoke("agent")
        clients:crl()
        reload(server)

        assert_ended(revoked)
        request:wait_exit()
        fails(server, cert, key, "certificate revoked")
        local status
        status, said = tls.s_client(server, {"-sess_in", session, unpack(with)})
        assert.match("alert certificate revoked", said, 1, true)
        assert.not_equal(0, status, said)
        passes(server, other, other_key)
        assert_stays(good, "good")
    end)

    it("ends who is in once a reload takes its authority away, and not while that stays", function()
        local others = certificates.authority("Others")
        local both = clients.folder .. "/both.pem"
        process.write_file(both, process.read_file(clients.ca) .. process.read_file(others.ca))
        local server = tls.start({config = {tls = {clientCa = both, requireClientCert = true}, http = PATIENT}})
        local first = agent(server, "first", issue(clients, "first"))
        local second = agent(server, "second", issue(others, "second"))
        local request = kept_alive(server, clients:issue("request"))

        process.write_file(both, process.read_file(others.ca))
        reload(server)

        assert_ended(first)
        request:wait_exit()
        assert_stays(second, "second")
    end)

    it("of an authority between ends with any change of authorities and lists, and not with others", function()
        local between = clients:between("Between")
        local cert, key = issue(between, "far")
        process.write_file(cert, process.read_file(cert) .. process.read_file(between.ca))
        local server = start({requireClientCert = true})
        local far = agent(server, "far", cert, key)
        server.authority:issue("server")
        reload(server)
        assert_stays(far, "far")

        process.write_file(clients.ca, process.read_file(clients.ca)
            .. process.read_file(certificates.authority("Others").ca))
        server:signal("SIGHUP")

        assert_ended(far)
    end)

    it("stays by an earlier session while its authority does", function()
        local cert, key = clients:issue("kept", {subject = "/CN=kept", names = ANY})
        local server = start({requireClientCert = true, crl = clients:crl()})
        local session = server.folder .. "/session"
        assert.equal(0, (tls.s_client(server, {"-tls1_2", "-sess_out", session, "-cert", cert, "-key", key})))
        local kept = kept_alive(server, cert, key, session)
        local gone, gone_key = clients:issue("leaving", {subject = "/CN=leaving"})
        assert.equal(1, tls.figures(server, {"--cert", cert, "--key", key}).handshakes.resumed)
        local other_session = server.folder .. "/leaving"
        local leaving = {"-tls1_2", "-sess_out", other_session, "-cert", gone, "-key", gone_key}
        assert.equal(0, (tls.s_client(server, leaving)))
        local left = kept_alive(server, gone, gone_key, other_session)

        clients:revoke("leaving")
        clients:crl()
        reload(server)

        left:wait_exit()
        local before = #kept:output()
        kept:send_input("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait.eventually(function() return kept:output():find("200 OK", before, true) end, nil,
            function() return kept:log() end)
    end)

    it("is refused by a list that has run out meanwhile", function()
        local cert, key = clients:issue("agent")
        passes(start({requireClientCert = true, crl = clients:crl()}), cert, key)
        local seconds, server = 1, nil
        wait.eventually(function() -- one that has run out before the start refuses it
            local good, started = pcall(start, {requireClientCert = true, crl = clients:crl(seconds)})
            seconds, server = seconds * 2, good and started
            return server
        end, 60, "a start before the list has run out")
        wait.eventually(function()
            return tls.curl(server, "/health", {"--cert", cert, "--key", key}) ~= 0
        end, 20)
    end)

    it("is a credential: with it required the bridge listens on other addresses, and answers by any name", function()
        local cert, key = clients:issue("agent", {names = ANY})
        local server = tls.start({config = {
            listen = {host = "0.0.0.0"}, tls = {clientCa = clients.ca, requireClientCert = true},
        }})
        passes(server, cert, key)
        local _, code = tls.curl(server, "/agents", {"--cert", cert, "--key", key, "-H", "Host: bridge.example", "-o",
            "/dev/null", "-w", "%{http_code}"})
        assert.equal("200", code)
    end)

    it("needs an authority that can sign, and a list of that authority", function()
        local cert = clients:issue("leaf")
        local status, errors = bridge.start_failing({config = {tls = {clientCa = cert, cert = cert, key =
            clients.folder .. "/leaf.key"}}})
        assert.equal(1, status)
        assert.match("tls%.clientCa: .*CA:TRUE is missing", errors)
        local server, key = clients:issue("server")
        status, errors = bridge.start_failing({config = {tls = {
            cert = server, key = key, clientCa = clients.ca, crl = certificates.authority("Others"):crl(),
        }}})
        assert.equal(1, status)
        assert.match("tls%.crl: .*issuer that tls%.clientCa does not hold", errors)
        process.write_file(clients.folder .. "/nonsense.pem", "nonsense")
        status, errors = bridge.start_failing({config = {tls = {
            cert = server, key = key, clientCa = clients.folder .. "/nonsense.pem",
        }}})
        assert.equal(1, status)
        assert.match("tls%.clientCa: .*no certificates in PEM", errors)
    end)
end)
