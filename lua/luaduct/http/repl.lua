-- POST /admin/repl: a line for a prompt that looks at the bridge, and only looks.
local native = require "luaduct.http.native"

return function()
    local answer, status = native.repl()
    if not answer then
        return status
    end
    return 200, answer
end
