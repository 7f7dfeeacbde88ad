-- Writes config/deploy/k8s/monitoring-alerts.yaml to standard output: its head as it is, and below `groups:` those of
-- Prometheus's own files. luajit scripts/prometheus-rule.lua
local function read(path)
    local file = assert(io.open(path))
    local text = file:read("*a")
    file:close()
    return text
end

local head = assert(read("config/deploy/k8s/monitoring-alerts.yaml"):match("^(.-\n  groups:\n)"))
local groups = {}
for _, name in ipairs({"recording", "alerts"}) do
    local text = assert(read("config/deploy/prometheus/" .. name .. ".yaml"):match("\ngroups:\n(.*)$"))
    groups[#groups + 1] = text:gsub("\n\n", "\n"):gsub("([^\n]+)", "  %1")
end
io.write(head, table.concat(groups))
