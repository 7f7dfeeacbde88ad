-- As much as the network takes, of whatever is cheap to send and dear to take.
local bomb = require "tests.abuse.bomb"
local http = require "tests.support.http"
local socket = require "socket"
local tools = require "tests.abuse.tools"
local websocket = require "tests.support.websocket"

local AGENTS = 8

local function agents(server, count, options)
    local streams = {}
    for number = 1, count or AGENTS do
        streams[number] = websocket.agent(server, "flood-" .. number, nil, options).stream
    end
    return streams
end

local function text(payload)
    return websocket.frame({payload = payload})
end

local function envelope(fields)
    return text('{"type":"envelope","envelope":' .. fields .. "}")
end

local function continuation(payload)
    return websocket.frame({opcode = websocket.CONTINUATION, fin = false, payload = payload})
end

local function closed_of(server, said, sent, connections)
    local closed = tools.limited(server, "costly_messages")
    return (said .. ", %d of %d closed"):format(sent, closed, connections), closed == connections
end

local DEFLATE = {headers = {["Sec-WebSocket-Extensions"] = "permessage-deflate; client_no_context_takeover"}}

-- Opens, says something, and closes at once, as fast as it goes.
local function connects(server, till, port, said)
    local count = 0
    repeat
        local tcp = socket.tcp4()
        tcp:settimeout(0.5)
        if tcp:connect("127.0.0.1", server[port]) then
            if said then
                tcp:send(said)
            end
            count = count + 1
        end
        tcp:close()
    until tools.over(till)
    return count
end

-- Messages of nobody in particular that every attack here may send without end.
local RATES = {messagesPerSecond = 1000, messageBurst = 2000, bytesPerSecond = "16MiB"}

local attacks = {
    {
        name = "flood: connects", bound = "limits.handshakesPerSecondPerAddress",
        config = {limits = {handshakesPerSecondPerAddress = 50}},
        run = function(server, till)
            local count = connects(server, till, "ws_port")
            return ("%d connects"):format(count), count > 100
        end,
    },
    {
        name = "flood: registers of one connection", bound = "limits.messagesPerSecond",
        config = {limits = RATES},
        run = function(server, till)
            local sent, ended = tools.flood(agents(server), (text(
                '{"type":"register","clientId":"flood-1","role":"x","labels":["a","b"]}')):rep(200), till, true)
            return ("%d registers, %d closed"):format(sent * 200, ended), tools.wait_limited(server, "messages")
        end,
    },
    {
        name = "flood: connect, register, gone", bound = "limits.handshakesPerSecondPerAddress",
        config = {limits = {handshakesPerSecondPerAddress = 200, agentsPerAddress = 100}},
        run = function(server, till)
            local said = websocket.request({port = server.ws_port}) ..
                text('{"type":"register","clientId":"here-and-gone"}')
            return ("%d connects"):format(connects(server, till, "ws_port", said)), true
        end,
    },
    {
        name = "flood: a thousand connections with one id", bound = "the newest wins",
        run = function(server)
            local streams = {}
            for number = 1, 1000 do
                local client = websocket.connect(server)
                client:send_register("same")
                streams[number] = client.stream
            end
            tools.wait_for(function()
                tools.drain(streams, 0.05)
                return tools.figure(server, "luaduct_agents") <= 3
            end)
            local left = tools.figure(server, "luaduct_agents")
            return ("%d agents are left"):format(left), left <= 3
        end,
    },
    {
        name = "flood: pings", bound = "32 pongs a turn",
        run = function(server, till)
            local ping = websocket.frame({opcode = websocket.PING, payload = ("p"):rep(125)})
            local sent, ended = tools.flood(agents(server), ping:rep(500), till, true)
            return ("%d pings, %d closed"):format(sent * 500, ended), tools.wait_limited(server, "pings")
        end,
    },
    {
        name = "flood: pings, pongs not read", bound = "4 MiB of answers",
        run = function(server, till)
            local ping = websocket.frame({opcode = websocket.PING, payload = ("p"):rep(125)})
            local sent = tools.flood(agents(server, AGENTS, {receive_buffer = 4096}), ping:rep(500), till)
            return ("%d pings"):format(sent * 500), true
        end,
    },
    {
        name = "flood: tiny frames", bound = "limits.messagesPerSecond",
        config = {limits = RATES},
        run = function(server, till)
            local sent, ended = tools.flood(agents(server), text("x"):rep(5000), till, true)
            return ("%d frames, %d closed"):format(sent * 5000, ended), tools.wait_limited(server, "messages")
        end,
    },
    {
        name = "flood: tiny frames, errors not read", bound = "4 MiB of answers",
        config = {limits = RATES},
        run = function(server, till)
            local sent, ended = tools.flood(agents(server, AGENTS, {receive_buffer = 4096}), text("x"):rep(5000), till)
            return ("%d frames, %d closed"):format(sent * 5000, ended), true
        end,
    },
    {
        name = "flood: envelopes", bound = "limits.messagesPerSecond",
        config = {limits = RATES},
        run = function(server, till)
            local sent, ended = tools.flood(agents(server), envelope('{"to":"flood-1","payload":1}'):rep(500), till,
                true)
            return ("%d envelopes, %d closed"):format(sent * 500, ended), tools.wait_limited(server, "messages")
        end,
    },
    {
        name = "flood: broadcasts", bound = "limits.messagesPerSecond, sendQueueBytes",
        config = {limits = {messagesPerSecond = 400, messageBurst = 400}},
        run = function(server, till)
            local streams = agents(server, 50)
            local sent = tools.flood({streams[1]}, envelope('{"payload":"' .. ("x"):rep(10000) .. '"}'):rep(10), till)
            return ("%d broadcasts to 50 that do not read"):format(sent * 10), true
        end,
    },
    {
        name = "flood: mailboxes of the absent", bound = "limits.mailboxBytesPerSender",
        config = {limits = {mailboxBytesPerSender = "8MiB"}},
        run = function(server, till)
            local client, count = websocket.agent(server, "flood"), 0
            repeat
                local frames = {}
                for number = 1, 20 do
                    frames[number] = envelope(('{"to":"absent-%d","payload":"%s"}'):format(count + number,
                        ("x"):rep(30000)))
                end
                count = count + 20
                client:send_bytes(table.concat(frames))
                tools.drain({client.stream}, 0)
            until tools.over(till) or client.stream.ended
            return ("%d envelopes"):format(count), tools.wait_limited(server, "mailbox_per_sender")
        end,
    },
    {
        name = "flood: tiny fragments", bound = "16,384 of a message",
        run = function(server, till)
            local streams = agents(server)
            for _, one in ipairs(streams) do
                one:send(websocket.frame({opcode = websocket.BINARY, fin = false}))
            end
            local sent = tools.flood(streams, continuation("x"):rep(8000), till, true)
            return closed_of(server, "%d fragments", sent * 8000, #streams)
        end,
    },
    {
        name = "flood: empty continuation frames", bound = "16,384 of a message",
        run = function(server, till)
            local streams = agents(server)
            for _, one in ipairs(streams) do
                one:send(websocket.frame({opcode = websocket.BINARY, fin = false}))
            end
            local sent = tools.flood(streams, continuation(""):rep(8000), till, true)
            return closed_of(server, "%d frames", sent * 8000, #streams)
        end,
    },
    {
        name = "deflate bomb: past the size", bound = "limits.messageBytes",
        run = function(server, till)
            local frame = websocket.frame({payload = bomb.size(64 * 2 ^ 20), rsv1 = true})
            local count = 0
            repeat
                local client = websocket.agent(server, "bomb", nil, DEFLATE)
                client:send_bytes(frame)
                if not client:receive(5) then
                    return "one was not refused", false
                end
                client:close()
                count = count + 1
            until tools.over(till)
            return ("%d bombs of 64 MiB refused"):format(count), true
        end,
    },
    {
        name = "deflate bomb: just within the size", bound = "limits.bytesPerSecond",
        config = {limits = {bytesPerSecond = "4MiB"}},
        run = function(server, till)
            local frame = websocket.frame({payload = bomb.size(2 ^ 20 - 300), rsv1 = true})
            local sent, ended = tools.flood(agents(server, 4, DEFLATE), frame:rep(10), till, true)
            return ("%d of 1 MiB from %d bytes each, %d closed"):format(sent * 10, #frame, ended),
                tools.wait_limited(server, "bytes")
        end,
    },
    {
        name = "deflate bomb: of time", bound = "64 blocks, and one for 512 bytes",
        run = function(server, till)
            local frame = websocket.frame({payload = bomb.blocks(60000), rsv1 = true})
            local count = 0
            repeat
                local client = websocket.agent(server, "bomb", nil, DEFLATE)
                client:send_bytes(frame)
                local message = client:receive(5)
                if message and message.type == "text" then -- the error that says why
                    message = client:receive(5)
                end
                if not message or message.type ~= "close" or message.status ~= 1008 then
                    return "one was not refused", false
                end
                client:close()
                count = count + 1
            until tools.over(till)
            return ("%d of %d bytes refused"):format(count, #frame), true
        end,
    },
}

for _, path in ipairs({"/health", "/metrics", "/nowhere", "/agents"}) do
    attacks[#attacks + 1] = {
        name = "flood: pipelined GET " .. path, bound = "a piece of answers waits; http.rateMax",
        config = {http = {rateMax = 120}},
        run = function(server, till)
            local streams = {}
            for number = 1, AGENTS do
                streams[number] = http.connect(server).stream
            end
            local sent = tools.flood(streams, ("GET " .. path .. " HTTP/1.1\r\nHost: localhost\r\n\r\n"):rep(200), till,
                true)
            return ("%d requests"):format(sent * 200), true
        end,
    }
end

attacks[#attacks + 1] = {
    name = "flood: pipelined, answers not read", bound = "64 KiB of answers wait",
    config = {http = {rateMax = 0}},
    run = function(server, till)
        local streams = {}
        for number = 1, 100 do
            streams[number] = http.connect(server, {receive_buffer = 4096}).stream
        end
        local sent = tools.flood(streams, ("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"):rep(200), till)
        return ("%d requests"):format(sent * 200), true
    end,
}

return attacks
