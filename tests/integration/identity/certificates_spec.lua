-- Who somebody is by a client certificate: its names, and what on_identify makes of it.
local bridge = require "tests.support.bridge"
local certificates = require "tests.support.certificates"
local json = require "tests.support.json"
local process = require "tests.support.process"
local tls = require "tests.support.tls"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local function start(options)
    options = options or {}
    options.authority = options.authority or certificates.authority()
    options.config = options.config or {}
    options.config.tls = {clientCa = options.authority.ca}
    return tls.start(options)
end

-- A call with a certificate of these names: status and body.
local function call(server, path, certificate, arguments)
    local list = {"-w", "\n%{http_code}"}
    if certificate then
        local cert, key = server.authority:issue(certificate[1], {
            subject = "/CN=" .. certificate[1], names = certificate.names,
        })
        list = {"-w", "\n%{http_code}", "--cert", cert, "--key", key}
    end
    for _, argument in ipairs(arguments or {}) do
        list[#list + 1] = argument
    end
    local _, output, errors = tls.curl(server, path, list)
    local body, status = output:match("^(.*)\n(%d+)$")
    assert(status, output .. errors)
    return tonumber(status), body
end

local function send(envelope)
    return {"--json", json.encode(envelope)}
end

-- A WebSocket behind openssl s_client with that certificate.
local function connect(server, name, options)
    local cert, key = server.authority:issue(name, options)
    local client = process.start({"openssl", "s_client", "-quiet", "-connect", "localhost:" .. server.ws_port,
        "-CAfile", server.authority.ca, "-cert", cert, "-key", key}, {input = "pipe"})
    client:send_input(websocket.request({port = server.ws_port}))
    local self = {}
    function self.expect(text)
        wait.eventually(function()
            return client:output():find(text, 1, true)
        end, nil, text .. " in " .. client:log())
    end
    function self.say(message)
        client:send_input(websocket.frame({payload = json.encode(message)}))
    end
    self.expect("101 Switching Protocols")
    return self
end

describe("a client certificate", function()
    after_each(bridge.clean)

    it("is a credential: without one nobody gets in, on loopback neither", function()
        local server = start()

        assert.equal(401, (call(server, "/agents")))
        assert.equal(200, (call(server, "/health")))
        assert.equal(200, (call(server, "/agents", {"one", names = "URI:luaduct:agent:one,URI:luaduct:role:reader"})))
    end)

    it("does not let its holder be anybody by a common name for many web servers", function()
        local server = start()
        local wildcard = {"*", names = "DNS:*.example.com"}

        assert.equal(401, (call(server, "/agents", wildcard)))
        assert.equal(401, (call(server, "/send", wildcard, send({to = "x", from = "anybody"}))))
    end)

    it("names the agent that its holder may be, in `from` too", function()
        local server = start()
        local names = "URI:luaduct:agent:worker-*,URI:luaduct:role:agent"

        assert.equal(202, (call(server, "/send", {"a", names = names}, send({to = "x", from = "worker-7"}))))
        assert.equal(403, (call(server, "/send", {"b", names = names}, send({to = "x", from = "boss"}))))
        assert.equal(403, (call(server, "/agents", {"c", names = names})))
    end)

    it("by its common name alone names one agent, without any right in enhanced mode", function()
        local server = start()
        local status, body = call(server, "/send", {"alice"}, send({to = "x", from = "alice"}))
        assert.same({403, "forbidden"}, {status, json.decode(body).code})

        server = start({config = {mode = "original"}})
        assert.equal(202, (call(server, "/send", {"alice"}, send({to = "x", from = "alice"}))))
    end)

    it("makes an administrator, where it says so", function()
        local server = start()
        local reader = {"a", names = "URI:luaduct:agent:a,URI:luaduct:role:reader"}
        local admin = {"b", names = "URI:luaduct:agent:b,URI:luaduct:role:admin"}
        assert.equal(403, (call(server, "/admin/scripts", reader)))
        assert.equal(200, (call(server, "/admin/scripts", admin)))
    end)

    it("lets its agent register without a token, as what it names and nothing else", function()
        local server = start()
        local names = "URI:luaduct:agent:alice,URI:luaduct:role:agent,URI:luaduct:agentRole:scout,URI:luaduct:label:eu"

        local alice = connect(server, "alice", {names = names})
        alice.say({type = "register"})
        alice.expect('"type":"registered","client":{"id":"alice","role":"scout","labels":["eu"]')
        alice.say({type = "envelope", envelope = {to = "alice", payload = {said = "hello"}}})
        alice.expect('"payload":{"said":"hello"}')

        local other = connect(server, "other", {names = names})
        other.say({type = "register", clientId = "bob"})
        other.expect('"code":"forbidden"')
    end)

    it("counts only where no token is shown, and a wrong token is wrong whatever it is shown with", function()
        local server = start({config = {auth = {token = "secret"}}})
        local certificate = {"a", names = "URI:luaduct:agent:a,URI:luaduct:role:reader"}

        assert.equal(200, (call(server, "/history", certificate)))
        assert.equal(401, (call(server, "/history", {"b"}, {"-H", "Authorization: Bearer wrong"})))
        local right = {"-H", "Authorization: Bearer secret", "--json", '{"to":"x"}'}
        assert.equal(202, (call(server, "/send", {"c"}, right)))
    end)

    it("that a browser shows for a page of any origin is not looked at; for a listed one it is", function()
        local certificate = {"a", names = "URI:luaduct:agent:a,URI:luaduct:role:admin"}
        local origin = {"-H", "Origin: https://evil.example", "-X", "POST", "-H", "Content-Type: text/plain"}

        local open = start({config = {http = {corsOrigins = {"*"}}}})
        assert.equal(401, (call(open, "/admin/gc", certificate, origin)))
        local listed = start({config = {http = {corsOrigins = {"https://evil.example"}}}})
        assert.equal(202, (call(listed, "/admin/gc", certificate, origin)))
    end)

    describe("and on_identify", function()
        local SCRIPT = [[
            return {on_identify = function(certificate)
                assert(#certificate.fingerprint == 64 and certificate.expires:match("^%d+%-"))
                if certificate.commonName == "nobody" then
                    return false, "not you"
                elseif certificate.commonName == "mistake" then
                    return {roles = {"admin"}}
                elseif certificate.commonName == "wait" then
                    luaduct.sleep(1)
                elseif certificate.commonName == "loop" then
                    while true do end
                elseif certificate.uris[1] == "spiffe://acme/scout" then
                    return {name = "scout", roles = {"reader"}, clientIds = {"scout-*"}}
                end
            end}]]

        it("may say who it is, or leave it to the names", function()
            local server = start({script = SCRIPT})
            assert.equal(200, (call(server, "/agents", {"x", names = "URI:spiffe://acme/scout"})))
            assert.equal(200, (call(server, "/agents", {"y", names = "URI:luaduct:agent:y,URI:luaduct:role:reader"})))
        end)

        it("may say no, and whatever goes wrong in it is a no", function()
            local server = start({script = SCRIPT})
            for _, name in ipairs({"nobody", "mistake", "wait", "loop"}) do
                local names = "URI:luaduct:agent:a,URI:luaduct:role:admin"
                assert.equal(401, (call(server, "/agents", {name, names = names})), name)
            end
            server:wait_log("on_identify says no to")
            server:wait_log("expected an identity to have a name")
        end)

        it("is asked again after a reload: who is not let in any more is closed", function()
            local server = start({script = "return {}"})
            local alice = connect(server, "alice", {names = "URI:luaduct:agent:alice"})
            alice.say({type = "register"})
            alice.expect('"type":"registered"')

            process.write_file(server.folder .. "/script.lua", "return {on_identify = function() return false end}")
            server:signal("SIGHUP")

            alice.expect('"code":"unauthorized"')
        end)
    end)
end)
