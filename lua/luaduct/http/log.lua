-- GET and POST /admin/log: what the log writes, by room. A change holds until the next reload or start.
local native = require "luaduct.http.native"

local log = {}

function log.get()
    return 200, native.log_view()
end

function log.post()
    local refused = native.order_log()
    if refused then
        return refused
    end
    return 200, native.log_view()
end

return log
