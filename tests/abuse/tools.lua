-- What the attacks share. They run in a spec, in its process, and in a process of their own (tests/abuse/attack).
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local socket = require "socket"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local CONNECTIONS = 200 -- of tools.drip

local tools = {track = bridge.track}

-- What the bridge may use, and by how much an attack may make it grow: see docs/security.md. AddressSanitizer keeps
-- what was freed: by the usual budget the bridge would be short of memory all the time.
tools.BUDGET = os.getenv("LUADUCT_TEST_SLOW") == "1" and "8GiB" or "256MiB"
tools.MEMORY_BYTES = 96 * 2 ^ 20

-- The attack's config: a budget, two reactors, and the pair that is served comes from another address.
function tools.config(attack)
    local config = {listen = {host = "localhost"}, http = {rateMax = 120}, performance = {worker_threads = 2}}
    for section, values in pairs(attack.config or {}) do
        config[section] = config[section] or {}
        for key, value in pairs(values) do
            config[section][key] = value
        end
    end
    config.limits = config.limits or {}
    config.limits.memory = config.limits.memory or tools.BUDGET
    return config
end

function tools.over(till)
    return wait.now() > till
end

function tools.sleep_till(till)
    socket.sleep(wait.left(till))
end

-- Looks every now and then until the condition holds, for as long as a slow machine may need from now on.
function tools.wait_for(condition)
    local till = wait.deadline()
    while not condition() do
        if tools.over(till) then
            return false
        end
        socket.sleep(0.05)
    end
    return true
end

-- Takes what has come on any of them, for at most so many seconds, and forgets it; marks those that ended.
function tools.drain(streams, seconds)
    local sockets, by_socket = {}, {}
    for _, one in ipairs(streams) do
        if not one.ended then
            sockets[#sockets + 1] = one.tcp
            by_socket[one.tcp] = one
        end
    end
    for _, ready in ipairs((socket.select(sockets, nil, seconds))) do
        local one = by_socket[ready]
        ready:settimeout(0)
        local bytes, reason, partial = ready:receive(65536)
        if not bytes and reason ~= "timeout" and (partial or "") == "" then
            one.ended = true
        end
    end
end

function tools.count_ended(streams)
    local count = 0
    for _, one in ipairs(streams) do
        count = count + (one.ended and 1 or 0)
    end
    return count
end

-- Many connections at once: `open` gives one, `feed` sends its next byte, until the time is over, and on until the
-- bridge has given all of them up: `done` counts them, or they have ended.
function tools.drip(server, till, open, feed, done)
    local streams = {}
    for number = 1, CONNECTIONS do
        streams[number] = open(server)
    end
    local turn, last = 0, nil
    local ended
    repeat
        turn = turn + 1
        for _, one in ipairs(streams) do
            if not one.ended then
                feed(one, turn)
            end
        end
        tools.drain(streams, 0.05)
        ended = done and turn % 5 == 0 and done(server) or tools.count_ended(streams)
        last = last or tools.over(till) and wait.deadline()
    until last and (ended == CONNECTIONS or tools.over(last))
    return ("%d of %d closed"):format(ended, CONNECTIONS), ended == CONNECTIONS
end

-- Sends the bytes again and again on all of them, as fast as they are taken, until the time is over. `reads`: takes
-- the answers too. Gives how many times that was, and how many connections ended.
function tools.flood(streams, bytes, till, reads)
    local offset, sent = {}, 0
    repeat
        local progress = false
        for _, one in ipairs(streams) do
            if not one.ended then
                local at = offset[one] or 1
                one.tcp:settimeout(0)
                local last, reason, partial = one.tcp:send(bytes, at)
                local taken = last or partial
                progress = progress or (taken and taken >= at)
                if reason == "closed" then
                    one.ended = true
                elseif last then
                    offset[one], sent = 1, sent + 1
                else
                    offset[one] = (partial or at - 1) + 1
                end
            end
        end
        if reads then
            tools.drain(streams, progress and 0 or 0.01)
        elseif not progress then
            socket.sleep(0.005)
        end
    until tools.over(till) or tools.count_ended(streams) == #streams
    return sent, tools.count_ended(streams)
end

-- A figure of /metrics.
function tools.figure(server, name)
    local text = http.request(server, {path = "/metrics", headers = {Accept = "text/plain"}}).body
    return tonumber(text:match("\n" .. name:gsub("[%-%.%+%[%]%(%)%$%^%%%?%*]", "%%%0") .. " (%d+)"))
end

-- Waits until `count` connections that were opened have been given up, all but the pair's.
function tools.given_up(server, count)
    local left
    tools.wait_for(function()
        local pair = math.min(2, tools.figure(server, "luaduct_agents"))
        left = tools.figure(server, "luaduct_connections") - 1 - pair
        return left == 0
    end)
    return ("%d of %d still open"):format(left, count), left == 0
end

-- Asks for large answers again and again, and reads none.
function tools.take_no_answers(server, till)
    local filler = websocket.agent(server, "filler")
    for _ = 1, 3 do
        filler:send_envelope({to = "filler", payload = ("x"):rep(900000)}) -- for the history
        assert(filler:receive(10))
    end
    filler:close()
    for _ = 1, 20 do
        local one = http.connect(server, {receive_buffer = 4096})
        one:send_bytes(("GET /history HTTP/1.1\r\nHost: localhost\r\n\r\n"):rep(10))
    end
    tools.sleep_till(till)
    return tools.given_up(server, 20)
end

function tools.limited(server, limit)
    return tools.figure(server, ('luaduct_limited_total{limit="%s"}'):format(limit))
end

-- Whether that limit refuses something: a slow bridge may have to come to it yet.
function tools.wait_limited(server, limit)
    return tools.wait_for(function()
        return tools.limited(server, limit) > 0
    end)
end

return tools
