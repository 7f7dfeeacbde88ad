-- The subprotocol luaduct.msgpack: the same messages, and opaque fields as they came.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local msgpack = require "tests.support.msgpack"
local variants = require "tests.support.variants"
local websocket = require "tests.support.websocket"

local NAME = "luaduct.msgpack"

-- {b = bin 00 ff, i = uint32 1, f = float32 0.1}, in formats that a way through JSON would not keep.
local PAYLOAD = "\x83\xa1b\xc4\x02\x00\xff\xa1i\xce\x00\x00\x00\x01\xa1f\xca\x3d\xcc\xcc\xcd"
local AS_JSON = '{"b":"AP8=","i":1,"f":0.10000000149011612}'

local peer = {}
peer.__index = peer

local function connect(server, headers)
    local all = {["Sec-WebSocket-Protocol"] = NAME}
    for name, value in pairs(headers or {}) do
        all[name] = value
    end
    local status, answer, client = websocket.upgrade(server, {headers = all})
    assert.equal(101, status)
    assert.equal(NAME, answer["sec-websocket-protocol"])
    return setmetatable({client = client, answer = answer}, peer)
end

function peer:send_bytes(bytes)
    self.client:send_frame({opcode = websocket.BINARY, payload = bytes})
end

function peer:send(message)
    self:send_bytes(msgpack.encode(message))
end

function peer:send_envelope(envelope)
    self:send({type = "envelope", envelope = envelope})
end

function peer:receive(kind)
    local message = assert(self.client:receive())
    assert.equal("binary", message.type, tostring(message.payload or message.reason))
    local value = msgpack.decode(message.payload)
    if kind then
        assert.equal(kind, value.type, value.error)
    end
    return value, message
end

function peer:receive_envelope()
    return self:receive("envelope").envelope
end

function peer:expect_error(code, text)
    local message = self:receive("error")
    assert.equal(code, message.code, message.error)
    if text then
        assert.equal(text, message.error)
    end
    return message
end

local function agent(server, id, fields, headers)
    local client = connect(server, headers)
    local message = {type = "register", clientId = id}
    for name, value in pairs(fields or {}) do
        message[name] = value
    end
    client:send(message)
    return client, client:receive("registered")
end

local function packed()
    return {to = "bob", payload = msgpack.raw(PAYLOAD), id = "p1"}
end

describe("MessagePack", function()
    after_each(bridge.clean)

    for _, variant in ipairs(variants.reactors) do
        describe(variant.name, function()
            it("goes from agent to agent, opaque fields byte for byte", function()
                local server = variant.start()
                local alice, registered = agent(server, "alice", {role = "worker", labels = {"x"}})
                assert.equal("alice", registered.client.id)
                assert.equal("worker", registered.client.role)
                assert.same({"x"}, registered.client.labels)
                assert.same({}, registered.history)
                local bob = agent(server, "bob")
                local tools, trace = "\xdc\x00\x01\xa1t", "\xd3\x7f\xff\xff\xff\xff\xff\xff\xff"

                alice:send_envelope({
                    to = "bob", payload = msgpack.raw(PAYLOAD), tools = msgpack.raw(tools), trace = msgpack.raw(trace),
                    attachments = msgpack.raw("\x91\xc6\x00\x00\x00\x01\x00"), context = "plain", intent = "do",
                })

                local got = bob:receive_envelope()
                assert.equal(PAYLOAD, msgpack.bytes_of(got, "payload"))
                assert.equal(tools, msgpack.bytes_of(got, "tools"))
                assert.equal(trace, msgpack.bytes_of(got, "trace"))
                assert.equal("\x91\xc6\x00\x00\x00\x01\x00", msgpack.bytes_of(got, "attachments"))
                assert.equal("plain", got.context)
                assert.equal("alice", got.from)
                assert.equal("do", got.intent)
                assert.equal("normal", got.priority)
                assert.equal(36, #got.id)
                assert.equal("\xc0", msgpack.bytes_of(got, "taskId"))
            end)

            it("is JSON for those who speak that, with binary as base64 and exact integers", function()
                local server = variant.start()
                local alice, bob = agent(server, "alice"), websocket.agent(server, "bob")

                alice:send_envelope({
                    to = "bob", payload = msgpack.raw(PAYLOAD),
                    context = msgpack.raw("\x92\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xd3\x80\0\0\0\0\0\0\1"),
                })

                local got = bob:receive_fields()
                assert.equal(AS_JSON, got.payload)
                assert.equal("[18446744073709551615,-9223372036854775807]", got.context)
            end)

            it("is made of JSON for those who speak it", function()
                local server = variant.start()
                local alice, bob = websocket.agent(server, "alice"), agent(server, "bob")

                alice:send_envelope('{"to":"bob","payload":{"n":[1,-1,1.5,"a\\u00e4\\n",null,true]},"timestamp":12}')

                local got = bob:receive_envelope()
                assert.equal("\x81\xa1n\x96\x01\xff\xcb\x3f\xf8\0\0\0\0\0\0\xa4a\xc3\xa4\n\xc0\xc3",
                    msgpack.bytes_of(got, "payload"))
                assert.equal(12, got.timestamp)
            end)

            it("and JSON are broadcast together, in order", function()
                local server = variant.start()
                local alice, carol = agent(server, "alice"), websocket.agent(server, "carol")
                local bob, dave = agent(server, "bob"), websocket.agent(server, "dave")

                for number = 1, 50 do
                    alice:send_envelope({payload = msgpack.raw("\xcf\0\0\0\0\0\0\0" .. string.char(number))})
                end

                for number = 1, 50 do
                    assert.equal("\xcf\0\0\0\0\0\0\0" .. string.char(number),
                        msgpack.bytes_of(bob:receive_envelope(), "payload"))
                    assert.equal(number, carol:receive_envelope().payload)
                    assert.equal(number, dave:receive_envelope().payload)
                end
                carol:send_envelope('{"payload":"from carol"}')
                assert.equal("from carol", alice:receive_envelope().payload)
                assert.equal("from carol", bob:receive_envelope().payload)
                assert.equal("from carol", dave:receive_envelope().payload)
            end)

            it("waits in a mailbox as it came, and comes in batches to those who take them", function()
                local server = variant.start()
                local alice, carol = agent(server, "alice"), websocket.agent(server, "carol")
                for number = 1, 40 do
                    alice:send_envelope({to = "bob", payload = msgpack.raw("\xcd\0" .. string.char(number))})
                    alice:send_envelope({to = "dave", payload = msgpack.raw("\xcd\0" .. string.char(number))})
                end
                alice.client:expect_nothing()
                carol:send_envelope('{"to":"bob","payload":"last"}')
                carol:expect_nothing()

                local bob = agent(server, "bob", {features = {"batch"}})
                local dave = agent(server, "dave")

                local got = {}
                while #got < 41 do
                    local message = bob:receive()
                    for _, envelope in ipairs(message.type == "batch" and message.envelopes or {message.envelope}) do
                        got[#got + 1] = envelope
                    end
                end
                for number = 1, 40 do
                    assert.equal("\xcd\0" .. string.char(number), msgpack.bytes_of(got[number], "payload"))
                    assert.equal("\xcd\0" .. string.char(number), msgpack.bytes_of(dave:receive_envelope(), "payload"))
                end
                assert.equal("last", got[41].payload)
            end)
        end)
    end

    it("is taken only by that name, in its case, and only where the config allows it", function()
        local server = bridge.start()
        for offered, taken in pairs({
            [NAME] = true, ["chat, " .. NAME] = true, [NAME .. " ,\tx"] = true, ["x,,y"] = false, [","] = false,
            ["Luaduct.MsgPack"] = false, [NAME .. "2"] = false, ["msgpack"] = false,
        }) do
            local status, headers = websocket.upgrade(server, {headers = {["Sec-WebSocket-Protocol"] = offered}})
            assert.equal(101, status)
            assert.equal(taken and NAME or nil, headers["sec-websocket-protocol"], offered)
        end
        local off = bridge.start({config = {performance = {binary_protocol = false}}})

        local status, headers, client = websocket.upgrade(off, {headers = {["Sec-WebSocket-Protocol"] = NAME}})

        assert.equal(101, status)
        assert.is_nil(headers["sec-websocket-protocol"])
        assert.equal("registered", (client:register("alice")).type)
    end)

    it("is not read where it was not agreed on: a binary frame is JSON text there", function()
        local server = bridge.start()
        local client = websocket.connect(server)
        client:send_frame({opcode = websocket.BINARY, payload = '{"type":"register","clientId":"a"}'})
        assert.equal("registered", (client:receive_json()).type)
        client:send_frame({opcode = websocket.BINARY, payload = msgpack.encode({type = "heartbeat"})})
        client:expect_error("bad_json")
    end)

    it("leaves text frames JSON, and answers in MessagePack all the same", function()
        local server = bridge.start()
        local alice = agent(server, "alice")
        alice.client:send_json({type = "heartbeat"})
        alice:receive("heartbeat_ack")
        alice:send({type = "heartbeat"})
        alice:receive("heartbeat_ack")
        alice.client:send_envelope('{"to":"alice","payload":{"n":1}}')
        assert.equal("\x81\xa1n\x01", msgpack.bytes_of(alice:receive_envelope(), "payload"))
    end)

    it("is refused with the codes and texts of JSON, in MessagePack", function()
        local server = bridge.start({config = {limits = {jsonDepth = 4}}})
        local alice = agent(server, "alice")
        local function refused(message, code, text, id)
            alice:send_bytes(type(message) == "string" and message or msgpack.encode(message))
            assert.equal(id, alice:expect_error(code, text).id)
        end
        local function envelope(fields)
            return {type = "envelope", envelope = fields}
        end
        refused("", "bad_json", "not MessagePack: unexpected end at byte 0")
        refused("\x82\xa4type", "bad_json", "not MessagePack: unexpected end at byte 6")
        refused("\xc1", "bad_json", "not MessagePack: 0xc1, which is no format at byte 0")
        refused(msgpack.encode({type = "heartbeat"}) .. "\x01", "bad_json",
            "not MessagePack: bytes behind the message at byte 20")
        refused(envelope({payload = msgpack.raw("\xcb\x7f\xf8\0\0\0\0\0\0")}), "bad_json")
        refused(envelope({payload = msgpack.raw("\xd6\xff\0\0\0\0")}), "bad_json")
        refused(envelope({payload = msgpack.raw("\x81\x01\x02")}), "bad_json")
        refused(envelope({payload = msgpack.raw("\xa1\xff")}), "bad_json")
        refused(envelope({payload = msgpack.raw("\x91\x91\x91\x01")}), "too_deep")
        refused("\x01", "bad_message", "expected an object, got a number")
        refused({}, "bad_message", "type: missing")
        refused({type = "dance"}, "bad_message", "type: expected envelope, register or heartbeat")
        refused(envelope({id = "x1", to = 7}), "bad_field",
            "envelope.to: expected a string or null, got a number", "x1")
        refused(envelope({id = "x2", tools = "a"}), "bad_field",
            "envelope.tools: expected an array, got a string", "x2")
        refused(envelope({id = "x3", to = "a\nb"}), "bad_field", "envelope.to: has a control character", "x3")
        refused("\x82\xa4type\xa8envelope\xa8envelope\x82\xa2to\xa1a\xa2to\xa1b", "duplicate_field",
            "envelope.to: given twice")
        refused("\x82\xa4type\xa8envelope\xa8envelope\x82\xa7payload\x01\xa7payload\x02", "duplicate_field",
            "envelope.payload: given twice")
        refused(envelope({id = "x4", from = "bob"}), "from_mismatch", nil, "x4")
        alice:send({type = "heartbeat"})
        alice:receive("heartbeat_ack")
    end)

    it("is too large when it is as JSON, and the connection closes with 1009", function()
        local server = bridge.start({config = {limits = {messageBytes = 4096}}})
        local alice = agent(server, "alice")

        alice:send_envelope({payload = ("\1"):rep(1000)})

        alice:expect_error("too_large", "as JSON the message is larger than 4096 bytes")
        alice.client:expect_close(1009)
    end)

    it("is compressed where that was agreed on too, both ways", function()
        local server = bridge.start()
        local alice, bob = agent(server, "alice"), agent(server, "bob", nil,
            {["Sec-WebSocket-Extensions"] = "permessage-deflate"})
        assert.truthy(bob.answer["sec-websocket-extensions"])
        alice:send_envelope({to = "bob", payload = ("abc"):rep(1000)})
        local message = assert(bob.client:receive())
        assert.equal("binary", message.type)
        assert.is_true(message.compressed)
        assert.is_true(#message.payload < 1000)
        -- A block that is stored, not squeezed, is deflate as well.
        local inner = msgpack.encode({type = "envelope", envelope = {to = "alice", payload = msgpack.raw(PAYLOAD)}})
        local length = string.char(#inner % 256, math.floor(#inner / 256), 255 - #inner % 256,
            255 - math.floor(#inner / 256))
        bob.client:send_frame({opcode = websocket.BINARY, rsv1 = true, payload = "\0" .. length .. inner .. "\0"})
        assert.equal(PAYLOAD, msgpack.bytes_of(alice:receive_envelope(), "payload"))
    end)

    it("is JSON in the history of the HTTP API, and as it came in the history of `registered`", function()
        local server = bridge.start()
        local alice, bob = agent(server, "alice"), agent(server, "bob")
        alice:send_envelope(packed())
        bob:receive_envelope()

        local again, registered = agent(server, "bob")

        assert.equal("p1", registered.history[1].id)
        assert.equal(PAYLOAD, msgpack.bytes_of(registered.history[1], "payload"))
        assert.equal("bob", registered.client.id)
        local _, answer = http.get(server, "/history")
        assert.truthy(answer.body:find('"payload":' .. AS_JSON, 1, true), answer.body)
        local _, plain = websocket.agent(server, "bob")
        assert.equal("AP8=", plain.history[1].payload.b)
        assert.truthy(again)
    end)

    it("may be sent by HTTP's callers to those who speak it", function()
        local server = bridge.start()
        local bob = agent(server, "bob")
        assert.equal("queued", http.post(server, "/send", '{"to":"bob","payload":[1e2]}').status)
        assert.equal("\x91\xcb\x40\x59\0\0\0\0\0\0", msgpack.bytes_of(bob:receive_envelope(), "payload"))
    end)

    it("is decoded for a script that reads it, and goes on as it came unless the script sets the field", function()
        local server = bridge.start({script = [[
            return {
                route = function(envelope)
                    if envelope.intent == "read" then
                        envelope.taskId = envelope.payload.b .. envelope.payload.i
                    elseif envelope.intent == "write" then
                        envelope.payload = {made = envelope.payload.i + 1}
                    elseif envelope.intent == "wait" then
                        luaduct.sleep(1)
                        envelope.channel = "later"
                    elseif envelope.intent == "fail" then
                        envelope.payload = "lost"
                        error("on purpose")
                    elseif envelope.intent == "wait and fail" then
                        envelope.payload = "lost"
                        luaduct.sleep(1)
                        error("on purpose")
                    end
                end,
            }]]})
        local alice, bob = agent(server, "alice"), agent(server, "bob")
        local function through(intent)
            alice:send_envelope({to = "bob", intent = intent, payload = msgpack.raw(PAYLOAD)})
            return bob:receive_envelope()
        end

        local got = through("read")
        assert.equal("AP8=1", got.taskId)
        assert.equal(PAYLOAD, msgpack.bytes_of(got, "payload"))
        assert.equal("\x81\xa4made\x02", msgpack.bytes_of(through("write"), "payload"))
        got = through("wait")
        assert.equal("later", got.channel)
        assert.equal(PAYLOAD, msgpack.bytes_of(got, "payload"))
        assert.equal(PAYLOAD, msgpack.bytes_of(through("fail"), "payload"))
        assert.equal(PAYLOAD, msgpack.bytes_of(through("wait and fail"), "payload"))
    end)

    it("keeps its bytes when on_undeliverable finds it another recipient", function()
        local server = bridge.start({script = [[
            return {
                route = function(envelope, bridge)
                    if envelope.intent == "any" then
                        return bridge.role("nobody")
                    end
                end,
                on_undeliverable = function(envelope, reason, recipient, bridge)
                    luaduct.sleep(1)
                    envelope.channel = "second try"
                    return bridge.to("bob")
                end,
            }]]})
        local alice, bob = agent(server, "alice"), agent(server, "bob")

        alice:send_envelope({intent = "any", payload = msgpack.raw(PAYLOAD)})

        local got = bob:receive_envelope()
        assert.equal("second try", got.channel)
        assert.equal(PAYLOAD, msgpack.bytes_of(got, "payload"))
    end)

    it("waits its turn behind a hook that waits", function()
        local server = bridge.start({script = [[
            return {
                on_register = function() luaduct.sleep(5) end,
                route = function(envelope) if envelope.intent == "wait" then luaduct.sleep(5) end end,
            }]]})
        local alice = connect(server)
        alice:send({type = "register", clientId = "alice"})
        alice:send_envelope({to = "alice", intent = "wait", payload = msgpack.raw("\xcd\0\1")})
        alice:send_envelope({to = "alice", payload = msgpack.raw("\xcd\0\2")})
        alice:receive("registered")
        assert.equal("\xcd\0\1", msgpack.bytes_of(alice:receive_envelope(), "payload"))
        assert.equal("\xcd\0\2", msgpack.bytes_of(alice:receive_envelope(), "payload"))
    end)

    it("is held to the token, and takes the defaults of the original mode", function()
        local server = bridge.start({config = {auth = {token = "secret"}}})
        local client = connect(server)
        client:send({type = "register", clientId = "alice", authToken = "wrong"})
        client:expect_error("unauthorized", "unauthorized")
        client.client:expect_close(1008)
        agent(server, "alice", {authToken = "secret"})
        local original = bridge.start({config = {mode = "original"}})
        local bob = agent(original, "bob")
        bob:send_envelope({to = "bob", tools = false, intent = "", payload = msgpack.raw(PAYLOAD), channel = 5})
        local got = bob:receive_envelope()
        assert.same({}, got.tools)
        assert.equal("agent.message", got.intent)
        assert.equal(5, got.channel)
        assert.equal(PAYLOAD, msgpack.bytes_of(got, "payload"))
    end)

    it("of a megabyte goes through", function()
        local server = bridge.start({config = {limits = {messageBytes = 4 * 2 ^ 20}}})
        local alice, bob, carol = agent(server, "alice"), agent(server, "bob"), websocket.agent(server, "carol")
        local bytes = "\xc6\x00\x10\x00\x00" .. ("\0\1\2\3"):rep(2 ^ 18)
        alice:send_envelope({payload = msgpack.raw(bytes)})
        assert.is_true(bytes == msgpack.bytes_of(bob:receive_envelope(), "payload"))
        assert.equal(4 * math.ceil(2 ^ 20 / 3), #carol:receive_envelope().payload)
    end)
end)
