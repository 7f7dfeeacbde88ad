-- Once warm, carrying a message allocates nothing: neither from malloc nor as garbage for Lua's collector.
local bridge = require "tests.support.bridge"
local process = require "tests.support.process"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local COUNTER = os.getenv("LUADUCT_MALLOC_COUNTER")

-- The counter is the first eight bytes of the file, little-endian; six of them are more than a test ever counts.
local function allocations(path)
    local file = assert(io.open(path, "rb"))
    local bytes = {file:read(8):byte(1, 6)}
    file:close()
    local count = 0
    for index = 6, 1, -1 do
        count = count * 256 + bytes[index]
    end
    return count
end

local BURST = 50

local function exchange(from, to, recipient, count, burst)
    burst = burst or BURST
    local text = ('{"type":"envelope","envelope":{"to":"%s","intent":"chat","payload":{"n":%s}}}')
        :format(recipient, ("1"):rep(200))
    for _ = 1, count / burst do
        for _ = 1, burst do
            from:send_text(text)
        end
        for _ = 1, burst do
            to:receive_envelope()
        end
    end
end

describe("the path of a message", function()
    after_each(bridge.clean)

    -- Sanitizers have a malloc of their own: counted in the plain build only.
    for _, case in ipairs(COUNTER and {
        {name = "with 1 reactor", reactors = 1},
        {name = "with 2 reactors", reactors = 2},
        {name = "with decisions that are kept", reactors = 1, script = [[
            return {cache = {"to", "from"}, route = function(envelope, bridge)
                return {bridge.to(envelope.to), bridge.to{envelope.to, envelope.to}}
            end}]]},
    } or {}) do
        it("asks malloc for nothing once it is warm, " .. case.name, function()
            local path = process.folder() .. "/allocations"
            local server = bridge.start {
                script = case.script,
                config = {performance = {worker_threads = case.reactors}},
                env = {LD_PRELOAD = COUNTER, MALLOC_COUNTER = path},
            }
            local alice = websocket.agent(server, "alice")
            local bob = websocket.agent(server, "bob")
            -- Warm for more than is counted: how much is under way at once also depends on who gets the processor.
            exchange(alice, bob, "bob", 4000, 4 * BURST)
            exchange(bob, alice, "alice", 4000, 4 * BURST)

            assert.is_true(allocations(path) > 100)
            wait.eventually(function()
                local before = allocations(path)
                exchange(alice, bob, "bob", 5000)
                exchange(bob, alice, "alice", 5000)
                local asked = allocations(path) - before
                assert.is_true(asked < 100, asked .. " for 10,000 messages")
                return asked == 0 -- a pass that the machine interrupted for long keeps bytes for the next
            end, 30, "10,000 messages without malloc")
        end)
    end

    it("leaves no garbage to Lua's collector", function()
        local server = bridge.start {
            config = {performance = {worker_threads = 1}},
            script = [[
                local calls, start = 0, nil
                return {
                    route = function(envelope, bridge)
                        local to, intent = envelope.to, envelope.intent
                        local priority, role = envelope.priority, envelope.role
                        calls = calls + 1
                        if calls == 1000 then
                            collectgarbage("count")
                            start = collectgarbage("count")
                        elseif calls == 11000 then
                            luaduct.log.info("grown by " .. (collectgarbage("count") - start) .. " KiB")
                        end
                        return intent and priority and role and bridge.to(to)
                    end,
                }
            ]],
        }
        local alice = websocket.agent(server, "alice")
        local bob = websocket.agent(server, "bob")
        exchange(alice, bob, "bob", 12000)
        local grown = server:wait_log("grown by"):match("grown by (%-?[%d.]+) KiB")
        assert.is_true(tonumber(grown) <= 1)
    end)
end)
