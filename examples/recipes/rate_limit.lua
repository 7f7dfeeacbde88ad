-- Rate limit per tenant: so many envelopes a minute for each tenant, which is what stands before the first dot of an
-- agent's id. All reactors count together.
local script = {}

local LIMIT, WINDOW_MS = 100, 60000

function script.route(envelope, bridge)
    local tenant = envelope.from:match("^[^.]+") or envelope.from
    if luaduct.shared.incr("rate:" .. tenant, 1, 0, WINDOW_MS) > LIMIT then
        return bridge.drop(("%s may send %d envelopes a minute"):format(tenant, LIMIT), {tell = true})
    end
end

return script
