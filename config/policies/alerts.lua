-- Alert rules beside the built-in ones (config: alerts.*). To use them, say in the config:
-- policies = { alerts = "policies/alerts.lua" }, or name a file of your own of this form. `luaduct check` reads it.
--
-- name        shown on /alerts, /metrics and /events
-- value       a metric's name (docs/operations.md lists them), or a function of the table of all metrics that gives a
--             number, or nil where there is too little to tell
-- above       it fires when the value is above this; or `below`: when it is below
-- clear       it is over when the value has come back to this (default: the threshold)
-- forMs       … only after so long (default 0)
-- cooldownMs  it neither fires nor acts again within this (default: alerts.cooldownMs)
-- action      "WARN", "ALERT": shown. "SCALE_UP": asks for one more worker, or for `workers` of them. "SHED": asks the
--             memory controller for a step. "RUN": calls run(alert, metrics) when it fires and when it is over

return {
    -- More than one in twenty of all that came was refused.
    { name = "errorRate", value = "errorRate", above = 0.05, clear = 0.02, forMs = 5000 },

    -- Tasks pile up faster than the workers take them.
    { name = "queueDepth", value = "queueDepth", above = 1000, clear = 100, forMs = 5000, action = "SCALE_UP" },

    -- Agents that read too slowly lose envelopes (limits.slowAgent).
    { name = "slowAgents", value = "slowAgentLossesPerMinute", above = 0, action = "ALERT" },

    -- Hooks run into script.budgetMs.
    { name = "scriptOverruns", value = "scriptOverrunsPerMinute", above = 5, clear = 0 },

    -- At this pace the memory budget is used up within ten minutes (memory.leak tells of scripts that keep more).
    {
        name = "memoryTrend", above = 1, action = "SHED", forMs = 10000,
        value = function(metrics)
            if not metrics.memoryTrend or not metrics.memoryShare or metrics.memoryShare < 0.5 then
                return nil
            end
            local used = metrics.memoryShare
            return metrics.memoryTrend * 600 / metrics.memoryBudget / (1 - math.min(used, 0.999))
        end,
    },

    -- Agents are away and their mailboxes fill.
    {
        name = "mailboxes", value = "mailboxEnvelopes", above = 10000, clear = 5000, action = "RUN",
        run = function(alert, metrics)
            luaduct.log.warn(("mailboxes: %s at %d envelopes, %d agents connected"):format(
                alert.state, metrics.mailboxEnvelopes, metrics.agents))
        end,
    },
}
