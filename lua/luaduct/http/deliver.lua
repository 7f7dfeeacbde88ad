-- What /send and /broadcast share: the body goes the way of every envelope, and the answer says what became of it.
local native = require "luaduct.http.native"

return function(broadcast)
    local outcome, detail = native.send(broadcast)
    if outcome == "queued" then
        native.write('{"status":"queued","envelope":')
        native.write_sent()
        native.write("}")
        return 202
    elseif outcome == "dropped" then
        return 200, {status = "dropped", reason = detail}
    end
    return detail
end
