-- Prints docs/metrics.md: luajit scripts/metrics.lua (run by `make docs`; a spec compares).
package.path = "lua/?.lua;" .. package.path
local families = require "luaduct.http.families"

local INTRO = [[
# Metrics

What `GET /metrics` shows a scraper: made by `make docs` from `lua/luaduct/http/families.lua`, which the answer's HELP
comes from too. How to scrape, record and be woken: [operations.md](operations.md#prometheus).

The `Accept` header chooses: OpenMetrics 1.0.0 (`application/openmetrics-text`), the text format 0.0.4 (`text/plain`),
or JSON, which is also what there is for everybody who names none of them. Weights (`q`) count; of equals the first
named wins. In OpenMetrics a family of counters is named without `_total`, and families with a unit say it (`# UNIT`).

Labels are bounded: their values are names that the bridge knows (codes, limits, reasons, hooks, pools) or that its
configuration has (`rule`, `key`), and numbers of reactors, never those of agents, addresses or intents. Histograms
count from 10 µs to 10 s at 1, 2.5 and 5 of every power of ten; what waited in mailboxes from 1 ms to 100,000 s. A
family by reactor (`luaduct_reactor_…`) says the same as the one without, which is the whole.
]]

local function cell(text)
    return (text:gsub("|", "\\|"))
end

local out = {INTRO}
for _, group in ipairs(families) do
    out[#out + 1] = ("\n## %s\n\n| name | type | labels | |\n|---|---|---|---|\n"):format(group.title)
    for _, family in ipairs(group.list) do
        local name = family.kind == "counter" and family.name .. "_total" or family.name
        local labels = {}
        for i, label in ipairs(family.labels) do
            labels[i] = "`" .. label .. "`"
        end
        out[#out + 1] = ("| `%s` | %s | %s | %s |\n"):format(
            name, family.kind, table.concat(labels, ", "), cell(family.help))
    end
end
io.write(table.concat(out))
