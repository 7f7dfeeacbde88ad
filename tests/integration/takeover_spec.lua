-- A newer connection of the same agent wins.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local variants = require "tests.support.variants"
local websocket = require "tests.support.websocket"

describe("a newer connection of the same agent", function()
    after_each(bridge.clean)

    for _, variant in ipairs(variants.reactors) do
        describe(variant.name, function()
            it("replaces the older one, which is closed with 4001", function()
                local server = variant.start()
                local old = websocket.agent(server, "bob")
                local alice = websocket.agent(server, "alice")

                local new = websocket.agent(server, "bob")

                old:expect_close(4001)
                alice:send_envelope({to = "bob", id = "e1"})
                assert.equal("e1", new:receive_envelope().id)
                assert.equal(2, #http.get(server, "/agents").agents)
            end)

            it("stays registered when the older one closes", function()
                local server = variant.start()
                local alice = websocket.agent(server, "alice")

                for round = 1, 10 do
                    local old = websocket.agent(server, "bob")
                    local new = websocket.agent(server, "bob")
                    old:expect_close(4001)
                    old:send_frame({opcode = websocket.CLOSE, payload = "\15\161"})
                    old:close()
                    alice:send_envelope({to = "bob", id = "round-" .. round})
                    assert.equal("round-" .. round, new:receive_envelope().id)
                    assert.equal(2, #http.get(server, "/agents").agents)
                end
            end)

            it("gets in order what the older one was not given", function()
                local server = variant.start()
                local alice = websocket.agent(server, "alice")
                local numbers, count = {}, 400
                local connection = websocket.agent(server, "bob")

                for number = 1, count do
                    alice:send_envelope(('{"to":"bob","payload":%d}'):format(number))
                    if number % 100 == 0 then
                        local newer = websocket.agent(server, "bob")
                        while true do
                            local message = connection:receive()
                            if message.type ~= "text" then
                                break
                            end
                            numbers[#numbers + 1] = tonumber(message.payload:match('"payload":(%d+)'))
                        end
                        connection = newer
                    end
                end
                while #numbers < count do
                    numbers[#numbers + 1] = connection:receive_envelope().payload
                end

                for number = 1, count do
                    assert.equal(number, numbers[number])
                end
            end)
        end)
    end

    it("can no more send as the agent once it is replaced", function()
        local server = bridge.start()
        local old = websocket.agent(server, "bob")
        local new = websocket.agent(server, "bob")
        old:expect_close(4001)

        old:send_envelope({to = "bob", id = "ghost"})
        new:send_envelope({to = "bob", id = "real"})

        assert.equal("real", new:receive_envelope().id)
    end)
end)
