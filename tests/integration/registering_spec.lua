-- Joining the bridge: what `register` takes, what `registered` says, what is refused.
local bridge = require "tests.support.bridge"
local json = require "tests.support.json"
local variants = require "tests.support.variants"
local websocket = require "tests.support.websocket"

local UUID = "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$"
local ISO = "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$"

describe("registering", function()
    after_each(bridge.clean)

    for _, variant in ipairs(variants.modes) do
        describe(variant.name, function()
            it("answers with the agent's data and defaults", function()
                local server = variant.start()
                local client = websocket.connect(server)

                local registered, raw = client:register("alice")

                local meta = registered.client
                assert.equal("alice", meta.id)
                assert.equal("agent", meta.role)
                assert.equal(1, meta.maxConcurrentTasks)
                assert.matches(ISO, meta.lastSeen)
                assert.matches(ISO, meta.connectedAt)
                local _, fields = json.fields(raw)
                local _, meta_raw = json.fields(fields.client)
                assert.equal("[]", meta_raw.labels)
                assert.equal("[]", meta_raw.tools)
                assert.equal("[]", meta_raw.intents)
                assert.equal("[]", fields.history)
            end)

            it("keeps what the agent said about itself", function()
                local server = variant.start()
                local client = websocket.connect(server)

                local meta = client:register("bob", {
                    role = "worker", labels = {"gpu", "eu"}, tools = {"search"}, intents = {"task.assign"},
                    maxConcurrentTasks = 4,
                }).client

                assert.equal("worker", meta.role)
                assert.same({"gpu", "eu"}, meta.labels)
                assert.same({"search"}, meta.tools)
                assert.same({"task.assign"}, meta.intents)
                assert.equal(4, meta.maxConcurrentTasks)
            end)

            it("makes a UUID for an agent without an id", function()
                local server = variant.start()
                local client = websocket.connect(server)

                assert.matches(UUID, client:register(nil).client.id)
            end)

            it("shows exactly the fields of the mode", function()
                local server = variant.start()
                local client = websocket.connect(server)

                local meta = client:register("alice").client

                local expected = {
                    "id", "role", "labels", "tools", "intents", "maxConcurrentTasks", "lastSeen", "connectedAt",
                }
                if variant.mode == "enhanced" then
                    for _, name in ipairs({"messageCount", "errorCount", "uptime"}) do
                        expected[#expected + 1] = name
                    end
                end
                local names = {}
                for name in pairs(meta) do
                    names[#names + 1] = name
                end
                table.sort(names)
                table.sort(expected)
                assert.same(expected, names)
            end)

            it("changes role and lists by a second register with the same id", function()
                local server = variant.start()
                local client = websocket.agent(server, "alice", {role = "worker", labels = {"a"}})

                local meta = client:register("alice", {role = "boss", labels = {"b"}, maxConcurrentTasks = 3}).client

                assert.equal("boss", meta.role)
                assert.same({"b"}, meta.labels)
                assert.equal(3, meta.maxConcurrentTasks)
            end)

            it("refuses a second register with another id and keeps the first", function()
                local server = variant.start()
                local client = websocket.agent(server, "alice")

                client:send_register("bob")
                client:expect_error("already_registered")

                client:send_envelope({to = "alice", payload = {here = true}})
                assert.equal("alice", client:receive_envelope().from)
            end)

            for _, id in ipairs({"api", "bridge", "unknown"}) do
                it("refuses the reserved id " .. id, function()
                    local server = variant.start()
                    local client = websocket.connect(server)

                    client:send_register(id)

                    client:expect_error("bad_field")
                    client:register("other")
                end)
            end

            it("answers a heartbeat as the mode says", function()
                local server = variant.start()
                local client = websocket.agent(server, "alice")

                client:send_text('{"type":"heartbeat"}')

                if variant.mode == "enhanced" then
                    assert.equal("heartbeat_ack", client:receive_json().type)
                end
                client:expect_nothing()
            end)
        end)
    end

    it("counts a client's messages and errors", function()
        local server = bridge.start()
        local client = websocket.agent(server, "alice")
        client:send_envelope({to = "alice"})
        client:receive_envelope()
        client:send_text("{")
        client:expect_error("bad_json")

        local meta = client:register("alice").client

        assert.is_true(meta.messageCount >= 1)
        assert.equal(1, meta.errorCount)
        assert.is_true(meta.uptime >= 0)
    end)

    it("takes an id of 256 bytes", function()
        local server = bridge.start()
        local id = ("é"):rep(128)

        assert.equal(id, select(2, websocket.agent(server, id)).client.id)
    end)

    it("means an escaped id by what it says after unescaping", function()
        local server = bridge.start()
        local client = websocket.connect(server)

        client:send_text([[{"type":"register","cl\u0069entId":"a\u0062"}]])

        assert.equal("ab", client:receive_json().client.id)
    end)

    it("reads a binary frame as JSON text", function()
        local server = bridge.start()
        local client = websocket.connect(server)

        client:send_frame({opcode = websocket.BINARY, payload = '{"type":"register","clientId":"alice"}'})

        assert.equal("alice", client:receive_json().client.id)
    end)

    it("ignores unknown keys beside the type", function()
        local server = bridge.start()
        local client = websocket.connect(server)

        client:send_text('{"extra":[1,{"clientId":2}],"type":"register","clientId":"alice","extra":3}')

        assert.equal("alice", client:receive_json().client.id)
    end)

    local BAD_FIELDS = {
        {'"clientId":7', "clientId"},
        {'"clientId":""', "clientId"},
        {'"clientId":"' .. ("x"):rep(257) .. '"', "clientId"},
        {[["clientId":"a\u0007b"]], "clientId"},
        {[["clientId":"a\ud800b"]], "clientId"},
        {'"role":7', "role"},
        {[["role":"a\nb"]], "role"},
        {'"labels":"gpu"', "labels"},
        {'"labels":[7]', "labels"},
        {[=["labels":["a\u0000"]]=], "labels"},
        {'"tools":{}', "tools"},
        {'"intents":"x"', "intents"},
        {'"maxConcurrentTasks":"two"', "maxConcurrentTasks"},
        {'"maxConcurrentTasks":-1', "maxConcurrentTasks"},
        {'"features":"batch"', "features"},
    }
    for _, row in ipairs(BAD_FIELDS) do
        it(("refuses %.40s and names the field"):format(row[1]), function()
            local server = bridge.start()
            local client = websocket.connect(server)

            client:send_text('{"type":"register",' .. row[1] .. "}")

            local message = client:expect_error("bad_field")
            assert.truthy(message.error:find(row[2], 1, true), message.error)
            client:register("alice")
        end)
    end

    it("refuses a known key that comes twice, escaped or not", function()
        local server = bridge.start()
        local client = websocket.connect(server)

        client:send_text('{"type":"register","clientId":"a","clientId":"b"}')
        client:expect_error("duplicate_field")
        client:send_text([[{"type":"register","role":"a","r\u006fle":"b"}]])
        client:expect_error("duplicate_field")
    end)

    it("refuses a message without a type that it knows", function()
        local server = bridge.start()
        local client = websocket.connect(server)

        for _, text in ipairs({"{}", '{"type":"nonsense"}', '{"type":7}', "[]", '"register"', "null"}) do
            client:send_text(text)
            local code = client:receive_json().code
            assert.truthy(code == "bad_message" or (text == '{"type":7}' and code == "bad_field"), text .. ": " .. code)
        end
        client:register("alice")
    end)

    it("leaves everything as it was when a second register is refused", function()
        local server = bridge.start()
        local client = websocket.agent(server, "alice", {role = "worker"})

        client:send_text('{"type":"register","clientId":"alice","role":"boss","labels":7}')
        client:expect_error("bad_field")

        client:send_envelope({to = "alice"})
        assert.equal("worker", client:receive_envelope().role)
    end)
end)
