-- GET and POST /admin/engines: the optimisations that can be switched on and off while the bridge runs.
local json = require "luaduct.http.json"
local native = require "luaduct.http.native"

local function show()
    local engines = {}
    for _, engine in ipairs(native.engines()) do
        local degraded = engine.state == "degraded"
        engines[engine.name] = {
            enabled = engine.wanted,
            state = engine.state,
            failures = engine.failures,
            reason = degraded and engine.reason or json.null,
            retryInMs = degraded and engine.retry_in_ms or json.null,
        }
    end
    return {engines = engines}
end

local engines = {}

function engines.get()
    return 200, show()
end

-- 202: the main thread does it in a moment, and GET shows when it has.
function engines.post()
    local refused = native.order_engines()
    if refused then
        return refused
    end
    return 202, show()
end

-- What is not as it should be, each with its reason: engines that failed, hooks that are switched off.
function engines.degraded()
    local list = {}
    for _, engine in ipairs(native.engines()) do
        if engine.state == "degraded" then
            list[#list + 1] = {name = engine.name, reason = engine.reason}
        end
    end
    for _, hook in ipairs(native.switches()) do
        list[#list + 1] = {name = hook.name, reason = hook.reason}
    end
    return json.array(list)
end

return engines
