-- Two agents that behave, for tests/abuse/run: WS_PORT HTTP_PORT SECONDS [CA]. With CA they speak TLS. Prints `ready`
-- when they have registered; then one sends the other an envelope every few milliseconds; prints how long they took.
-- Exit status 1: one did not come within ten seconds.
package.path = "./?.lua;" .. package.path
local socket = require "socket"
local tls_stream = require "tests.support.tls_stream"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local server = {ws_port = tonumber(arg[1]), http_port = tonumber(arg[2]),
    connect = arg[4] and tls_stream.connector(arg[4])}
local alice = websocket.agent(server, "alice", nil, {host = "::1"})
local bob = websocket.agent(server, "bob", nil, {host = "::1"})
socket.sleep(0.05) -- the bridge holds what comes first for agents.registerGraceMs
print("ready")
io.stdout:flush()
local till, took, number = wait.deadline(tonumber(arg[3])), {}, 0

while wait.now() < till do
    number = number + 1
    local began = wait.now()
    assert(alice:send_envelope({to = "bob", id = tostring(number)}))
    repeat
        local message = assert(bob:receive(10)) -- an attack may broadcast
        assert(message.type == "text", message.type)
    until message.payload:find('"id":"' .. number .. '"', 1, true)
    took[#took + 1] = (wait.now() - began) * 1000
    while alice.stream:here() > 0 or alice.stream:fill(0) do
        assert(alice:receive_frame())
    end
    socket.sleep(0.005)
end

table.sort(took)
local function quantile(share)
    return took[math.max(1, math.ceil(#took * share))]
end
print(("p50 %.1f ms, p99 %.1f ms, most %.1f ms of %d"):format(quantile(0.5), quantile(0.99), took[#took], #took))
