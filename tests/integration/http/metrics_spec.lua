-- GET /metrics as scrapers see it: formats, names, and that what happened is counted.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local process = require "tests.support.process"
local tls = require "tests.support.tls"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local OPEN_METRICS = "application/openmetrics-text;version=1.0.0"
local TEXT = "text/plain;version=0.0.4"

local function scrape(server, accept)
    return http.request(server, {path = "/metrics", headers = {Accept = accept or TEXT}}).body
end

local function value(text, sample)
    return tonumber(("\n" .. text):match("\n" .. sample:gsub("%p", "%%%0") .. " ([^\n]+)"))
end

-- Waits until a sample is at least that.
local function reaches(server, sample, least)
    wait.eventually(function()
        return (value(scrape(server), sample) or 0) >= least
    end, 10, sample .. " to reach " .. least)
end

describe("Accept chooses what /metrics answers with:", function()
    local server

    setup(function()
        server = bridge.start()
    end)
    teardown(bridge.clean)

    for accept, kind in pairs({
        -- What Prometheus sends: 2.42, and 3.
        ["application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
            .. "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"] = "application/openmetrics-text; version=1.0.0",
        ["application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
            .. "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
            .. "text/plain;version=0.0.4;q=0.2,/;q=0.1"] = "application/openmetrics-text; version=1.0.0",
        ["application/openmetrics-text; version=0.0.1, text/plain;version=0.0.4;q=0.5"] = "text/plain; version=0.0.4",
        ["application/openmetrics-text"] = "application/openmetrics-text; version=1.0.0",
        ["application/openmetrics-text;q=0.2, text/plain;q=0.3"] = "text/plain; version=0.0.4",
        ["text/plain;q=0.5, application/openmetrics-text"] = "application/openmetrics-text; version=1.0.0",
        ["TEXT/Plain ; Q=0.5"] = "text/plain; version=0.0.4",
        ["text/plain"] = "text/plain; version=0.0.4",
        ["text/plain;version=0.0.4"] = "text/plain; version=0.0.4",
        ["text/plain;q=0"] = "application/json",
        ["text/plain;q=0, application/openmetrics-text;q=0.0"] = "application/json",
        ["text/plain;q=0.4, application/json;q=0.9"] = "application/json",
        ["application/json, text/plain, */*"] = "application/json", -- many HTTP clients of JavaScript
        ["text/html,application/xhtml+xml,*/*;q=0.8"] = "application/json", -- browsers
        ["text/plain;version=9"] = "application/json",
        ["*/*"] = "application/json",
        [";;,,q="] = "application/json",
    }) do
        it(accept .. " gets " .. kind, function()
            local answer = http.request(server, {path = "/metrics", headers = {Accept = accept}})
            assert.equal(200, answer.status)
            assert.equal(kind, (answer.headers["content-type"]:gsub("; charset=utf%-8$", "")))
        end)
    end
end)

describe("the text of /metrics", function()
    after_each(bridge.clean)

    it("passes promtool's check of names, types and help, all families included", function()
        local server = tls.start({config = {listen = {admin = "admin.sock"}}})
        local _, text = tls.curl(server, "/metrics", {"-H", "Accept: " .. TEXT})
        assert.truthy(text:find("luaduct_tls_handshake_seconds_bucket", 1, true))
        local status, output, errors = process.run({"promtool", "check", "metrics"}, {input = text, seconds = 30})
        assert.equal("", output .. errors)
        assert.equal(0, status)
    end)

    it("as OpenMetrics has families in one piece, each with help, type and the unit of its name, and an end", function()
        local text = scrape(bridge.start(), OPEN_METRICS)
        local family, kind, unit
        local seen = {}
        for line in text:gmatch("[^\n]+") do
            local name, rest = line:match("^# HELP (%S+) (.+)$")
            if name then
                assert.is_nil(seen[name], name)
                family, kind, unit, seen[name] = name, nil, nil, true
                assert.truthy(rest:match("%.$"), line)
            elseif line:match("^# TYPE") then
                name, kind = line:match("^# TYPE (%S+) (%l+)$")
                assert.equal(family, name)
            elseif line:match("^# UNIT") then
                name, unit = line:match("^# UNIT (%S+) (%S+)$")
                assert.equal(family, name)
                assert.equal("_" .. unit, family:sub(-#unit - 1))
            elseif line ~= "# EOF" then
                local suffix = line:sub(#family + 1):match("^([%l_]*)")
                assert.equal(family, line:sub(1, #family))
                local suffixes = kind == "counter" and {_total = true}
                    or kind == "histogram" and {_bucket = true, _sum = true, _count = true} or {[""] = true}
                assert.is_true(suffixes[suffix], line)
                assert.is_false(unit == nil and family:match("_seconds$") ~= nil, line)
            end
        end
        assert.equal("\n# EOF\n", text:sub(-7))
        assert.is_nil(scrape(bridge.start()):find("# EOF", 1, true))
    end)

    it("has the same samples in both formats, and none twice", function()
        local server = bridge.start()
        wait.eventually(function() -- the alert rules have been read
            return value(scrape(server), 'luaduct_alert_active{rule="certificateExpiry"}')
        end)
        local function samples(accept)
            local names = {}
            for name in ("\n" .. scrape(server, accept)):gmatch("\n([^#\n][^\n]*) %S+") do
                assert.is_nil(names[name], name)
                names[name] = true
            end
            return names
        end
        local text, open_metrics = samples(TEXT), samples(OPEN_METRICS)
        for name in pairs(text) do
            -- Whether there is something to say of these changes from one scrape to the next.
            if not name:match("^luaduct_alert_value") and not name:match("^luaduct_memory_t") then
                assert.is_true(open_metrics[name], name)
                open_metrics[name] = nil
            end
        end
        for name in pairs(open_metrics) do
            assert.truthy(name:match("^luaduct_alert_value") or name:match("^luaduct_memory_t"), name)
        end
    end)

    it("is what docs/metrics.md says", function()
        local status, output, errors = process.run({"luajit", "scripts/metrics.lua"}, {seconds = 30})
        assert.equal(0, status, errors)
        assert.equal(output, process.read_file("docs/metrics.md"))
    end)
end)

describe("a histogram of /metrics", function()
    after_each(bridge.clean)

    it("counts reloads, and says whether the last one was taken", function()
        local GOOD, BAD = "return {route = function() end}", "return {"
        local server = bridge.start({script = GOOD})
        local function figures()
            local text = scrape(server, TEXT)
            return {
                tonumber(text:match('\nluaduct_reloads_total{outcome="done"} (%d+)')),
                tonumber(text:match('\nluaduct_reloads_total{outcome="refused"} (%d+)')),
                tonumber(text:match("\nluaduct_last_reload_successful (%d)")),
            }
        end
        assert.same({0, 0, 1}, figures())
        for _, step in ipairs({{BAD, {0, 1, 0}}, {GOOD .. " ", {1, 1, 1}}}) do
            process.write_file(server.folder .. "/script.lua", step[1])
            http.post(server, "/admin/reload", "")
            assert.same(step[2], figures())
        end
    end)

    it("counts every message, whole and by reactor", function()
        local server = bridge.start({config = {performance = {worker_threads = 2}}})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        for i = 1, 5 do
            alice:send_envelope({to = "bob", intent = "job", payload = i})
            bob:receive_envelope()
        end
        reaches(server, "luaduct_message_latency_seconds_count", 5)
        local text = scrape(server)
        assert.equal(5, value(text, "luaduct_message_latency_seconds_count"))
        assert.equal(5, value(text, 'luaduct_message_latency_seconds_bucket{le="10.0"}'))
        assert.is_true(value(text, "luaduct_message_latency_seconds_sum") > 0)
        assert.equal(5, value(text, 'luaduct_reactor_message_latency_seconds_count{reactor="0"}')
            + value(text, 'luaduct_reactor_message_latency_seconds_count{reactor="1"}'))
        assert.equal(5, value(text, 'luaduct_reactor_messages_accepted_total{reactor="0"}')
            + value(text, 'luaduct_reactor_messages_accepted_total{reactor="1"}'))
    end)

    it("never falls from one bucket to the next, and ends with the count", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice")
        alice:send_envelope({to = "alice", intent = "self"})
        alice:receive_envelope()
        local text, last, series = scrape(server), nil, nil
        for line in text:gmatch("[^\n]+") do
            local name, labels, edge, count = line:match('^([%w_]+)_bucket{(.-),?le="([^"]+)"} (%d+)$')
            if name then
                count = tonumber(count)
                assert.is_true(series ~= name .. labels or count >= last, line)
                series, last = name .. labels, count
                if edge == "+Inf" then
                    assert.equal(count, value(text, name .. "_count" .. (labels == "" and "" or "{" .. labels .. "}")))
                end
            end
        end
    end)

    it("has the time of hooks: each call, and of routes the first and then one in 64", function()
        local server = bridge.start({config = {performance = {worker_threads = 1}}, script = [[
            return {
                route = function() return nil end,
                on_register = function() return nil end,
                on_disconnect = function() end,
            }
        ]]})
        local alice = websocket.agent(server, "alice")
        websocket.agent(server, "bob"):close()
        for i = 1, 2000 do
            alice:send_envelope({to = "alice", intent = "self", payload = i})
            alice:receive_envelope()
        end
        reaches(server, 'luaduct_script_run_seconds_count{hook="on_disconnect"}', 1)
        local text = scrape(server)
        assert.equal(2, value(text, 'luaduct_script_run_seconds_count{hook="on_register"}'))
        -- The script's route and the mode's are calls of their own: 4,000, of which 62 are to be expected.
        local routes = value(text, 'luaduct_script_run_seconds_count{hook="route"}')
        assert.is_true(routes > 20 and routes < 200, routes)
    end)

    it("has how long envelopes stood in mailboxes", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice")
        websocket.agent(server, "bob"):close()
        wait.eventually(function()
            return http.get(server, "/health").connectedClients == 1
        end)
        for i = 1, 3 do
            alice:send_envelope({to = "bob", intent = "job", payload = i})
        end
        reaches(server, "luaduct_mailbox_envelopes", 3)
        assert.equal(0, value(scrape(server), "luaduct_mailbox_wait_seconds_count"))
        local bob = websocket.agent(server, "bob")
        for _ = 1, 3 do
            bob:receive_envelope()
        end
        reaches(server, "luaduct_mailbox_wait_seconds_count", 3)
        assert.equal(3, value(scrape(server), 'luaduct_mailbox_wait_seconds_bucket{le="100000.0"}'))
    end)

    it("has how long tasks waited and ran", function()
        local server = bridge.start()
        for priority, times in pairs({high = 2, low = 1}) do
            for _ = 1, times do
                local _, answer = http.post(server, "/workers/execute",
                    {operation = "sort", data = {items = {3, 1, 2}}, priority = priority})
                assert.equal(200, answer.status, answer.body)
            end
        end
        local text = scrape(server)
        assert.equal(2, value(text, 'luaduct_task_wait_seconds_count{priority="high"}'))
        assert.equal(1, value(text, 'luaduct_task_wait_seconds_count{priority="low"}'))
        assert.equal(3, value(text, "luaduct_task_run_seconds_count"))
    end)

    it("has the collector's steps", function()
        local server = bridge.start()
        http.post(server, "/admin/gc", {})
        reaches(server, "luaduct_gc_pause_seconds_count", 1)
        reaches(server, 'luaduct_gc_collections_total{trigger="manual"}', 1)
    end)

    it("has TLS handshakes that were done", function()
        local server = tls.start()
        tls.curl(server, "/health")
        local _, text = tls.curl(server, "/metrics", {"-H", "Accept: " .. TEXT})
        assert.equal(2, value(text, 'luaduct_tls_handshake_seconds_count{kind="full"}')
            + value(text, 'luaduct_tls_handshake_seconds_count{kind="resumed"}'))
        assert.is_nil(scrape(bridge.start()):find("luaduct_tls", 1, true))
    end)
end)

-- The sanitizers' own work at the end of a process needs calls that the filter forbids.
if not os.getenv("LUADUCT_TEST_SLOW") then
    describe("a scrape of a confined bridge", function()
        after_each(bridge.clean)

        it("has the processor time of every reactor", function()
            local server = bridge.start({config = {confinement = {files = "required", systemCalls = "required"}}})
            reaches(server, 'luaduct_reactor_cpu_seconds_total{reactor="0"}', 0.000001)
            reaches(server, 'luaduct_reactor_cpu_seconds_total{reactor="1"}', 0.000001)
            reaches(server, "process_cpu_seconds_total", 0.000001)
        end)
    end)
end
