-- Starting and stopping: what is said, what is refused, what signals do.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local ports = require "tests.support.ports"
local process = require "tests.support.process"
local socket = require "socket"
local stdlib = require "posix.stdlib"
local stream = require "tests.support.stream"
local unistd = require "posix.unistd"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

-- What a flag asks for may as well be called wrong usage (2); the file and the environment are a config (1).
local function refused(options, ...)
    local status, errors = bridge.start_failing(options)
    assert.truthy(status == 1 or (options.args and status == 2), errors)
    for _, text in ipairs({...}) do
        assert.truthy(errors:find(text, 1, true), errors)
    end
    return errors
end

describe("the start", function()
    after_each(bridge.clean)

    it("says version, mode, addresses and reactors, and two lines to try next", function()
        local server = bridge.start()

        local output = server:output()
        assert.matches("^Luaduct %d+%.%d+%.%d+, enhanced mode, 2 reactors\n", output)
        assert.truthy(output:find("ws://localhost:" .. server.ws_port, 1, true))
        assert.truthy(output:find("http://localhost:" .. server.http_port, 1, true))
        assert.truthy(output:find("luaduct agent", 1, true))
        assert.truthy(output:find("luaduct send", 1, true))
    end)

    it("names the program as its user calls it: by a path, or by its name where PATH has it", function()
        local folder = process.folder()
        local program = folder .. "/luaduct"
        unistd.link(stdlib.realpath(bridge.BINARY), program, true)
        local function tries(path)
            local server = bridge.start({binary = program, env = {PATH = path}})
            local agent, send = server:output():match("\n  (%S+) agent alice.-\n  (%S+) send %-%-to alice")
            assert.equal(agent, send)
            return agent
        end
        assert.equal(program, tries("/nowhere:" .. os.getenv("PATH")))
        assert.equal("luaduct", tries("/nowhere:" .. folder))
    end)

    it("takes the mode from --mode, over the file", function()
        local server = bridge.start({args = {"--mode", "original"}})

        assert.truthy(server:output():find("original mode", 1, true))
    end)

    it("takes ports and reactors from the flags, over the environment, over the file", function()
        local ws_port, http_port = ports.free(), ports.free()
        local server = bridge.start({
            args = {"--ws-port", tostring(ws_port), "--http-port", tostring(http_port), "--workers", "3"},
            env = {AI_BRIDGE_PORT = "1", AI_BRIDGE_HTTP_PORT = "1"},
        })

        assert.equal(ws_port, server.ws_port)
        assert.equal(http_port, server.http_port)
        assert.truthy(server:output():find("3 reactors", 1, true))
    end)

    it("takes ports from AI_BRIDGE_PORT and AI_BRIDGE_HTTP_PORT, over the file", function()
        local ws_port, http_port = ports.free(), ports.free()
        local server = bridge.start({env = {
            AI_BRIDGE_PORT = tostring(ws_port), AI_BRIDGE_HTTP_PORT = tostring(http_port),
        }})

        assert.equal(ws_port, server.ws_port)
        assert.equal(http_port, server.http_port)
    end)

    it("serves both on the one port that PORT names", function()
        local port = ports.free()
        local server = bridge.start({env = {PORT = tostring(port)}})

        assert.equal(port, server.ws_port)
        assert.equal(port, server.http_port)
        local alice = websocket.agent(server, "alice")
        http.post(server, "/send", {to = "alice", id = "e1"})
        assert.equal("e1", alice:receive_envelope().id)
    end)

    it("listens on both loopbacks", function()
        local server = bridge.start()
        local has_ipv6 = process.read_file("/proc/net/if_inet6"):find("00000000000000000000000000000001", 1, true)

        for _, host in ipairs(has_ipv6 and {"127.0.0.1", "::1"} or {"127.0.0.1"}) do
            for _, port in ipairs({server.ws_port, server.http_port}) do
                assert.equal(200, http.request(server, {path = "/health", host = host, port = port}).status)
            end
        end
    end)

    it("listens on no other address by default", function()
        local server = bridge.start()
        local udp = socket.udp()
        udp:setpeername("192.0.2.1", 9)
        local address = udp:getsockname()
        udp:close()

        if address and address ~= "0.0.0.0" and not address:match("^127%.") then
            assert.is_false((pcall(stream.connect, server.http_port, {host = address})))
        end
    end)

    it("fails in one line when the port is in use, by a bridge too", function()
        local first = bridge.start()

        local errors = refused({config = {listen = {wsPort = first.ws_port}}})

        assert.truthy(errors:find(("port %d is in use"):format(first.ws_port), 1, true), errors)
        assert.equal("ok", http.get(first, "/health").status)
    end)

    it("is refused on an open address without TLS and a credential, with a hint how to allow it", function()
        for _, options in ipairs({
            {config = {listen = {host = "0.0.0.0"}}}, {env = {AI_BRIDGE_HOST = "0.0.0.0"}},
            {args = {"--host", "0.0.0.0"}},
            {config = {listen = {host = "::"}}}, {config = {listen = {host = "0.0.0.0"}, auth = {token = "x"}}},
        }) do
            refused(options, "insecure")
        end
    end)

    it("is allowed on an open address by listen.insecure or AI_BRIDGE_INSECURE", function()
        local by_config = bridge.start({config = {listen = {host = "0.0.0.0", insecure = true}}})
        assert.equal("ok", http.get(by_config, "/health").status)
        local by_environment = bridge.start({env = {AI_BRIDGE_HOST = "0.0.0.0", AI_BRIDGE_INSECURE = "1"}})
        assert.equal("ok", http.get(by_environment, "/health").status)
    end)

    local NOT_YET = {
        ["store"] = {store = {path = "x"}}, ["cluster"] = {cluster = {}},
    }
    for path, config in pairs(NOT_YET) do
        it("is refused when it is asked for what is not there yet: " .. path, function()
            refused({config = config}, path, "not available yet")
        end)
    end

    it("is refused with an environment variable that makes no sense", function()
        for name, value in pairs({
            AI_BRIDGE_PORT = "x", PORT = "70000", AI_BRIDGE_HISTORY_LIMIT = "-1", AI_BRIDGE_RATE_MAX = "1e99",
            AI_BRIDGE_MAX_QUEUE = "many", AI_BRIDGE_CLIENT_TTL_MS = "10s",
        }) do
            refused({env = {[name] = value}}, name)
        end
    end)

    it("takes AI_BRIDGE_MAX_QUEUE as the bound of a mailbox", function()
        local server = bridge.start({env = {AI_BRIDGE_MAX_QUEUE = "1"}})
        http.post(server, "/send", {to = "bob", id = "e1"})
        http.post(server, "/send", {to = "bob", id = "e2"})

        assert.equal("e2", websocket.agent(server, "bob"):receive_envelope().id)
    end)

    it("logs JSON lines when log.format says so", function()
        local server = bridge.start({config = {log = {format = "json", level = "debug"}}})
        websocket.agent(server, "alice")
        server:stop()

        local count = 0
        for line in server:errors():gmatch("[^\n]+") do
            assert.equal("table", type(json.decode(line)))
            count = count + 1
        end
        assert.is_true(count > 0)
    end)

    it("logs into log.file, which starts at the config's folder", function()
        local server = bridge.start({config = {log = {file = "bridge.log", level = "debug"}}})
        websocket.agent(server, "alice")
        server:stop()

        assert.is_true(#process.read_file(server.folder .. "/bridge.log") > 0)
    end)
end)

describe("a signal", function()
    after_each(bridge.clean)

    for _, name in ipairs({"SIGTERM", "SIGINT"}) do
        it(name .. " says 1001 to agents and ends the process with 0", function()
            local server = bridge.start()
            local agents = {}
            for index = 1, 6 do
                agents[index] = websocket.agent(server, "agent-" .. index)
            end
            local unregistered = websocket.connect(server)

            server:signal(name)

            for index = 1, 6 do
                agents[index]:expect_close(1001)
            end
            unregistered:expect_close(1001)
            assert.equal(0, server:wait_exit())
        end)
    end

    it("SIGTERM ends the process though an agent never reads", function()
        local server = bridge.start({config = {drain = {timeoutMs = 500}}})
        local alice = websocket.agent(server, "alice")
        websocket.agent(server, "bob", nil, {receive_buffer = 4096})
        for _ = 1, 300 do
            alice:send_envelope({to = "bob", payload = ("x"):rep(30000)})
        end
        alice:expect_nothing()

        server:signal("SIGTERM")

        assert.equal(0, server:wait_exit(15))
    end)

    it("SIGTERM lets go what an agent was sent before", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice")
        local bob = websocket.agent(server, "bob", {features = {"batch"}})
        local got = 0
        for number = 1, 200 do
            alice:send_envelope({to = "bob", payload = number})
        end
        alice:expect_nothing()

        server:signal("SIGTERM")

        while got < 200 do
            local message = bob:receive_json()
            for _, envelope in ipairs(message.envelopes or {message.envelope}) do
                got = got + 1
                assert.equal(got, envelope.payload)
            end
        end
        bob:expect_close(1001)
        assert.equal(0, server:wait_exit())
    end)

    it("SIGHUP reloads, and the log says so", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice")

        server:signal("SIGHUP")

        server:wait_log("SIGHUP: version 2 of the scripts")
        alice:send_envelope({to = "alice", id = "e1"})
        assert.equal("e1", alice:receive_envelope().id)
    end)

    it("SIGUSR1 opens the log file again", function()
        local server = bridge.start({config = {log = {file = "bridge.log", level = "debug"}}})
        local path = server.folder .. "/bridge.log"
        websocket.agent(server, "alice")
        assert(os.rename(path, path .. ".1"))

        server:signal("SIGUSR1")
        local number = 0
        wait.eventually(function()
            number = number + 1
            websocket.agent(server, "agent-" .. number):finish(1000)
            return #process.read_file(path) > 0
        end, 10, "a new log file")
    end)

    it("SIGPIPE is nothing to it", function()
        local server = bridge.start()

        server:signal("SIGPIPE")

        assert.equal("ok", http.get(server, "/health").status)
    end)
end)
