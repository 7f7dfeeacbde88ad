-- The same patience and floods where the ports speak TLS. The one that is served meanwhile is curl.
local process = require "tests.support.process"
local stream = require "tests.support.stream"
local tls = require "tests.support.tls"
local tools = require "tests.abuse.tools"

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

local function connect(server)
    return tools.track(stream.connect(server.http_port))
end

local function slow(feed)
    return function(server, till)
        return tools.drip(server, till, connect, feed)
    end
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
            local open
            tools.wait_for(function()
                local status, body = tls.curl(server, "/metrics", {"-H", "Accept: text/plain"})
                open = status == 0 and tonumber(body:match("\nluaduct_connections (%d+)"))
                return open == 1
            end)
            return ("%s of 5 still open"):format(tostring(open and open - 1)), open == 1
        end,
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
}
