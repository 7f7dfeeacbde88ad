-- A build for POSIX and libev alone (make PORTABLE=1): that nothing of Linux is in it, and that it is the same bridge.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local process = require "tests.support.process"
local tls = require "tests.support.tls"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local FOLDER = bridge.BINARY:match("(.*)/") or "."

-- What Linux has, or its C library alone.
local LINUX = {}
for name in ([[epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd eventfd_read
        eventfd_write signalfd timerfd_create timerfd_settime inotify_init inotify_init1 inotify_add_watch
        inotify_rm_watch accept4 pipe2 dup3 prctl syscall clone unshare setns ptrace splice tee vmsplice sendfile
        sendmmsg recvmmsg memfd_create mremap fallocate getauxval gettid tgkill getrandom sched_getaffinity
        sched_setaffinity sched_getcpu close_range setresuid setresgid adjtimex sysinfo malloc_trim mallinfo mallinfo2
        malloc_usable_size pthread_setname_np pthread_getname_np pthread_getattr_np pthread_tryjoin_np
        pthread_timedjoin_np pthread_clockjoin_np pthread_setaffinity_np pthread_sigqueue memmem memrchr mempcpy
        __mempcpy_chk strchrnul qsort_r ppoll __ppoll_chk explicit_bzero __explicit_bzero_chk reallocarray asprintf
        vasprintf __asprintf_chk __vasprintf_chk mkostemp secure_getenv get_nprocs fopencookie statx renameat2
        seccomp_init]]):gmatch("%S+") do
    LINUX[name] = true
end

-- Debian's archive of LuaJIT is built for Linux, and linked in.
local LUAJIT = {syscall = true, mremap = true}

local function lines_of(...)
    local status, output, errors = process.run({...})
    assert.equal(0, status, errors)
    return output:gmatch("[^\n]+")
end

-- What of the list is imported, but for that.
local function found_in(but, ...)
    local found = {}
    for line in lines_of(...) do
        local name = line:match(" U ([%w_]+)")
        found[#found + 1] = LINUX[name] and not but[name] and name or nil
    end
    return found
end

local function all_to(id)
    return ("return {route = function(_, bridge) return bridge.to(%q) end}"):format(id)
end

local function wait_output(child, text)
    wait.eventually(function()
        return child:output():find(text, 1, true)
    end, nil, function()
        return ("the output to hold %q; it is %s"):format(text, child:log())
    end)
end

describe("a portable build", function()
    after_each(bridge.clean)

    it("calls nothing that only Linux has", function()
        assert.same({}, found_in({}, "nm", "--undefined-only", FOLDER .. "/core.a", FOLDER .. "/obj/core/main.o"))
        assert.same({}, found_in(LUAJIT, "nm", "-D", "--undefined-only", bridge.BINARY))
    end)

    it("reads nothing below /proc and /sys", function()
        local status, output = process.run({"grep", "-a", "-c", "-E", "/proc/|/sys/", FOLDER .. "/core.a"})
        assert.equal("0\n", output)
        assert.equal(1, status)
    end)

    it("differs in files of its own, and in a few lines", function()
        local places = {}
        for path in lines_of("grep", "-rl", "LUADUCT_LINUX", "core") do
            places[#places + 1] = path
        end
        table.sort(places)
        assert.same({"core/base/threads/barrier.h", "core/net/poller.h", "core/net/tls/tls_cipher.c"}, places)
    end)

    it("takes agents, requests and work with TLS, follows its files, and ends in order", function()
        local server = tls.start({
            config = {script = {watch = true}}, script = all_to("alice"),
        })
        local ca = server.authority.ca
        local function agent(id)
            local url = ("wss://localhost:%d"):format(server.ws_port)
            local child = bridge.luaduct_start({"agent", id, "--url", url, "--ca", ca}, {input = "pipe"})
            wait.eventually(function()
                local _, body = tls.curl(server, "/agents")
                return body:find('"' .. id .. '"', 1, true)
            end)
            return child
        end
        local function send(text)
            local url = ("https://localhost:%d"):format(server.http_port)
            local status, _, errors = bridge.luaduct({"send", "--to", "nobody", "--url", url, "--ca", ca, text})
            assert.equal(0, status, errors)
        end
        local alice, bob = agent("alice"), agent("bob")

        send('{"text":"first"}')
        wait_output(alice, "first")
        process.write_file(server.folder .. "/script.lua", all_to("bob"))
        server:wait_log("version 2")
        send('{"text":"second"}')
        wait_output(bob, "second")
        assert.falsy(bob:output():find("first", 1, true))
        server:stop()
    end)

    it("runs tasks, reloads on SIGHUP, refuses an upgrade in words, and ends on SIGTERM", function()
        local server = bridge.start({script = all_to("alice")})
        local alice = websocket.agent(server, "alice")
        local task = {operation = "hash", data = {text = "abc", algorithm = "sha256"}}
        local _, answer = http.post(server, "/workers/execute", task)
        assert.truthy(answer.body:find("ba7816bf", 1, true), answer.body)

        process.write_file(server.folder .. "/script.lua", all_to("bob"))
        server:signal("SIGHUP")
        wait.eventually(function() return server:log():find("version 2", 1, true) end, nil, server:log())
        local bob = websocket.agent(server, "bob")
        alice:send_envelope({to = "alice", id = "e1"})
        assert.equal("e1", bob:receive_envelope().id)

        server:signal("SIGUSR2")
        server:wait_log("upgrading without a restart is for Linux")
        alice:send_envelope({to = "alice", id = "e2"})
        assert.equal("e2", bob:receive_envelope().id)
        server:stop()
    end)

    it("says which keys are for Linux", function()
        for _, key in ipairs({"files", "systemCalls"}) do
            local status, errors = bridge.start_failing({config = {confinement = {[key] = "required"}}})
            assert.equal(1, status)
            assert.truthy(errors:find("confinement." .. key .. ": Linux alone can", 1, true), errors)
        end
        local server = bridge.start({config = {confinement = {files = "auto", systemCalls = "auto"}}})
        server:wait_log("confinement.systemCalls: Linux alone can")
        assert.equal("ok", http.get(server, "/health").status)
    end)

    it("holds a thousand agents under load", function()
        local server = bridge.start()
        local status, output, errors = bridge.luaduct({
            "bench", "direct", "--url", ("ws://127.0.0.1:%d"):format(server.ws_port), "--agents", "1000",
            "--window", "2", "--seconds", "1", "--warmup", "0", "--json",
        }, {seconds = 60})
        assert.equal(0, status, output .. errors)
        local result = json.decode(output)
        assert.is_true(result.received > 1000, output)
        assert.equal(0, result.lost, output)
    end)
end)
