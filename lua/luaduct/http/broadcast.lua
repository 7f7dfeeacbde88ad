-- POST /broadcast: one envelope to every connected agent.
local deliver = require "luaduct.http.deliver"

return function()
    return deliver(true)
end
