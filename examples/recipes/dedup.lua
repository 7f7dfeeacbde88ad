-- Dedup by id: an envelope that its sender repeats within five minutes, because it has seen no answer, is dropped the
-- second time, on whichever reactor it comes. (agents.dedupWindowMs does the same for all envelopes, in the bridge.)
local script = {}

local WINDOW_MS = 300000

function script.route(envelope, bridge)
    if not luaduct.shared.add("seen:" .. envelope.from .. ":" .. envelope.id, true, WINDOW_MS) then
        return bridge.drop("repeated")
    end
end

return script
