-- `luaduct trace` against a running bridge.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local SCRIPT = [[return {route = function(envelope, bridge)
    if envelope.intent == "stop" then return bridge.drop("no") end
    if envelope.intent == "wait" then luaduct.sleep(1) end
    if envelope.intent == "raise" then error("on purpose") end
    if envelope.intent == "copy" then envelope.channel = "copied" return {bridge.to("bob"), bridge.to("carol")} end
end}]]

local function trace(server, ...)
    local words = {"trace", "--url", server:url(), ...}
    local running = bridge.luaduct_start(words)
    -- It listens once the bridge counts it.
    wait.eventually(function()
        local metrics = http.request(server, {path = "/metrics", headers = {Accept = "text/plain"}}).body
        return metrics:find("luaduct_event_listeners 1", 1, true)
    end, nil, "the trace to begin")
    return running
end

local function records(running)
    running:wait_exit()
    assert.equal(0, running:status(), running:log())
    local list = {}
    for line in running:output():gmatch("[^\n]+") do
        list[#list + 1] = json.decode(line)
    end
    return list
end

describe("luaduct trace", function()
    after_each(bridge.clean)

    it("tells of each envelope what was decided, by what, and how it came out", function()
        local server = bridge.start({script = SCRIPT})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        local running = trace(server, "--json", "--count", "5")
        alice:send_envelope({id = "t1", to = "bob", payload = {n = 1}})
        alice:send_envelope({id = "t2", to = "bob", intent = "stop"})
        alice:send_envelope({id = "t3", to = "bob", intent = "wait"})
        alice:send_envelope({id = "t4", to = "bob", intent = "raise"})
        alice:send_envelope({id = "t5", to = "bob", intent = "copy"})
        for _, id in ipairs({"t1", "t3", "t4", "t5"}) do
            assert.equal(id, bob:receive_envelope().id)
        end
        local list = records(running)
        assert.equal("t1", list[1].id)
        assert.equal("alice", list[1].from)
        assert.equal("bob", list[1].to)
        assert.equal("route", list[1].hook)
        assert.equal(1, list[1].version)
        assert.equal('to{"bob"}', list[1].decision)
        assert.equal("accepted", list[1].outcome)
        assert.equal(1, list[1].recipients)
        assert.equal(1, list[1].envelope.payload.n)
        assert.equal("alice", list[1].sender.id)
        assert.is_true(list[1].us > 0)
        assert.equal("dropped", list[2].outcome)
        assert.equal("no", list[2].reason)
        assert.is_true(list[3].waited)
        assert.is_true(list[4].failed)
        assert.equal('{to{"bob"}, to{"carol"}}', list[5].decision)
        assert.equal(2, list[5].recipients)
        assert.is_nil(list[5].envelope.channel) -- as it was sent
    end)

    it("shows what its filters let through, for a person too", function()
        local server = bridge.start({script = SCRIPT})
        local alice = websocket.agent(server, "alice")
        local running = trace(server, "--agent", "bob", "--intent", "x y", "--count", "1")
        alice:send_envelope({id = "other", to = "carol", intent = "x y"})
        alice:send_envelope({id = "other", to = "bob"})
        alice:send_envelope({id = "this", to = "bob", intent = "x y"})
        running:wait_exit()
        assert.match("alice > bob  x y  id this\n +route v1: to{\"bob\"}  [%d.]+ us  accepted, recipients: 1",
            running:output())
    end)

    it("needs an administrator", function()
        local server = bridge.start({config = {auth = {token = "secret"}}})
        local status, _, errors = bridge.luaduct({"trace", "--url", server:url()})
        assert.equal(1, status)
        assert.match("unauthorized", errors)
        local answered, answer = http.get(server, "/admin/trace", {Authorization = "Bearer secret"})
        assert.equal(403, answer.status)
        assert.equal("forbidden", answered.code)
    end)
end)
