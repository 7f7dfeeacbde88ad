-- docs/install.md: what it says to type is there, and what can run here does. The package and the container are proved
-- by make test-deb and make test-image.
local bridge = require "tests.support.bridge"
local process = require "tests.support.process"
local unistd = require "posix.unistd"

local PAGE = process.read_file("docs/install.md")

-- Every command of the page, comments and line breaks taken out.
local function commands()
    local list = {}
    for block in PAGE:gmatch("\n```\n(.-)\n```") do
        for line in block:gsub("\\\n%s*", ""):gmatch("[^\n]+") do
            list[#list + 1] = line:gsub("%s+#.*", "")
        end
    end
    return list
end

describe("the page on installing", function()
    after_each(bridge.clean)

    it("names targets of make and files that are there", function()
        local makefile = process.read_file("Makefile")
        local targets = 0
        for _, command in ipairs(commands()) do
            local target = command:match("^make ([%w-]+)")
            if target then
                targets = targets + 1
                assert.truthy(makefile:find("\n" .. target .. ":", 1, true), target)
            end
            for file in command:gmatch("%s%-f (%S+)") do
                assert.truthy(not file:find("/", 1, true) or file:find("^%a+/") and unistd.access(file)
                    or file:find("^job/") or file:find("^deployment/"), file)
            end
        end
        assert.is_true(targets >= 4)
        for path in PAGE:gmatch("`(core/[%w/_.]+)`") do
            assert.truthy(unistd.access(path), path)
        end
    end)

    it("makes the files of the Secrets, with which an agent of that name gets in", function()
        local folder = process.folder()
        local script = {"set -e", ("luaduct() { %s \"$@\"; }"):format(bridge.BINARY)}
        for _, command in ipairs(commands()) do
            if command:match("^luaduct cert ") or command:match("^luaduct token ") then
                script[#script + 1] = command
            end
        end
        local status, _, errors = process.run({"bash", "-c", table.concat(script, "\n")}, {directory = folder})
        assert.equal(0, status, errors)
        for argument in PAGE:gmatch("%-%-from%-file (%S+)") do
            assert.truthy(unistd.access(folder .. "/" .. (argument:match("=(.*)") or argument)), argument)
        end

        local server = bridge.start({config = {
            auth = {tokens = folder .. "/tokens.jsonl"},
            tls = {cert = folder .. "/certs/server.pem", key = folder .. "/certs/server.key"},
        }})
        local url = "https://127.0.0.1:" .. server.http_port
        local function reload_as(name)
            return bridge.luaduct({"reload", "--list", "--url", url, "--ca", folder .. "/certs/ca.pem"},
                {env = {AI_BRIDGE_AUTH_TOKEN = process.read_file(folder .. "/" .. name)}})
        end
        assert.equal(0, (reload_as("admin")))
        assert.equal(1, (reload_as("reader")))
        local agent_status, said, agent_errors = bridge.luaduct(
            {"agent", "worker-1", "--role", "worker", "--url", url, "--ca", folder .. "/certs/ca.pem"},
            {input = "", env = {AI_BRIDGE_AUTH_TOKEN = process.read_file(folder .. "/workers")}})
        assert.equal(0, agent_status, said .. agent_errors)
    end)
end)
