-- The bridge's own certificates: bad ones refuse the start, good ones come into use with a reload, all run out one day.
local bridge = require "tests.support.bridge"
local certificates = require "tests.support.certificates"
local json = require "tests.support.json"
local process = require "tests.support.process"
local tls = require "tests.support.tls"
local wait = require "tests.support.wait"

describe("the certificate", function()
    local authority

    before_each(function()
        authority = certificates.authority()
    end)
    after_each(bridge.clean)

    local function refused(settings, ...)
        local status, errors = bridge.start_failing({config = {tls = settings}})
        assert.equal(1, status, errors)
        for _, text in ipairs({...}) do
            assert.match(text, errors, 1, true)
        end
        local path = bridge.write({config = {tls = settings}})
        local checked, output, said = bridge.luaduct({"check", path})
        assert.equal(1, checked, output)
        assert.match((...), said, 1, true)
    end

    it("must be there with its key, and belong to it", function()
        local cert, key = authority:issue("one")
        local _, other = authority:issue("two")
        refused({cert = cert}, "tls.cert: expected tls.key beside it")
        refused({key = key}, "tls.key: expected tls.cert beside it")
        refused({cert = cert, key = authority.folder .. "/missing.key"}, "tls.key: expected a file that can be read")
        refused({cert = cert, key = other}, "tls.key: ", "does not belong to the certificate")
        refused({cert = cert, key = cert}, "tls.key: ", "no private key in PEM")
        refused({cert = key, key = key}, "tls.cert: ", "no certificates in PEM")
        refused({certs = {{cert = cert, key = key}, {cert = cert, key = other}}}, "tls.certs[2].key: ",
            "does not belong to the certificate")
        refused({certs = {{cert = cert}}}, "tls.certs: expected a list of")
        refused({clientCa = authority.ca}, "tls.clientCa: expected tls.cert and tls.key beside it")
        refused({cert = cert, key = key, crl = authority:crl()}, "tls.crl: expected tls.clientCa beside it")
        refused({cert = cert, key = key, requireClientCert = true},
            "tls.requireClientCert: expected tls.clientCa beside it")
    end)

    it("must hold now", function()
        local cert, key = authority:issue("old", {from = "20200101000000Z", ["until"] = "20200201000000Z"})
        refused({cert = cert, key = key}, "tls.cert: ", "the certificate has expired")
        cert, key = authority:issue("new", {from = "20480101000000Z", ["until"] = "20480201000000Z"})
        refused({cert = cert, key = key}, "tls.cert: ", "does not hold yet")
    end)

    it("has a key that others should not read: the log says so when they can", function()
        local cert, key = authority:issue("one")
        local server = tls.start({authority = authority, config = {tls = {cert = cert, key = key}}})
        assert.falsy(server:wait_log("serving on"):find("can read", 1, true))
        process.run({"chmod", "644", key})
        server = tls.start({authority = authority, config = {tls = {cert = cert, key = key}}})
        server:wait_log("tls.key: everybody on this machine can read " .. key)
    end)

    it("must have a key that the library can use", function()
        local cert, key = authority:issue("encrypted")
        process.run({"openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", key .. ".enc"})
        refused({cert = cert, key = key .. ".enc"}, "tls.key: ", "encrypted")
        cert, key = authority:issue("edwards", {key = "ed25519"})
        refused({cert = cert, key = key}, "tls.cert: ")
        cert, key = authority:issue("small", {key = "small rsa"})
        refused({cert = cert, key = key}, "tls.key: ", "fewer than 2048 bits")
    end)

    it("comes with settings that are judged too", function()
        local cert, key = authority:issue("one")
        refused({cert = cert, key = key, minVersion = "1.3"}, 'tls.minVersion: expected "1.2"',
            "all that the TLS library (mbedtls 2.28) has", 'got "1.3"')
        for _, name in ipairs({"TLS_RSA_WITH_AES_128_CBC_SHA", "nonsense"}) do
            refused({cert = cert, key = key, ciphers = {name}}, "tls.ciphers: expected a list out of",
                ('got "%s"'):format(name))
        end
        refused({cert = cert, key = key, handshakeTimeoutMs = 0}, "tls.handshakeTimeoutMs: ")
        refused({certs = {{cert = cert, key = key, names = {"no name"}}}}, "tls.certs: ")
    end)

    it("may stand relative to the config's folder, with the authority behind it", function()
        local cert, key = authority:issue("server")
        local server = tls.start({authority = authority, config = {tls = {cert = "chain.pem", key = "key.pem"}},
            files = {
                ["chain.pem"] = process.read_file(cert) .. process.read_file(authority.ca),
                ["key.pem"] = process.read_file(key),
            }})
        local status, said = tls.s_client(server, {"-showcerts"})
        assert.equal(0, status)
        assert.equal(2, select(2, said:gsub("BEGIN CERTIFICATE", "")))
    end)

    -- A bridge that runs by copies of `name` in its own folder.
    local function start_with(name)
        local cert, key = authority:issue(name, {subject = "/CN=" .. name})
        return tls.start({authority = authority, config = {tls = {cert = "cert.pem", key = "key.pem"}}, files = {
            ["cert.pem"] = process.read_file(cert), ["key.pem"] = process.read_file(key),
        }})
    end

    local function put(server, name, options)
        local cert, key = authority:issue(name, options or {subject = "/CN=" .. name})
        process.write_file(server.folder .. "/cert.pem", process.read_file(cert))
        process.write_file(server.folder .. "/key.pem", process.read_file(key))
    end

    local function shown(server, arguments)
        local _, said = tls.s_client(server, arguments)
        return said:match("subject=CN = (%w+)")
    end

    it("is replaced by a reload, under open connections, for new ones", function()
        local server = start_with("first")
        local agent = tls.node_start(server, "stay")
        wait.eventually(function() return agent:output():find("registered") end)
        local session = server.folder .. "/session"
        assert.equal("first", shown(server, {"-tls1_2", "-sess_out", session}))

        put(server, "second")
        server:signal("SIGHUP")
        server:wait_log("is in use after version 1")

        assert.equal("second", shown(server))
        local _, said = tls.s_client(server, {"-tls1_2", "-sess_in", session}) -- a new certificate, new tickets
        assert.match("New, TLSv1.2", said, 1, true)
        agent:send_input("still here\n")
        wait.eventually(function() return agent:output():find("still here") end)
    end)

    it("stays, with its tickets, over a reload that changes other things", function()
        local server = start_with("first")
        local session = server.folder .. "/session"
        shown(server, {"-tls1_2", "-sess_out", session})
        server:signal("SIGHUP")
        server:wait_log("is in use after version 1")
        local _, said = tls.s_client(server, {"-tls1_2", "-sess_in", session})
        assert.match("Reused, TLSv1.2", said, 1, true)
    end)

    it("refuses the reload when it is bad, with the key and the reason, and the old one stays in use", function()
        local server = start_with("first")
        for text, spoil in pairs({
            ["tls.key: .*does not belong to the certificate"] = function()
                process.write_file(server.folder .. "/key.pem",
                    process.read_file(select(2, authority:issue("stranger"))))
            end,
            ["tls.cert: .*has expired"] = function()
                put(server, "late", {from = "20200101000000Z", ["until"] = "20200201000000Z"})
            end,
            ["tls.cert: .*no certificates in PEM"] = function()
                process.write_file(server.folder .. "/cert.pem", "nonsense")
            end,
        }) do
            put(server, "good")
            spoil()
            server:signal("SIGHUP")
            wait.eventually(function() return server:log():find("refused, version 1 stays in use: [^\n]*" .. text) end,
                nil, text .. " in " .. server:log())
        end
        assert.equal("first", shown(server))
    end)

    it("does not come back when an earlier version of the scripts is taken back", function()
        local server = start_with("first")
        put(server, "second")
        server:signal("SIGHUP")
        server:wait_log("is in use after version 1")
        assert.equal("second", shown(server))
        local status, _, errors = tls.curl(server, "/admin/reload?to=1", {"-X", "POST"})
        assert.equal(0, status, errors)
        server:wait_log("is in use after version 2")
        assert.equal("second", shown(server))
    end)

    it("turns TLS on and off by a reload, for new connections", function()
        local cert, key = authority:issue("server")
        local server = bridge.start()
        server.authority = authority
        local function reload_with(settings, version)
            process.write_file(server.folder .. "/config.lua", bridge.config_text(bridge.config({tls = settings})))
            server:signal("SIGHUP")
            server:wait_log(("is in use after version %d"):format(version))
        end
        reload_with({cert = cert, key = key}, 1)
        assert.equal(0, (tls.curl(server, "/health")))
        reload_with({}, 2)
        assert.not_equal(0, (tls.curl(server, "/health")))
        assert.equal(0, (process.run({"curl", "-sS", server:url() .. "/health"})))
    end)

    it("is shown with the time that it has left, and raises certificateExpiry below the threshold", function()
        local server = start_with("first")
        local figures = tls.figures(server)
        assert.same({"tls.cert", "localhost"}, {figures.certificates[1].key, figures.certificates[1].name})
        assert.match("^%d+%-%d+%-%d+T%d+:%d+:%d+%.000Z$", figures.certificates[1].notAfter)

        local function alerts()
            local _, body = tls.curl(server, "/alerts")
            local found = {}
            for _, alert in ipairs(json.decode(body).alerts) do
                found[alert.name] = alert
            end
            return found
        end
        wait.eventually(function()
            local _, text = tls.curl(server, "/metrics", {"-H", "Accept: text/plain"})
            return text:find('luaduct_alert_value{rule="certificateExpiry"} 29.9', 1, true)
        end)
        assert.is_nil(alerts().certificateExpiry)

        local soon = os.date("!%Y%m%d%H%M%SZ", os.time() + 13 * 86400)
        put(server, "soon", {subject = "/CN=soon", ["until"] = soon})
        server:signal("SIGHUP")
        local alert = wait.eventually(function() return alerts().certificateExpiry end)
        assert.is_true(alert.active)
        assert.equal("WARN", alert.severity)
        assert.equal(14, alert.threshold)
        assert.is_true(alert.value > 12.9 and alert.value <= 13, tostring(alert.value))

        put(server, "later")
        server:signal("SIGHUP")
        wait.eventually(function() return not alerts().certificateExpiry.active end)
    end)
end)
