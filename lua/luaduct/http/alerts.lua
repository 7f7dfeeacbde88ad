-- GET /alerts: what an operator should look at, and what is over.
local json = require "luaduct.http.json"
local native = require "luaduct.http.native"

return function()
    local list = {}
    for i, alert in ipairs(native.alerts()) do
        list[i] = {
            name = alert.name, text = alert.text, active = alert["until"] == nil, since = alert.since,
            ["until"] = alert["until"] or json.null, count = alert.count, severity = alert.severity,
            value = alert.value or json.null, threshold = alert.threshold or json.null,
            done = alert.done ~= "" and alert.done or json.null,
        }
    end
    return 200, {alerts = json.array(list)}
end
