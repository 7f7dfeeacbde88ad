-- The bridge's own commands against a bridge that speaks TLS, with certificates of `luaduct cert dev`; and what others
-- make of these certificates.
local bridge = require "tests.support.bridge"
local dev_certs = require "tests.support.dev_certs"
local json = require "tests.support.json"
local process = require "tests.support.process"
local unistd = require "posix.unistd"
local wait = require "tests.support.wait"

local MODULES = os.getenv("LUADUCT_NODE_MODULES") or (unistd.getcwd() .. "/build/interop/node_modules")

-- Whoever has a certificate may do what agents do.
local ACCESS = 'allow { kind = "certificate", send = "*", broadcast = "*", see = "*" }'

local folder

-- A bridge with the folder's certificates; `tls` wins over each of its keys.
local function start(tls, options)
    options = options or {}
    options.config = options.config or {}
    options.config.tls = {cert = folder .. "/server.pem", key = folder .. "/server.key"}
    for key, value in pairs(tls or {}) do
        options.config.tls[key] = value
    end
    if options.config.tls.clientCa then
        options.config.policies = {access = "access.lua"}
        options.files = {["access.lua"] = ACCESS}
    end
    return bridge.start(options)
end

local function wss(server, host)
    return ("wss://%s:%d"):format(host or "localhost", server.ws_port)
end

local function https(server, host)
    return ("https://%s:%d"):format(host or "localhost", server.http_port)
end

local function agent(id, url, ...)
    return bridge.luaduct_start({"agent", id, "--url", url, ...}, {input = "pipe"})
end

local function send(url, ...)
    return bridge.luaduct({"send", "--to", "alice", "--url", url, ...})
end

local function wait_output(child, text)
    wait.eventually(function()
        return child:output():find(text, 1, true)
    end, nil, function()
        return ("the output to hold %q; it is %s"):format(text, child:log())
    end)
end

local function assert_refused(expected, status, output, errors)
    assert.equal(1, status, errors)
    assert.equal("", output)
    assert.equal(1, select(2, errors:gsub("\n", "")), errors)
    assert.truthy(errors:find(expected, 1, true), errors)
end

describe("the commands, with a bridge that speaks TLS,", function()
    local ca

    before_each(function()
        folder = dev_certs.certs("--agent", "alice")
        ca = folder .. "/ca.pem"
    end)

    after_each(bridge.clean)

    it("deliver from an agent and from a single command, on both ports and both loopbacks", function()
        local server = start()
        local alice = agent("alice", wss(server), "--ca", ca)
        for number, host in ipairs({"localhost", "127.0.0.1", "[::1]"}) do
            local status, _, errors = send(https(server, host), "--ca", ca, '{"n":' .. number .. "}")
            assert.equal(0, status, errors)
            wait_output(alice, '"payload":{"n":' .. number .. "}")
        end
        -- Either port serves either protocol.
        local bob = agent("bob", ("wss://localhost:%d"):format(server.http_port), "--ca", ca)
        bob:send_input("@alice from bob\n")
        wait_output(alice, "from bob")
        alice:send_input("@bob to bob\n")
        wait_output(bob, "to bob")
        bob:close_input()
        assert.equal(0, bob:wait_exit(), bob:errors())
    end)

    it("take a wss URL from AI_BRIDGE_URL", function()
        local server = start()
        local status, _, errors = bridge.luaduct({"send", "--to", "alice", "--ca", ca, "{}"},
            {env = {AI_BRIDGE_URL = wss(server)}})
        assert.equal(0, status, errors)
    end)

    it("pass what is larger than a record, and much of it, in order", function()
        local server = start({}, {config = {limits = {messageBytes = "2MiB"}}})
        local large = ("x"):rep(900000)
        local lines = {'{"large":"' .. large .. '"}'}
        for number = 1, 2000 do
            lines[#lines + 1] = ('{"n":%d}'):format(number)
        end
        local alice = agent("alice", wss(server), "--ca", ca)
        wait.eventually(function()
            local _, output = bridge.luaduct({"send", "--to", "alice", "--url", https(server), "--ca", ca, '"ready?"'})
            return output:find("queued", 1, true)
        end)

        local bob = bridge.luaduct_start({"agent", "bob", "--to", "alice", "--url", wss(server), "--ca", ca},
            {input = table.concat(lines, "\n") .. "\n"})

        assert.equal(0, bob:wait_exit(60), bob:errors())
        wait_output(alice, '{"n":2000}')
        local expected = 0
        for line in alice:output():gmatch("[^\n]+") do
            local envelope = json.decode(line)
            if envelope.payload.large then
                assert.equal(large, envelope.payload.large)
                assert.equal(0, expected)
            elseif envelope.payload.n then
                expected = expected + 1
                assert.equal(expected, envelope.payload.n)
            end
        end
        assert.equal(2000, expected)
    end)

    it("see, reload and trace it", function()
        local server = start({}, {script = "return {route = function() return nil end}"})
        local status, output, errors = bridge.luaduct({"reload", "--url", https(server), "--ca", ca})
        assert.equal(0, status, output .. errors)
        local trace = bridge.luaduct_start({"trace", "--json", "--url", https(server), "--ca", ca})
        wait.eventually(function()
            send(https(server), "--ca", ca, "{}")
            return trace:output():find('"alice"', 1, true)
        end, nil, "a line of the trace")
    end)

    it("load it, and lose nothing", function()
        local server = start()
        for _, words in ipairs({
            {"direct", "--agents", "8", "--seconds", "0.5", "--warmup", "0.1", "--url", wss(server)},
            {"direct", "--agents", "4", "--seconds", "0.5", "--size", "100000", "--url", wss(server)},
            {"churn", "--agents", "4", "--seconds", "2", "--warmup", "0.1", "--url", wss(server)},
            {"broadcast", "--agents", "4", "--seconds", "0.5", "--warmup", "0.1", "--url", wss(server)},
            {"http", "--path", "/health", "--agents", "4", "--requests", "50", "--url", https(server)},
        }) do
            local status, output, errors = bridge.luaduct({
                "bench", "--ca", ca, "--json", "--server-pid", tostring(server:pid()), unpack(words),
            }, {seconds = 60})
            assert.equal(0, status, words[1] .. ": " .. output .. errors)
            local figures = json.decode(output)
            assert.truthy(figures.delivered > 0, output)
        end
    end)

    it("show a certificate where the bridge requires one, and say so where they have none", function()
        local server = start({clientCa = ca, requireClientCert = true})
        local shown = {
            "--ca", ca, "--cert", folder .. "/agent-alice.pem", "--key", folder .. "/agent-alice.key",
        }
        local status, _, errors = send(https(server), "{}", unpack(shown))
        assert.equal(0, status, errors)
        local alice = agent("alice", wss(server), unpack(shown))
        wait_output(alice, '"payload":{}')
        local mallory = agent("mallory", wss(server), unpack(shown)) -- with alice's certificate
        assert.equal(1, mallory:wait_exit())
        assert.truthy(mallory:errors():find("this credential does not allow that clientId", 1, true), mallory:errors())

        assert_refused("the server wants a client certificate", send(https(server), "{}", "--ca", ca))
        local without = agent("alice", wss(server), "--ca", ca)
        assert_refused("the server wants a client certificate", without:wait_exit(), without:output(),
            without:errors())

        local other = dev_certs.certs("--agent", "alice")
        shown[4], shown[6] = other .. "/agent-alice.pem", other .. "/agent-alice.key"
        assert_refused("this client's certificate", send(https(server), "{}", unpack(shown)))
        shown[4], shown[6] = folder .. "/server.pem", folder .. "/server.key" -- not for clients
        assert_refused("this client's certificate", send(https(server), "{}", unpack(shown)))
    end)

    it("refuse it when it is not who they asked for, and say how to reach it when they spoke plainly", function()
        local server = start()
        local other = dev_certs.certs()
        assert_refused("not signed by an authority that is trusted here",
            send(https(server), "{}", "--ca", other .. "/ca.pem"))
        assert_refused("this port speaks TLS", send(("http://localhost:%d"):format(server.http_port), "{}"))
        local plain = agent("alice", ("ws://localhost:%d"):format(server.ws_port))
        assert.equal(1, plain:wait_exit())
    end)
end)

describe("certificates of luaduct cert dev", function()
    before_each(function()
        folder = dev_certs.certs("--agent", "stayer") -- as tests/interop/tls.js calls itself
    end)

    after_each(bridge.clean)

    it("are good for curl and for Node's ws, with a client's and without", function()
        local server = start({clientCa = folder .. "/ca.pem", requireClientCert = true})
        local ca, certificate, key = folder .. "/ca.pem", folder .. "/agent-stayer.pem", folder .. "/agent-stayer.key"
        for _, host in ipairs({"localhost", "127.0.0.1", "[::1]"}) do
            local status, body, errors = process.run({
                "curl", "-sS", "--max-time", "20", "--cacert", ca, "--cert", certificate, "--key", key,
                https(server, host) .. "/health",
            }, {seconds = 30})
            assert.equal(0, status, errors)
            assert.equal("ok", json.decode(body).status)
        end
        local node = process.start({
            "node", "tests/interop/tls.js", "stay", tostring(server.ws_port), ca, certificate, key,
        }, {env = {NODE_PATH = MODULES}, input = "pipe"})
        wait_output(node, "registered")
        node:send_input("hello\n")
        wait_output(node, "hello")
        node:send_input("end\n")
        assert.equal(0, node:wait_exit(), node:errors())
    end)

    it("let a webhook be told over https, by a bridge that trusts their authority", function()
        local receiver = dev_certs.server(folder)
        local server = bridge.start({
            config = {
                alerts = {
                    intervalMs = 20, cooldownMs = 0, gcFrequency = {enabled = false}, poolHitRate = {enabled = false},
                    workerUtilization = {enabled = false},
                    webhook = {url = ("https://localhost:%d/hook"):format(receiver.port)},
                },
                policies = {alerts = "policy.lua"},
            },
            files = {["policy.lua"] = 'return {{name = "always", value = "agents", above = -1, action = "ALERT"}}'},
            env = {SSL_CERT_FILE = folder .. "/ca.pem"},
        })
        wait_output(receiver, "POST /hook HTTP/1.1")
        wait_output(receiver, '"name":"always"')
        receiver:send_input("HTTP/1.1 204 No Content\r\n\r\n")
        wait.eventually(function()
            local _, text = process.run({"curl", "-sS", "-H", "Accept: text/plain",
                ("http://127.0.0.1:%d/metrics"):format(server.http_port)})
            return text:find("\nluaduct_webhook_delivered_total 1", 1, true)
        end, nil, "the delivery to be counted")
    end)

    it("and another's: the alert is not delivered, and the log says why", function()
        local other = dev_certs.certs()
        local receiver = dev_certs.server(folder)
        local server = bridge.start({
            config = {
                alerts = {
                    intervalMs = 20, cooldownMs = 0, gcFrequency = {enabled = false}, poolHitRate = {enabled = false},
                    workerUtilization = {enabled = false},
                    webhook = {url = ("https://localhost:%d/"):format(receiver.port)},
                },
                policies = {alerts = "policy.lua"},
            },
            files = {["policy.lua"] = 'return {{name = "always", value = "agents", above = -1, action = "ALERT"}}'},
            env = {SSL_CERT_FILE = other .. "/ca.pem"},
        })
        server:wait_log("alerts.webhook: an alert was not delivered in 5 tries: ", 30)
        assert.is_nil(receiver:output():find("POST", 1, true))
    end)

    it("are asked for before the start when a webhook wants them and there are none", function()
        local status, errors = bridge.start_failing({
            config = {alerts = {webhook = {url = "https://localhost:1/"}}},
            env = {SSL_CERT_FILE = folder .. "/missing.pem"},
        })
        assert.equal(1, status)
        assert.truthy(errors:find("alerts.webhook.url: whom to trust is not known: " .. folder
            .. "/missing.pem: No such file or directory", 1, true), errors)
    end)
end)
