-- Envelopes that are refused for a field, and what the original mode forgives.
local bridge = require "tests.support.bridge"
local json = require "tests.support.json"
local websocket = require "tests.support.websocket"

local function pair(mode)
    local server = bridge.start({config = {mode = mode}})
    return websocket.agent(server, "alice", {role = "writer"}), websocket.agent(server, "bob"), server
end

-- Nothing came to `bob` before the marker that alice sends now.
local function expect_only_marker(alice, bob)
    alice:send_envelope({to = "bob", id = "marker"})
    assert.equal("marker", bob:receive_envelope().id)
end

local WRONG = {
    id = {"7", "true", "{}", "[]"},
    intent = {"7", "false", "{}", "[]"},
    channel = {"7", "true", "{}", "[]"},
    priority = {"7", "true", "{}", "[]"},
    from = {"7", "true", "{}", "[]", '""'},
    role = {"7", "true", "{}", "[]", '""'},
    timestamp = {"true", "{}", "[]"},
    taskId = {"7", "true", "{}", "[]"},
    to = {"7", "true", "{}", "[]", '""', [["a\u0000"]], [["a\u007f"]], [["\ud800"]], [["\udc00x"]], [["a\n"]]},
    replyTo = {"7", "true", "{}", "[]"},
    tools = {"7", "true", "{}", '"x"'},
    attachments = {"7", "true", "{}", '"x"'},
}
WRONG.to[#WRONG.to + 1] = '"' .. ("x"):rep(257) .. '"'

describe("an envelope with a field of the wrong type", function()
    after_each(bridge.clean)

    for field, values in pairs(WRONG) do
        it("is refused for " .. field .. ", which the error names", function()
            local alice, bob = pair("enhanced")

            for _, value in ipairs(values) do
                alice:send_envelope(('{"%s":%s}'):format(field, value))
                local message = alice:expect_error("bad_field")
                assert.truthy(message.error:find(field, 1, true), message.error)
            end

            expect_only_marker(alice, bob)
        end)
    end

    it("is refused with its id in the answer", function()
        local alice = pair("enhanced")

        alice:send_envelope('{"id":"e7","to":7}')

        assert.equal("e7", alice:expect_error("bad_field").id)
    end)

    it("is refused in neither mode for a field that may hold any value", function()
        for _, mode in ipairs({"enhanced", "original"}) do
            local alice, bob = pair(mode)
            for _, field in ipairs({"context", "payload", "trace"}) do
                for _, value in ipairs({"7", "true", "[]", '"x"', "{}"}) do
                    alice:send_envelope(('{"to":"bob","%s":%s}'):format(field, value))
                    local _, raw = bob:receive_envelope()
                    local _, fields = json.fields(raw)
                    assert.equal(value, fields[field])
                end
            end
        end
    end)

    it("is refused for a known key that comes twice, escaped or not", function()
        local alice, bob = pair("enhanced")

        alice:send_envelope('{"to":"bob","payload":1,"payload":1}')
        alice:expect_error("duplicate_field")
        alice:send_envelope([[{"to":"bob","fr\u006fm":"alice","from":"alice"}]])
        alice:expect_error("duplicate_field")
        alice:send_text('{"type":"envelope","envelope":{"to":"bob"},"envelope":{"to":"bob"}}')
        alice:expect_error("duplicate_field")
        alice:send_text('{"type":"envelope","type":"envelope","envelope":{"to":"bob"}}')
        alice:expect_error("duplicate_field")

        expect_only_marker(alice, bob)
    end)

    it("is refused when there is no envelope in the message", function()
        local alice = pair("enhanced")

        for _, text in ipairs({'{"type":"envelope"}', '{"type":"envelope","envelope":7}',
                '{"type":"envelope","envelope":[]}', '{"type":"envelope","envelope":null}'}) do
            alice:send_text(text)
            local code = alice:receive_json().code
            assert.truthy(code == "bad_field" or code == "bad_message", text .. ": " .. tostring(code))
        end
    end)
end)

describe("in original mode", function()
    after_each(bridge.clean)

    local EMPTY = {
        {"intent", '"agent.message"'}, {"channel", '"default"'}, {"priority", '"normal"'}, {"from", '"alice"'},
        {"role", '"writer"'}, {"to", "null"}, {"taskId", "null"}, {"replyTo", "null"}, {"tools", "[]"},
        {"attachments", "[]"},
    }
    for _, row in ipairs(EMPTY) do
        it("an empty or false " .. row[1] .. " takes the default", function()
            local alice, bob = pair("original")

            for _, value in ipairs({"false", '""'}) do
                alice:send_envelope(('{"%s":%s}'):format(row[1], value))
                local _, raw = bob:receive_envelope()
                local _, fields = json.fields(raw)
                assert.equal(row[2], fields[row[1]])
            end
        end)
    end

    it("a number in a string's place is carried as sent", function()
        local alice, bob = pair("original")

        alice:send_envelope('{"id":7,"taskId":12,"channel":1.50,"to":"bob"}')

        local _, raw = bob:receive_envelope()
        local _, fields = json.fields(raw)
        assert.equal("7", fields.id)
        assert.equal("12", fields.taskId)
        assert.equal("1.50", fields.channel)
    end)

    it("a number as recipient is compared as its text", function()
        local alice, _, server = pair("original")
        local number = websocket.agent(server, "42")

        alice:send_envelope('{"to":42,"id":"e1"}')

        local envelope = number:receive_envelope()
        assert.equal("e1", envelope.id)
        assert.equal(42, envelope.to)
    end)

    it("an object in a string's place is still refused", function()
        local alice = pair("original")

        alice:send_envelope('{"to":{}}')

        alice:expect_error("bad_field")
    end)

    it("an unregistered connection sends as unknown", function()
        local _, bob, server = pair("original")
        local stranger = websocket.connect(server)

        stranger:send_envelope('{"to":"bob"}')

        local envelope = bob:receive_envelope()
        assert.equal("unknown", envelope.from)
        assert.equal("agent", envelope.role)
    end)
end)
