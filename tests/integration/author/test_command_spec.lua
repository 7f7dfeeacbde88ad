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

-- Asks what the payload says, and replies with what it got.
local ASKING = [[
return {route = function(envelope, bridge)
    if envelope.intent == "gather" then
        local replies, missing = bridge.gather(envelope.payload)
        return bridge.reply{replies = luaduct.array(replies), missing = luaduct.array(missing)}
    end
    local reply, text, code = bridge.request(envelope.payload)
    return bridge.reply{reply = reply, text = text, code = code}
end}
]]

local TIMING = [[
local n = 0
local ticking = luaduct.every(1000, function(bridge)
    n = n + 1
    bridge.send{to = "operator", intent = "tick", payload = {n = n}}
end)
local function again()
    luaduct.after(0, again)
end
return {route = function(envelope, bridge)
    local text, at = envelope.payload.text, os.time()
    if envelope.intent == "later" then
        luaduct.after(envelope.payload.ms, function(bridge)
            bridge.send{to = {"a", "b"}, payload = {text = text, at = at}}
        end)
    elseif envelope.intent == "stop" then
        ticking:cancel()
    elseif envelope.intent == "break" then
        luaduct.after(10, function() error("broken") end)
    elseif envelope.intent == "forever" then
        again()
    elseif envelope.intent == "sleep" then
        luaduct.sleep(envelope.payload.ms)
    end
    return bridge.drop("done")
end}
]]

local DECIDING = [[
return {route = function(envelope, bridge)
    return envelope.payload == "to" and bridge.to("free", {expiresMs = 5000})
        or envelope.payload == "wait" and bridge.any{role = "worker", wait = true, expiresMs = 10}
        or envelope.payload == "label" and bridge.label("x", {expiresMs = 1})
        or bridge.broadcast{expiresMs = 1}
end}
]]

-- Runs one test with this body; gives exit status, standard output and errors.
local function run(body, options, source)
    local folder = process.folder()
    process.write_file(folder .. "/route.lua", source or SCRIPT)
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

local function run_with(source, body)
    return run(body, nil, source)
end

local function passes_with(source)
    return function(body)
        local status, output, errors = run_with(source, body)
        assert.equal(0, status, output .. errors)
        assert.equal("", errors)
    end
end

local asks, times, deciding = passes_with(ASKING), passes_with(TIMING), passes_with(DECIDING)

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

    it("answers what a hook asks agents, as the spec says", function()
        asks [[
            local bridge = harness.bridge_with{
                {id = "alice"}, {id = "quick", role = "worker", reply = {payload = {n = 1}}},
                {id = "slow", reply = function(asked)
                    return {payload = {n = asked.payload.n * 2, to = asked.to}}, 4000
                end},
                {id = "mute"},
            }
            local function ask(request)
                return script:route(envelope{from = "alice", payload = request})[1].payload
            end
            local reply = ask{to = "quick", intent = "how.many"}.reply
            assert.same({"quick", "worker", "bridge", {n = 1}}, {reply.from, reply.role, reply.to, reply.payload})
            assert.same({"quick", "how.many"}, {script.asked[1].to, script.asked[1].envelope.intent})
            assert.equal(script.asked[1].envelope.id, reply.replyTo)

            local before = harness.clock.now()
            assert.same({n = 6, to = "slow"}, ask{to = "slow", payload = {n = 3}, timeoutMs = 5000}.reply.payload)
            assert.equal(4000, harness.clock.now() - before)
            assert.same({text = "it has not replied in time", code = "task_timeout"}, ask{to = "mute"})
            assert.equal(14000, harness.clock.now() - before)
            assert.same({text = "the agent is not connected", code = "no_recipient"}, ask{to = "away"})
            -- Three tries: the first agent, a pause of 100 ms, the second, one of 200 ms, the first again.
            script.asked = {}
            ask{to = {"mute", "away"}, timeoutMs = 1000, retries = 2}
            assert.equal(16300, harness.clock.now() - before)
            assert.same({"mute", "mute"}, {script.asked[1].to, script.asked[2].to})
            -- A reply to an earlier try counts.
            reply = ask{to = {"slow", "mute"}, timeoutMs = 3000, retries = 1, payload = {n = 1}}.reply
            assert.equal("slow", reply.from)
            assert.equal(20300, harness.clock.now() - before)
        ]]
    end)

    it("answers what a hook gathers", function()
        asks [[
            local bridge = harness.bridge_with{
                {id = "alice"}, {id = "ann", reply = function() return {payload = 1}, 300 end},
                {id = "ben", reply = function() return {payload = 2}, 200 end}, {id = "mute"},
            }
            local function gather(request)
                local got = script:route(envelope{from = "alice", intent = "gather", payload = request})[1].payload
                local payloads = {}
                for index, reply in ipairs(got.replies) do payloads[index] = reply.payload end
                return payloads, got.missing
            end
            local before = harness.clock.now()
            local replies, missing = gather{to = {"ann", "ben"}}
            assert.same({2, 1}, replies)
            assert.same({}, missing)
            assert.equal(300, harness.clock.now() - before)
            replies, missing = gather{to = {"ann", "ben", "mute"}, count = 1}
            assert.same({2}, replies)
            assert.same({{to = "ann", index = 1}, {to = "mute", index = 3}}, missing)
            replies, missing = gather{to = {"ann", "mute", "away"}, timeoutMs = 1000}
            assert.same({1}, replies)
            assert.same({
                {to = "mute", index = 2, code = "task_timeout", text = "it has not replied in time"},
                {to = "away", index = 3, code = "no_recipient", text = "the agent is not connected"},
            }, missing)
            assert.equal(1500, harness.clock.now() - before)
        ]]
    end)

    it("says so when a fake agent's reply is none", function()
        local status, output = run_with(ASKING, [[
            harness.bridge_with{{id = "alice"}, {id = "ann", reply = function() return {prio = 1} end}}
            script:route(envelope{from = "alice", payload = {to = "ann"}})
        ]])
        assert.equal(1, status)
        assert.truthy(output:find("there is no field prio", 1, true), output)
        status, output = run_with(ASKING, [[
            harness.bridge_with{{id = "alice"}, {id = "ann", reply = function() return {priority = 1} end}}
            script:route(envelope{from = "alice", payload = {to = "ann"}})
        ]])
        assert.equal(1, status)
        assert.truthy(output:find("the bridge would refuse this reply: priority", 1, true), output)
    end)

    it("runs timers as the spec's time passes, and shows what they send", function()
        times [[
            harness.clock.advance(999)
            assert.same({}, script.sent)
            harness.clock.advance(1)
            assert.equal(1, #script.sent)
            assert.same({{"operator"}, "tick", {n = 1}, "bridge"},
                {script.sent[1].to, script.sent[1].envelope.intent, script.sent[1].envelope.payload,
                    script.sent[1].envelope.from})
            harness.clock.advance(10000)
            assert.equal(11, #script.sent)

            script.sent = {}
            script:route(envelope{intent = "later", payload = {ms = 500, text = "hi"}})
            script:route(envelope{intent = "stop"})
            harness.clock.advance(499)
            assert.same({}, script.sent)
            harness.clock.advance(1)
            assert.equal("hi", script.sent[1].envelope.payload.text)
            assert.equal(harness.clock.now() / 1000, script.sent[1].envelope.payload.at + 0.5)
            harness.clock.advance(3600000)
            assert.equal(1, #script.sent)
        ]]
    end)

    it("runs timers while a hook sleeps, and raises what one raises", function()
        times [[
            script:route(envelope{intent = "sleep", payload = {ms = 2500}})
            assert.equal(2, #script.sent)
            script:route(envelope{intent = "break"})
            local ok, problem = pcall(harness.clock.advance, 10)
            assert.is_false(ok)
            assert.truthy(problem:find("timer failed: ", 1, true), problem)
            assert.truthy(problem:find("route.lua:18: broken", 1, true), problem)
            script:route(envelope{intent = "forever"})
            ok, problem = pcall(harness.clock.advance, 1)
            assert.is_false(ok)
            assert.truthy(problem:find("do they set each other?", 1, true), problem)
        ]]
    end)

    it("leaves timers of earlier tests alone", function()
        local status, output, errors = run_with(TIMING, [[
            harness.first = script
            harness.clock.advance(1000)
            assert.equal(1, #harness.first.sent)
            end)
            it("is another test", function()
            harness.clock.advance(1000)
            assert.equal(1, #harness.first.sent)
            assert.equal(1, #script.sent)
        ]])
        assert.equal(0, status, output .. errors)
    end)

    it("knows how long a decision is good for, and that it waits for a free agent", function()
        deciding [[
            local made = script:route(envelope{from = "alice", payload = "to"})
            assert.decides(made, bridge.to("free", {expiresMs = 5000}))
            assert.is_not.decides(made, bridge.to("free"))
            assert.equal('bridge.to("free", {expiresMs = 5000})', tostring(made))
            made = script:route(envelope{from = "alice", payload = "wait"})
            assert.decides(made, bridge.any{role = "worker", wait = true, expiresMs = 10})
            assert.is_not.decides(made, bridge.any{role = "worker", expiresMs = 10})
            assert.same({"free"}, recipients(made))
            assert.equal('bridge.any{expiresMs = 10, role = "worker", wait = true}', tostring(made))
            assert.decides(script:route(envelope{payload = "label"}), bridge.label("x", {expiresMs = 1}))
            made = script:route(envelope{payload = "all"})
            assert.decides(made, bridge.broadcast{expiresMs = 1})
            assert.equal("bridge.broadcast{expiresMs = 1}", tostring(made))
            harness.bridge_with{{id = "busy", role = "worker", openTasks = 1, maxConcurrentTasks = 1}}
            made = script:route(envelope{from = "alice", payload = "wait"})
            assert.same({}, recipients(made))
            assert.is_true(made.accepted)
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

    it("fails when no test ran: there is none, or none has such a name", function()
        local folder = process.folder()
        process.write_file(folder .. "/route.lua", SCRIPT)
        process.write_file(folder .. "/one_spec.lua", 'describe("one", function() it("is", function() end) end)')
        for _, arguments in ipairs({{folder .. "/route.lua"}, {"--filter", "two", folder .. "/one_spec.lua"}}) do
            local status, _, errors = bridge.luaduct({"test", unpack(arguments)})
            assert.equal(1, status)
            assert.equal("luaduct test: no test ran: none of these files has one that is asked for\n", errors)
        end
        assert.equal(0, (bridge.luaduct({"test", "--list", folder .. "/one_spec.lua"})))
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
