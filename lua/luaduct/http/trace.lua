-- GET /admin/trace?agent=&intent=&id=&pace=: what becomes of each envelope that matches, as server-sent events.
local native = require "luaduct.http.native"

local KNOWN = {agent = true, intent = true, id = true, pace = true}

return function(request)
    local parameters, problem = native.parameters(request.query)
    if not parameters then
        return native.refuse("bad_request", problem)
    end
    for name in pairs(parameters) do
        if not KNOWN[name] then
            return native.refuse("bad_request",
                ("expected agent, intent, id or pace as a parameter, got \"%s\""):format(name:sub(1, 64)))
        end
    end
    local pace = 0
    if parameters.pace then
        pace = tonumber(parameters.pace:match("^%d+$"))
        if not pace or pace < 1 or pace > 1000000 then
            return native.refuse("bad_request", "pace must be a whole number from 1 to 1000000: traces a second")
        end
    end
    local refused = native.listen_trace(parameters.agent, parameters.intent, parameters.id, pace)
    if refused then
        return refused
    end
    native.content_type("text/event-stream")
    native.write(": the trace follows\n\n")
    return 200
end
