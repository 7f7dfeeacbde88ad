-- What the process gives up once it runs: its user, files outside of what its configuration names, system calls.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local process = require "tests.support.process"
local stat = require "posix.sys.stat"
local unistd = require "posix.unistd"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

-- The sanitizers' own work at the end of a process needs calls that the filter forbids.
local SANITIZED = os.getenv("LUADUCT_TEST_SLOW") ~= nil
local ROOT = unistd.geteuid() == 0

local function status(server, key)
    return process.read_file("/proc/" .. server:pid() .. "/status"):match("\n" .. key .. ":%s+(%S+)")
end

local function threads_status(server, key)
    local values = {}
    local text = io.popen("cat /proc/" .. server:pid() .. "/task/*/status"):read("*a")
    for value in text:gmatch("\n" .. key .. ":%s+(%S+)") do
        values[#values + 1] = value
    end
    return values
end

local function serves(server)
    local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
    alice:send_envelope({to = "bob", id = "e1"})
    assert.equal("e1", bob:receive_envelope().id)
end

describe("confinement", function()
    after_each(bridge.clean)

    it("nothing that the bridge runs can gain privileges", function()
        assert.equal("1", status(bridge.start(), "NoNewPrivs"))
    end)

    it("with files confined it serves, and reloads scripts in the folders that its config names", function()
        local server = bridge.start({
            config = {confinement = {files = "required"}, log = {file = "bridge.log"}},
            script = 'return { route = function(_, bridge) return bridge.drop("one", {tell = true}) end }',
        })
        process.write_file(server.folder .. "/script.lua", "return {}")

        local _, answer = http.post(server, "/admin/reload", "{}")

        assert.equal(200, answer.status, answer.body)
        serves(server)
    end)

    -- Where /etc/resolv.conf lies in /etc itself, and not in a folder for such files.
    local RESOLV = unistd.readlink("/etc/resolv.conf") == nil and process.read_file("/etc/resolv.conf") ~= nil

    for _, webhook in ipairs(RESOLV and {false, true} or {}) do
        it(("with files confined /etc can%s be read %s a webhook, whose name a new resolv.conf is for"):format(
            webhook and "" or "not", webhook and "with" or "without"), function()
            local function config(path)
                return bridge.config({
                    confinement = {files = "required"}, script = {path = path},
                    alerts = webhook and {webhook = {url = "http://alerts.invalid/"}} or nil,
                })
            end
            local server = bridge.start({config = config("script.lua"), files = {["script.lua"] = "return {}"}})
            process.write_file(server.folder .. "/config.lua", bridge.config_text(config("/etc/hostname")))

            local body = http.post(server, "/admin/reload", {})

            assert.equal("reload_failed", body.code)
            assert.equal(not webhook, body.error:find("Permission denied", 1, true) ~= nil, body.error)
        end)
    end

    it("with files confined a folder that the config did not name stays closed", function()
        local other = process.folder()
        process.write_file(other .. "/script.lua", "return {}")
        local server = bridge.start({config = {confinement = {files = "required"}}, script = "return {}"})
        local text = bridge.config_text(bridge.config({
            confinement = {files = "required"}, script = {path = other .. "/script.lua"},
        }))
        process.write_file(server.folder .. "/config.lua", text)

        local refusal, answer = http.post(server, "/admin/reload", "{}")

        assert.equal(422, answer.status)
        assert.matches("script.path: .*Permission denied", refusal.error)
    end)

    if ROOT then
        it("with a user it is that user in every thread, without groups or capabilities", function()
            local folder = process.folder()
            stat.chmod(folder, tonumber("755", 8))
            process.write_file(folder .. "/x", "")
            local server = bridge.start({config = {user = "nobody", listen = {admin = folder .. "/admin.sock"}}})

            for _, uid in ipairs(threads_status(server, "Uid")) do
                assert.equal("65534", uid)
            end
            assert.equal("0000000000000000", status(server, "CapEff"))
            assert.equal(65534, stat.stat(folder .. "/admin.sock").st_uid)
            serves(server)
        end)

        it("in whose log folder that user may make no file, it says so; a rotation that makes it works", function()
            local folder = process.folder()
            stat.chmod(folder, tonumber("755", 8))
            local file = folder .. "/bridge.log"
            local function wait_for(text, path)
                wait.eventually(function()
                    return (process.read_file(path or file) or ""):find(text, 1, true)
                end, 10, text)
            end
            local server = bridge.start({config = {user = "nobody", log = {file = file}}})
            wait_for("log.file: whom the bridge runs as can make no file in " .. folder)

            os.rename(file, file .. ".1")
            server:signal("SIGUSR1")
            wait_for("cannot open " .. file .. " again", file .. ".1")
            process.write_file(file, "")
            unistd.chown(file, 65534, 65534)
            server:signal("SIGUSR1")
            wait.eventually(function()
                http.post(server, "/admin/gc", "")
                return process.read_file(file) ~= ""
            end, 10, "the new file to be written to")
        end)

        it("with a number for a user and none that has it, it is that number", function()
            local server = bridge.start({config = {user = "54321"}})

            assert.equal("54321", status(server, "Uid"))
            assert.equal("54321", status(server, "Gid"))
        end)

        it("a group of -1, which would leave root's, refuses the start", function()
            local code, errors = bridge.start_failing({config = {user = "nobody", group = "-1"}})

            assert.equal(1, code)
            assert.matches("group: there is no group %-1 on this machine", errors)
        end)

        it("a user that is not there refuses the start and names the key", function()
            local code, errors = bridge.start_failing({config = {user = "nobody-of-that-name"}})

            assert.equal(1, code)
            assert.matches("user: there is no user nobody%-of%-that%-name on this machine", errors)
        end)
    end

    it("a group without a user refuses the start and names the key", function()
        local code, errors = bridge.start_failing({config = {group = "nogroup"}})

        assert.equal(1, code)
        assert.matches("group: is set without user", errors)
    end)

    it("with files confined a secret in a folder of its own is read again by a reload", function()
        local other = process.folder()
        process.write_file(other .. "/token", "the first token, long enough\n")
        local server = bridge.start({config = {
            confinement = {files = "required"}, auth = {token = {file = other .. "/token"}, tokenIsAdmin = true},
        }})
        process.write_file(other .. "/token", "the second token, long enough\n")

        local bearer = {Authorization = "Bearer the first token, long enough"}
        local _, answer = http.post(server, "/admin/reload", "{}", bearer)

        assert.equal(200, answer.status, answer.body)
        _, answer = http.get(server, "/agents", {Authorization = "Bearer the second token, long enough"})
        assert.equal(200, answer.status)
    end)

    it("with a first token by a reload there are no core dumps from then on", function()
        local server = bridge.start({script = "return {}"})
        local text = bridge.config_text(bridge.config({
            script = {path = "script.lua"}, auth = {token = "a token that is long enough"},
        }))
        process.write_file(server.folder .. "/config.lua", text)
        assert.equal(200, select(2, http.post(server, "/admin/reload", "{}")).status)

        assert.matches("Max core file size%s+0%s+0", process.read_file("/proc/" .. server:pid() .. "/limits"))
    end)

    it("with a token in memory there are no core dumps", function()
        local server = bridge.start({config = {auth = {token = "a token that is long enough"}}})

        local limits = process.read_file("/proc/" .. server:pid() .. "/limits")

        assert.matches("Max core file size%s+0%s+0", limits)
    end)

    if not SANITIZED then
        it("with system calls confined every thread is filtered, and all works", function()
            local server = bridge.start({
                config = {confinement = {systemCalls = "required"}, log = {file = "bridge.log"}},
                script = [[return { route = function(envelope, bridge)
                    if envelope.intent == "work" then
                        return bridge.reply({digest = luaduct.workers.execute{operation = "json_parse", data = "1"}})
                    end
                end }]],
            })

            for _, mode in ipairs(threads_status(server, "Seccomp")) do
                assert.equal("2", mode)
            end
            serves(server)
            local carol = websocket.agent(server, "carol")
            carol:send_envelope({intent = "work", to = "carol", id = "w1"})
            assert.equal("w1", carol:receive_envelope().replyTo)
            assert.equal(200, select(2, http.post(server, "/admin/reload", "{}")).status)
            server:signal("SIGUSR1")
            serves(server)
        end)
    end
end)
