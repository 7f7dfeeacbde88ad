-- POST /send: one envelope to the agent that its `to` names.
local deliver = require "luaduct.http.deliver"

return function()
    return deliver(false)
end
