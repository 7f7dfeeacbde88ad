-- What a spec sees is what the bridge does: the same script, agents and envelopes through the harness and over sockets.
local bridge = require "tests.support.bridge"
local process = require "tests.support.process"
local websocket = require "tests.support.websocket"

-- "mark" reaches everybody: what an agent got before it belongs to the case before.
local SCRIPT = [[
local script = {}
local decide = {
    mark = function(_, bridge) return bridge.to{"ann", "ben", "cem", "dan"} end,
    default = function() end,
    one = function(_, bridge) return bridge.to("ben") end,
    several = function(_, bridge) return bridge.to{"ben", "dan", "ben"} end,
    role = function(_, bridge) return bridge.role("worker") end,
    label = function(_, bridge) return bridge.label("new") end,
    all = function(_, bridge) return bridge.all{role = "worker", tool = "paint"} end,
    any = function(_, bridge) return bridge.any{label = "new"} end,
    broadcast = function(_, bridge) return bridge.broadcast() end,
    drop = function(_, bridge) return bridge.drop("no") end,
    reply = function(envelope, bridge) return bridge.reply{got = envelope.payload, list = luaduct.array()} end,
    union = function(_, bridge) return {bridge.role("worker"), bridge.to("ann"), bridge.label("new")} end,
    assigned = function(envelope)
        envelope.priority, envelope.channel, envelope.context = "low", envelope.sender.role, {n = {1, 2}}
    end,
    slept = function(envelope, bridge)
        envelope.trace = {before = 1}
        luaduct.sleep(1)
        return bridge.to("dan")
    end,
    asked = function(_, bridge)
        local reply = bridge.request{to = "cem", taskId = "t", payload = {x = 2}}
        local seen = {reply.from, reply.role, reply.to, reply.intent, reply.taskId, reply.channel, reply.payload.x}
        return bridge.reply{got = {x = table.concat(seen, " ")}}
    end,
    gone = function(_, bridge)
        return bridge.reply{got = {x = table.concat({select(2, bridge.request{to = "eve"})}, " ")}}
    end,
    expired = function(_, bridge) return bridge.any{role = "worker", wait = true, expiresMs = 60000} end,
}
function script.route(envelope, bridge)
    return decide[envelope.intent](envelope, bridge)
end
return script
]]

local CASES = {
    "default", "one", "several", "role", "label", "all", "any", "broadcast", "drop", "reply", "union", "assigned",
    "slept", "asked", "gone", "expired",
}

local AGENTS = [[{
    {id = "ann", role = "boss"}, {id = "ben", role = "worker", tools = {"paint"}},
    {id = "cem", role = "worker", labels = {"old"}, reply = {payload = {x = 3}}}, {id = "dan", labels = {"new"}},
}]]

-- The fields that the way through the bridge decides, as one line.
local SHOWN = [[
local function show(envelope)
    local n = type(envelope.context.n) == "table" and table.concat(envelope.context.n, ",") or "-"
    local got = type(envelope.payload) == "table" and envelope.payload.got
    return table.concat({envelope.intent, envelope.from, envelope.role, envelope.priority, envelope.channel, n,
        tostring(envelope.trace.before), type(got) == "table" and tostring(got.x) or "-"}, " ")
end
]]

local SPEC = SHOWN .. [[
local harness = require "luaduct.test"
it("runs", function()
    local agents = AGENTS
    harness.bridge_with(agents)
    local script = harness.load("route.lua")
    for _, case in ipairs(CASES) do
        local made = script:route(harness.envelope{from = "ann", intent = case, payload = {x = 1}})
        for _, delivery in ipairs(made.deliveries) do
            print("GOT " .. case .. " " .. delivery.id .. ": " .. show(delivery.envelope))
        end
    end
end)
]]

local function literal(list)
    return '{"' .. table.concat(list, '", "') .. '"}'
end

local function through_harness()
    local folder = process.folder()
    process.write_file(folder .. "/route.lua", SCRIPT)
    process.write_file(folder .. "/route_spec.lua", (SPEC:gsub("AGENTS", AGENTS):gsub("CASES", literal(CASES))))
    local status, output, errors = bridge.luaduct({"test", "--output=TAP", folder})
    assert.equal(0, status, output .. errors)
    local lines = {}
    for line in output:gmatch("GOT ([^\n]+)") do
        lines[#lines + 1] = line
    end
    table.sort(lines)
    return lines
end

local function through_bridge()
    local show = assert(loadstring(SHOWN .. "return show"))()
    local server = bridge.start({script = SCRIPT})
    local agents = {}
    for index, agent in ipairs(assert(loadstring("return " .. AGENTS))()) do
        agent.reply = nil
        agents[index] = {id = agent.id, client = websocket.agent(server, agent.id, agent)}
    end
    local lines = {}
    for _, case in ipairs(CASES) do
        agents[1].client:send_envelope({intent = case, payload = {x = 1}})
        agents[1].client:send_envelope({intent = "mark"})
        if case == "asked" then
            local asked = agents[3].client:receive_envelope()
            agents[3].client:send_envelope({to = "bridge", replyTo = asked.id, taskId = "t", payload = {x = 3}})
        end
        for _, agent in ipairs(agents) do
            local envelope = agent.client:receive_envelope()
            while envelope.intent ~= "mark" do
                lines[#lines + 1] = case .. " " .. agent.id .. ": " .. show(envelope)
                envelope = agent.client:receive_envelope()
            end
        end
    end
    table.sort(lines)
    return lines
end

describe("a script in a spec", function()
    after_each(bridge.clean)

    it("does what it does in a bridge", function()
        local there = through_bridge()
        assert.is_true(#there > #CASES)
        assert.same(there, through_harness())
    end)
end)
