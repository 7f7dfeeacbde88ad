-- `luaduct test`: what an author's specs can do, and what they show when they fail.
local bridge = require "tests.support.bridge"
local process = require "tests.support.process"

local SCRIPT = [[
local script = {}

function script.route(envelope, bridge)
    if envelope.intent == "fail" then
        error("no idea")
    elseif envelope.intent == "loop" then
        while true do end
    elseif envelope.intent == "sleep" then
        local before = os.time()
        luaduct.sleep(envelope.payload.ms)
        return bridge.reply{slept = os.time() - before}
    elseif envelope.intent == "work" then
        local result, text, code = luaduct.workers.execute{operation = "double", data = envelope.payload}
        return bridge.reply{result = result, text = text, code = code}
    elseif envelope.priority == "high" then
        envelope.channel = "fast"
        print("urgent", envelope.sender and envelope.sender.role)
        return bridge.any{role = "worker"}
    end
end

function script.on_register(agent)
    if agent.id == "test" then
        return false, "no tests"
    end
    agent.labels = {"seen"}
    return agent
end

function script.on_undeliverable(envelope, reason, recipient, bridge)
    if reason == "no_recipient" then
        return bridge.to("backup")
    end
end

function script.on_disconnect(agent, reason)
    luaduct.log.warn(agent.id, reason)
end

return script
]]

local HEAD = [[
local harness = require "luaduct.test"
local envelope, recipients = harness.envelope, harness.recipients
describe("the script", function()
    local bridge, script
    before_each(function()
        bridge = harness.bridge_with{
            {id = "alice"}, {id = "busy", role = "worker", openTasks = 3, maxConcurrentTasks = 4},
            {id = "free", role = "worker", labels = {"new"}, maxConcurrentTasks = 4},
        }
        script = harness.load("route.lua", {workers = {double = function(data) return data.n * 2 end}})
    end)
    it("does what it should", function()
]]

-- Runs one test with this body; gives exit status, standard output and errors.
local function run(body, options)
    local folder = process.folder()
    process.write_file(folder .. "/route.lua", SCRIPT)
    process.write_file(folder .. "/route_spec.lua", HEAD .. body .. "\nend)\nend)\n")
    local arguments = {"test", "--output=plainTerminal"}
    for _, option in ipairs(options or {folder .. "/route_spec.lua"}) do
        arguments[#arguments + 1] = option
    end
    local status, output, errors = bridge.luaduct(arguments)
    return status, output, errors, folder
end

local function passes(body)
    local status, output, errors = run(body)
    assert.equal(0, status, output .. errors)
    assert.truthy(output:find("1 success", 1, true), output)
    assert.equal("", errors)
end

local function fails_with(body, ...)
    local status, output = run(body)
    assert.equal(1, status, output)
    for _, text in ipairs({...}) do
        assert.truthy(output:find(text, 1, true), text .. " is missing in:\n" .. output)
    end
end

describe("luaduct test", function()
    after_each(bridge.clean)

    it("shows a decision, who gets the envelope, and what the script assigned", function()
        passes [[
            local made = script:route(envelope{from = "alice", priority = "high"})
            assert.decides(made, bridge.any{role = "worker"})
            assert.is_not.decides(made, bridge.role("worker"))
            assert.same({"free"}, recipients(made))
            assert.same({channel = "fast"}, made.assigned)
            assert.equal("fast", made.deliveries[1].envelope.channel)
            assert.equal("urgent\tagent", script:logged("urgent").text)
        ]]
    end)

    it("shows what a script leaves to the bridge", function()
        passes [[
            local made = script:route(envelope{from = "alice"})
            assert.decides(made, nil)
            assert.same({"busy", "free"}, recipients(made))
            assert.same({"away"}, recipients(script:route(envelope{from = "alice", to = "away"})))
        ]]
    end)

    it("runs hooks that wait to their end, in a time of their own", function()
        passes [[
            local before = harness.clock.now()
            assert.decides(script:route(envelope{from = "alice", intent = "sleep", payload = {ms = 20000}}),
                bridge.reply{slept = 20})
            assert.equal(20000, harness.clock.now() - before)
            assert.decides(script:route(envelope{from = "alice", intent = "work", payload = {n = 4}}),
                bridge.reply{result = 8})
            script.workers.double = function() return nil, "too busy", "overloaded" end
            assert.decides(script:route(envelope{from = "alice", intent = "work", payload = {n = 4}}),
                bridge.reply{text = "too busy", code = "overloaded"})
        ]]
    end)

    it("runs the other hooks", function()
        passes [[
            assert.same({"seen"}, script:on_register{id = "bob", labels = {"old"}}.labels)
            local agent, reason = script:on_register{id = "test"}
            assert.is_nil(agent)
            assert.equal("no tests", reason)
            assert.decides(script:on_undeliverable(envelope{}, "no_recipient", "zoe"), bridge.to("backup"))
            assert.is_nil(script:on_undeliverable(envelope{}, "expired"))
            script:on_disconnect("alice", "closed")
            assert.equal("warn", script:logged("alice closed").level)
            assert.same({"busy", "free"}, recipients(script:route(envelope{from = "bob"})))
        ]]
    end)

    it("raises in the spec what a hook raises", function()
        passes [[
            local ok, problem = pcall(script.route, script, envelope{intent = "fail"})
            assert.is_false(ok)
            assert.truthy(problem:find("route.lua:5: no idea", 1, true), problem)
        ]]
    end)

    it("stops a hook that runs or waits too long", function()
        passes [[
            local ok, problem = pcall(script.route, script, envelope{intent = "loop"})
            assert.is_false(ok)
            assert.truthy(problem:find("longer than 50 ms", 1, true), problem)
            ok, problem = pcall(script.route, script, envelope{intent = "sleep", payload = {ms = 30001}})
            assert.is_false(ok)
            assert.truthy(problem:find("waited longer than 30000 ms", 1, true), problem)
        ]]
    end)

    it("says where a spec failed, what was expected, what was decided, and about which envelope", function()
        fails_with([[assert.decides(script:route(envelope{from = "alice", priority = "high", payload = {a = 1}}),
            bridge.to("bob"))]],
            "route_spec.lua:13: ", "Expected:\nbridge.to(\"bob\")", "Decided:\nbridge.any{role = \"worker\"}",
            "Envelope:\n{from = \"alice\", payload = {a = 1}, priority = \"high\"}", "Assigned:\n{channel = \"fast\"}")
    end)

    it("refuses envelopes that the bridge would refuse", function()
        fails_with([[script:route(envelope{priority = 7})]], "the bridge would refuse this envelope", "priority")
        fails_with([[script:route(envelope{prio = "high"})]], "there is no field prio")
        fails_with([[script:route(envelope{payload = {f = print}})]],
            "route_spec.lua:13: envelope: cannot pass a function")
    end)

    it("takes folders, and says so when a script does not load", function()
        local status, output, _, folder = run("")
        assert.equal(0, status, output)
        process.write_file(folder .. "/route.lua", "return {")
        status, output = bridge.luaduct({"test", folder})
        assert.equal(1, status)
        assert.truthy(output:find("route.lua:1: ", 1, true), output)
    end)

    it("answers wrong usage with exit status 2 and one line", function()
        for _, arguments in ipairs({{"test"}, {"test", "/nonsense_spec.lua"}, {"test", "--nonsense"},
            {"test", "--filter"}}) do
            local status, output, errors = bridge.luaduct(arguments)
            assert.equal(2, status)
            assert.equal("", output)
            assert.truthy(errors:match("^luaduct test: [^\n]+\n$"), errors)
        end
    end)

    it("names the package when busted is missing", function()
        local folder = process.folder()
        process.write_file(folder .. "/a_spec.lua", "")
        local status, _, errors = bridge.luaduct({"test", folder}, {env = {LUA_PATH = folder .. "/?.lua"}})
        assert.equal(1, status)
        assert.equal("luaduct test: busted is missing: install the package lua-busted\n", errors)
    end)
end)
