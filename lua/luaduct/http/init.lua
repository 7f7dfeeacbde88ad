-- The HTTP API: which path and method is which endpoint. The bridge calls the function that this module returns once
-- for each request, in a coroutine; it gives the status. The answer's body is what was written with native.write.
--
-- An endpoint takes the request {method, path, query, accept} and returns a status and, if it has not written its
-- answer itself, a table for the body. Requests that may not pass (origin, token, rate) never come here.
local json = require "luaduct.http.json"
local native = require "luaduct.http.native"

local admin = require "luaduct.http.admin"
local console = require "luaduct.http.console"
local engines = require "luaduct.http.engines"
local log = require "luaduct.http.log"
local scripts = require "luaduct.http.scripts"
local see = require "luaduct.http.sight"
local state = require "luaduct.http.state"

local ROUTES = {
    ["/health"] = {GET = require "luaduct.http.health"},
    ["/ready"] = {GET = require "luaduct.http.ready"},
    ["/metrics"] = {GET = require "luaduct.http.metrics"},
    ["/metrics/history"] = {GET = see("status", require "luaduct.http.figures_history")},
    ["/api/status"] = {GET = see("status", require "luaduct.http.status")},
    ["/optimization"] = {GET = see("status", require("luaduct.http.optimization").endpoint)},
    ["/agents"] = {GET = see("agents", require "luaduct.http.agents")},
    ["/history"] = {GET = see("history", require "luaduct.http.history")},
    ["/tasks"] = {GET = see("tasks", require "luaduct.http.tasks")},
    ["/send"] = {POST = require "luaduct.http.send"},
    ["/alerts"] = {GET = see("status", require "luaduct.http.alerts")},
    ["/events"] = {GET = see("events", require "luaduct.http.events")},
    ["/admin/engines"] = {GET = admin(engines.get), POST = admin(engines.post)},
    ["/admin/log"] = {GET = admin(log.get), POST = admin(log.post)},
    ["/workers/execute"] = {POST = require "luaduct.http.execute"},
    ["/broadcast"] = {POST = require "luaduct.http.broadcast"},
    ["/admin/reload"] = {POST = admin(scripts.reload)},
    ["/admin/repl"] = {POST = admin(require "luaduct.http.repl")},
    ["/admin/trace"] = {GET = admin(require "luaduct.http.trace")},
    ["/admin/scripts"] = {GET = admin(scripts.list)},
    ["/admin/scripts/sources"] = {GET = admin(scripts.sources)},
    ["/admin/disconnect"] = {POST = admin(require "luaduct.http.disconnect")},
    ["/console"] = {GET = console.page},
    ["/console/"] = {GET = console.page},
    ["/console/session"] = {GET = console.session},
    ["/admin/canary"] = {GET = admin(scripts.canary)},
    ["/admin/canary/diff"] = {GET = admin(scripts.differences)},
    ["/admin/canary/promote"] = {POST = admin(scripts.promote)},
    ["/admin/canary/abort"] = {POST = admin(scripts.abort)},
    ["/admin/gc"] = {POST = require "luaduct.http.gc"},
    ["/admin/export"] = {GET = admin(state.export)},
    ["/admin/import"] = {POST = admin(state.import)},
    ["/admin/drain"] = {POST = admin(require "luaduct.http.drain")},
}

-- For the Allow header: HEAD is answered wherever GET is, OPTIONS everywhere.
local function allowed_methods(route)
    local names = {}
    for name in pairs(route) do
        names[#names + 1] = name == "GET" and "GET, HEAD" or name
    end
    table.sort(names)
    return table.concat(names, ", ") .. ", OPTIONS"
end

return function(method, path, query, accept)
    local route = ROUTES[path] or console.route(path)
    if not route then
        return native.refuse("not_found", "there is nothing at this path")
    end
    if method == "OPTIONS" then
        native.allow(allowed_methods(route))
        return 204
    end
    local endpoint = route[method]
    if not endpoint then
        return native.refuse("method_not_allowed", "this path does not take this method", allowed_methods(route))
    end
    local status, body = endpoint({method = method, path = path, query = query, accept = accept})
    if body then
        native.write(json.encode(body))
    end
    return status
end
