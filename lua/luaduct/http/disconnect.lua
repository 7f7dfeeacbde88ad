-- POST /admin/disconnect: closes the connection of an agent, which may come back.
local native = require "luaduct.http.native"

return function()
    local refused = native.disconnect()
    if refused then
        return refused
    end
    return 202, {status = "closing"}
end
