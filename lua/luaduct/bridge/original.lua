-- The original bridge: it does what the server that Luaduct replaces did, for agents that were written for that one.
--
-- Anyone who is connected may send, registered or not, and `from` goes out as it was sent. An empty or false value of a
-- field counts as absent, and a number may stand where a string is expected: `envelope.to` is then its text.
--
-- Where an envelope goes is the same simple rule as in the enhanced bridge; a script of yours (script.path) can change
-- it hook by hook.

local original = {}

function original.route(envelope, bridge)
    local recipient = envelope.to
    if recipient then
        -- To that agent, or into its mailbox while it is away.
        return bridge.to(recipient)
    end
    -- To all but the sender.
    return bridge.broadcast()
end

return original
