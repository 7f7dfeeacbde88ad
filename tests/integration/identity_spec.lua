-- Whose name an envelope may carry, and who may speak at all.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local variants = require "tests.support.variants"
local websocket = require "tests.support.websocket"

describe("identity", function()
    after_each(bridge.clean)

    it("in enhanced mode: another `from` than the registered id is refused", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice")
        local bob = websocket.agent(server, "bob")

        alice:send_envelope({id = "forged", to = "bob", from = "carol"})
        assert.equal("forged", alice:expect_error("from_mismatch").id)
        alice:send_envelope({id = "true", to = "bob", from = "alice"})

        assert.equal("true", bob:receive_envelope().id)
    end)

    it("in enhanced mode: an unregistered connection may not send", function()
        local server = bridge.start()
        local bob = websocket.agent(server, "bob")
        local stranger = websocket.connect(server)

        stranger:send_envelope({id = "e1", to = "bob"})
        assert.equal("e1", stranger:expect_error("not_registered").id)

        stranger:register("alice")
        stranger:send_envelope({id = "e2", to = "bob"})
        assert.equal("e2", bob:receive_envelope().id)
    end)

    it("in enhanced mode: nothing refused is in the history", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice")
        alice:send_envelope({to = "bob", from = "carol"})
        alice:expect_error("from_mismatch")

        assert.equal(0, #http.get(server, "/history").history)
    end)

    it("in enhanced mode: over HTTP a caller who is no admin is api and nobody else", function()
        local server = bridge.start({config = {auth = {token = "secret"}}})
        local bob = websocket.agent(server, "bob", {authToken = "secret"})
        local headers = {Authorization = "Bearer secret"}

        local body, answer = http.post(server, "/send", {to = "bob", from = "alice"}, headers)
        assert.equal(403, answer.status)
        assert.equal("from_mismatch", body.code)
        http.post(server, "/send", {to = "bob", from = "api"}, headers)

        assert.equal("api", bob:receive_envelope().from)
    end)

    it("in enhanced mode: over HTTP an admin may name anyone", function()
        local guarded = bridge.start({config = {auth = {token = "secret", tokenIsAdmin = true}}})
        local loopback = bridge.start()
        local options = {Authorization = "Bearer secret"}

        assert.equal(202, select(2, http.post(guarded, "/send", {to = "bob", from = "alice"}, options)).status)
        assert.equal(202, select(2, http.post(loopback, "/send", {to = "bob", from = "alice"})).status)
        assert.equal("alice", http.get(loopback, "/history").history[1].from)
    end)

    it("in original mode: `from` goes out as sent", function()
        local server = bridge.start({config = {mode = "original"}})
        local alice = websocket.agent(server, "alice")
        local bob = websocket.agent(server, "bob")

        alice:send_envelope({to = "bob", from = "carol"})
        assert.equal("carol", bob:receive_envelope().from)
        http.post(server, "/send", {to = "bob", from = "dave"})

        assert.equal("dave", bob:receive_envelope().from)
    end)

    it("can be switched by agents.verifyFrom and agents.requireRegister in either mode", function()
        local lenient = bridge.start({config = {agents = {verifyFrom = false, requireRegister = false}}})
        local bob = websocket.agent(lenient, "bob")
        local stranger = websocket.connect(lenient)
        stranger:send_envelope({to = "bob", from = "anyone"})
        assert.equal("anyone", bob:receive_envelope().from)

        local strict = bridge.start({config = {
            mode = "original", agents = {verifyFrom = true, requireRegister = true},
        }})
        local alice = websocket.agent(strict, "alice")
        alice:send_envelope({to = "alice", from = "bob"})
        alice:expect_error("from_mismatch")
        local unregistered = websocket.connect(strict)
        unregistered:send_envelope({to = "alice"})
        unregistered:expect_error("not_registered")
    end)

    for _, variant in ipairs(variants.modes) do
        it(variant.name .. ": the role may be claimed, the registered one is the default", function()
            local server = variant.start()
            local alice = websocket.agent(server, "alice", {role = "worker"})

            alice:send_envelope({to = "alice", role = "king"})
            assert.equal("king", alice:receive_envelope().role)
            alice:send_envelope({to = "alice"})
            assert.equal("worker", alice:receive_envelope().role)
        end)
    end
end)
