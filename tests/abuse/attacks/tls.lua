-- The same patience and floods where the ports speak TLS, and what only TLS has.
local http = require "tests.support.http"
local process = require "tests.support.process"
local socket = require "socket"
local stream = require "tests.support.stream"
local tls_stream = require "tests.support.tls_stream"
local tools = require "tests.abuse.tools"
local websocket = require "tests.support.websocket"

local function block(width, body)
    local out = {}
    for index = width, 1, -1 do
        out[index] = string.char(math.floor(#body / 256 ^ (width - index)) % 256)
    end
    return table.concat(out) .. body
end

local function extension(kind, body)
    return string.char(math.floor(kind / 256), kind % 256) .. block(2, body)
end

-- RFC 5246 7.4.1.2, enough that the bridge answers with its certificate and a signature.
local HELLO = "\22\3\1" .. block(2, "\1" .. block(3, "\3\3" .. ("r"):rep(32) .. "\0" ..
    block(2, "\192\43\192\47\192\44\192\48") .. block(1, "\0") .. block(2,
        extension(10, block(2, "\0\29\0\23")) .. extension(11, block(1, "\0")) ..
        extension(13, block(2, "\4\3\8\4\4\1")))))

local HANDSHAKES = 64 -- at once

local function connect(server)
    return tools.track(stream.connect(server.http_port))
end

local function slow(feed)
    return function(server, till)
        return tools.drip(server, till, connect, feed)
    end
end

-- Connections by turns from four addresses, many at once: hands are shaken, and then it is gone. `session`: one to take
-- up. Gives how many were shaken, and how many connections were turned away.
local function shake_hands(server, till, session)
    local under_way, done, refused, count = {}, 0, 0, 0
    local function begin(slot)
        count = count + 1
        local one = tls_stream.open(server.http_port, {from = "127.0.0." .. 2 + count % 4, session = session})
        tools.track(one.wire)
        one:step()
        under_way[slot] = one
    end
    for slot = 1, HANDSHAKES do
        begin(slot)
    end
    repeat
        local progress = false
        for slot, one in ipairs(under_way) do
            local shaken, reason = one:step()
            if shaken or reason ~= "timeout" then
                assert(not (shaken and session) or one:resumed(), "the session was not taken up")
                done, refused = done + (shaken and 1 or 0), refused + (shaken and 0 or 1)
                one:abandon()
                begin(slot)
                progress = true
            end
        end
        if not progress then
            socket.sleep(0.001)
        end
    until tools.over(till)
    return done, refused
end

return {
    {
        name = "slow loris: TLS, nothing", bound = "tls.handshakeTimeoutMs", tls = true,
        config = {tls = {handshakeTimeoutMs = 500}}, run = slow(function() end),
    },
    {
        name = "slow loris: TLS, half a ClientHello", bound = "tls.handshakeTimeoutMs", tls = true,
        config = {tls = {handshakeTimeoutMs = 500}},
        run = slow(function(one, turn)
            one:send_some(turn == 1 and HELLO:sub(1, 50) or HELLO:sub(49 + turn, 49 + turn))
        end),
    },
    {
        name = "slow loris: TLS, a record", bound = "http.headerTimeoutMs", tls = true,
        config = {http = {headerTimeoutMs = 500}},
        run = function(server, till)
            local records = {}
            local function shaken()
                local one = tls_stream.connect(server.http_port)
                local wire = tools.track(one.wire)
                records[wire] = one:seal(("x"):rep(16384))
                return wire
            end
            return tools.drip(server, till, shaken, function(wire, turn)
                wire:send_some(records[wire]:sub(turn, turn))
            end)
        end,
    },
    {
        name = "slow loris: TLS, shaken hands and silence", bound = "http.headerTimeoutMs", tls = true,
        config = {http = {headerTimeoutMs = 500}},
        run = function(server, till)
            local peers = {}
            for number = 1, 5 do
                peers[number] = process.start({"openssl", "s_client", "-connect", "localhost:" .. server.http_port},
                    {input = "pipe"})
            end
            tools.wait_for(function()
                local shaken = 0
                for _, peer in ipairs(peers) do
                    shaken = shaken + (peer:output():find("Verify return code", 1, true) and 1 or 0)
                end
                return shaken == #peers
            end)
            for _, peer in ipairs(peers) do
                if peer:is_running() then
                    peer:signal("SIGSTOP") -- it answers no close_notify, and does not close its side
                end
            end
            tools.sleep_till(till)
            return tools.given_up(server, #peers)
        end,
    },
    {
        name = "slow loris: TLS, close", bound = "2 s", tls = true,
        run = function(server, till)
            -- In each of the ways in which the two say good-bye, the peer neither answers nor closes its side.
            for number = 1, 20 do
                local request = http.connect(server)
                request:send_request({path = "/health", headers = {Connection = "close"}})
                tools.track(tls_stream.connect(server.http_port)):half_close()
                local agent = websocket.agent(server, "close-" .. number)
                agent:send_frame({opcode = 3})
                websocket.agent(server, "end-" .. number).stream:half_close()
            end
            tools.sleep_till(till)
            return tools.given_up(server, 80)
        end,
    },
    {
        name = "slow loris: TLS, answers not taken", bound = "http.headerTimeoutMs", tls = true,
        config = {http = {headerTimeoutMs = 500, rateMax = 0}},
        run = tools.take_no_answers,
    },
    {
        name = "flood: ClientHellos", bound = "limits.connectionsPerAddress, tls.maxHandshakes", tls = true,
        config = {limits = {connectionsPerAddress = 32}, tls = {handshakeTimeoutMs = 1000, maxHandshakes = 64}},
        run = function(server, till)
            local count, open = 0, {}
            repeat
                local slot = count % 100 + 1
                if open[slot] then
                    open[slot]:close()
                end
                open[slot] = connect(server)
                open[slot]:send(HELLO)
                open[slot]:fill(0.05)
                count = count + 1
            until tools.over(till)
            return ("%d ClientHellos"):format(count), true
        end,
    },
    {
        name = "flood: full handshakes", bound = "threads of their own", tls = true,
        run = function(server, till)
            return ("%d done, %d not"):format(shake_hands(server, till)), true
        end,
    },
    {
        name = "flood: resumed handshakes", bound = "threads of their own", tls = true,
        run = function(server, till)
            local first = http.connect(server)
            first:request({path = "/health"})
            return ("%d done, %d not"):format(shake_hands(server, till, first.stream:session())), true
        end,
    },
    {
        name = "flood: full handshakes from four addresses", bound = "limits.handshakesPerSecondPerAddress", tls = true,
        config = {limits = {handshakesPerSecondPerAddress = 5}},
        run = function(server, till)
            local done, refused = shake_hands(server, till)
            return ("%d done, %d turned away"):format(done, refused),
                refused > 0 and tools.limited(server, "handshakes_per_address") >= refused
        end,
    },
    {
        name = "flood: records of a byte", bound = "limits.messagesPerSecond", tls = true,
        config = {limits = {messagesPerSecond = 400, messageBurst = 400}},
        run = function(server, till)
            local agents, records = {}, 0
            for number = 1, 8 do
                agents[number] = websocket.agent(server, "flood-" .. number).stream
            end
            local content = websocket.frame({payload = "1"}):rep(200)
            local sealed = {}
            repeat
                for _, one in ipairs(agents) do
                    if not sealed[one] then
                        sealed[one] = one:seal(content, 1)
                        records = records + #content
                    end
                    sealed[one] = sealed[one]:sub(one.wire:send_some(sealed[one]) + 1)
                    sealed[one] = sealed[one] ~= "" and sealed[one] or nil
                end
                tools.drain(agents, 0)
            until tools.over(till) or tools.count_ended(agents) > 0
            return ("%d records, %d closed"):format(records, tools.count_ended(agents)),
                tools.wait_limited(server, "messages")
        end,
    },
}
