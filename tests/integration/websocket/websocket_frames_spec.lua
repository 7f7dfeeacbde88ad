-- RFC 6455, sections 5 to 8, over real sockets.
local bridge = require "tests.support.bridge"
local variants = require "tests.support.variants"
local websocket = require "tests.support.websocket"

local TEXT, CONTINUATION, BINARY, CLOSE, PING, PONG = websocket.TEXT, websocket.CONTINUATION, websocket.BINARY,
    websocket.CLOSE, websocket.PING, websocket.PONG

local HEARTBEAT = '{"type":"heartbeat"}'

local function agent(config)
    return websocket.agent(bridge.start({config = config}), "alice")
end

local function expect_heartbeat(client)
    assert.equal("heartbeat_ack", client:receive_json().type)
end

describe("a WebSocket message", function()
    after_each(bridge.clean)

    for _, variant in ipairs(variants.reactors) do
        it(variant.name .. " may be cut into fragments anywhere, with control frames between", function()
            local client = websocket.agent(variant.start(), "alice")

            for cut = 0, #HEARTBEAT do
                client:send_frame({fin = false, payload = HEARTBEAT:sub(1, cut)})
                client:send_frame({opcode = PING, payload = "p" .. cut})
                client:send_frame({opcode = CONTINUATION, fin = false})
                client:send_frame({opcode = PONG, payload = "unasked"})
                client:send_frame({opcode = CONTINUATION, payload = HEARTBEAT:sub(cut + 1)})
                assert.equal("p" .. cut, client:receive().payload)
                expect_heartbeat(client)
            end
        end)
    end

    it("may come byte by byte, header and all", function()
        local client = agent()
        local payload = '{"type":"envelope","envelope":{"to":"alice","payload":"' .. ("é"):rep(70) .. '"}}'
        local bytes = websocket.frame({payload = payload})

        for index = 1, #bytes do
            client:send_bytes(bytes:sub(index, index))
        end

        assert.equal(("é"):rep(70), client:receive_envelope().payload)
    end)

    it("may share a segment with many others", function()
        local client = agent()

        client:send_bytes(websocket.frame({payload = HEARTBEAT}):rep(500))

        for _ = 1, 500 do
            expect_heartbeat(client)
        end
    end)

    for _, length in ipairs({125, 126, 127, 65535, 65536, 70000}) do
        it("of " .. length .. " bytes is read and written", function()
            local client = agent()
            local empty = '{"type":"envelope","envelope":{"to":"alice","payload":""}}'
            local filler = ("x"):rep(length - #empty)

            client:send_text((empty:gsub('""}}$', '"' .. filler .. '"}}')))

            assert.is_true(client:receive_envelope().payload == filler)
        end)
    end

    it("may be masked with any key, zero too", function()
        local client = agent()

        for _, key in ipairs({"\0\0\0\0", "\255\255\255\255", "\1\0\0\0", "abcd"}) do
            client:send_frame({payload = HEARTBEAT, key = key})
            expect_heartbeat(client)
        end
    end)

    it("cut within a character is still valid UTF-8", function()
        local client = agent()
        local text = '{"type":"heartbeat","x":"é€😀"}'

        for cut = 1, #text - 1 do
            client:send_frame({fin = false, payload = text:sub(1, cut)})
            client:send_frame({opcode = CONTINUATION, payload = text:sub(cut + 1)})
            expect_heartbeat(client)
        end
    end)

    it("may be binary, in fragments too", function()
        local client = agent()

        client:send_frame({opcode = BINARY, fin = false, payload = HEARTBEAT:sub(1, 5)})
        client:send_frame({opcode = CONTINUATION, payload = HEARTBEAT:sub(6)})

        expect_heartbeat(client)
    end)

    it("that is empty is no JSON and no reason to close", function()
        local client = agent()

        client:send_text("")
        client:expect_error("bad_json")
        client:send_text(HEARTBEAT)

        expect_heartbeat(client)
    end)
end)

describe("a ping", function()
    after_each(bridge.clean)

    it("is answered with its own payload, of 0 to 125 bytes", function()
        local client = agent()

        for _, payload in ipairs({"", "x", "\0\255\128", ("y"):rep(125)}) do
            client:send_frame({opcode = PING, payload = payload})
            local message = client:receive()
            assert.equal("pong", message.type)
            assert.equal(payload, message.payload)
        end
    end)

    it("is answered before a register too", function()
        local client = websocket.connect(bridge.start())

        client:send_frame({opcode = PING, payload = "x"})

        assert.equal("x", client:receive().payload)
    end)
end)

-- Each row: a list of frames (or raw bytes), and the close status that they earn.
local VIOLATIONS = {
    ["an unmasked frame"] = {{{payload = HEARTBEAT, masked = false}}, 1002},
    ["the first reserved bit without an extension"] = {{{payload = HEARTBEAT, rsv1 = true}}, 1002},
    ["the second reserved bit"] = {{{payload = HEARTBEAT, rsv2 = true}}, 1002},
    ["the third reserved bit"] = {{{payload = HEARTBEAT, rsv3 = true}}, 1002},
    ["a reserved bit on a control frame"] = {{{opcode = PING, rsv1 = true}}, 1002},
    ["a length of 2 bytes that is not minimal"] = {{{payload = HEARTBEAT, length_width = 2}}, 1002},
    ["a length of 8 bytes that is not minimal"] = {{{payload = HEARTBEAT, length_width = 8}}, 1002},
    ["a length with its top bit set"] = {{"\129\255\128\0\0\0\0\0\0\1\1\2\3\4x"}, 1002},
    ["a ping in fragments"] = {{{opcode = PING, fin = false, payload = "x"}}, 1002},
    ["a close in fragments"] = {{{opcode = CLOSE, fin = false}}, 1002},
    ["a ping of 126 bytes"] = {{{opcode = PING, payload = ("x"):rep(126)}}, 1002},
    ["a pong of 126 bytes"] = {{{opcode = PONG, payload = ("x"):rep(126)}}, 1002},
    ["a close of 126 bytes"] = {{{opcode = CLOSE, payload = "\3\232" .. ("x"):rep(124)}}, 1002},
    ["a continuation of nothing"] = {{{opcode = CONTINUATION, payload = "x"}}, 1002},
    ["a continuation after a whole message"] = {
        {{payload = HEARTBEAT}, {opcode = CONTINUATION, payload = "x"}}, 1002, 1,
    },
    ["a message within another's fragments"] = {{{fin = false, payload = "{"}, {payload = HEARTBEAT}}, 1002},
    ["a binary message within a text's fragments"] = {{{fin = false, payload = "{"}, {opcode = BINARY, payload = "}"}},
        1002},
    ["a close of one byte"] = {{{opcode = CLOSE, payload = "\3"}}, 1002},
    ["a close whose reason is no UTF-8"] = {{{opcode = CLOSE, payload = "\3\232\255"}}, 1007},
    ["text that is no UTF-8"] = {{{payload = '"\255"'}}, 1007},
    ["text with an encoded surrogate"] = {{{payload = '"\237\160\128"'}}, 1007},
    ["text with an overlong form"] = {{{payload = '"\192\175"'}}, 1007},
    ["text past U+10FFFF"] = {{{payload = '"\244\144\128\128"'}}, 1007},
    ["text that ends within a character"] = {{{payload = '"\226\130'}}, 1007},
    ["text that breaks a character over fragments"] = {{{fin = false, payload = '"\226'}, {opcode = CONTINUATION,
        payload = "x"}}, 1007},
}
for opcode = 3, 15 do
    if opcode < CLOSE or opcode > PONG then
        VIOLATIONS["the reserved opcode " .. opcode] = {{{opcode = opcode, payload = "x"}}, 1002}
    end
end

describe("a WebSocket connection is closed", function()
    after_each(bridge.clean)

    for name, row in pairs(VIOLATIONS) do
        it(("with %d for %s"):format(row[2], name), function()
            local client = agent()

            for _, frame in ipairs(row[1]) do
                client:send_bytes(type(frame) == "string" and frame or websocket.frame(frame))
            end
            for _ = 1, row[3] or 0 do
                expect_heartbeat(client)
            end

            client:expect_close(row[2])
            client.stream:half_close()
            assert.equal("ended", client:receive().type)
        end)
    end

    it("with 1007 as soon as a fragment cannot be UTF-8, before its message ends", function()
        local client = agent()

        client:send_frame({fin = false, payload = '"\244'})
        client:send_frame({opcode = CONTINUATION, fin = false, payload = "\144"})

        client:expect_close(1007)
    end)

    it("with 1007 within a frame that has not come whole", function()
        local client = agent()
        local bytes = websocket.frame({payload = '"\255' .. ("x"):rep(1000)})

        client:send_bytes(bytes:sub(1, 500))

        client:expect_close(1007)
    end)

    it("with the status that the peer gave, when it closes", function()
        for _, status in ipairs({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999}) do
            local client = agent()
            assert.equal(status, client:finish(status))
            assert.equal("ended", client:receive().type)
            bridge.clean()
        end
    end)

    it("without a status when the peer gave none", function()
        local client = agent()

        local status = client:finish()

        assert.truthy(status == nil or status == 1000, status)
    end)

    it("with 1002 for a status that may not be on the wire", function()
        for _, status in ipairs({0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535}) do
            local client = agent()
            assert.equal(1002, client:finish(status), status)
            bridge.clean()
        end
    end)

    it("and nothing after the close frame is read", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice")
        local bob = websocket.agent(server, "bob")

        alice:send_bytes(websocket.frame({opcode = CLOSE, payload = "\3\232"}) ..
            websocket.frame({payload = '{"type":"envelope","envelope":{"to":"bob","id":"ghost"}}'}))
        alice:expect_close(1000)
        bob:send_envelope({to = "bob", id = "marker"})

        assert.equal("marker", bob:receive_envelope().id)
    end)

    it("and what was sent before is delivered", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice")
        local bob = websocket.agent(server, "bob")

        alice:send_envelope({to = "bob", id = "last words"})
        alice:send_frame({opcode = CLOSE, payload = "\3\232"})
        alice:close()

        assert.equal("last words", bob:receive_envelope().id)
    end)
end)

describe("frames of the server", function()
    after_each(bridge.clean)

    it("are plain text frames of the shortest length form", function()
        local client = agent()

        for _, size in ipairs({0, 200, 70000}) do
            client:send_envelope({to = "alice", payload = ("x"):rep(size)})
            local frame = client:receive_frame()
            assert.equal(TEXT, frame.opcode)
            assert.is_true(frame.fin)
            assert.is_false(frame.rsv1)
            local head = #frame.payload < 126 and 2 or #frame.payload < 65536 and 4 or 10
            assert.equal(0, client.stream:here())
            client.bytes_before = client.bytes_before or client.stream.taken - head - #frame.payload
            assert.equal(client.bytes_before + head + #frame.payload, client.stream.taken)
            client.bytes_before = client.stream.taken
        end
    end)
end)
