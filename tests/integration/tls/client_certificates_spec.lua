-- Certificates of clients: asked for with tls.clientCa, required with tls.requireClientCert, revoked by tls.crl.
local bridge = require "tests.support.bridge"
local certificates = require "tests.support.certificates"
local process = require "tests.support.process"
local tls = require "tests.support.tls"

describe("a client certificate", function()
    -- Any agent, that may send and read.
    local ANY = "URI:luaduct:agent:*,URI:luaduct:role:agent,URI:luaduct:role:reader"
    local clients -- the authority that tls.clientCa names

    before_each(function()
        clients = certificates.authority("Clients")
    end)
    after_each(bridge.clean)

    local function start(settings)
        settings.clientCa = clients.ca
        return tls.start({config = {tls = settings}})
    end

    -- What the bridge counts of refused ones, seen by a client that is welcome.
    local function refused(server)
        local cert, key = clients:issue("witness")
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

    it("is refused once a reload brings a list that revokes it, by an old session too; who is in stays", function()
        local cert, key = clients:issue("agent", {subject = "/CN=agent", names = ANY})
        local other, other_key = clients:issue("other")
        local crl = clients:crl()
        local server = start({requireClientCert = true, crl = crl})
        local session = server.folder .. "/session"
        local agent = tls.node_start(server, "stay", {cert, key})
        require("tests.support.wait").eventually(function() return agent:output():find("registered") end)
        local with = {"-tls1_2", "-cert", cert, "-key", key}
        assert.equal(0, (tls.s_client(server, {"-sess_out", session, unpack(with)})))
        local _, said = tls.s_client(server, {"-sess_in", session, unpack(with)})
        assert.match("Reused, TLSv1.2", said, 1, true)

        clients:revoke("agent")
        clients:crl()
        server:signal("SIGHUP")
        server:wait_log("is in use after version 1")

        fails(server, cert, key, "certificate revoked")
        local status
        status, said = tls.s_client(server, {"-sess_in", session, unpack(with)})
        assert.match("alert certificate revoked", said, 1, true)
        assert.not_equal(0, status, said)
        passes(server, other, other_key)
        agent:send_input("still here\n")
        require("tests.support.wait").eventually(function() return agent:output():find("still here") end)
    end)

    it("is refused by a list that has run out meanwhile", function()
        local cert, key = clients:issue("agent")
        local server = start({requireClientCert = true, crl = clients:crl(2)})
        passes(server, cert, key)
        require("tests.support.wait").eventually(function()
            return tls.curl(server, "/health", {"--cert", cert, "--key", key}) ~= 0
        end)
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
