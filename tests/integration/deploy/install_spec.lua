-- What `make install` and the Debian package put where. The package itself is proved by `make test-deb`.
local bridge = require "tests.support.bridge"
local process = require "tests.support.process"
local stat = require "posix.sys.stat"
local unistd = require "posix.unistd"
local wait = require "tests.support.wait"

-- The build folder that has the binary under test.
local BUILD = bridge.BINARY:match("^(.*)/")

local function make(target, root)
    local status, _, errors = process.run({
        "make", "-s", target, "BUILD=" .. BUILD, "DESTDIR=" .. root, "PREFIX=/usr",
    }, {env = {MAKEFLAGS = "", MAKELEVEL = "1"}, seconds = 30})
    assert.equal(0, status, errors)
end

local function files(root)
    local _, output = process.run({"find", root, "-type", "f"})
    return output
end

local function sorted(text)
    local words = {}
    for word in text:gmatch("%S+") do
        words[#words + 1] = word
    end
    table.sort(words)
    return words
end

describe("make install", function()
    after_each(bridge.clean)

    it("installs a program that finds the config beside it, and make uninstall removes all of it", function()
        local root = process.folder()
        make("install-files", root)

        local status, output, errors = process.run({root .. "/usr/bin/luaduct", "check"})

        assert.equal(0, status, errors)
        assert.equal(root .. "/usr/share/luaduct/config/luaduct.lua: ok\n", output)
        for _, file in ipairs({"doc/luaduct/copyright", "man/man1/luaduct.1", "bash-completion/completions/luaduct"}) do
            assert.truthy(stat.stat(root .. "/usr/share/" .. file), file)
        end
        make("uninstall", root)
        assert.equal("", files(root))
    end)

    it("puts what Prometheus, Grafana and Kubernetes take among the examples, in one piece", function()
        local root = process.folder()
        make("install-files", root)
        local examples = root .. "/usr/share/doc/luaduct/examples"
        for _, name in ipairs({"prometheus", "grafana", "k8s"}) do
            local status, differences = process.run({"diff", "-r", "config/deploy/" .. name, examples .. "/" .. name})
            assert.equal(0, status, differences)
        end
        local status, output = process.run({"promtool", "check", "config", examples .. "/prometheus/prometheus.yaml"})
        assert.equal(0, status, output)
    end)

    it("puts the documents where the unit says they are", function()
        local root = process.folder()
        make("install-files", root)

        local unit = process.read_file(root .. "/usr/share/luaduct/luaduct.service")

        assert.truthy(stat.stat(root .. unit:match("Documentation=file:(%S+)")))
        assert.truthy(stat.stat(root .. unit:match("ExecStart=(%S+)")))
        assert.equal("luaduct", unit:match("User=(%S+)"))
        assert.match("u luaduct ", process.read_file(root .. "/usr/share/luaduct/luaduct.sysusers"))
    end)
end)

describe("the Debian package", function()
    it("is of the version that the program says", function()
        local _, output = bridge.luaduct({"version"})
        local changelog = process.read_file("config/deploy/debian/changelog")
        assert.equal(output, ("luaduct %s\n"):format(changelog:match("^luaduct %((.-)%)")))
    end)

    it("and the image are built from all that make install installs", function()
        local taken = process.read_file("scripts/deb"):match('\ncp %-r (Makefile[^"\n]-) "%$sources"')
        local copied = {}
        for words in process.read_file("config/deploy/container/Dockerfile"):gmatch("\nCOPY ([^\n]+) %S+") do
            if not words:find("scripts/setup", 1, true) and not words:find("--from", 1, true) then
                copied[#copied + 1] = words
            end
        end
        assert.same(sorted(taken), sorted(table.concat(copied, " ")))
        local folder, root = process.folder(), process.folder()
        assert.equal(0, (process.run({"sh", "-c", "cp -r " .. taken .. ' "$1"', "sh", folder})))
        local build = BUILD:sub(1, 1) == "/" and BUILD or unistd.getcwd() .. "/" .. BUILD
        local status, _, errors = process.run({"make", "-s", "-C", folder, "install-files", "BUILD=" .. build,
            "DESTDIR=" .. root, "PREFIX=/usr"}, {env = {MAKEFLAGS = "", MAKELEVEL = "1"}, seconds = 30})
        assert.equal(0, status, errors)
    end)

    it("is built with what scripts/setup installs", function()
        local control = process.read_file("config/deploy/debian/control")
        local depends = control:match("Build%-Depends: debhelper%-compat %(= 13%),(.-)\n%S"):gsub(",", " ")
        local setup = process.read_file("scripts/setup"):match("run_packages=%((.-)%)")
        setup = setup:gsub("lua%-cjson", "") -- which scripts load, and the program does not
        assert.same(sorted(setup), sorted(depends))
    end)
end)

describe("luaduct health", function()
    after_each(bridge.clean)

    it("says ok of a bridge that lives, and ready of one that takes work, without a credential", function()
        local server = bridge.start({config = {auth = {token = "s3cret"}}})
        local status, output, errors = bridge.luaduct({"health", "--url", server:url()})
        assert.equal(0, status, errors)
        assert.equal("ok\n", output)
        status, output, errors = bridge.luaduct({"health", "--ready", "--url", server:url()})
        assert.equal(0, status, errors)
        assert.equal("ready\n", output)
    end)

    it("takes the address from AI_BRIDGE_URL, as the container's health check does", function()
        local server = bridge.start()
        assert.equal(0, (bridge.luaduct({"health"}, {env = {AI_BRIDGE_URL = server:url()}})))
    end)

    it("says why not, in one line, and exits 1", function()
        local server = bridge.start()
        local url = server:url()
        server:stop()
        local status, output, errors = bridge.luaduct({"health", "--url", url})
        assert.equal(1, status)
        assert.equal("", output)
        assert.match("^luaduct health: cannot reach the bridge at [^\n]+\n$", errors)
    end)

    it("does not wait long for one that does not answer", function()
        local server = bridge.start()
        server:signal("SIGSTOP")
        local asking = bridge.luaduct_start({"health", "--url", server:url()})
        wait.eventually(function()
            return not asking:is_running()
        end, 30, "health to give up")
        server:signal("SIGCONT")
        assert.equal(1, asking:status())
    end)

    it("says what is wrong with its words, and exits 2", function()
        local status, _, errors = bridge.luaduct({"health", "now"})
        assert.equal(2, status)
        assert.equal("luaduct health: it takes no operands, got now, see luaduct health --help\n", errors)
        assert.equal(0, (bridge.luaduct({"health", "--help"})))
    end)
end)
