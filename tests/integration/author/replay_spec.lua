-- `luaduct replay`: a trace taken from a running bridge, through a script.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local process = require "tests.support.process"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local SCRIPT = [[return {route = function(envelope, bridge)
    if envelope.intent == "secret" then return bridge.drop("secret") end
    if envelope.intent == "wait" then luaduct.sleep(1) end
    if envelope.sender and envelope.sender.role == "boss" then return bridge.role("worker") end
end}]]

-- Three envelopes of a boss's, as `luaduct trace --json` writes them; the folder that has them as trace.jsonl.
local function record()
    local server = bridge.start({script = SCRIPT})
    local boss = websocket.agent(server, "boss", {role = "boss"})
    local worker = websocket.agent(server, "w", {role = "worker"})
    local trace = bridge.luaduct_start({"trace", "--json", "--count", "3", "--url", server:url()})
    wait.eventually(function()
        local metrics = http.request(server, {path = "/metrics", headers = {Accept = "text/plain"}}).body
        return metrics:find("luaduct_event_listeners 1", 1, true)
    end)
    boss:send_envelope({id = "e1", payload = {text = 'with "quotes", and ,"envelope":{} in it'}})
    boss:send_envelope({id = "e2", intent = "secret"})
    boss:send_envelope({id = "e3", intent = "wait"})
    assert.equal("e1", worker:receive_envelope().id)
    assert.equal("e3", worker:receive_envelope().id)
    trace:wait_exit()
    process.write_file(server.folder .. "/trace.jsonl", trace:output())
    return server.folder
end

describe("luaduct replay", function()
    after_each(bridge.clean)

    it("finds nothing when the script decides as it did", function()
        local folder = record()
        local status, output, errors = bridge.luaduct({"replay", folder .. "/trace.jsonl", folder .. "/script.lua"})
        assert.equal(0, status, output .. errors)
        assert.equal("3 envelopes: 2 decided alike, 0 otherwise, 1 not compared\n", output)
    end)

    it("shows what a changed script decides otherwise", function()
        local folder = record()
        process.write_file(folder .. "/new.lua", [[return {route = function(envelope, bridge)
            if envelope.intent == "secret" then return bridge.drop("secret") end
            return bridge.label("night")
        end}]])
        local status, output = bridge.luaduct({"replay", folder .. "/trace.jsonl", folder .. "/new.lua"})
        assert.equal(1, status)
        assert.truthy(output:find('e1  all{role = "worker"}  ->  all{label = "night"}', 1, true), output)
        assert.is_nil(output:find("e2", 1, true))
        process.write_file(folder .. "/broken.lua", "return {route = function() error('on purpose') end}")
        local _, broken = bridge.luaduct({"replay", folder .. "/trace.jsonl", folder .. "/broken.lua"})
        local expected = "(it failed) route failed: " .. folder .. "/broken.lua:1: on purpose"
        assert.truthy(broken:find(expected, 1, true), broken)
    end)

    it("fails when there is nothing to compare", function()
        local folder = process.folder()
        process.write_file(folder .. "/script.lua", SCRIPT)
        process.write_file(folder .. "/empty.jsonl", "\n")
        for name, problem in pairs({["/empty.jsonl"] = " has no envelope", [""] = ": Is a directory"}) do
            local status, _, errors = bridge.luaduct({"replay", folder .. name, folder .. "/script.lua"})
            assert.equal(1, status)
            assert.truthy(errors:find(folder .. name .. problem, 1, true), errors)
        end
    end)

    it("says what is wrong with its words and files", function()
        local folder = process.folder()
        process.write_file(folder .. "/script.lua", "return {}")
        process.write_file(folder .. "/trace", '{"hook":"route"\n')
        for _, case in ipairs({
            {2, {"replay"}, "expected a trace and at least one script"},
            {2, {"replay", "--mode", "other", "a", "b"}, "expected enhanced or original"},
            {2, {"replay", "--loud", "a", "b"}, "there is no option --loud"},
            {1, {"replay", folder .. "/none", folder .. "/script.lua"}, "No such file"},
            {1, {"replay", folder .. "/trace", folder .. "/none.lua"}, "none.lua: No such file"},
            {1, {"replay", folder .. "/trace", folder .. "/script.lua"}, "trace:1: this is no line of a trace"},
        }) do
            local status, _, errors = bridge.luaduct(case[2])
            assert.equal(case[1], status, errors)
            assert.truthy(errors:find(case[3], 1, true), errors)
        end
    end)
end)
