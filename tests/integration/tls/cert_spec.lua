-- `luaduct cert dev`: what it makes is held against OpenSSL's reading of it.
local bridge = require "tests.support.bridge"
local process = require "tests.support.process"
local wait = require "tests.support.wait"

local function cert(...)
    return bridge.luaduct({"cert", "dev", ...})
end

local function openssl(...)
    local status, output, errors = process.run({"openssl", ...})
    return status, output .. errors
end

local function text_of(path)
    local status, text = openssl("x509", "-in", path, "-noout", "-text")
    assert.equal(0, status, text)
    return text
end

local function mode_of(path)
    local _, mode = process.run({"stat", "-c", "%a", path})
    return (mode:gsub("%s+$", ""))
end

-- The single line that a failure says.
local function only_line(text)
    assert.equal(1, select(2, text:gsub("\n", "\n")), text)
    return text
end

describe("luaduct cert dev", function()
    after_each(bridge.clean)

    it("makes an authority and a server's certificate for this machine's names, which OpenSSL verifies", function()
        local folder = process.folder() .. "/certs"

        local status, output, errors = cert(folder, "--name", "bridge.example", "--name", "10.1.2.3")

        assert.equal(0, status, errors)
        for _, file in ipairs({"ca.pem", "ca.key", "server.pem", "server.key"}) do
            assert.truthy(output:find(file, 1, true), output)
        end
        for _, host in ipairs({"localhost", "bridge.example"}) do
            assert.equal(0, (openssl("verify", "-CAfile", folder .. "/ca.pem", "-purpose", "sslserver",
                "-verify_hostname", host, folder .. "/server.pem")), host)
        end
        for _, address in ipairs({"127.0.0.1", "::1", "10.1.2.3"}) do
            assert.equal(0, (openssl("verify", "-CAfile", folder .. "/ca.pem", "-verify_ip", address,
                folder .. "/server.pem")), address)
        end
        assert.are_not.equal(0, (openssl("verify", "-CAfile", folder .. "/ca.pem", "-verify_hostname", "elsewhere",
            folder .. "/server.pem")))
        assert.are_not.equal(0, (openssl("verify", "-CAfile", folder .. "/ca.pem", "-purpose", "sslclient",
            folder .. "/server.pem")))
    end)

    it("makes agents' certificates whose identity is a URI", function()
        local folder = process.folder()

        local status, _, errors = cert(folder, "--agent", "alice", "--agent", "bob.2")

        assert.equal(0, status, errors)
        for _, id in ipairs({"alice", "bob.2"}) do
            local path = folder .. "/agent-" .. id .. ".pem"
            assert.equal(0, (openssl("verify", "-CAfile", folder .. "/ca.pem", "-purpose", "sslclient", path)))
            local text = text_of(path)
            assert.truthy(text:find("URI:luaduct:agent:" .. id .. ", URI:luaduct:role:agent\n", 1, true), text)
            assert.truthy(text:find("Subject: CN = " .. id .. "\n", 1, true), text)
        end
        assert.are_not.equal(0, (openssl("verify", "-CAfile", folder .. "/ca.pem", "-purpose", "sslserver",
            folder .. "/agent-alice.pem")))
    end)

    it("makes what lets agents talk, in enhanced mode too, once the config asks for certificates", function()
        local folder = process.folder()
        cert(folder, "--agent", "alice", "--agent", "bob")
        local path = folder .. "/bridge.lua"
        local text, asks = process.read_file(path):gsub("%-%- (clientCa = )", "%1")
        assert.equal(1, asks)
        process.write_file(path, (text:gsub("return {", 'return {\n    mode = "enhanced",')))
        local server = bridge.run(path)
        local function agent(id)
            return bridge.luaduct_start({"agent", id, "--url", "wss://localhost:" .. server.ws_port, "--ca",
                folder .. "/ca.pem", "--cert", ("%s/agent-%s.pem"):format(folder, id), "--key",
                ("%s/agent-%s.key"):format(folder, id)}, {input = "pipe"})
        end

        local alice = agent("alice")
        local function hears(from, sender)
            sender:send_input("@alice hello\n")
            wait.eventually(function()
                return alice:output():find(('"from":"%s"'):format(from), 1, true)
            end, nil, function() return alice:log() .. sender:log() end)
        end
        hears("alice", alice)
        hears("bob", agent("bob"))
    end)

    it("signs on P-256 with SHA-256, and lets an authority sign leaves only", function()
        local folder = process.folder()
        cert(folder)

        local authority, server = text_of(folder .. "/ca.pem"), text_of(folder .. "/server.pem")

        for _, text in ipairs({authority, server}) do
            assert.truthy(text:find("ASN1 OID: prime256v1", 1, true), text)
            assert.truthy(text:find("ecdsa-with-SHA256", 1, true), text)
        end
        assert.truthy(authority:find("CA:TRUE, pathlen:0", 1, true), authority)
        assert.truthy(server:find("CA:FALSE", 1, true), server)
    end)

    it("lets nobody else read the keys", function()
        local folder = process.folder() .. "/certs"

        cert(folder, "--agent", "alice")

        assert.equal("700", mode_of(folder))
        for _, name in ipairs({"ca", "server", "agent-alice"}) do
            assert.equal("600", mode_of(folder .. "/" .. name .. ".key"))
        end
    end)

    it("gives each certificate another serial number, and each authority another name", function()
        local seen = {}
        for _ = 1, 2 do
            local folder = process.folder()
            cert(folder)
            for _, name in ipairs({"ca", "server"}) do
                local _, serial = openssl("x509", "-in", folder .. "/" .. name .. ".pem", "-noout", "-serial")
                assert.truthy(#serial > 30, serial)
                assert.is_nil(seen[serial])
                seen[serial] = true
            end
            local _, subject = openssl("x509", "-in", folder .. "/ca.pem", "-noout", "-subject")
            assert.is_nil(seen[subject])
            seen[subject] = true
        end
    end)

    it("replaces nothing without --force", function()
        local folder = process.folder()
        cert(folder)
        local before = process.read_file(folder .. "/ca.pem")

        local status, _, errors = cert(folder)

        assert.equal(1, status)
        assert.truthy(only_line(errors):find("--force", 1, true), errors)
        assert.equal(before, process.read_file(folder .. "/ca.pem"))
        assert.equal(0, (cert(folder, "--force")))
        assert.are_not.equal(before, process.read_file(folder .. "/ca.pem"))
        assert.equal(0, (openssl("verify", "-CAfile", folder .. "/ca.pem", folder .. "/server.pem")))
    end)

    it("adds agents with the authority that is there", function()
        local folder = process.folder()
        cert(folder, "--agent", "alice")
        local server = process.read_file(folder .. "/server.pem")

        local status, _, errors = cert(folder, "--agent", "bob")

        assert.equal(0, status, errors)
        assert.equal(server, process.read_file(folder .. "/server.pem"))
        for _, name in ipairs({"alice", "bob"}) do
            assert.equal(0, (openssl("verify", "-CAfile", folder .. "/ca.pem", folder .. "/agent-" .. name .. ".pem")))
        end
        local again, _, complaint = cert(folder, "--agent", "carol", "--agent", "bob")
        assert.equal(1, again)
        assert.truthy(complaint:find("agent-bob", 1, true), complaint)
        assert.equal("", process.read_file(folder .. "/agent-carol.pem"))
    end)

    it("does not sign with a key that is not the authority's", function()
        local folder, other = process.folder(), process.folder()
        cert(folder)
        cert(other)
        process.write_file(folder .. "/ca.key", process.read_file(other .. "/ca.key"))

        local status, _, errors = cert(folder, "--agent", "alice")

        assert.equal(1, status)
        assert.truthy(only_line(errors):find("the authority's certificate and key cannot sign", 1, true), errors)
    end)

    it("says what it cannot write", function()
        local file = process.folder() .. "/file"
        process.write_file(file, "")

        for _, folder in ipairs({file, "/proc/nowhere", file .. "/below"}) do
            local status, output, errors = cert(folder)
            assert.equal(1, status)
            assert.equal("", output)
            assert.truthy(only_line(errors):find(folder, 1, true), errors)
        end
    end)

    it("takes only names that a certificate, a URI and a path can hold", function()
        local folder = process.folder()
        local wrong = {
            {"dev"}, {}, {"prod", folder}, {"dev", folder, folder}, {"dev", ""},
            {"dev", folder, "--agent", "a/b"}, {"dev", folder, "--agent", ""}, {"dev", folder, "--agent", "a,CN=b"},
            {"dev", folder, "--agent", ("x"):rep(65)}, {"dev", folder, "--agent", "a", "--agent", "a"},
            {"dev", folder, "--name", "two words"}, {"dev", folder, "--name", "a..b"}, {"dev", folder, "--name", ""},
            {"dev", folder, "--name", "a-.b"}, {"dev", folder, "--name", ("x"):rep(64)},
            {"dev", folder, "--unknown"}, {"dev", folder, "--name"},
        }
        for _, arguments in ipairs(wrong) do
            local status, output, errors = bridge.luaduct({"cert", unpack(arguments)})
            assert.equal(2, status, table.concat(arguments, " "))
            assert.equal("", output)
            only_line(errors)
        end
        assert.equal("", process.read_file(folder .. "/ca.pem"))
    end)

    it("writes a config with which a bridge serves TLS", function()
        local folder = process.folder() .. "/certs"

        local _, output = cert(folder)

        assert.truthy(output:find("luaduct run " .. folder .. "/bridge.lua", 1, true), output)
        local server = bridge.run(folder .. "/bridge.lua")
        local status, answer, errors = bridge.luaduct({
            "send", "--to", "alice", "--url", "https://localhost:" .. server.http_port, "--ca", folder .. "/ca.pem",
            "hello",
        })
        assert.equal(0, status, errors)
        assert.truthy(answer:find("queued", 1, true), answer)
    end)
end)
