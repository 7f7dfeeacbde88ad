-- What only those may see whom the access rules let: wraps an endpoint. `what` is a name that `see` has in a rule.
local native = require "luaduct.http.native"

return function(what, endpoint)
    return function(request)
        if not native.may_see(what) then
            return native.refuse("forbidden", "you may not see this: " .. what)
        end
        return endpoint(request)
    end
end
