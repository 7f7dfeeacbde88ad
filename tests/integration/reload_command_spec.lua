-- `luaduct reload` and `luaduct canary` against a running bridge, by HTTP and by the administration socket.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local process = require "tests.support.process"
local stat = require "posix.sys.stat"
local unistd = require "posix.unistd"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local OLD = [[return {route = function(envelope) envelope.channel = "old" end}]]
local NEW = [[return {route = function(envelope) envelope.channel = "new" end}]]

local function command(server, ...)
    local words = {...}
    words[#words + 1] = "--url"
    words[#words + 1] = server.admin or server:url()
    return bridge.luaduct(words)
end

describe("luaduct reload", function()
    after_each(bridge.clean)

    it("says which version is in use then, and exits 0", function()
        local server = bridge.start({script = OLD})
        process.write_file(server.folder .. "/script.lua", NEW)
        local status, output, errors = command(server, "reload")
        assert.equal(0, status, errors)
        assert.match("^version 2 of the scripts %(%x+%) is in use, after version 1\n$", output)
        local _, back = command(server, "reload", "--to", "1")
        assert.match("^version 1 ", back)
    end)

    it("says file, line and reason of a refusal, and exits 1", function()
        local server = bridge.start({script = OLD})
        process.write_file(server.folder .. "/script.lua", "return {\n  route = function() missing() end }")
        local status, output, errors = command(server, "reload")
        assert.equal(1, status)
        assert.equal("", output)
        assert.match("script%.lua:2: attempt to call global 'missing'", errors)
    end)

    it("shows a reason as it was meant, but for what acts on a terminal", function()
        local server = bridge.start({script = OLD})
        process.write_file(server.folder .. "/script.lua", [[error('no "words"\27[2J', 0)]])
        local _, _, errors = command(server, "reload")
        assert.truthy(errors:find('no "words"', 1, true), errors)
        assert.is_nil(errors:find("\27", 1, true))
    end)

    it("names the keys that need a restart", function()
        local server = bridge.start({script = OLD})
        process.write_file(server.folder .. "/config.lua", bridge.config_text(bridge.config({
            script = {path = "script.lua"}, history = {limit = 3},
        })))
        local _, output = command(server, "reload")
        assert.match("a restart is needed for history%.limit", output)
    end)

    it("lists the versions", function()
        local server = bridge.start({script = OLD})
        process.write_file(server.folder .. "/script.lua", NEW)
        command(server, "reload")
        local _, output = command(server, "reload", "--list")
        assert.match("2 +current", output)
        assert.match("1 +kept", output)
    end)

    it("says what is wrong with its words", function()
        for _, case in ipairs({
            {{"reload", "--canary", "many"}, "expected a share such as 10%"},
            {{"reload", "--to", "x"}, "--to"},
            {{"reload", "now"}, "there is no place for now"},
            {{"canary"}, "expected status, promote, abort or diff"},
            {{"canary", "dance"}, "expected status, promote, abort or diff"},
        }) do
            local status, _, errors = bridge.luaduct(case[1])
            assert.equal(2, status)
            assert.truthy(errors:find(case[2], 1, true), errors)
        end
        local status, _, errors = bridge.luaduct({"reload", "--url", "http://127.0.0.1:1"})
        assert.equal(1, status)
        assert.match("cannot reach the bridge", errors)
    end)
end)

describe("luaduct drain", function()
    after_each(bridge.clean)

    it("has the bridge go away in order, and says when it does so already", function()
        local GOES = {0, "the bridge goes away: its agents are sent elsewhere, then it ends\n", ""}
        local slow = bridge.start({config = {drain = {delayMs = 600000}}})
        assert.same(GOES, {command(slow, "drain")})
        assert.same({0, "the bridge was going away already\n", ""}, {command(slow, "drain")})
        slow.expected_end = true
        slow:kill()

        local server = bridge.start()
        assert.same(GOES, {command(server, "drain")})
        assert.equal(0, server:wait_exit())
    end)

    it("is for administrators, who are told how one becomes one", function()
        local server = bridge.start({config = {auth = {token = "correct horse battery staple"}}})

        local status, output, errors = bridge.luaduct({"drain", "--url", server:url()},
            {env = {AI_BRIDGE_AUTH_TOKEN = "correct horse battery staple"}})

        assert.same({1, ""}, {status, output})
        local ways = {"luaduct token new NAME --role admin", "auth.tokenIsAdmin", "listen.admin", "unix:PATH"}
        for _, way in ipairs(ways) do
            assert.truthy(errors:find(way, 1, true), errors)
        end
        assert.is_true(server:is_running())
    end)
end)

describe("luaduct canary", function()
    after_each(bridge.clean)

    it("shows a trial and ends it", function()
        local server = bridge.start({script = OLD, config = {canary = {promote = "manual"}}})
        local _, none = command(server, "canary", "status")
        assert.match("no version was on trial", none)
        process.write_file(server.folder .. "/script.lua", NEW)
        local status, output = command(server, "reload", "--canary", "id=a*")
        assert.equal(0, status)
        assert.match("version 2 .* is on trial beside version 1", output)
        local _, running = command(server, "canary", "status")
        assert.match("version 2 beside version 1: running", running)
        local refused, _, errors = command(server, "reload")
        assert.equal(1, refused)
        assert.match("busy", errors)
        assert.equal(0, (command(server, "canary", "promote")))
        local _, promoted = command(server, "canary", "status")
        assert.match("promoted: by command", promoted)
        assert.equal(2, http.get(server, "/health").scriptVersion.number)
    end)

    it("shows what a shadow would have done otherwise", function()
        local server = bridge.start({script = OLD})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        process.write_file(server.folder .. "/script.lua", NEW)
        assert.equal(0, (command(server, "reload", "--shadow")))
        alice:send_envelope({to = "bob"})
        assert.equal("old", bob:receive_envelope().channel)
        wait.eventually(function()
            local _, output = command(server, "canary", "diff")
            return output:find('would decide  to{"bob"}; channel = "new"', 1, true)
        end)
        assert.equal(0, (command(server, "canary", "abort")))
    end)
end)

describe("the administration socket", function()
    after_each(bridge.clean)

    it("lets its user administer, whatever the credential, and nobody else open it", function()
        local server = bridge.start({
            script = OLD, config = {listen = {admin = "admin.sock"}, auth = {token = "secret"}},
        })
        server.admin = "unix:" .. server.folder .. "/admin.sock"
        local mode = stat.stat(server.folder .. "/admin.sock").st_mode
        assert.equal(tonumber("600", 8), mode % 512)

        local refused, _, errors = bridge.luaduct({"reload", "--url", server:url()})
        assert.equal(1, refused)
        assert.match("unauthorized", errors)
        process.write_file(server.folder .. "/script.lua", NEW)
        local status, output, why = command(server, "reload")
        assert.equal(0, status, why)
        assert.match("version 2", output)
        assert.equal(0, (command(server, "send", "--to", "x", "hello")))
    end)

    it("takes the place of one that nobody serves, and leaves none behind", function()
        local server = bridge.start({config = {listen = {admin = "admin.sock"}}})
        local path = server.folder .. "/admin.sock"
        server.expected_end = true
        server:kill() -- leaves its socket
        local again = bridge.start({config = {listen = {admin = path}}})
        again.admin = "unix:" .. path
        assert.equal(0, (command(again, "reload")))
        local status, errors = bridge.start_failing({config = {listen = {admin = path}}})
        assert.equal(1, status)
        assert.match("listen%.admin: .* is in use", errors)
        again:stop()
        assert.is_nil(unistd.access(path))
    end)

    it("is not made in the place of another file", function()
        local status, errors = bridge.start_failing({
            config = {listen = {admin = "note.txt"}}, files = {["note.txt"] = "keep me"},
        })
        assert.equal(1, status)
        assert.match("listen%.admin: .*note%.txt is there and no socket", errors)
    end)
end)
