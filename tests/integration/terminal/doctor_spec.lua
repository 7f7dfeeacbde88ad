-- `luaduct doctor`: what it finds of a machine and a config, and what it says to do.
local bridge = require "tests.support.bridge"
local dev_certs = require "tests.support.dev_certs"
local json = require "tests.support.json"
local process = require "tests.support.process"
local unistd = require "posix.unistd"

local function chmod(mode, ...)
    assert.equal(0, (process.run({"chmod", mode, ...})))
end

-- Exit status and the checks, by name; of several of one name the worst counts.
local RANK = {ok = 1, warn = 2, fail = 3}
local function examine(path, options)
    local status, output, errors = bridge.luaduct({"doctor", "--json", path}, options)
    local answer = json.decode(output)
    local checks = {}
    for _, check in ipairs(answer.checks) do
        local before = checks[check.name]
        if not before or RANK[check.status] > RANK[before.status] then
            checks[check.name] = check
        end
        assert.equal(check.status == "ok", check.advice == json.null, check.found)
        assert.is_nil(check.found:find("\n", 1, true))
    end
    assert.equal(answer.ok and 0 or 1, status, errors)
    return status, checks, errors
end

-- The check of that name, which is to have that status, and to say this.
local function assert_check(checks, name, status, found)
    local check = checks[name] or {}
    assert.equal(status, check.status, name .. ": " .. tostring(check.found))
    if found then
        assert.truthy(check.found:find(found), check.found)
    end
end

-- A config of the tests' free ports, in a folder of its own.
local function write(config, options)
    options = options or {}
    options.config = config
    local path, folder = bridge.write(options)
    chmod("644", path)
    return path, folder
end

describe("luaduct doctor", function()
    after_each(bridge.clean)

    it("finds a machine on which tests run fit for the built-in config but for what only warns", function()
        local status, checks = examine(write({}))

        assert.equal(0, status)
        for _, name in ipairs({"config", "listen.wsPort", "listen.httpPort", "tls", "open files", "clock"}) do
            assert_check(checks, name, "ok")
        end
        for _, name in ipairs({"memory", "processors", "epoll", "overcommit", "somaxconn", "landlock", "seccomp"}) do
            assert.truthy(checks[name], name)
        end
    end)

    it("prints for people a line for each check, advice below it, and how many there were", function()
        local path = write({performance = {worker_threads = 200}})
        local status, output, errors = bridge.luaduct({"doctor", path})

        assert.same({0, ""}, {status, errors})
        assert.match("\nok +listen.wsPort +any free port of localhost\n", output)
        assert.match("\nwarn +processors +%d+ for 200 reactors\n +→ more reactors than processors", output)
        assert.match("\n0 failed, %d+ warnings, %d+ ok\n$", output)
    end)

    it("says what is wrong with a config, each key of it", function()
        local status, checks, errors = examine(write(nil, {config_text = "return {mode = 7, history = {limit = -1}}"}))

        assert.same({1, ""}, {status, errors})
        assert_check(checks, "config", "fail", "mode: expected")
        assert.truthy(checks["open files"])
        local _, listed = bridge.luaduct({"doctor", (write(nil, {config_text = "return {mode = 7}"}))})
        assert.match("\nwarn +config +not looked at, .*scripts, credentials, certificates, files, ports\n", listed)
        local _, output = bridge.luaduct({"doctor", "/nowhere/config.lua"})
        assert.match("^fail +config +/nowhere/config.lua: cannot read the config file", output)
    end)

    it("loads scripts, rules and credentials, as a start would", function()
        local status, checks = examine(write({policies = {alerts = "rules.lua"}}, {
            script = "return {\nroute = function(", files = {["rules.lua"] = "return {{name = 1}}"},
        }))

        assert.equal(1, status)
        assert_check(checks, "file", "fail", "script.lua:2")

        status, checks = examine(write({}, {script = "return {route = function() end}"}))
        assert.equal(0, status)
        assert_check(checks, "file", "ok", "script.lua is good")
    end)

    it("finds ports that somebody else has, and a bridge that runs there already", function()
        local server = bridge.start()
        local status, checks = examine(write({listen = {httpPort = server.http_port}}))
        assert.equal(0, status)
        assert_check(checks, "listen.httpPort", "ok", "a bridge runs on port " .. server.http_port .. " already")

        local socket = require "socket"
        local other = assert(socket.bind("127.0.0.1", 0))
        local _, port = other:getsockname()
        status, checks = examine(write({listen = {wsPort = tonumber(port)}}))
        assert.equal(1, status)
        assert_check(checks, "listen.wsPort", "fail", "port " .. port .. " of localhost: Address already in use")
        assert.match("ss %-ltnp", checks["listen.wsPort"].advice)
        other:close()
    end)

    it("says of a port what is wrong with it, and what helps against that", function()
        local nobodys = "192.0.2.1" -- RFC 5737
        local _, checks = examine(write({listen = {host = nobodys, wsPort = 4567, insecure = true}}))
        assert_check(checks, "listen.wsPort", "fail", "port 4567 of 192.0.2.1: Cannot assign requested address")
        assert.match("mend listen.host", checks["listen.wsPort"].advice)
    end)

    it("warns where nobody may administer, and names the ways", function()
        local line = '{"name":"%s","sha256":"' .. ("0"):rep(64) .. '","roles":["%s"]}\n'
        local readers = {["tokens.jsonl"] = line:format("a", "reader")}
        local token = {token = "correct horse battery staple"}
        for _, case in ipairs({
            {true, {}},
            {true, {listen = {host = "0.0.0.0", insecure = true}}},
            {false, {listen = {host = "192.0.2.1", insecure = true}}},
            {false, {limits = {trustedProxies = {"127.0.0.1", "::1"}}}},
            {true, {limits = {trustedProxies = {"192.0.2.7"}}}},
            {true, {limits = {trustedProxies = {"127.0.0.1", "::1"}}, listen = {admin = "admin.sock"}}},
            {false, {auth = token}},
            {true, {auth = {token = token.token, tokenIsAdmin = true}}},
            {false, {auth = {tokens = "tokens.jsonl"}}, readers},
            {true, {auth = {tokens = "tokens.jsonl"}}, {["tokens.jsonl"] = line:format("a", "admin")}},
            {true, {auth = token, policies = {access = "rules.lua"}},
                {["rules.lua"] = 'allow { kind = "shared", admin = true }'}},
            {false, {auth = token, policies = {access = "rules.lua"}},
                {["rules.lua"] = 'allow { kind = "shared", see = "*" }'}},
        }) do
            local path = write(case[2], {files = case[3]})
            local _, checks = examine(path)
            assert.equal(case[1], checks.administration == nil, path)
            local _, _, errors = bridge.luaduct({"check", path})
            assert.equal(not case[1], errors:find("warning: nobody may administer", 1, true) ~= nil, errors)
        end
    end)

    it("looks at certificates: that they fit their keys, and when they run out", function()
        local folder = dev_certs.certs()
        local function tls(cert, key, more)
            return write({
                tls = {cert = cert, key = key}, alerts = {certificateExpiry = {threshold = more or 14}},
            })
        end
        local status, checks = examine(tls(folder .. "/server.pem", folder .. "/server.key"))
        assert.equal(0, status)
        assert_check(checks, "tls.cert", "ok", "is good until %d+%-%d+%-%d+, for %d+ days")
        assert_check(checks, "tls.key", "ok", "server.key has mode 0600")

        status, checks = examine(tls(folder .. "/server.pem", folder .. "/server.key", 99999))
        assert.equal(0, status)
        assert_check(checks, "tls.cert", "warn")

        status, checks = examine(tls(folder .. "/server.pem", folder .. "/ca.key"))
        assert.equal(1, status)
        assert_check(checks, "tls", "fail", "tls%.key")

        status, checks = examine(tls(dev_certs.untimely(folder, "expired")))
        assert.equal(1, status)
        assert_check(checks, "tls", "fail", "expired")
    end)

    it("finds secrets that others can read, and files that others can change", function()
        local path, folder = write({auth = {token = {file = "secret"}, tokens = "tokens.jsonl"}}, {
            files = {secret = "secret-secret-secret\n", ["tokens.jsonl"] = ""},
        })
        chmod("600", folder .. "/secret", folder .. "/tokens.jsonl")
        local status, checks = examine(path)
        assert.equal(0, status)
        assert_check(checks, "secret", "ok", "mode 0600")
        assert_check(checks, "auth.tokens", "ok")

        chmod("644", folder .. "/secret")
        status, checks = examine(path)
        assert.equal(1, status)
        assert_check(checks, "secret", "fail", "everybody can read .*secret %(mode 0644%)")
        chmod("666", path)
        status, checks = examine(path)
        assert.equal(1, status)
        assert_check(checks, "config", "fail", "others than its owner can change")

        path = write({auth = {token = "secret-secret-secret"}})
        status, checks = examine(path)
        assert.equal(1, status)
        assert_check(checks, "config", "fail", "everybody can read")
        status = examine(path, {env = {AI_BRIDGE_AUTH_TOKEN = "another-secret"}}) -- which then counts
        assert.equal(0, status)
    end)

    it("looks whether the log and the socket for administration can be made", function()
        local status, checks = examine(write({log = {file = "luaduct.log"}, listen = {admin = "admin.socket"}}))
        assert.equal(0, status)
        assert_check(checks, "log.file", "ok", "luaduct.log can be written")
        assert_check(checks, "listen.admin", "ok")
        if unistd.geteuid() ~= 0 then -- root can write anywhere
            status, checks = examine(write({log = {file = "/usr/luaduct.log"}}))
            assert.equal(1, status)
            assert_check(checks, "log.file", "fail")
        end
    end)

    it("holds the budget of memory and the limit of open files against what the process may have", function()
        local path = write({limits = {memory = "60TiB"}})
        local status, checks = examine(path)
        assert.equal(1, status)
        assert_check(checks, "memory", "fail", "limits.memory is 60.0 TiB, but ")
        status, checks = examine(write({limits = {memory = 0}}))
        assert.equal(0, status)
        assert_check(checks, "memory", "warn", "no budget")

        local function limited(config)
            local _, output = process.run({
                "bash", "-c", 'ulimit -n 512; exec "$0" doctor "$1"', bridge.BINARY, (write(config)),
            })
            return output
        end
        assert.match("warn +open files +512 a process, for %d+ connections\n +→ raise the hard limit", limited({}))
        assert.match("fail +config +[^\n]*limits.connections", limited({limits = {connections = 5000}}))
    end)

    it("says in one line what is wrong with how it is used", function()
        for _, arguments in ipairs({{"doctor", "a.lua", "b.lua"}, {"doctor", "--all"}}) do
            local status, output, errors = bridge.luaduct(arguments)
            assert.same({2, ""}, {status, output})
            assert.match("^luaduct doctor: [^\n]+\n$", errors)
        end
    end)
end)
