-- POST /admin/gc: a full collection of every Lua state, in steps beside the traffic, and unused memory given back.
-- /optimization shows when it is done.
local native = require "luaduct.http.native"

return function()
    if not native.collect() then
        return native.refuse("forbidden", "only an administrator may order a collection" .. native.ADMINISTRATORS)
    end
    return 202, {status = "started"}
end
