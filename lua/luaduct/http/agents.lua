-- GET /agents: everybody who is connected, piece by piece, because they may be many.
local native = require "luaduct.http.native"

return function()
    native.write('{"agents":[')
    local cursor, written = 0, 0
    repeat
        cursor, written = native.write_agents(cursor, written)
        native.pause()
    until not cursor
    native.write("]}")
    return 200
end
