-- What only an administrator may call: wraps an endpoint.
local native = require "luaduct.http.native"

return function(endpoint)
    return function(request)
        if not native.may_administer(request.path) then
            return native.refuse("forbidden", "only an administrator may do that" .. native.ADMINISTRATORS)
        end
        return endpoint(request)
    end
end
