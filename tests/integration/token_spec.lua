-- The shared token, over WebSocket and HTTP.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local process = require "tests.support.process"
local variants = require "tests.support.variants"
local websocket = require "tests.support.websocket"

local TOKEN = "correct horse battery staple"

describe("with a token configured", function()
    after_each(bridge.clean)

    for _, variant in ipairs(variants.modes) do
        describe(variant.name, function()
            it("a register with the token is let in", function()
                local server = variant.start({config = {auth = {token = TOKEN}}})

                local client = websocket.agent(server, "alice", {authToken = TOKEN})

                client:send_envelope({to = "alice", id = "e1"})
                assert.equal("e1", client:receive_envelope().id)
            end)

            for name, token in pairs({
                ["no token"] = false, ["a wrong token"] = "wrong", ["an empty token"] = "",
                ["the token's beginning"] = TOKEN:sub(1, -2), ["the token and more"] = TOKEN .. "x",
            }) do
                it("a register with " .. name .. " is refused and closed", function()
                    local server = variant.start({config = {auth = {token = TOKEN}}})
                    local client = websocket.connect(server)

                    client:send_register("alice", {authToken = token or nil})

                    assert.equal("unauthorized", client:expect_error("unauthorized").error)
                    client:expect_close(1008)
                    local _, answer = http.get(server, "/agents", {Authorization = "Bearer " .. TOKEN})
                    assert.equal('{"agents":[]}', answer.body)
                end)
            end

            it("an envelope or a heartbeat before the register is refused and closed", function()
                local server = variant.start({config = {auth = {token = TOKEN}}})

                for _, text in ipairs({'{"type":"envelope","envelope":{"to":"x"}}', '{"type":"heartbeat"}'}) do
                    local client = websocket.connect(server)
                    client:send_text(text)
                    assert.equal("unauthorized", client:expect_error("unauthorized").error)
                    client:expect_close(1008)
                end
            end)

            it("a Bearer token in the upgrade is as good as one in the register", function()
                local server = variant.start({config = {auth = {token = TOKEN}}})

                local options = {headers = {Authorization = "Bearer " .. TOKEN}}
                local client = websocket.agent(server, "alice", nil, options)

                client:send_envelope({to = "alice", id = "e1"})
                assert.equal("e1", client:receive_envelope().id)
            end)

            it("HTTP needs the token, but for health, readiness and metrics", function()
                local server = variant.start({config = {auth = {token = TOKEN}}})

                for _, path in ipairs({"/agents", "/history", "/tasks", "/api/status", "/optimization"}) do
                    local body, answer = http.get(server, path)
                    assert.equal(401, answer.status, path)
                    assert.same({error = "unauthorized", code = "unauthorized"}, body)
                    assert.equal(401, select(2, http.get(server, path, {Authorization = "Bearer nope"})).status)
                    assert.equal(200, select(2, http.get(server, path, {Authorization = "Bearer " .. TOKEN})).status)
                end
                assert.equal(401, select(2, http.post(server, "/send", {to = "x"})).status)
                assert.equal(401, select(2, http.post(server, "/broadcast", {})).status)
                for _, path in ipairs({"/health", "/ready", "/metrics"}) do
                    assert.equal(200, select(2, http.get(server, path)).status, path)
                end
            end)
        end)
    end

    it("a second register with a wrong token is refused, and the connection stays what it was", function()
        local server = bridge.start({config = {auth = {token = TOKEN}}})
        local client = websocket.agent(server, "alice", {authToken = TOKEN, role = "worker"})

        client:send_register("alice", {authToken = "wrong", role = "boss"})

        client:expect_error("unauthorized")
        client:send_envelope({to = "alice"})
        assert.equal("worker", client:receive_envelope().role)
    end)

    it("the token can come from the environment, which wins over the file", function()
        local server = bridge.start({
            config = {auth = {token = "from the file"}}, env = {AI_BRIDGE_AUTH_TOKEN = TOKEN},
        })

        websocket.agent(server, "alice", {authToken = TOKEN})
        local client = websocket.connect(server)
        client:send_register("bob", {authToken = "from the file"})

        client:expect_error("unauthorized")
    end)

    it("the token can come from a file, whose line end does not count", function()
        local server = bridge.start({config = {auth = {token = {file = "token"}}}, files = {token = TOKEN .. "\n"}})

        websocket.agent(server, "alice", {authToken = TOKEN})
    end)

    it("the token is in neither the log nor an answer", function()
        local server = bridge.start({config = {auth = {token = TOKEN}, log = {level = "debug"}}})
        websocket.agent(server, "alice", {authToken = TOKEN})
        local other = websocket.connect(server)
        other:send_register("bob", {authToken = TOKEN .. "x"})
        other:expect_error("unauthorized")
        local _, answer = http.get(server, "/agents", {Authorization = "Bearer " .. TOKEN})

        assert.is_nil(answer.body:find(TOKEN, 1, true))
        assert.is_nil(server:log():find(TOKEN, 1, true))
    end)

    it("any Host may be named, for the token protects", function()
        local server = bridge.start({config = {auth = {token = TOKEN}}})

        local _, answer = http.get(server, "/agents", {Host = "bridge.example", Authorization = "Bearer " .. TOKEN})

        assert.equal(200, answer.status)
    end)

    it("the commands take it from a file or the environment", function()
        local server = bridge.start({config = {auth = {token = TOKEN}}})
        local folder = process.folder()
        process.write_file(folder .. "/token", TOKEN .. "\n")
        local send = {"send", "--to", "bob", "--url", server:url(), "{}"}

        assert.not_equal(0, (bridge.luaduct(send)))
        assert.equal(0, (bridge.luaduct(send, {env = {AI_BRIDGE_AUTH_TOKEN = TOKEN}})))
        local with_file = {"send", "--token-file", folder .. "/token", "--to", "bob", "--url", server:url(), "{}"}
        assert.equal(0, (bridge.luaduct(with_file)))
    end)

    it("wrong tokens of upgrades and registers are limited by http.rateMax: past it none is looked at", function()
        local server = bridge.start({config = {auth = {token = TOKEN}, http = {rateMax = 4, rateWindowMs = 600000}}})
        local inside = websocket.agent(server, "inside", {authToken = TOKEN})
        local function upgrade(token)
            return (websocket.upgrade(server, {headers = {Authorization = "Bearer " .. token}}))
        end

        for guess = 1, 2 do
            assert.equal(401, upgrade("guess" .. guess))
            local client = websocket.connect(server)
            client:send_register("x", {authToken = "guess" .. guess})
            client:expect_error("unauthorized")
        end

        assert.equal(429, upgrade(TOKEN))
        local client = websocket.connect(server)
        client:send_register("x", {authToken = TOKEN})
        client:expect_error("rate_limited")
        inside:send_register("inside", {authToken = TOKEN})
        inside:expect_error("rate_limited")
        inside:send_envelope({to = "inside", id = "e1"})
        assert.equal("e1", inside:receive_envelope().id)
        local metrics = http.request(server, {path = "/metrics", headers = {Accept = "text/plain"}}).body
        assert.equal("3", metrics:match('luaduct_limited_total{limit="credentials"} (%d+)'))
    end)

    it("a registered agent cannot guess on without end", function()
        local server = bridge.start({config = {auth = {token = TOKEN}, http = {rateMax = 4, rateWindowMs = 600000}}})
        local agent = websocket.agent(server, "alice", {authToken = TOKEN})

        for guess = 1, 4 do
            agent:send_register("alice", {authToken = "guess" .. guess})
            agent:expect_error("unauthorized")
        end
        agent:send_register("alice", {authToken = TOKEN})

        agent:expect_error("rate_limited")
    end)
end)
