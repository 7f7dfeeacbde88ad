-- GET /ready: should new work be sent here?
local native = require "luaduct.http.native"

return function()
    if native.draining() then
        return native.refuse("draining", "the bridge is going away")
    end
    if native.memory_level() == "critical" then
        return native.refuse("overloaded", "the bridge is short of memory")
    end
    return 200, {status = "ready"}
end
