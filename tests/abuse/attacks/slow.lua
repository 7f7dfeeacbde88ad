-- Patience games: connections that are opened and then cost as little as possible for as long as possible.
local stream = require "tests.support.stream"
local tools = require "tests.abuse.tools"
local websocket = require "tests.support.websocket"

local COUNT = 200

local function upgraded(server)
    return websocket.connect(server).stream
end

local numbers = 0
local function registered(server)
    numbers = numbers + 1
    return websocket.agent(server, "slow-" .. numbers).stream
end

local function tcp(server)
    return tools.track(stream.connect(server.http_port))
end

local function given_up(server)
    return tools.limited(server, "message_time")
end

local HEADERS = "GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
local BODY = "POST /send HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"

return {
    {
        name = "slow loris: TCP", bound = "http.headerTimeoutMs",
        config = {http = {headerTimeoutMs = 500}},
        run = function(server, till)
            return tools.drip(server, till, tcp, function() end)
        end,
    },
    {
        name = "slow loris: request header", bound = "http.headerTimeoutMs",
        config = {http = {headerTimeoutMs = 500}},
        run = function(server, till)
            return tools.drip(server, till, tcp, function(one, turn)
                one:send_some(turn == 1 and HEADERS or "x")
            end)
        end,
    },
    {
        name = "slow loris: request body", bound = "http.bodyTimeoutMs",
        config = {http = {bodyTimeoutMs = 500}},
        run = function(server, till)
            return tools.drip(server, till, tcp, function(one, turn)
                one:send_some(turn == 1 and BODY or "x")
            end)
        end,
    },
    {
        name = "slow loris: answers not taken", bound = "http.headerTimeoutMs",
        config = {http = {headerTimeoutMs = 500, rateMax = 0}},
        run = tools.take_no_answers,
    },
    {
        name = "slow loris: register", bound = "agents.registerTimeoutMs",
        config = {agents = {registerTimeoutMs = 500}},
        run = function(server, till)
            local ping = websocket.frame({opcode = websocket.PING})
            return tools.drip(server, till, upgraded, function(one)
                one:send_some(ping)
            end, function()
                return tools.figure(server, 'luaduct_refused_total{code="register_timeout"}')
            end)
        end,
    },
    {
        name = "slow loris: frame", bound = "limits.messageTimeoutMs",
        config = {limits = {messageTimeoutMs = 500}},
        run = function(server, till)
            local frame = websocket.frame({payload = ("x"):rep(100000)})
            return tools.drip(server, till, registered, function(one, turn)
                one:send_some(frame:sub(turn, turn))
            end, given_up)
        end,
    },
    {
        name = "slow loris: fragments", bound = "limits.messageTimeoutMs",
        config = {limits = {messageTimeoutMs = 500}},
        run = function(server, till)
            local first = websocket.frame({fin = false, payload = '"'})
            local next_one = websocket.frame({opcode = websocket.CONTINUATION, fin = false, payload = "x"})
            return tools.drip(server, till, registered, function(one, turn)
                one:send_some(turn == 1 and first or next_one)
            end, given_up)
        end,
    },
    {
        name = "slow loris: no pongs", bound = "agents.ttlMs", late_pair = true,
        config = {agents = {ttlMs = 500, pingIntervalMs = 100}},
        run = function(server, till)
            return tools.drip(server, till, registered, function() end)
        end,
    },
    {
        name = "slow loris: close", bound = "2 s",
        run = function(server, till)
            -- The bridge says good-bye, and the peer never closes its side.
            local bad = websocket.frame({opcode = 3})
            for number = 1, COUNT do
                local client = websocket.agent(server, "close-" .. number)
                client:send_bytes(bad)
            end
            tools.sleep_till(till)
            local open
            tools.wait_for(function()
                open = tools.figure(server, "luaduct_connections") - 1
                return open <= 5
            end)
            return ("%d of %d still open"):format(open, COUNT), open <= 5
        end,
    },
}
