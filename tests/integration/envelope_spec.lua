-- What an envelope looks like when it arrives: fifteen fields in order, defaults, and opaque values byte for byte.
local bridge = require "tests.support.bridge"
local json = require "tests.support.json"
local websocket = require "tests.support.websocket"

local UUID = "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$"
local FIELDS = {
    "id", "timestamp", "intent", "taskId", "channel", "priority", "from", "role", "to", "replyTo", "context", "payload",
    "tools", "attachments", "trace",
}

-- Two agents on a fresh bridge: what alice sends to bob.
local function pair(options)
    local server = bridge.start(options)
    local alice = websocket.agent(server, "alice", {role = "writer"})
    local bob = websocket.agent(server, "bob")
    return alice, bob, server
end

-- Sends the raw envelope and gives what bob gets: decoded, raw fields, names in order.
local function carry(alice, bob, text)
    alice:send_envelope(text)
    local envelope, raw = bob:receive_envelope()
    local names, fields = json.fields(raw)
    return envelope, fields, names
end

describe("an envelope", function()
    after_each(bridge.clean)

    it("arrives with fifteen fields in the order of the protocol", function()
        local alice, bob = pair()

        local _, _, names = carry(alice, bob, '{"trace":{"t":1},"to":"bob","payload":1,"id":"x"}')

        assert.same(FIELDS, names)
    end)

    it("gets a default for every field that was left out", function()
        local alice, bob = pair()

        local envelope, raw = carry(alice, bob, "{}")

        assert.matches(UUID, envelope.id)
        assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$", envelope.timestamp)
        assert.equal('"agent.message"', raw.intent)
        assert.equal("null", raw.taskId)
        assert.equal('"default"', raw.channel)
        assert.equal('"normal"', raw.priority)
        assert.equal('"alice"', raw.from)
        assert.equal('"writer"', raw.role)
        assert.equal("null", raw.to)
        assert.equal("null", raw.replyTo)
        assert.equal("{}", raw.context)
        assert.equal("{}", raw.payload)
        assert.equal("[]", raw.tools)
        assert.equal("[]", raw.attachments)
        assert.equal("{}", raw.trace)
    end)

    it("gets the default where null was given and the default is not null", function()
        local alice, bob = pair()

        local envelope, raw = carry(alice, bob, [[{"id":null,"timestamp":null,"intent":null,"taskId":null,
            "channel":null,"priority":null,"from":null,"role":null,"to":null,"replyTo":null,"context":null,
            "payload":null,"tools":null,"attachments":null,"trace":null}]])

        assert.matches(UUID, envelope.id)
        assert.equal('"agent.message"', raw.intent)
        assert.equal("null", raw.taskId)
        assert.equal('"alice"', raw.from)
        assert.equal('"writer"', raw.role)
        assert.equal("null", raw.to)
        assert.equal("{}", raw.context)
        assert.equal("{}", raw.payload)
        assert.equal("[]", raw.tools)
        assert.equal("[]", raw.attachments)
        assert.equal("{}", raw.trace)
    end)

    it("gets an id of its own each time", function()
        local alice, bob = pair()

        local first = carry(alice, bob, "{}")
        local second = carry(alice, bob, "{}")

        assert.not_equal(first.id, second.id)
    end)

    it("keeps what was given", function()
        local alice, bob = pair()

        local envelope = carry(alice, bob, [[{"id":"e1","timestamp":"yesterday","intent":"task.assign","taskId":"t1",
            "channel":"ops","priority":"high","from":"alice","role":"boss","to":"bob","replyTo":"e0","context":[1],
            "payload":"text","tools":["x"],"attachments":[{"a":1}],"trace":7}]])

        assert.same({
            id = "e1", timestamp = "yesterday", intent = "task.assign", taskId = "t1", channel = "ops",
            priority = "high", from = "alice", role = "boss", to = "bob", replyTo = "e0", context = {1},
            payload = "text", tools = {"x"}, attachments = {{a = 1}}, trace = 7,
        }, envelope)
    end)

    local OPAQUE = {
        "1e400", "-0", "1.10", "123456789012345678901234567890", "0.1e-7", "1E+2", "true", "false", '""',
        [["\u00e9\/\ud83d\ude00\u0000\ud800"]], '"é😀"', [["\"\\\b\f\n\r\t"]], '{"b":1,"a":2,"b":3}',
        '{"":{"":[[],{},[{}]]}}', '[1,"]",{"}":"{"},null]', [[{"pa\u0079load":1,"to":"mallory"}]],
    }
    for _, field in ipairs({"payload", "context", "trace"}) do
        it("carries " .. field .. " byte for byte", function()
            local alice, bob = pair()

            for _, text in ipairs(OPAQUE) do
                alice:send_envelope(('{"to":"bob","%s":%s}'):format(field, text))
                assert.equal(text, bob:receive_fields()[field])
            end
        end)
    end

    for _, field in ipairs({"tools", "attachments"}) do
        it("carries " .. field .. " byte for byte", function()
            local alice, bob = pair()

            for _, text in ipairs(OPAQUE) do
                alice:send_envelope(('{"to":"bob","%s":[%s,%s]}'):format(field, text, text))
                assert.equal(("[%s,%s]"):format(text, text), bob:receive_fields()[field])
            end
        end)
    end

    it("loses nothing but white space between tokens", function()
        local alice, bob = pair()

        local envelope = carry(alice, bob,
            ' { "to" : "bob" ,\n\t"payload" : { "a b" : [ 1 , " c  d " ] ,\r\n "n" : null } } ')

        assert.same({["a b"] = {1, " c  d "}, n = json.null}, envelope.payload)
    end)

    it("carries a payload of nearly a mebibyte unchanged", function()
        local alice, bob = pair()
        local text = '"' .. ("0123456789abcdef"):rep(65000) .. '"'

        local _, raw = carry(alice, bob, '{"to":"bob","payload":' .. text .. "}")

        assert.is_true(raw.payload == text)
    end)

    it("keeps a numeric timestamp as sent", function()
        local alice, bob = pair()

        local _, raw = carry(alice, bob, '{"to":"bob","timestamp":1732000000000.50}')

        assert.equal("1732000000000.50", raw.timestamp)
    end)

    it("means keys and strings by what they say after unescaping", function()
        local alice, bob = pair()

        local envelope = carry(alice, bob,
            [[{"t\u006f":"b\u006fb","fr\u006fm":"\u0061lice","intent":"a\u0062c","payl\u006fad":{"x":1}}]])

        assert.equal("bob", envelope.to)
        assert.equal("alice", envelope.from)
        assert.equal("abc", envelope.intent)
        assert.same({x = 1}, envelope.payload)
    end)

    it("loses fields outside the list, however often they come", function()
        local alice, bob = pair()

        local _, _, names = carry(alice, bob, '{"to":"bob","extra":{"to":"x"},"extra":2,"Payload":3,"":4}')

        assert.same(FIELDS, names)
    end)

    it("is delivered with a priority outside the three as it is", function()
        local alice, bob = pair()

        assert.equal("urgent!", carry(alice, bob, '{"to":"bob","priority":"urgent!"}').priority)
    end)

    it("may stand before the type in its message", function()
        local alice, bob = pair()

        alice:send_text('{"envelope":{"to":"bob","id":"first"},"note":1,"type":"envelope"}')

        assert.equal("first", bob:receive_envelope().id)
    end)

    it("is the same for every recipient of a broadcast", function()
        local alice, bob, server = pair()
        local carol = websocket.agent(server, "carol")

        alice:send_envelope('{"payload":{"n":1.0}}')

        local _, raw_bob = bob:receive_envelope()
        local _, raw_carol = carol:receive_envelope()
        assert.equal(raw_bob, raw_carol)
    end)

    it("takes the registered role when it names none, also after a second register", function()
        local alice, bob = pair()
        alice:register("alice", {role = "editor"})

        assert.equal("editor", carry(alice, bob, '{"to":"bob"}').role)
    end)
end)
