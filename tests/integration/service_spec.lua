-- The bridge under a service manager: what it tells, and its exit status.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local manager = require "tests.support.manager"
local process = require "tests.support.process"
local wait = require "tests.support.wait"

local SCRIPT = [[return {route = function(envelope) envelope.channel = "old" end}]]

local function start(service, options)
    options = options or {}
    options.env = options.env or {}
    options.env.NOTIFY_SOCKET = service.path
    options.script = options.script or SCRIPT
    return bridge.start(options)
end

describe("a service manager", function()
    after_each(bridge.clean)

    for name, options in pairs({["a path"] = {}, ["an abstract name"] = {abstract = true}}) do
        it("is told by " .. name .. " when the bridge serves and when it stops", function()
            local service = manager.listen(options)
            local server = start(service)
            local ready, place = service:expect("READY")
            assert.equal(1, place)
            assert.equal("serving", ready.STATUS)
            server:stop()
            local stopping, last = service:expect("STOPPING")
            assert.equal("draining", stopping.STATUS)
            assert.equal(#service:messages(), last)
        end)

        it("is told by " .. name .. " also when its socket is another one by then", function()
            local service = manager.listen(options)
            local server = start(service)
            local _, ready = service:expect("READY")
            service:bind() -- as after systemctl daemon-reexec
            server:signal("SIGHUP")
            service:expect("READY", ready + 1)
            server:stop()
            service:expect("STOPPING", ready + 1)
        end)
    end

    it("is told that a reload begins, by the monotonic clock, and what came of it", function()
        local service = manager.listen()
        local server = start(service)
        local _, ready = service:expect("READY")
        local function now()
            local file = io.open("/proc/uptime")
            local text = file:read("*a")
            file:close()
            return tonumber(text:match("^[%d.]+"))
        end
        local before = now()
        process.write_file(server.folder .. "/script.lua", SCRIPT:gsub("old", "new"))
        server:signal("SIGHUP")
        local reloading, at = service:expect("RELOADING", ready + 1)
        local done, second = service:expect("READY", at + 1)
        assert.equal(at + 1, second)
        assert.equal("serving; version 2 of the scripts is in use", done.STATUS)
        local seconds = tonumber(reloading.MONOTONIC_USEC) / 1e6
        assert.is_true(seconds >= before - 0.02 and seconds <= now() + 0.02) -- uptime has hundredths

        process.write_file(server.folder .. "/script.lua", "return {\n  route = function() missing(\n) end }\n)")
        server:signal("SIGHUP")
        _, at = service:expect("RELOADING", second + 1)
        local refused = service:expect("READY", at + 1)
        assert.match("^serving; SIGHUP was refused: .*script%.lua", refused.STATUS)
    end)

    it("hears that the bridge is alive for as long as it asks to", function()
        local service = manager.listen()
        start(service, {env = {WATCHDOG_USEC = "200000"}})
        local _, first = service:expect("WATCHDOG")
        local _, second = service:expect("WATCHDOG", first + 1)
        service:expect("WATCHDOG", second + 1)
    end)

    it("does not hear that the bridge is alive while a reactor hangs", function()
        local service = manager.listen()
        local server = start(service, {
            env = {WATCHDOG_USEC = "100000"}, -- asked every 25 ms
            config = {script = {budgetMs = 60000}, performance = {worker_threads = 2}},
            script = [[return {route = function(envelope)
                if envelope.intent == "go on" then
                    luaduct.shared.set("gone on", true)
                else
                    while not luaduct.shared.get("gone on") do end
                end
            end}]],
        })
        service:expect("WATCHDOG")
        local function ask(intent)
            local connection = bridge.track(http.connect(server))
            local body = ('{"to":"bob","intent":"%s"}'):format(intent)
            connection:send_request({method = "POST", path = "/send", body = body})
            return connection
        end
        local hung = ask("hang")
        wait.eventually(function()
            local count = #service:messages()
            assert.is_nil(hung:receive(nil, 0.3)) -- it does not answer
            return #service:messages() == count
        end, nil, "a silence of 300 ms while the hook runs")
        -- The kernel gives one of these to the other reactor.
        wait.eventually(function()
            ask("go on")
            return hung:receive(nil, 0.1)
        end, nil, "the hook to go on")
        service:expect("WATCHDOG", #service:messages() + 1)
    end)

    it("whose watchdog waits for another process hears nothing of it", function()
        local service = manager.listen()
        local server = start(service, {env = {WATCHDOG_USEC = "20000", WATCHDOG_PID = "1"}})
        service:expect("READY")
        server:stop()
        service:expect("STOPPING")
        for _, message in ipairs(service:messages()) do
            assert.is_nil(message.WATCHDOG)
        end
    end)

    it("that is not there, or has a name that is none, is no reason not to serve", function()
        for _, name in ipairs({"/nowhere/at/all", "relative", "@", "/" .. ("x"):rep(200)}) do
            local server = bridge.start({env = {NOTIFY_SOCKET = name, WATCHDOG_USEC = "soon"}})
            assert.equal(200, select(2, http.get(server, "/ready")).status)
            server:stop()
        end
    end)
end)

describe("a bridge that is critically short of memory", function()
    after_each(bridge.clean)

    it("is alive, but not ready for more work", function()
        if os.getenv("LUADUCT_TEST_SLOW") == "1" then
            return -- a sanitizer's own memory counts too
        end
        local server = bridge.start({config = {
            limits = {memory = "64MiB"}, history = {limit = 0},
            agents = {mailboxBytes = "64MiB", mailboxTotalBytes = "64MiB"}, -- what fills it, and is not shed
            phase2 = {gcOptimization = {sampleIntervalMs = 10}},
        }})
        local envelope = {to = "absent", payload = ("x"):rep(500000)}
        local body
        wait.eventually(function()
            http.post(server, "/send", envelope)
            body = http.get(server, "/ready")
            local health, answer = http.get(server, "/health")
            assert.equal(200, answer.status)
            return body.code and health.memoryLevel == "critical"
        end, 20, "/ready to say no, and /health why")
        assert.same({"overloaded", "the bridge is short of memory"}, {body.code, body.error})
    end)
end)

describe("the exit status", function()
    after_each(bridge.clean)

    it("is 0 after SIGTERM and SIGINT", function()
        for _, name in ipairs({"SIGTERM", "SIGINT"}) do
            local server = bridge.start()
            server.expected_end = true
            server:signal(name)
            server:wait_exit()
            assert.equal(0, server:status())
        end
    end)

    it("is 1 when the bridge cannot start", function()
        assert.equal(1, (bridge.start_failing({config_text = "return { nonsense = 1 }"})))
        assert.equal(1, (bridge.start_failing({config = {script = {path = "none.lua"}}})))
        assert.equal(1, (bridge.start_failing({config = {listen = {host = "192.0.2.1", insecure = true}}})))
    end)

    it("is 2 for a mistake on the command line", function()
        assert.equal(2, (bridge.luaduct({"run", "--nonsense"})))
        assert.equal(2, (bridge.luaduct({"run", "--ws-port", "many"})))
        assert.equal(2, (bridge.luaduct({"nonsense"})))
    end)

    it("is 1 when it is told a second time while it drains", function()
        local server = bridge.start({config = {drain = {delayMs = 60000}}})
        server.expected_end = true
        server:signal("SIGTERM")
        server:wait_log("SIGTERM: draining")
        server:signal("SIGTERM")
        server:wait_exit()
        assert.equal(1, server:status())
    end)
end)
