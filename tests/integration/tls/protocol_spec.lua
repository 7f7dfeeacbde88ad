-- What is spoken and what is not: versions, cipher suites, curves, renegotiation, sessions that are taken up again,
-- certificates by server name.
local bridge = require "tests.support.bridge"
local certificates = require "tests.support.certificates"
local tls = require "tests.support.tls"

-- Security level 0: the client itself would not even ask for what the bridge must refuse.
local WEAK = {"-cipher", "ALL:@SECLEVEL=0"}

-- As the kernel names them: x86's flags, ARM's features.
local function has_aes()
    local file = assert(io.open("/proc/cpuinfo"))
    local text = file:read("*a")
    file:close()
    return text:find("%saes%s") ~= nil and (text:find("%spclmulqdq%s") or text:find("%spmull%s")) ~= nil
end
local HAS_AES = has_aes()

describe("the protocol", function()
    after_each(bridge.clean)

    local function accepts(server, ...)
        local status, said = tls.s_client(server, {...})
        assert.equal(0, status, said)
        return said
    end

    local function refuses(server, ...)
        local status, said = tls.s_client(server, {...})
        assert.not_equal(0, status, said)
        assert.match("alert", said)
        return said
    end

    it("is TLS 1.2; older ones are refused, newer ones come down to it", function()
        local server = tls.start()
        for _, version in ipairs({"-tls1", "-tls1_1"}) do
            refuses(server, version, WEAK[1], WEAK[2])
        end
        assert.match("Protocol *: TLSv1.2", accepts(server))
        refuses(server, "-tls1_3")
        local failed = tls.figures(server).handshakes.failed
        assert.equal(2, failed.version)
        assert.equal(1, failed.cipher) -- it has no suites of 1.2
    end)

    for _, kind in ipairs({"ECDSA", "RSA"}) do
        it("has all three authenticated ciphers with an " .. kind .. " certificate, the fastest first", function()
            local authority = certificates.authority()
            local cert, key = authority:issue("server", {key = kind:lower() == "rsa" and "rsa" or nil})
            local server = tls.start({authority = authority, config = {tls = {cert = cert, key = key}}})
            for _, cipher in ipairs({"CHACHA20-POLY1305", "AES128-GCM-SHA256", "AES256-GCM-SHA384"}) do
                local name = ("ECDHE-%s-%s"):format(kind, cipher)
                assert.match("Cipher is " .. name, accepts(server, "-tls1_2", "-cipher", name), 1, true)
            end
            local fastest = HAS_AES and "AES128-GCM-SHA256" or "CHACHA20-POLY1305"
            assert.match(("Cipher is ECDHE-%s-%s"):format(kind, fastest), accepts(server, "-tls1_2"), 1, true)
            assert.match("X25519", accepts(server, "-tls1_2"), 1, true)
            accepts(server, "-tls1_2", "-curves", "P-256")
        end)
    end

    it("has no cipher suite without forward secrecy or authentication of the record", function()
        local authority = certificates.authority()
        local cert, key = authority:issue("server", {key = "rsa"})
        local server = tls.start({authority = authority, config = {tls = {cert = cert, key = key}}})
        for _, cipher in ipairs({
            "AES128-GCM-SHA256", "AES256-SHA", "ECDHE-RSA-AES128-SHA256", "ECDHE-RSA-AES128-SHA",
            "DHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-SHA384",
            "AES128-CCM", "DHE-RSA-CHACHA20-POLY1305", "ADH-AES128-GCM-SHA256:@SECLEVEL=0",
        }) do
            refuses(server, "-tls1_2", "-cipher", cipher)
        end
        assert.equal(9, tls.figures(server).handshakes.failed.cipher)
    end)

    it("has the suites of tls.ciphers alone, in their order", function()
        local server = tls.start({config = {tls = {ciphers = {
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        }}}})
        assert.match("Cipher is ECDHE-ECDSA-AES256-GCM-SHA384", accepts(server, "-tls1_2"), 1, true)
        refuses(server, "-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305")
    end)

    it("has no other curves", function()
        local server = tls.start()
        refuses(server, "-tls1_2", "-curves", "P-521")
        refuses(server, "-tls1_2", "-curves", "P-384")
    end)

    it("signs with SHA-256 and better alone", function()
        refuses(tls.start(), "-tls1_2", "-sigalgs", "ECDSA+SHA1", WEAK[1], WEAK[2])
    end)

    it("agrees on http/1.1 and refuses who speaks nothing of the kind", function()
        local server = tls.start()
        assert.match("ALPN protocol: http/1.1", accepts(server, "-alpn", "h2,http/1.1"), 1, true)
        assert.match("No ALPN negotiated", accepts(server))
        refuses(server, "-alpn", "h2")
    end)

    it("does not renegotiate", function()
        local server = tls.start()
        local _, said = tls.s_client(server, {"-tls1_2"}, "R\n")
        assert.match("RENEGOTIATING\n.*no renegotiation", said)
    end)

    it("takes up earlier sessions, by ticket and by id, on whatever reactor", function()
        local server = tls.start({config = {performance = {worker_threads = 2}}})
        assert.equal("false true true\n", tls.node(server, "resume"))
        local file = server.folder .. "/session"
        for _, arguments in ipairs({{"-tls1_2"}, {"-tls1_2", "-no_ticket"}}) do
            local first, again = {unpack(arguments)}, {unpack(arguments)}
            first[#first + 1], first[#first + 2] = "-sess_out", file
            again[#again + 1], again[#again + 2] = "-sess_in", file
            assert.match("New, TLSv1.2", accepts(server, unpack(first)), 1, true)
            for _ = 1, 4 do
                assert.match("Reused, TLSv1.2", accepts(server, unpack(again)), 1, true)
            end
        end
        local figures = tls.figures(server).handshakes
        assert.equal(10, figures.resumed)
        assert.equal(4, figures.full) -- Node's, two of openssl's, and curl's
    end)

    it("chooses a certificate by the server name, with a star for one label, and else the default", function()
        local authority = certificates.authority()
        local config = {certs = {}}
        config.cert, config.key = authority:issue("default", {subject = "/CN=default"})
        local one, one_key = authority:issue("one", {subject = "/CN=one", names = "DNS:one.example,DNS:uno.example"})
        local star, star_key = authority:issue("star", {subject = "/CN=star", names = "DNS:*.star.example"})
        local named, named_key = authority:issue("named", {subject = "/CN=named", names = "DNS:ignored.example"})
        config.certs = {{cert = one, key = one_key}, {cert = star, key = star_key},
            {cert = named, key = named_key, names = {"given.example", "*.given.example"}}}
        local server = tls.start({authority = authority, config = {tls = config}})
        for name, expected in pairs({
            ["one.example"] = "one", ["UNO.example"] = "one", ["two.example"] = "default", ["a.star.example"] = "star",
            ["star.example"] = "default", ["a.b.star.example"] = "default", ["given.example"] = "named",
            ["x.given.example"] = "named", ["ignored.example"] = "default",
        }) do
            assert.match("subject=CN = " .. expected .. "\n", accepts(server, "-servername", name), 1, true)
        end
        assert.match("subject=CN = default\n", accepts(server, "-noservername"), 1, true)
    end)

    it("needs no default beside tls.certs, and takes an RSA and an ECDSA certificate for one name", function()
        local authority = certificates.authority()
        local ecdsa, ecdsa_key = authority:issue("ecdsa")
        local rsa, rsa_key = authority:issue("rsa", {key = "rsa"})
        local server = tls.start({authority = authority, config = {tls = {
            certs = {{cert = ecdsa, key = ecdsa_key}, {cert = rsa, key = rsa_key}},
        }}})
        assert.match("ECDHE-ECDSA", accepts(server, "-servername", "localhost", "-tls1_2"), 1, true)
        assert.match("ECDHE-RSA", accepts(server, "-servername", "localhost", "-tls1_2", "-cipher",
            "ECDHE-RSA-AES128-GCM-SHA256"), 1, true)
    end)
end)
