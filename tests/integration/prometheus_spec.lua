-- A real Prometheus scrapes two bridges under some load, one with TLS, by the configuration and the rules that come
-- with the project, and answers every query of the dashboard.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local process = require "tests.support.process"
local prometheus = require "tests.support.prometheus"
local tls = require "tests.support.tls"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local FOLDER = "config/deploy/prometheus/"
local DASHBOARD = "config/deploy/grafana/luaduct.json"

local SCRIPT = [[
    local script = {}
    script.cache = {"intent"}
    function script.route(envelope)
        return nil
    end
    function script.on_register()
        luaduct.shared.get("key")
    end
    return script
]]

-- The configuration of the project, but for where the bridges are, and faster.
local function config(plain, encrypted)
    local text = process.read_file(FOLDER .. "prometheus.yaml")
    text = text:gsub("_interval: 15s", "_interval: 200ms"):gsub("127.0.0.1:4568", "127.0.0.1:" .. plain.http_port)
    return text .. ([[
  - job_name: luaduct-tls
    scheme: https
    tls_config: {ca_file: %s, server_name: localhost}
    static_configs:
      - targets: ["127.0.0.1:%d"]
]]):format(encrypted.authority.ca, encrypted.http_port)
end

-- Once around: something of everything that the dashboard shows.
local function load(plain, encrypted)
    local alice = websocket.agent(plain, "alice")
    for i = 1, 20 do
        alice:send_envelope({to = "alice", intent = "self", payload = i})
        alice:receive_envelope()
    end
    alice:send_envelope({to = "nobody-of-that-name", intent = ""})
    alice:send_envelope({to = "bob", intent = "later"})
    alice:send_text("{")
    local bob = websocket.agent(plain, "bob")
    bob:receive_envelope()
    bob:close()
    alice:close()
    for _, priority in ipairs({"high", "normal", "low"}) do
        http.post(plain, "/workers/execute", {operation = "sort", data = {items = {3, 1, 2}}, priority = priority})
    end
    http.post(plain, "/admin/gc", {})
    assert.equal(0, (tls.curl(encrypted, "/health")))
    process.run({"curl", "-sS", "--max-time", "5", ("http://localhost:%d/"):format(encrypted.http_port)})
end

local function queries()
    local list = {}
    for _, panel in ipairs(json.decode(process.read_file(DASHBOARD)).panels) do
        for _, target in ipairs(panel.targets or {}) do
            list[#list + 1] = {panel = panel.title, expression = target.expr:gsub("%$instance", ".*")
                :gsub("%$__rate_interval", "1m")}
        end
    end
    return list
end

local function has_data(server, expression)
    for _, sample in ipairs(server:query(expression)) do
        if sample.value == sample.value then
            return true
        end
    end
    return false
end

describe("Prometheus", function()
    local plain, encrypted, server

    setup(function()
        -- The trend of memory is known after some tens of samples.
        plain = bridge.start({script = SCRIPT, config = {
            phase2 = {gcOptimization = {sampleIntervalMs = 50}},
            tracing = {endpoint = "http://127.0.0.1:9"}, -- its counters are there though nothing is traced
        }})
        encrypted = tls.start()
        server = prometheus.start(config(plain, encrypted), {
            ["recording.yaml"] = process.read_file(FOLDER .. "recording.yaml"),
            ["alerts.yaml"] = process.read_file(FOLDER .. "alerts.yaml"),
        })
        wait.eventually(function()
            return #server:query("luaduct_uptime_seconds") == 2
        end, 30, "the first scrapes")
    end)
    teardown(bridge.clean)

    it("scrapes bridges with and without TLS", function()
        wait.eventually(function()
            for _, target in ipairs(server:api("targets").activeTargets) do
                if target.health ~= "up" or target.lastError ~= "" then
                    return false
                end
            end
            return true
        end, 30, function() return json.encode(server:api("targets")) end)
        assert.equal(2, #server:query("up == 1"))
    end)

    it("answers every query of the Grafana dashboard once there is some load", function()
        local waiting = queries()
        assert.is_true(#waiting > 80)
        wait.eventually(function()
            load(plain, encrypted)
            local still = {}
            for _, query in ipairs(waiting) do
                if not has_data(server, query.expression) then
                    still[#still + 1] = query
                end
            end
            waiting = still
            return #waiting == 0
        end, 60, function()
            local list = {"data for"}
            for _, query in ipairs(waiting) do
                list[#list + 1] = query.panel .. ": " .. query.expression
            end
            return table.concat(list, "\n")
        end)
    end)

    it("evaluates every rule, and has values of those that the earlier bridge's dashboard named", function()
        local names = {}
        wait.eventually(function()
            for _, group in ipairs(server:api("rules").groups) do
                for _, rule in ipairs(group.rules) do
                    if rule.health ~= "ok" then
                        return false
                    end
                    names[rule.name] = rule.type
                end
            end
            return true
        end, 30, function() return "all rules to be ok: " .. json.encode(server:api("rules")) end)
        assert.equal("alerting", names.LuaductDown)
        for _, name in ipairs({"object_pool_hit_rate", "gc_collections_per_minute", "worker_pool_active_tasks"}) do
            assert.equal("recording", names[name])
            wait.eventually(function()
                return has_data(server, name)
            end, 30, name)
        end
        local rate = server:query("object_pool_hit_rate")[1].value
        assert.is_true(rate >= 0 and rate <= 1, rate)
    end)

    it("fires an alert when a bridge is gone", function()
        plain:stop()
        wait.eventually(function()
            return #server:query('ALERTS{alertname="LuaductDown", alertstate="pending"}') == 1
        end, 30, "the alert LuaductDown")
    end)
end)

describe("the Grafana dashboard", function()
    local dashboard = json.decode(process.read_file(DASHBOARD))

    it("has the panels of the earlier bridge's dashboard, with their targets", function()
        local found = {}
        for _, panel in ipairs(dashboard.panels) do
            found[panel.title] = panel
        end
        for title, wanted in pairs({
            ["Memory Pool Efficiency"] = {"object_pool_hit_rate", {0.8}},
            ["GC Impact"] = {"gc_collections_per_minute", {5}},
            ["Worker Pool Utilization"] = {"worker_pool_active_tasks", {60, 80}},
        }) do
            local panel, steps = assert(found[title], title), {}
            assert.truthy(panel.targets[1].expr:find(wanted[1], 1, true))
            for _, step in ipairs(panel.fieldConfig.defaults.thresholds.steps) do
                if type(step.value) == "number" then
                    steps[#steps + 1] = step.value
                end
            end
            assert.same(wanted[2], steps, title)
        end
    end)

    it("has panels that say what they show, each in a place of its own", function()
        local ids, cells = {}, {}
        for _, panel in ipairs(dashboard.panels) do
            assert.is_nil(ids[panel.id])
            ids[panel.id] = true
            assert.is_true(panel.type == "row" or panel.description ~= "", panel.title)
            local place = panel.gridPos
            for x = place.x, place.x + place.w - 1 do
                for y = place.y, place.y + place.h - 1 do
                    assert.is_true(x < 24)
                    assert.is_nil(cells[y * 24 + x], panel.title)
                    cells[y * 24 + x] = true
                end
            end
        end
    end)
end)
