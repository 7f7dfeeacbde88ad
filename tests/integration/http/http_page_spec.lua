-- docs/http-api.md: each curl of it works as it stands, but for the port.
local bridge = require "tests.support.bridge"
local process = require "tests.support.process"
local websocket = require "tests.support.websocket"

-- The commands of the page's blocks, and what is shown behind those that begin with `$`.
local function commands()
    local list = {}
    for block in process.read_file("docs/http-api.md"):gmatch("\n```\n(.-)\n```") do
        for line in block:gmatch("[^\n]+") do
            if line:find("^%$ curl") then
                list[#list + 1] = {text = line:sub(3)}
            elseif line:find("^curl") then
                list[#list + 1] = {text = line:gsub("%s+#.*$", "")}
            else
                list[#list].shown = line
            end
        end
    end
    return list
end

describe("the page about the HTTP API", function()
    after_each(bridge.clean)

    it("has commands that work", function()
        local server = bridge.start({
            script = "return {}", config = {listen = {admin = "luaduct.sock"}},
        })
        websocket.agent(server, "alice")
        local count = 0
        for _, command in ipairs(commands()) do
            local text, replaced = command.text:gsub("localhost:4568", "localhost:" .. server.http_port)
            if replaced > 0 or text:find("--unix-socket", 1, true) then
                local streams = text:find("curl %-sN")
                text = text:gsub("curl %-sN", "curl -sN -m 1"):gsub(" | .*$", "") -- a pipe is the reader's matter
                local status, output, errors = process.run({"bash", "-c", text .. " -w '\\n%{http_code}'"},
                    {directory = server.folder, seconds = 20})
                local code = output:match("(%d+)$")
                -- A stream ends by curl's own limit of time.
                assert.equal(streams and 28 or 0, status, text .. "\n" .. output .. errors)
                if command.shown then
                    assert.equal(command.shown .. "\n" .. code, output)
                else
                    assert.matches("^20%d$", code, text .. "\n" .. output)
                end
                count = count + 1
            end
        end
        assert.is_true(count >= 15, count)
    end)
end)
