-- `luaduct top` in a real terminal: what it shows, its keys, other sizes, and what it leaves behind.
local bridge = require "tests.support.bridge"
local ports = require "tests.support.ports"
local process = require "tests.support.process"
local signal = require "posix.signal"
local terminal = require "tests.support.terminal"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local function top(server, options, ...)
    return terminal.start({bridge.BINARY, "top", "--interval", "0.1", "--url", server:url(), ...}, options)
end

local function line_of(screen, text)
    local number = 0
    for line in screen:gmatch("([^\n]*)\n") do
        number = number + 1
        if line:find(text, 1, true) then
            return number, line
        end
    end
end

-- Whether the lines that begin with these texts stand in that order.
local function in_order(screen, ...)
    local before = 0
    for _, text in ipairs({...}) do
        local number = line_of(screen, text)
        if not number or number <= before then
            return false
        end
        before = number
    end
    return true
end

local function wait_order(screen, ...)
    local names = {...}
    wait.eventually(function()
        return in_order(screen:screen(), unpack(names))
    end, nil, function()
        return table.concat(names, " before ") .. " in:\n" .. screen:screen()
    end)
end

-- Three agents; ann has sent most, ben had the only error.
local function start()
    local server = bridge.start()
    local ann = websocket.agent(server, "ann", {role = "writer"})
    local ben = websocket.agent(server, "ben", {role = "reader"})
    local cat = websocket.agent(server, "cat", {role = "reader"})
    for _ = 1, 3 do
        ann:send_envelope({to = "ben"})
        ben:receive_envelope()
    end
    cat:send_envelope({to = "ann"})
    ann:receive_envelope()
    ben:send_envelope({from = "somebody else", to = "ann"})
    ben:expect_error("from_mismatch")
    return server, ann, ben, cat
end

describe("luaduct top", function()
    after_each(bridge.clean)

    it("shows in 80 columns how the bridge does, and who sends most", function()
        local server, ann, ben = start()
        local screen = top(server)
        local text = screen:shows("cat")

        assert.match("^luaduct %d+%.%d+%.%d+  127%.0%.0%.1:%d+  enhanced  up %d+s\n", text)
        assert.match("\nready", text)
        assert.match("\nmessages  %d+/s +[▁▂▃▄▅▆▇█]", text)
        assert.match("\np99 +[%d.]+ .?s +[▁▂▃▄▅▆▇█]", text)
        assert.match("\nmemory +[%d.]+ MiB +[▁▂▃▄▅▆▇█]", text)
        assert.match("\n3 agents  0 in mailboxes  1 refused  %d errors", text)
        assert.match("\nno alerts\n", text)
        assert.match("\nAGENT +ROLE +MSG/S +MESSAGES +ERRORS +CONNECTED\n", text)
        assert.match("\nann +writer +0 +3 +0 +%d+s\n", text)
        for line in text:gmatch("[^\n]+") do
            assert.is_true(select(2, line:gsub("[^\128-\191]", "")) <= 80, line)
        end

        -- Who sends now comes first, at a rate that is not 0.
        wait.eventually(function()
            ben:send_envelope({to = "ann"})
            ann:receive_envelope()
            return screen:screen():match("CONNECTED\nben +reader +[1-9]")
        end, nil, "the rate of ben")
        screen:keys("q")
        assert.equal(0, (screen:ended()))
    end)

    it("sorts and filters by keys", function()
        local server = start()
        local screen = top(server)
        screen:shows("cat")
        screen:keys("m")
        wait_order(screen, "ann", "cat", "ben")
        screen:keys("e")
        wait_order(screen, "ben", "ann", "cat")
        screen:keys("n")
        wait_order(screen, "ann", "ben", "cat")
        screen:keys("r")
        wait_order(screen, "cat", "ben", "ann")

        screen:keys("/")
        screen:shows("filter: ▏")
        screen:types("quatsch")
        screen:shows("filter: quatsch▏")
        screen:keys("C-u")
        screen:types("readex")
        screen:keys("BSpace", "Enter")
        wait.eventually(function()
            local text = screen:screen()
            return not line_of(text, "ann ") and in_order(text, "cat", "ben", "filter: reade  ")
        end, nil, screen:screen())
        screen:keys("Escape")
        wait_order(screen, "cat", "ben", "ann", "q quit")
        screen:keys("q")
        assert.equal(0, (screen:ended()))
    end)

    it("scrolls, and stops while it is paused", function()
        local server = bridge.start()
        local agents = {}
        for i = 1, 30 do
            agents[i] = websocket.agent(server, ("agent-%02d"):format(i))
        end
        local screen = top(server, {rows = 20}, "--sort", "id")
        screen:shows("agent-11")
        assert.is_nil(line_of(screen:screen(), "agent-12"))
        screen:keys("Down")
        screen:shows("agent-12")
        assert.is_nil(line_of(screen:screen(), "agent-01"))
        screen:keys("End")
        screen:shows("agent-30")
        screen:keys("Home")
        screen:shows("agent-01")
        screen:keys("Space")
        screen:shows("paused")
        agents[1]:close()
        screen:keys("Space")
        wait.eventually(function()
            return not line_of(screen:screen(), "agent-01")
        end, nil, "the agent to leave")
        screen:keys("C-d")
        assert.equal(0, (screen:ended()))
    end)

    it("follows the size of its terminal, down to one that has hardly any room", function()
        local server = bridge.start()
        websocket.agent(server, ("long-"):rep(20), {role = "role-of-some-length"})
        local screen = top(server)
        screen:shows("long-")
        screen:resize(132, 30)
        screen:shows(("long-"):rep(8))
        screen:shows("role-of-some-length")
        screen:resize(52, 12)
        wait.eventually(function()
            return screen:screen():match("AGENT +MSG/S +MESSAGES")
        end, nil, "the narrow table")
        screen:resize(5, 2)
        screen:resize(80, 24)
        screen:shows("AGENT    ")
        screen:keys("q")
        assert.equal(0, (screen:ended()))
    end)

    it("gives the terminal back as it was, however it ends", function()
        local server = start()
        for _, how in ipairs({"q", "C-c", "SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT"}) do
            local screen = top(server)
            screen:shows("AGENT ")
            if how:match("^SIG") then
                signal.kill(screen:pid(), signal[how])
            else
                screen:keys(how)
            end
            local status, before, after = screen:ended()
            assert.equal(0, status, how)
            assert.equal(before, after, how)
            assert.is_nil(line_of(screen:screen(), "AGENT"), how) -- the other screen is there again
        end
    end)

    it("goes on when the bridge is away for a while", function()
        local port = ports.free() -- which nobody is given while the bridge is away
        local server = bridge.start({config = {listen = {httpPort = port}}})
        local screen = top(server)
        screen:shows("AGENT ")
        server:stop()
        screen:shows("cannot reach the bridge")
        local again = bridge.start({config = {listen = {httpPort = port}}})
        websocket.agent(again, "back")
        screen:shows("back")
        assert.is_nil(line_of(screen:screen(), "cannot reach"))
        screen:keys("q")
        assert.equal(0, (screen:ended()))
    end)

    it("shows colour only where NO_COLOR is not set", function()
        local server = bridge.start()
        local coloured, plain = top(server), top(server, {env = {NO_COLOR = "1"}})
        coloured:shows("ready")
        plain:shows("ready")
        assert.truthy(coloured:screen(true):find("\27%[[%d;]*32m"))
        assert.is_nil(plain:screen(true):find("\27%[[%d;]*3[0-7]m"))
        coloured:keys("q")
        plain:keys("q")
        coloured:ended()
        plain:ended()
    end)

    it("prints one look as text, for scripts", function()
        local server = start()
        local status, output, errors = bridge.luaduct({
            "top", "--once", "--interval", "0.1", "--sort", "messages", "--limit", "2", "--url", server:url(),
        })
        assert.same({0, ""}, {status, errors})
        assert.match("^messages %d+/s  p99 [%d.]+ .?s  memory [%d.]+ MiB  agents 3  in mailboxes 0  errors %d\n"
            .. "MSG/S +MESSAGES +ERRORS +CONNECTED +AGENT +ROLE\n"
            .. " +%d+ +3 +0 +%d+s +ann +writer\n +%d+ +1 +0 +%d+s +cat +reader\n$", output)
        status, output = bridge.luaduct({
            "top", "--once", "--interval", "0.1", "--filter", "be", "--url", server:url(),
        })
        assert.equal(0, status)
        assert.match("\n +%d+ +0 +1 +%d+s +ben +reader\n$", output)
    end)

    it("says so before it takes the screen, when there is no bridge or no terminal that it can use", function()
        local screen = terminal.start({bridge.BINARY, "top", "--url", "http://127.0.0.1:1"})
        assert.equal(1, (screen:ended()))
        assert.match("^luaduct top: cannot reach the bridge at", screen:screen())
        local server = bridge.start()
        screen = top(server, {env = {TERM = "no-such-terminal"}})
        assert.equal(1, (screen:ended()))
        screen:shows('luaduct top: the terminal "no-such-terminal" cannot be used')
        local _, _, errors = process.run({bridge.BINARY, "top", "--url", server:url()})
        assert.match("^luaduct top: there is no terminal; %-%-once prints text", errors)
    end)
end)
