-- The engines change how fast the bridge is and how much memory it takes, never what it does: every combination of them
-- passes the same scenario, in each mode.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local ENGINES = {"objectPooling", "gcOptimization", "workerPool"}
local BURST = 2000

local SCRIPT = [[return {route = function(envelope, bridge)
    if envelope.intent == "wait" then
        luaduct.sleep(1)
        local sorted, text, code = luaduct.workers.execute{operation = "sort", data = {items = {3, 1, 2}}}
        return bridge.reply{sorted = sorted, code = code}
    end
end}]]

local function expect(client, ...)
    for _, id in ipairs({...}) do
        assert.equal(id, client:receive_envelope().id)
    end
end

local function connected(server, count)
    wait.eventually(function()
        return #http.get(server, "/agents").agents == count
    end, nil, count .. " agents to be connected")
end

local function sends_to_one_and_to_all(server, alice, bob, carol)
    alice:send_envelope({id = "direct", to = "bob", payload = {text = "hello"}})
    assert.same({text = "hello"}, bob:receive_envelope().payload)
    alice:send_envelope({id = "all"})
    expect(bob, "all")
    expect(carol, "all")
    assert.equal("queued", http.post(server, "/send", {id = "http", to = "carol"}).status)
    expect(carol, "http")
    alice:expect_nothing()
end

local function keeps_for_one_that_is_away(server, alice, bob)
    bob:finish(1000)
    connected(server, 2)
    for _, id in ipairs({"m1", "m2", "m3"}) do
        alice:send_envelope({id = id, to = "bob"})
    end
    alice:expect_nothing()
    bob = websocket.agent(server, "bob")
    alice:send_envelope({id = "m4", to = "bob"})
    expect(bob, "m1", "m2", "m3", "m4")
    return bob
end

local function waits_and_replies(alice, workers)
    alice:send_envelope({id = "asked", to = "bob", intent = "wait"})
    local answer = alice:receive_envelope()
    assert.equal("bridge", answer.from)
    assert.equal("asked", answer.replyTo)
    assert.same(workers and {sorted = {1, 2, 3}} or {code = "overloaded"}, answer.payload)
end

local function passes_a_burst(alice, bob)
    local frames = {}
    for i = 1, BURST do
        frames[i] = websocket.frame({
            payload = ('{"type":"envelope","envelope":{"id":"%d","to":"bob","payload":{"n":%d}}}'):format(i, i),
        })
    end
    alice:send_bytes(table.concat(frames))
    for i = 1, BURST do
        local payload = assert(bob:receive()).payload
        assert(payload:find(('"id":"%d"'):format(i), 1, true), payload)
    end
    alice:expect_nothing()
    bob:expect_nothing()
end

local function remembers(server)
    local history = http.get(server, "/history?limit=2").history
    assert.equal(2, #history)
    assert.equal(tostring(BURST), history[2].id)
    assert.equal("bob", history[2].to)
end

local function says_goodbye(server, ...)
    server:signal("SIGTERM")
    for _, client in ipairs({...}) do
        client:expect_close(1001)
        client:close()
    end
    server:wait_exit(15)
    server:stop() -- holds it to exit status 0
end

describe("the bridge", function()
    after_each(bridge.clean)

    for _, mode in ipairs({"enhanced", "original"}) do
        for number = 0, 7 do
            local phase2, names = {}, {}
            for bit_number, engine in ipairs(ENGINES) do
                local on = math.floor(number / 2 ^ (bit_number - 1)) % 2 == 1
                phase2[engine] = {enabled = on}
                names[bit_number] = (on and "with " or "without ") .. engine
            end
            it("does what it does in " .. mode .. " mode " .. table.concat(names, ", "), function()
                local server = bridge.start({config = {mode = mode, phase2 = phase2}, script = SCRIPT})
                local alice, registered = websocket.agent(server, "alice")
                assert.equal("alice", registered.client.id)
                local bob, carol = websocket.agent(server, "bob"), websocket.agent(server, "carol")

                sends_to_one_and_to_all(server, alice, bob, carol)
                bob = keeps_for_one_that_is_away(server, alice, bob)
                waits_and_replies(alice, phase2.workerPool.enabled)
                passes_a_burst(alice, bob)
                remembers(server)
                says_goodbye(server, alice, bob, carol)
            end)
        end
    end
end)
