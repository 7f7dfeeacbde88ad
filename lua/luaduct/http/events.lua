-- GET /events?kinds=a,b: what happens in the bridge, as server-sent events, until the peer leaves.
local native = require "luaduct.http.native"

-- All that the caller may see and need not name, in the bridge's order.
local function all_kinds()
    local names = {}
    for _, kind in ipairs(native.event_kinds()) do
        if not kind.named and (not kind.admin or native.may_administer()) then
            names[#names + 1] = kind.name
        end
    end
    return names
end

local function read_kinds(text)
    local known, names = {}, {}
    for _, kind in ipairs(native.event_kinds()) do
        known[#known + 1] = kind.name
        known[kind.name] = true
    end
    for name in (text .. ","):gmatch("([^,]*),") do
        if not known[name] then
            return nil, ("kinds: expected names of %s with commas between them, got \"%s\""):format(
                table.concat(known, ", "), name:sub(1, 64))
        end
        names[#names + 1] = name
    end
    return names
end

return function(request)
    local parameters, problem = native.parameters(request.query)
    if not parameters then
        return native.refuse("bad_request", problem)
    end
    local kinds = all_kinds()
    if parameters.kinds then
        kinds, problem = read_kinds(parameters.kinds)
        if not kinds then
            return native.refuse("bad_request", problem)
        end
    end
    local refused = native.listen(kinds)
    if refused then
        return refused
    end
    native.content_type("text/event-stream")
    native.write(": events follow\n\n")
    return 200
end
