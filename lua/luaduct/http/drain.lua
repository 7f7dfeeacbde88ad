-- POST /admin/drain: the bridge goes away in order, as after SIGTERM.
local native = require "luaduct.http.native"

return function()
    return 202, {status = native.drain() and "started" or "draining"}
end
