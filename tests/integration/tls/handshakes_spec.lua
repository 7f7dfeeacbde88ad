-- Handshakes that do not come to an end, and too many of them.
local bridge = require "tests.support.bridge"
local json = require "tests.support.json"
local process = require "tests.support.process"
local stream = require "tests.support.stream"
local tls = require "tests.support.tls"
local unistd = require "posix.unistd"
local wait = require "tests.support.wait"

-- The head of a handshake record of 512 bytes, and the first of them: the bridge waits for the rest.
local BEGUN = "\22\3\1\2\0\1"

describe("a handshake", function()
    after_each(bridge.clean)

    local function connect(server)
        return bridge.track(stream.connect(server.http_port))
    end

    -- By the administration socket, where no hands are shaken.
    local function figures(server)
        local _, body = process.run({"curl", "-sS", "--unix-socket", server.folder .. "/admin.sock",
            "http://localhost/metrics"})
        return json.decode(body).tls.handshakes, json.decode(body).tls.handshakeThreads
    end

    local function wait_figures(server, condition)
        wait.eventually(function() return condition(figures(server)) end)
    end

    local function start(config)
        config.listen = {admin = "admin.sock"}
        return tls.start({config = config})
    end

    it("that takes too long is closed, begun or not; how long that is follows a reload", function()
        local server = start({tls = {handshakeTimeoutMs = 200}})
        local silent, begun = connect(server), connect(server)
        begun:send(BEGUN)
        assert.equal("", silent:read_to_end())
        assert.equal("", begun:read_to_end())
        wait_figures(server, function(now) return now.failed.timeout == 2 end)
        local text = process.read_file(server.folder .. "/config.lua")
        process.write_file(server.folder .. "/config.lua",
            (text:gsub('%["handshakeTimeoutMs"%] = 200', '["handshakeTimeoutMs"] = 60000')))
        server:signal("SIGHUP")
        server:wait_log("is in use after version 1")
        tls.node(server, "round trip")
    end)

    it("has no more time than a reload says, also when the thread has just had another to do", function()
        local server = start({tls = {handshakeTimeoutMs = 600000}})
        assert.equal(0, (tls.curl(server, "/health")))
        local text = process.read_file(server.folder .. "/config.lua")
        process.write_file(server.folder .. "/config.lua",
            (text:gsub('%["handshakeTimeoutMs"%] = 600000', '["handshakeTimeoutMs"] = 200')))
        server:signal("SIGHUP")
        server:wait_log("is in use after version 1")
        assert.equal("", connect(server):read_to_end())
        wait_figures(server, function(now) return now.failed.timeout == 1 end)
    end)

    it("that dribbles in byte by byte is closed in time too", function()
        local server = start({tls = {handshakeTimeoutMs = 500}})
        local client = connect(server)
        client:send(BEGUN)
        wait.eventually(function()
            return not client:send("\0") or client.ended or (not client:fill(wait.now() + 0.01) and client.ended)
        end)
        wait_figures(server, function(now) return now.failed.timeout == 1 end)
    end)

    it("past tls.maxHandshakes is closed and counted; waiting ones do not count", function()
        local server = start({tls = {maxHandshakes = 2}})
        local open = {}
        for _ = 1, 20 do
            open[#open + 1] = connect(server) -- says nothing
        end
        wait_figures(server, function(now) return now.waiting == 20 end)
        for _ = 1, 2 do
            open[#open + 1] = connect(server)
            open[#open]:send(BEGUN)
        end
        wait_figures(server, function(now) return now.inProgress == 2 end)
        local third = connect(server)
        third:send(BEGUN)
        assert.equal("", third:read_to_end())
        wait_figures(server, function(now) return now.failed.overloaded == 1 end)
        server:wait_log("too many handshakes at once")
        assert.not_equal(0, (tls.curl(server, "/health")))
        open[#open]:close()
        wait_figures(server, function(now) return now.inProgress == 1 end)
        assert.equal(0, (tls.curl(server, "/health")))
    end)

    it("counts against limits.connections from the first moment to the last", function()
        local server = start({limits = {connections = 3}, tls = {handshakeTimeoutMs = 60000}})
        local open = {connect(server), connect(server), connect(server)}
        wait_figures(server, function(now) return now.waiting == 3 end) -- each reactor accepts at its own time
        assert.equal("", connect(server):read_to_end()) -- no plain 503, which no TLS client would understand
        for _, client in ipairs(open) do
            client:close()
        end
        wait.eventually(function() return (tls.curl(server, "/health")) == 0 end)
    end)

    it("counts against limits.connectionsPerAddress, whether it fails or is done", function()
        local server = tls.start({config = {limits = {connectionsPerAddress = 2}}})
        for _ = 1, 5 do
            local client = connect(server)
            client:send("\22\3\1\0\4nono")
            client:read_to_end()
        end
        for _ = 1, 5 do
            wait.eventually(function() return (tls.curl(server, "/health")) == 0 end)
        end
    end)

    -- Each has a slot of the certificates to itself: one more than there are slots would share keys with another.
    it("has the threads that were there at the start, also when there are more processors at a reload", function()
        local function may_use(processors, pid)
            return (process.run({"taskset", "-a", "-p", "-c", processors, tostring(pid)}))
        end
        if may_use("1", unistd.getpid()) ~= 0 then
            return pending("there is one processor only")
        end
        assert.equal(0, may_use("0", unistd.getpid()))
        local started, server = pcall(start, {})
        may_use("0-1", unistd.getpid())
        assert(started, server)
        assert.equal(1, select(2, figures(server)))
        assert.equal(0, may_use("0-1", server:pid()))
        server:signal("SIGHUP")
        server:wait_log("is in use after version 1")
        assert.equal(1, select(2, figures(server)))
        assert.equal(0, (tls.curl(server, "/health")))
    end)

    it("of nonsense after a good beginning is refused with an alert, and counted", function()
        local server = start({})
        for _, bytes in ipairs({
            "\22\3\1\0\4nono", "\22\3\3\64\1" .. ("x"):rep(16385), "\22\3\1\0\0", "\22\0\0\0\1x",
            "\22\3\1\0\5\20\0\0\1\1",
            "\22\3\1\0\4\1\255\255\255" .. "\22\3\1\64\0" .. ("x"):rep(16384), "\22\3\1\0\2\1\0",
        }) do
            local client = connect(server)
            client:send(bytes)
            client:half_close()
            client:read_to_end()
        end
        wait_figures(server, function(now)
            return now.failed.protocol + now.failed.closed + now.failed.version == 7 and now.inProgress == 0
        end)
        assert.equal(0, (tls.curl(server, "/health")))
    end)
end)
