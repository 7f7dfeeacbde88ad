-- The rules for Prometheus that come with the project: promtool takes them, each alert fires and stays quiet where it
-- should, and leads to a place that says what to do.
local process = require "tests.support.process"

local FOLDER = "config/deploy/prometheus/"

local function alerts()
    local list, current = {}, nil
    for line in process.read_file(FOLDER .. "alerts.yaml"):gmatch("[^\n]+") do
        local name = line:match("^ +%- alert: (%w+)$")
        if name then
            current = {name = name}
            list[#list + 1] = current
        elseif current then
            local key, text = line:match("^ +([%a_]+): (.+)$")
            if key then
                current[key] = text
            end
        end
    end
    return list
end

-- As GitHub and most others make it of a heading.
local function anchors(path)
    local found = {}
    for heading in ("\n" .. process.read_file(path)):gmatch("\n#+ ([^\n]+)") do
        found[heading:lower():gsub("[^%w%s-]", ""):gsub(" ", "-")] = true
    end
    return found
end

local function promtool(...)
    local status, output, errors = process.run({"promtool", ...}, {seconds = 60})
    assert.equal(0, status, output .. errors)
    return output .. errors
end

describe("Prometheus's rules", function()
    it("are taken by promtool, with the configuration that names them", function()
        local said = promtool("check", "config", FOLDER .. "prometheus.yaml")
        assert.truthy(said:find("2 rule files found", 1, true))
    end)

    it("fire at figures that are bad and not at others near them", function()
        promtool("test", "rules", "tests/prometheus/alerts_test.yaml")
    end)

    it("have such figures for every alert, a severity, and texts", function()
        local cases = process.read_file("tests/prometheus/alerts_test.yaml")
        for _, alert in ipairs(alerts()) do
            assert.truthy(cases:find("alertname: " .. alert.name .. "\n", 1, true), alert.name)
            assert.truthy(({critical = true, warning = true, info = true})[
                (alert.labels or ""):match("^{severity: (%l+)}$")], alert.name)
            assert.truthy(alert.summary and alert.description, alert.name)
        end
        assert.is_true(#alerts() >= 30)
    end)

    it("lead each to a place in the documentation", function()
        for _, alert in ipairs(alerts()) do
            local path, anchor = (alert.runbook or ""):match("^(docs/[%w_]+%.md)#([%w-]+)$")
            assert.truthy(path, alert.name)
            assert.is_true(anchors(path)[anchor], alert.runbook)
        end
        local known = {}
        for _, alert in ipairs(alerts()) do
            known[alert.name] = true
        end
        for name in process.read_file("docs/operations.md"):gmatch("\n#### (Luaduct%w+)\n") do
            assert.is_true(known[name], name .. " has a heading, but is no alert")
        end
    end)

    it("ask for metrics that there are", function()
        package.loaded["luaduct.http.families"] = nil
        local known = {}
        for _, group in ipairs(require "luaduct.http.families") do
            for _, family in ipairs(group.list) do
                local suffixes = family.kind == "counter" and {"_total"}
                    or family.kind == "histogram" and {"_bucket", "_sum", "_count"} or {""}
                for _, suffix in ipairs(suffixes) do
                    known[family.name .. suffix] = true
                end
            end
        end
        local function check(file)
            for name in process.read_file(file):gmatch("%f[%w_:](luaduct_[%l%d_]+)%f[^%w_]") do
                assert.is_true(known[name], file .. ": " .. name)
            end
        end
        check(FOLDER .. "alerts.yaml")
        check(FOLDER .. "recording.yaml")
        check("config/deploy/grafana/luaduct.json")
        for _, group in ipairs(require "luaduct.http.families") do
            for _, family in ipairs(group.list) do
                known[family.name] = true -- texts name a histogram without what its samples end with
            end
        end
        check("docs/operations.md")
        check("docs/security.md")
        check("docs/phase2.md")
    end)
end)
