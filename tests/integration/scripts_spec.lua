-- The scripts that prove a bridge: what they answer, when they fail, and that they leave nothing behind.
local bridge = require "tests.support.bridge"
local dirent = require "posix.dirent"
local json = require "tests.support.json"
local process = require "tests.support.process"
local wait = require "tests.support.wait"

local SCRIPTS = {"scripts/load-test.sh", "scripts/memory-stress.sh", "scripts/worker-test.sh", "scripts/verify"}

-- Every process of a script has this folder in its environment, and it puts its files there.
local function fresh_folder()
    return process.folder()
end

local function processes_of(folder)
    local found = {}
    for pid in dirent.files("/proc") do
        local environment = pid:match("^%d+$") and process.read_file("/proc/" .. pid .. "/environ") or ""
        if environment:find("TMPDIR=" .. folder, 1, true) then
            local words = process.read_file("/proc/" .. pid .. "/cmdline") or "" -- it may have ended by now
            found[#found + 1] = words:gsub("%z", " ")
        end
    end
    return found
end

local function assert_nothing_left(folder)
    assert.same({}, processes_of(folder))
    for name in dirent.files(folder) do
        assert.truthy(name == "." or name == ".." or name == "figures.json", "left behind: " .. name)
    end
end

-- Runs a script with --json; gives the exit status, the figures (nil: none were written) and what it printed.
local function prove(words, env)
    local folder = fresh_folder()
    local command = {}
    for word in words:gmatch("%S+") do
        command[#command + 1] = word
    end
    command[#command + 1] = "--json"
    command[#command + 1] = folder .. "/figures.json"
    env = env or {}
    env.TMPDIR = folder
    local status, output, errors = process.run(command, {env = env, seconds = 90})
    assert_nothing_left(folder)
    local text = process.read_file(folder .. "/figures.json")
    return status, text ~= "" and json.decode(text) or nil, output, errors
end

local function verdicts(figures)
    local by_key = {}
    for _, criterion in ipairs(figures.criteria) do
        by_key[criterion.key] = criterion.verdict
    end
    return by_key
end

describe("a script that proves a bridge", function()
    after_each(process.clean)

    for _, script in ipairs(SCRIPTS) do
        it("says how it is used: " .. script, function()
            local status, output, errors = process.run({script, "--help"})

            assert.equal(0, status)
            assert.equal("", errors)
            assert.truthy(output:find("usage: " .. script, 1, true), output)
            assert.truthy(output:find("--json FILE", 1, true), output)
        end)
    end

    local WRONG = {
        {"scripts/load-test.sh", "--duration", "30"}, {"scripts/load-test.sh", "--rps", "0"},
        {"scripts/load-test.sh", "--agents"}, {"scripts/load-test.sh", "--nonsense"}, {"scripts/load-test.sh", "word"},
        {"scripts/load-test.sh", "--url", "here"}, {"scripts/load-test.sh", "--http-url", "http://localhost:1"},
        {"scripts/memory-stress.sh", "--size", "10 GB"}, {"scripts/memory-stress.sh", "--limit-as", "half"},
        {"scripts/worker-test.sh", "--tasks", "many"}, {"scripts/worker-test.sh", "--concurrency=0"},
        {"scripts/verify", "--quick=yes"}, {"scripts/verify", "--url", "ws://localhost:1"},
    }
    for _, command in ipairs(WRONG) do
        it("exits 2 with one line that says what was wrong: " .. table.concat(command, " "), function()
            local status, output, errors = process.run(command)

            assert.equal(2, status, errors)
            assert.equal("", output)
            assert.equal(1, select(2, errors:gsub("\n", "")), errors)
        end)
    end

    it("exits 1 when there is no bridge at --url", function()
        local status, figures, output, errors = prove("scripts/load-test.sh --duration 1s --url ws://127.0.0.1:1")

        assert.equal(1, status)
        assert.is_nil(figures)
        assert.equal("", output)
        assert.truthy(errors:find("no bridge answers at ws://127.0.0.1:1", 1, true), errors)
    end)
end)

describe("scripts/load-test.sh", function()
    after_each(process.clean)

    it("delivers the load, and says so in a table without colours and in JSON", function()
        local status, figures, output = prove("scripts/load-test.sh --duration 1s --rps 200 --agents 10")

        -- How long a message takes is a matter of the machine, so that verdict is not.
        assert.equal(figures.passed and 0 or 1, status)
        assert.equal("ok", verdicts(figures).errorRate)
        assert.equal("ok", verdicts(figures).ending)
        assert.is_true(figures.ownBridge)
        assert.equal(0, figures.figures.lost)
        assert.is_true(figures.figures.delivered > 0) -- how many of them within the second is the machine's matter, too
        assert.truthy(output:find("P50%s+P95%s+P99%s+P99.9"), output)
        assert.is_nil(output:find("\27", 1, true))
    end)

    it("exits 1 when the rate cannot be reached", function()
        local status, figures, output = prove("scripts/load-test.sh --duration 1s --rps 9000000 --agents 10")

        assert.equal(1, status)
        assert.is_false(figures.passed)
        assert.equal("MISSED", verdicts(figures).rate)
        assert.truthy(output:find("MISSED", 1, true))
    end)

    it("ends its bridge and its load at SIGINT", function()
        local folder = fresh_folder()
        local script = process.start({"scripts/load-test.sh", "--duration", "60s", "--rps", "10", "--agents", "2"},
            {env = {TMPDIR = folder}})
        wait.eventually(function()
            return table.concat(processes_of(folder), "\n"):find(" bench ", 1, true)
        end, 20, "the load to start")

        script:signal("SIGINT")

        assert.equal(130, script:wait_exit(20), script:log())
        assert_nothing_left(folder)
    end)
end)

describe("scripts/memory-stress.sh", function()
    after_each(process.clean)

    it("sends every shape, and finds every message again", function()
        local status, figures = prove("scripts/memory-stress.sh --size 10MB --duration 1s --memory 4GiB")

        assert.equal(figures.passed and 0 or 1, status)
        local found = verdicts(figures)
        for _, key in ipairs({"alive", "books", "answered", "lost", "level", "ending"}) do
            assert.equal("ok", found[key], key)
        end
        local shapes = 0
        for name, shape in pairs(figures.figures.shapes) do
            shapes = shapes + 1
            assert.is_true(shape.sent > 0, name)
        end
        assert.equal(5, shapes)
    end)
end)

describe("scripts/worker-test.sh", function()
    after_each(bridge.clean)

    it("gets every task done, with the right result", function()
        local status, figures, output, errors = prove("scripts/worker-test.sh --tasks 36 --concurrency 2")

        -- How long a message of the pair takes is a matter of the machine, so that verdict is not.
        assert.is_table(figures, errors)
        assert.equal(figures.passed and 0 or 1, status)
        assert.equal("ok", verdicts(figures).answered)
        assert.equal("ok", verdicts(figures).wrong)
        assert.equal("ok", verdicts(figures).ending)
        assert.equal(36, figures.figures.tasks.good)
        assert.equal(36, figures.figures.workers.tasksCompleted)
        assert.equal(0, figures.figures.workers.tasksFailed + figures.figures.workers.timeouts)
        assert.truthy(output:find("vector_operations", 1, true), output)
    end)

    it("exits 1 when the bridge has its workers off", function()
        local server = bridge.start({config = {phase2 = {workerPool = {enabled = false}}}})
        local words = "scripts/worker-test.sh --tasks 6 --concurrency 2 --url ws://127.0.0.1:%d --http-url %s"

        local status, figures = prove(words:format(server.ws_port, server:url()))

        assert.equal(1, status)
        assert.equal("MISSED", verdicts(figures).answered)
    end)
end)

describe("make bench-regression", function()
    after_each(process.clean)

    it("stores a result, and misses when a later one is worse", function()
        local stored = process.folder() .. "/stored.json"
        local words = "scripts/proof/start regression --duration 1s --stored " .. stored
        local status, figures = prove(words .. " --update")
        assert.equal("ok", verdicts(figures).errorRate)
        assert.equal(figures.passed and 0 or 1, status)
        local text = process.read_file(stored)
        if figures.passed then -- a machine that is busy with something else may miss a round, and nothing is stored
            assert.is_true(json.decode(text).cpuUsPerRequest.median > 0)
        else
            assert.equal("", text)
        end

        process.write_file(stored, json.encode({
            machine = figures.figures.machine, cpuUsPerRequest = {median = 0.1, spread = 0.1},
            p95us = {median = 0.1, spread = 0.1},
        }))
        local later, worse = prove(words)

        assert.equal(1, later)
        assert.equal("MISSED", verdicts(worse).cpu)
    end)
end)
