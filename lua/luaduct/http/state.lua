-- GET /admin/export and POST /admin/import?line=N: mailboxes and history as lines of JSON.
local native = require "luaduct.http.native"

local state = {}

function state.export()
    native.content_type("application/x-ndjson")
    while native.export_next() do
        native.pause()
    end
    return 200
end

-- Whole lines of an export, the first of them being line N of it: a long one comes in several requests.
function state.import(request)
    local parameters, problem = native.parameters(request.query)
    local line = parameters and tonumber((parameters.line or "1"):match("^%d+$"))
    if not line or line < 1 or line > 9007199254740992 then
        return native.refuse("bad_request", problem or "line: expected a whole number from 1 on")
    end
    local taken, status = native.import(line)
    if not taken then
        return status
    end
    return 200, {
        history = taken.history, envelopes = taken.envelopes, ended = taken.ended,
        refused = {
            mailbox_full = taken.mailbox_full, overloaded = taken.overloaded, expired = taken.expired,
            forbidden = taken.forbidden,
        },
    }
end

return state
