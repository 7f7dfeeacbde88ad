-- Prints config/deploy/k8s/monitoring-alerts.yaml: its first document as it is, and the groups of each of Prometheus's
-- own files as a rule of the operator's. luajit scripts/prometheus-rule.lua (run by `make docs`; a spec compares).
local function read(path)
    local file = assert(io.open(path))
    local text = file:read("*a")
    file:close()
    return text
end

local RULE = [[
---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: luaduct-%s
  labels:
    app.kubernetes.io/name: luaduct
spec:
  groups:
]]

local out = {assert(read("config/deploy/k8s/monitoring-alerts.yaml"):match("^(.-\n)%-%-%-\n"))}
for _, name in ipairs({"recording", "alerts"}) do
    local groups = assert(read("config/deploy/prometheus/" .. name .. ".yaml"):match("\ngroups:\n(.*)$"))
    out[#out + 1] = RULE:format(name)
    out[#out + 1] = groups:gsub("\n\n", "\n"):gsub("([^\n]+)", "  %1")
end
io.write(table.concat(out))
