-- POST /admin/gc: a full collection of every Lua state, in steps beside the traffic, and unused memory given back.
-- /optimization shows when it is done: its figures have passed those of the answer, which are of the moment before.
local native = require "luaduct.http.native"

return function()
    local before = native.figures().scripts.collections
    if not native.collect() then
        return native.refuse("forbidden", "only an administrator may order a collection" .. native.ADMINISTRATORS)
    end
    return 202, {status = "started", manualTriggers = before.manual, memoryReclaimed = before.reclaimed}
end
