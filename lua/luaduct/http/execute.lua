-- POST /workers/execute: the workers do what the body says, and the answer comes when they have.
local native = require "luaduct.http.native"

return function()
    local outcome, status = native.execute()
    if outcome == "done" then
        native.write_result()
        return 200
    end
    return status
end
