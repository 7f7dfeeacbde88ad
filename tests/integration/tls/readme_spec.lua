-- What README.md says about TLS works as it stands there, but for the ports and the terminal.
local bridge = require "tests.support.bridge"
local process = require "tests.support.process"
local wait = require "tests.support.wait"

-- The commands of the section: {"luaduct", "agent", …}.
local function commands()
    local section = process.read_file("README.md"):match("\n## With TLS\n(.-)\n## ")
    local list = {}
    for line in section:match("```\n(.-)```"):gmatch("[^\n]+") do
        local words = {}
        line = line:gsub("'(.-)'", function(quoted)
            return (quoted:gsub(" ", "\1"))
        end)
        for word in line:gmatch("%S+") do
            words[#words + 1] = (word:gsub("\1", " "))
        end
        list[#list + 1] = words
    end
    return section, list
end

-- The same command, for the folder and the server of the test.
local function adapt(words, folder, server)
    local arguments = {}
    for index = 2, #words do
        local word = words[index]:gsub("^build/dev%-certs/", folder .. "/")
        word = word:gsub("4567$", server.ws_port):gsub("4568$", server.http_port)
        arguments[#arguments + 1] = word
    end
    return arguments
end

describe("README's TLS section", function()
    after_each(bridge.clean)

    it("delivers a first message over wss and https", function()
        local section, list = commands()
        assert.truthy(section:find("make run-tls", 1, true))
        assert.equal(2, #list)
        -- What `make run-tls` does, elsewhere.
        local folder = process.folder() .. "/dev-certs"
        assert.equal(0, (bridge.luaduct({"cert", "dev", folder})))
        local server = bridge.run(folder .. "/bridge.lua")

        local alice = bridge.luaduct_start(adapt(list[1], folder, server), {input = "pipe"})
        local status, output, errors = bridge.luaduct(adapt(list[2], folder, server))

        assert.equal(0, status, errors)
        assert.truthy(output:find("queued", 1, true), output)
        wait.eventually(function()
            return alice:output():find('"payload":{"text": "hello"}', 1, true)
        end, nil, "the envelope in Alice's terminal; she said " .. alice:log())
    end)

    it("is what make run-tls does", function()
        local makefile = process.read_file("Makefile")
        local recipe = makefile:match("\nrun%-tls:.-\n\n")
        assert.truthy(recipe:find("luaduct cert dev $(BUILD)/dev-certs", 1, true), recipe)
        assert.truthy(recipe:find("luaduct run $(BUILD)/dev-certs/bridge.lua", 1, true), recipe)
    end)
end)
