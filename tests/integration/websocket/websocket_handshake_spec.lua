-- The opening handshake of RFC 6455, section 4.
local bridge = require "tests.support.bridge"
local websocket = require "tests.support.websocket"

describe("the WebSocket handshake", function()
    after_each(bridge.clean)

    it("answers the key of the RFC's example with the RFC's answer", function()
        local server = bridge.start()

        local status, headers = websocket.upgrade(server, {
            headers = {["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="},
        })

        assert.equal(101, status)
        assert.equal("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", headers["sec-websocket-accept"])
        assert.equal("websocket", headers.upgrade:lower())
        assert.equal("upgrade", headers.connection:lower())
        assert.is_nil(headers["sec-websocket-extensions"])
        assert.is_nil(headers["sec-websocket-protocol"])
    end)

    it("takes names in any case and a list of connection options", function()
        local server = bridge.start()

        local status = websocket.upgrade(server, {
            headers = {Upgrade = "WebSocket", Connection = "keep-alive , UPGRADE"},
        })

        assert.equal(101, status)
    end)

    it("takes any path but the reserved ones, on either port", function()
        local server = bridge.start()

        for _, port in ipairs({server.ws_port, server.http_port}) do
            for _, path in ipairs({"/", "/ws", "/any/where?token=x", "/health", "/agents"}) do
                assert.equal(101, (websocket.upgrade(server, {path = path, port = port})), path)
            end
            for _, path in ipairs({"/events", "/console", "/admin/reload"}) do
                assert.not_equal(101, (websocket.upgrade(server, {path = path, port = port})), path)
            end
        end
    end)

    local REFUSED = {
        ["without a key"] = {headers = {["Sec-WebSocket-Key"] = false}},
        ["with a key that is too short"] = {headers = {["Sec-WebSocket-Key"] = "c2hvcnQ="}},
        ["with a key that is too long"] = {headers = {["Sec-WebSocket-Key"] = "MDEyMzQ1Njc4OWFiY2RlZjA="}},
        ["with a key that is no base64"] = {headers = {["Sec-WebSocket-Key"] = "!!!!!!!!!!!!!!!!!!!!!!=="}},
        ["with an empty key"] = {headers = {["Sec-WebSocket-Key"] = ""}},
        ["by POST"] = {method = "POST", headers = {["Content-Length"] = "0"}},
        ["by HTTP/1.0"] = {version = "1.0"},
    }
    for name, options in pairs(REFUSED) do
        it(name .. " is refused", function()
            local server = bridge.start()

            local status = websocket.upgrade(server, options)

            assert.truthy(status and status >= 400 and status < 500, status)
        end)
    end

    for _, version in ipairs({"8", "12", "14", "x", ""}) do
        it("with version " .. version .. " is refused, and 13 is named", function()
            local server = bridge.start()

            local status, headers = websocket.upgrade(server, {headers = {["Sec-WebSocket-Version"] = version}})

            assert.truthy(status == 426 or status == 400, status)
            assert.equal("13", headers["sec-websocket-version"])
        end)
    end

    it("without Upgrade or Connection is a plain request", function()
        local server = bridge.start()

        for _, name in ipairs({"Upgrade", "Connection"}) do
            assert.not_equal(101, (websocket.upgrade(server, {path = "/ws", headers = {[name] = false}})))
        end
    end)

    it("may be followed by frames in the same segment", function()
        local server = bridge.start()

        local _, _, client = websocket.upgrade(server, {
            early = websocket.frame({payload = '{"type":"register","clientId":"early"}'}),
        })

        assert.equal("early", client:receive_json().client.id)
    end)

    it("picks no subprotocol", function()
        local server = bridge.start()

        local status, headers = websocket.upgrade(server, {headers = {["Sec-WebSocket-Protocol"] = "chat, superchat"}})

        assert.equal(101, status)
        assert.is_nil(headers["sec-websocket-protocol"])
    end)

    describe("with permessage-deflate", function()
        local function offer(text, config)
            local server = bridge.start({config = config})
            local status, headers, client = websocket.upgrade(server, {headers = {["Sec-WebSocket-Extensions"] = text}})
            assert.equal(101, status)
            return headers["sec-websocket-extensions"], client
        end

        it("takes a good offer without context takeover by the server", function()
            for _, text in ipairs({
                "permessage-deflate", "permessage-deflate; client_max_window_bits", "x-other, permessage-deflate",
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
                'permessage-deflate; server_max_window_bits="12"',
                "permessage-deflate; server_max_window_bits=8, permessage-deflate",
            }) do
                local answer = offer(text)
                assert.truthy(answer, text)
                assert.matches("^permessage%-deflate", answer)
                assert.truthy(answer:find("server_no_context_takeover", 1, true), answer)
            end
        end)

        it("keeps the server's window within the offer", function()
            local answer = offer("permessage-deflate; server_max_window_bits=10")

            local bits = tonumber(answer:match("server_max_window_bits=(%d+)"))
            assert.is_true(bits ~= nil and bits <= 10 and bits >= 9)
        end)

        it("declines what it cannot keep or does not understand", function()
            for _, text in ipairs({
                "permessage-deflate; server_max_window_bits=8", "permessage-deflate; server_max_window_bits=16",
                "permessage-deflate; server_max_window_bits", "permessage-deflate; unknown=1",
                "permessage-deflate; server_no_context_takeover; server_no_context_takeover", "x-webkit-deflate-frame",
                "permessage-deflate; server_no_context_takeover=1", "permessage-deflate; server_max_window_bits=010",
            }) do
                assert.is_nil((offer(text)), text)
            end
        end)

        it("is not there with performance.compression = false", function()
            assert.is_nil((offer("permessage-deflate", {performance = {compression = false}})))
        end)

        -- A deflate stream needs no compressor: a stored block says the bytes as they are.
        local function stored(text)
            local low, high = #text % 256, math.floor(#text / 256)
            return string.char(0, low, high, 255 - low, 255 - high) .. text .. "\0"
        end

        it("reads compressed and plain messages in turn", function()
            local _, client = offer("permessage-deflate; client_no_context_takeover")

            client:send_frame({rsv1 = true, payload = stored('{"type":"register","clientId":"alice"}')})
            assert.equal("alice", client:receive_json().client.id)
            client:send_text('{"type":"heartbeat"}')
            assert.equal("heartbeat_ack", client:receive_json().type)
            client:send_frame({rsv1 = true, payload = stored('{"type":"heartbeat"}')})
            assert.equal("heartbeat_ack", client:receive_json().type)
        end)

        it("reads a compressed message in fragments with a ping between", function()
            local _, client = offer("permessage-deflate")
            local bytes = stored('{"type":"register","clientId":"alice"}')

            client:send_frame({rsv1 = true, fin = false, payload = bytes:sub(1, 3)})
            client:send_frame({opcode = websocket.PING, payload = "now"})
            client:send_frame({opcode = 0, fin = false, payload = ""})
            client:send_frame({opcode = 0, payload = bytes:sub(4)})

            assert.equal("now", client:receive().payload)
            assert.equal("alice", client:receive_json().client.id)
        end)

        local BROKEN = {
            ["the bit on a continuation"] = {{rsv1 = true, fin = false, payload = "\0"}, {opcode = 0, rsv1 = true}},
            ["the bit on a ping"] = {{opcode = 9, rsv1 = true, payload = "x"}},
            ["the bit on a close"] = {{opcode = 8, rsv1 = true, payload = "\3\232"}},
            ["the second reserved bit"] = {{rsv2 = true, payload = "{}"}},
            ["a stream that is no deflate"] = {{rsv1 = true, payload = "\255\255\255\255"}, 1007},
            ["text that is no UTF-8"] = {{rsv1 = true, payload = stored('{"type":"\255"}')}, 1007},
        }
        for name, frames in pairs(BROKEN) do
            it("is closed for " .. name, function()
                local _, client = offer("permessage-deflate")
                local expected = 1002
                for _, frame in ipairs(frames) do
                    if type(frame) == "number" then
                        expected = frame
                    else
                        client:send_frame(frame)
                    end
                end

                local message = client:receive()
                assert.equal("close", message.type)
                assert.truthy(message.status == expected or (expected == 1007 and message.status == 1002),
                    message.status)
            end)
        end

        it("is refused past limits.messageBytes by what it inflates to", function()
            local _, client = offer("permessage-deflate", {limits = {messageBytes = 1000}})

            client:send_frame({rsv1 = true, payload = stored('{"x":"' .. ("y"):rep(2000) .. '"}')})

            client:expect_error("too_large")
            client:expect_close(1009)
        end)
    end)
end)
