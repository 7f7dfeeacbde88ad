-- Named tokens: who may be which agent, and what a reload does to those who are connected.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local process = require "tests.support.process"
local tokens = require "tests.support.tokens"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local PEOPLE = {
    alice = {token = "alice-token", roles = {"agent"}, clientIds = {"alice"}},
    bob = {token = "bob-token", roles = {"agent"}, clientIds = {"bob"}},
    crew = {token = "crew-token", roles = {"agent"}, clientIds = {"crew-*"}, agentRoles = {"worker", "scout"}},
    ops = {token = "ops-token", roles = {"admin"}, clientIds = {"*"}},
    viewer = {token = "viewer-token", roles = {"reader"}},
}

local function start(options)
    options = options or {}
    local config = options.config or {}
    config.auth = config.auth or {}
    config.auth.tokens = "tokens.jsonl"
    return bridge.start({
        config = config, script = options.script, files = {["tokens.jsonl"] = tokens.file(options.people or PEOPLE)},
    })
end

local function refused_register(server, id, fields)
    local client = websocket.connect(server)
    client:send_register(id, fields)
    local message = client:expect_error("forbidden").error
    client:expect_close(1008)
    return message
end

local function rewrite(server, people)
    process.write_file(server.folder .. "/tokens.jsonl", tokens.file(people))
    server:signal("SIGHUP")
end

describe("named tokens", function()
    after_each(bridge.clean)

    it("let an agent in under the ids that they name, and under no other", function()
        local server = start()

        websocket.agent(server, "alice", {authToken = "alice-token"})
        websocket.agent(server, "crew-7", {authToken = "crew-token", role = "worker"})

        assert.truthy(refused_register(server, "bob", {authToken = "alice-token"}):find("clientId", 1, true))
        refused_register(server, "crew", {authToken = "crew-token", role = "worker"})
        refused_register(server, "carol", {authToken = "viewer-token"})
        local stranger = websocket.connect(server)
        stranger:send_register("alice", {authToken = "alice"})
        stranger:expect_error("unauthorized")
        stranger:expect_close(1008)
    end)

    it("give the id and the role that they name when the agent names none", function()
        local server = start({people = {
            alice = {token = "a", roles = {"agent"}, clientIds = {"alice"}, agentRoles = {"planner"}},
        }})
        local client = websocket.connect(server)

        client:send_json({type = "register", authToken = "a"})

        local meta = client:receive_json().client
        assert.same({"alice", "planner"}, {meta.id, meta.role})
    end)

    it("bind the role: what they do not name is refused, and without any only \"agent\" is free", function()
        local server = start()

        assert.truthy(refused_register(server, "crew-1", {authToken = "crew-token", role = "boss"})
            :find("role", 1, true))
        refused_register(server, "alice", {authToken = "alice-token", role = "worker"})
        websocket.agent(server, "alice", {authToken = "alice-token", role = "agent"})
    end)

    it("bind labels where they name some, and give them to who names none", function()
        local server = start({people = {
            alice = {token = "a", roles = {"agent"}, clientIds = {"*"}, labels = {"paris", "team-*"}},
        }})

        refused_register(server, "x", {authToken = "a", labels = {"paris", "rome"}})
        local one = websocket.connect(server)
        one:send_register("y", {authToken = "a", labels = {"team-1"}})
        assert.same({"team-1"}, one:receive_json().client.labels)
        local other = websocket.connect(server)
        other:send_register("z", {authToken = "a"})
        assert.same({"paris", "team-*"}, other:receive_json().client.labels)
    end)

    it("bind a second register too, which changes nothing when it is refused", function()
        local server = start()
        local client = websocket.agent(server, "crew-1", {authToken = "crew-token", role = "worker"})

        client:send_register("crew-1", {authToken = "crew-token", role = "boss"})
        client:expect_error("forbidden")
        client:send_register("crew-1", {authToken = "alice-token", role = "scout"})
        client:expect_error("forbidden")
        client:send_envelope({to = "crew-1"})

        assert.equal("worker", client:receive_envelope().role)
    end)

    it("hold an id, and for agents.mailboxTtlMs after leaving: until then no other identity gets it", function()
        local server = start({config = {agents = {mailboxTtlMs = 300}}})
        local crew = websocket.agent(server, "crew-1", {authToken = "crew-token", role = "worker"})

        assert.truthy(refused_register(server, "crew-1", {authToken = "ops-token"}):find("held", 1, true))
        local again = websocket.agent(server, "crew-1", {authToken = "crew-token", role = "worker"})
        crew:expect_close(4001)
        again:close()

        wait.eventually(function()
            local client = websocket.connect(server)
            client:send_register("crew-1", {authToken = "ops-token"})
            local answer = client:receive_json().type
            client:close()
            return answer == "registered"
        end)
    end)

    it("hold the mailbox of an agent that is away", function()
        local server = start()
        local crew = websocket.agent(server, "crew-1", {authToken = "crew-token", role = "worker"})
        local alice = websocket.agent(server, "alice", {authToken = "alice-token"})
        crew:close()
        wait.eventually(function()
            return #http.get(server, "/agents", tokens.bearer("viewer-token")).agents == 1
        end)
        alice:send_envelope({id = "kept", to = "crew-1"})
        alice:send_envelope({to = "alice"})
        alice:receive_envelope()

        refused_register(server, "crew-1", {authToken = "ops-token"})

        local back = websocket.agent(server, "crew-1", {authToken = "crew-token", role = "worker"})
        assert.equal("kept", back:receive_envelope().id)
    end)

    it("are as good in the upgrade", function()
        local server = start()
        local options = {headers = tokens.bearer("alice-token")}

        websocket.agent(server, "alice", nil, options)
        local client = websocket.connect(server, options)
        client:send_register("bob")

        client:expect_error("forbidden")
        assert.equal(401, (websocket.upgrade(server, {headers = tokens.bearer("nope")})))
    end)

    it("work beside the shared token, which is another identity", function()
        local server = start({config = {auth = {token = "shared"}}})

        websocket.agent(server, "alice", {authToken = "alice-token"})
        websocket.agent(server, "anything", {authToken = "shared", role = "any"})

        refused_register(server, "alice", {authToken = "shared"})
    end)

    it("may take over what the shared token holds, for that is everybody's", function()
        local server = start({config = {auth = {token = "shared"}}})
        local before = websocket.agent(server, "alice", {authToken = "shared"})

        websocket.agent(server, "alice", {authToken = "alice-token"})

        before:expect_close(4001)
    end)

    it("over HTTP: may name their own agent in `from`, an admin anybody", function()
        local server = start()
        local function post(token, from)
            return select(2, http.post(server, "/send", {to = "bob", from = from}, tokens.bearer(token))).status
        end

        assert.equal(202, post("alice-token", "alice"))
        assert.equal(202, post("alice-token", "api"))
        assert.equal(403, post("alice-token", "bob"))
        assert.equal(403, post("crew-token", "crew"))
        assert.equal(202, post("crew-token", "crew-9"))
        assert.equal(401, post("ops-token-x", "anybody"))
        assert.equal(202, post("ops-token", "anybody"))
    end)

    it("are what the script sees as the sender's identity", function()
        local server = start({script = [[
            return {
                on_register = function(agent) return agent.identity == "token:alice" or agent.id ~= "alice" end,
                route = function(envelope, bridge)
                    envelope.payload = {identity = envelope.sender.identity, id = envelope.sender.id or "none"}
                    return bridge.to("alice")
                end,
            }]]})
        local alice = websocket.agent(server, "alice", {authToken = "alice-token"})

        alice:send_envelope({to = "bob"})
        assert.same({identity = "token:alice", id = "alice"}, alice:receive_envelope().payload)
        http.post(server, "/send", {to = "x", from = "api"}, tokens.bearer("crew-token"))
        assert.same({identity = "token:crew", id = "none"}, alice:receive_envelope().payload)
    end)

    describe("after a reload", function()
        it("have the limits that they have now, for agents that are connected", function()
            local people = {
                alice = {token = "alice-token", roles = {"agent"}, clientIds = {"alice"}},
                bob = {token = "bob-token", roles = {"agent"}, clientIds = {"bob"},
                    limits = {messagesPerSecond = 1, messageBurst = 1}},
            }
            people.carol = {token = "carol-token", roles = {"agent"}, clientIds = {"carol"}}
            local server = start({people = people, config = {performance = {worker_threads = 1}}})
            local carol = websocket.agent(server, "carol", {authToken = "carol-token"})
            local alice = websocket.agent(server, "alice", {authToken = "alice-token"})
            local bob = websocket.agent(server, "bob", {authToken = "bob-token"})
            local frame = websocket.frame({payload = '{"type":"envelope","envelope":{"to":"absent"}}'})
            bob:send_bytes(frame:rep(2)) -- at once: one may pass each second
            bob:expect_error("rate_limited")

            people.alice.limits, people.bob.limits = {messagesPerSecond = 1, messageBurst = 1, connections = 1}, nil
            people.carol = nil
            rewrite(server, people)
            carol:expect_error("unauthorized")
            carol:expect_close(1008)
            server:wait_log("in use after version 1") -- on each reactor

            for _ = 1, 20 do
                bob:send_envelope({to = "absent"})
            end
            bob:expect_nothing()
            alice:send_bytes(frame:rep(3))
            alice:expect_error("rate_limited")
            local second = websocket.connect(server)
            second:send_register("alice", {authToken = "alice-token"})
            wait.eventually(function()
                return second:receive_json().code == "overloaded"
            end)
        end)

        it("that revokes one: its agent is closed, the others stay", function()
            local server = start()
            local alice = websocket.agent(server, "alice", {authToken = "alice-token"})
            local bob = websocket.agent(server, "bob", {authToken = "bob-token"})

            rewrite(server, {alice = PEOPLE.alice})

            bob:expect_error("unauthorized")
            bob:expect_close(1008)
            server:wait_log("in use after version 1")
            alice:send_envelope({id = "e1", to = "alice"})
            assert.equal("e1", alice:receive_envelope().id)
            local client = websocket.connect(server)
            client:send_register("bob", {authToken = "bob-token"})
            client:expect_error("unauthorized")
        end)

        it("that script.watch asks for when the file changes: the same", function()
            local server = start({config = {script = {watch = true}}})
            local bob = websocket.agent(server, "bob", {authToken = "bob-token"})

            process.write_file(server.folder .. "/tokens.jsonl", tokens.file({alice = PEOPLE.alice}))

            bob:expect_error("unauthorized")
            bob:expect_close(1008)
        end)

        it("that makes one anew under the same name: the old token's agent is closed", function()
            local server = start()
            local alice = websocket.agent(server, "alice", {authToken = "alice-token"})

            rewrite(server, {alice = {token = "other", roles = {"agent"}, clientIds = {"alice"}}})

            alice:expect_error("unauthorized")
            alice:expect_close(1008)
        end)

        it("that takes its id away: closed with the reason", function()
            local server = start()
            local alice = websocket.agent(server, "alice", {authToken = "alice-token"})

            rewrite(server, {alice = {token = "alice-token", roles = {"agent"}, clientIds = {"other"}}})

            alice:expect_error("forbidden")
            alice:expect_close(1008)
        end)

        it("that gives it other rights: they hold for the agent that is connected", function()
            local server = start()
            local alice = websocket.agent(server, "alice", {authToken = "alice-token"})

            rewrite(server, {alice = {token = "alice-token", clientIds = {"alice"}}})
            server:wait_log("in use after version 1")

            alice:send_envelope({id = "e1", to = "alice"})
            assert.equal("e1", alice:expect_error("forbidden").id)
        end)

        it("with a bad file: refused with file and line, and everything stays as it is", function()
            local server = start()
            process.write_file(server.folder .. "/tokens.jsonl", "# mine\n{\"name\":\"x\"}\n")

            server:signal("SIGHUP")

            server:wait_log("tokens.jsonl:2: sha256: expected one")
            websocket.agent(server, "alice", {authToken = "alice-token"})
        end)

        it("back to an older version: what was revoked stays revoked", function()
            local server = start()
            rewrite(server, {ops = PEOPLE.ops})
            server:wait_log("version 2 of the scripts")
            local bearer = tokens.bearer("ops-token")

            local body, answer = http.post(server, "/admin/reload", {to = 1}, bearer)

            assert.equal(200, answer.status, answer.body)
            assert.equal(1, body.version)
            local client = websocket.connect(server)
            client:send_register("alice", {authToken = "alice-token"})
            client:expect_error("unauthorized")
        end)
    end)

    it("that are configured while agents are connected: those are closed, and who shows one comes back", function()
        local server = bridge.start({config = {auth = {}}, files = {["tokens.jsonl"] = tokens.file(PEOPLE)}})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        local text = process.read_file(server.folder .. "/config.lua")
        process.write_file(server.folder .. "/config.lua", (text:gsub('%["auth"%] = {}',
            '["auth"] = {tokens = "tokens.jsonl"}')))
        server:signal("SIGHUP")
        for _, early in ipairs({alice, bob}) do
            early:expect_error("unauthorized")
            early:expect_close(1008)
        end

        alice = websocket.agent(server, "alice", {authToken = "alice-token"})
        alice:send_envelope({id = "e1", to = "alice"})
        assert.equal("e1", alice:receive_envelope().id)
        refused_register(server, "alice", {authToken = "ops-token"})
    end)

    it("end at their time: refused at once, and an agent that is connected is closed soon after", function()
        local people = {
            ops = PEOPLE.ops,
            past = {token = "p", roles = {"agent"}, clientIds = {"past"}, expires = "2001-01-01T00:00:00Z"},
        }
        local server = start({config = {agents = {cleanupIntervalMs = 100}}, people = people})
        local late = websocket.connect(server)
        late:send_register("past", {authToken = "p"})
        late:expect_error("unauthorized")
        local alice
        wait.eventually(function() -- until she is in before it is over
            local soon = os.date("!%Y-%m-%dT%H:%M:%SZ", os.time() + 2)
            people.alice = {token = "a", roles = {"agent"}, clientIds = {"alice"}, expires = soon}
            process.write_file(server.folder .. "/tokens.jsonl", tokens.file(people))
            http.post(server, "/admin/reload", "{}", tokens.bearer("ops-token"))
            local in_time, client = pcall(websocket.agent, server, "alice", {authToken = "a"})
            alice = in_time and client
            return alice
        end)

        alice:expect_error("unauthorized")
        alice:expect_close(1008)
    end)

    it("stop the start when the file is wrong, with file and line", function()
        local status, errors = bridge.start_failing({
            config = {auth = {tokens = "t"}}, files = {t = "{\"name\":\"a\",\"sha256\":\"x\"}"},
        })
        assert.equal(1, status)
        assert.truthy(errors:find("t:1: sha256: expected 64 hexadecimal digits in lower case", 1, true), errors)
        status, errors = bridge.start_failing({ -- which is no "never"
            config = {auth = {tokens = "t"}},
            files = {t = tokens.file({a = {token = "a", expires = "1970-01-01T00:00:00Z"}})},
        })
        assert.equal(1, status)
        assert.truthy(errors:find("t:1: expires: expected a time", 1, true), errors)
        status, errors = bridge.start_failing({config = {auth = {tokens = "none"}}})
        assert.equal(1, status)
        assert.truthy(errors:find("auth.tokens: expected a file of tokens that can be read", 1, true), errors)
    end)

    it("in original mode may do what the old bridge let anybody do, but not administer", function()
        local server = start({config = {mode = "original"}, people = {one = {token = "t"}}})
        local bearer = tokens.bearer("t")
        local client = websocket.agent(server, "whoever", {authToken = "t", role = "any"})

        client:send_envelope({id = "e1"})
        client:send_envelope({id = "e2", to = "whoever"})

        assert.equal("e2", client:receive_envelope().id)
        assert.equal(2, #http.get(server, "/history", bearer).history)
        assert.equal(1, #http.get(server, "/agents", bearer).agents)
        assert.equal(403, select(2, http.post(server, "/admin/gc", {}, bearer)).status)
    end)
end)
