-- docs/getting-started.md is typed as it stands, in its order. What the spec understands of the page:
--
--   ```sh            to be typed, and done with status 0; ```sh fails: with another
--   ```sh each       typed before each of the others
--   ```sh start      goes on running
--   ```shows         lines that the blocks since the last of these have printed
--   Save this as `NAME` and this as `NAME`: the next block, of any other language, is that file
--   <!-- stops: COMMAND -->   Ctrl-C to what was started so (Ctrl-D to an agent)
--   <!-- prints: TEXT -->     something that was started comes to print it
--   <!-- waits: TEXT -->      GET /agents comes to hold it
--
-- Only the ports are others: free ones.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local process = require "tests.support.process"
local unistd = require "posix.unistd"
local stat = require "posix.sys.stat"
local wait = require "tests.support.wait"

local CHECKOUT = unistd.getcwd()
local SECONDS = 30

-- The page as a list of steps {kind, text}.
local function read_page()
    local steps = {}
    local fence, lines
    for line in (process.read_file("docs/getting-started.md") .. "\n"):gmatch("(.-)\n") do
        local info = line:match("^```(.*)$")
        if info and fence then
            steps[#steps + 1] = {kind = fence, text = table.concat(lines, "\n")}
            fence = nil
        elseif info then
            fence, lines = info, {}
        elseif fence then
            lines[#lines + 1] = line
        else
            local verb, text = line:match("^<!%-%- (%w+): (.-) %-%->$")
            local name = line:match("this as `([^`]+)`")
            if verb then
                steps[#steps + 1] = {kind = verb, text = text}
            elseif name then
                steps[#steps + 1] = {kind = "file", text = name}
            end
        end
    end
    return steps
end

describe("getting started", function()
    after_each(bridge.clean)

    it("works as it is written", function()
        local root = process.folder()
        stat.mkdir(root .. "/build")
        unistd.link(bridge.BINARY, root .. "/build/luaduct", true)
        unistd.link(CHECKOUT .. "/examples", root .. "/examples", true)
        local server, prelude, file, shown, running = {}, "", nil, "", {}

        local function script_of(text)
            text = text:gsub("localhost:4567", "localhost:" .. (server.ws_port or 0))
                :gsub("localhost:4568", "localhost:" .. (server.http_port or 0))
            return prelude .. text
        end

        local function options(more)
            local all = {directory = root, seconds = SECONDS, env = {
                -- The spec asks more often than a person.
                AI_BRIDGE_PORT = "0", AI_BRIDGE_HTTP_PORT = "0", AI_BRIDGE_RATE_MAX = "0",
                PYTHONDONTWRITEBYTECODE = "1",
                AI_BRIDGE_URL = server.ws_port and ("ws://localhost:%d"):format(server.ws_port) or nil,
                PATH = "/usr/bin:" .. os.getenv("PATH"), -- Debian's python3, which has the package
            }}
            for name, value in pairs(more or {}) do
                all[name] = value
            end
            return all
        end

        local actions = {}

        function actions.file(name)
            file = name
        end

        local function save(text)
            assert(file, "a block that is no file:\n" .. text)
            process.write_file(root .. "/first/" .. file, (script_of(text):sub(#prelude + 1)) .. "\n")
            file = nil
        end

        actions["sh each"] = function(text)
            prelude = text .. "\n"
        end

        local function run(text, good)
            if text:find("^scripts/setup") then
                -- The checkout, and what it was built with: make hands that on.
                if not os.getenv("MAKELEVEL") then
                    return
                end
                local status, output, errors = process.run({"bash", "-ec", text}, {seconds = 600})
                assert.equal(0, status, output .. errors)
                return
            end
            local status, output, errors = process.run({"bash", "-ec", script_of(text)}, options())
            assert.equal(good, status == 0, ("%s\nended with %s:\n%s%s"):format(text, status, output, errors))
            shown = shown .. output .. errors
        end

        function actions.sh(text)
            run(text, true)
        end

        actions["sh fails"] = function(text)
            run(text, false)
        end

        actions["sh start"] = function(text)
            local is_agent = text:find("luaduct agent", 1, true)
            local last = process.start({"bash", "-ec", script_of("exec env " .. text)},
                options({input = is_agent and "pipe"}))
            running[#running + 1] = {text, last}
            wait.eventually(function()
                assert(last:is_running(), text .. "\n" .. last:log())
                if text:find("luaduct run", 1, true) then
                    server.ws_port = tonumber(last:output():match("WebSocket%s+ws://[^%s]-:(%d+)"))
                    server.http_port = tonumber(last:output():match("HTTP%s+http://[^%s]-:(%d+)"))
                    return server.ws_port and server.http_port
                end
                local id = text:match("luaduct agent (%w+)")
                for _, agent in ipairs(http.get(server, "/agents").agents) do
                    if agent.id == id then
                        return true
                    end
                end
                return not id
            end, SECONDS, text .. " to be there")
        end

        function actions.stops(text)
            local found
            for _, started in ipairs(running) do
                local command, one = unpack(started)
                if command:sub(1, #text) == text and one:is_running() then
                    found = one
                    if text:find("luaduct agent", 1, true) then
                        one:close_input()
                    else
                        one:signal("SIGINT")
                    end
                    assert.equal(0, one:wait_exit(SECONDS), one:log())
                end
            end
            assert(found, "nothing runs that was started with " .. text)
        end

        function actions.prints(text)
            wait.eventually(function()
                for _, started in ipairs(running) do
                    if started[2]:output():find(text, 1, true) then
                        return true
                    end
                end
            end, SECONDS, ("%q to be printed"):format(text))
        end

        function actions.waits(text)
            local last = running[#running][2]
            wait.eventually(function()
                local _, answer = http.get(server, "/agents")
                assert(last:is_running(), last:log())
                return answer.body:find(text, 1, true)
            end, SECONDS, ("/agents to hold %q"):format(text))
        end

        function actions.shows(text)
            for line in text:gmatch("[^\n]+") do
                assert(shown:find(line, 1, true), ("not shown: %s\nbut:\n%s"):format(line, shown))
            end
            shown = ""
        end

        local counts = {}
        for _, step in ipairs(read_page()) do
            local act = actions[step.kind] or save
            act(step.text)
            counts[step.kind] = (counts[step.kind] or 0) + 1
        end
        assert.is_true(counts.sh >= 10 and counts["sh start"] >= 7 and counts.file == 6, "the page was not understood")
    end)
end)
