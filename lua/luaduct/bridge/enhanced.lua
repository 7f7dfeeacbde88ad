-- The enhanced bridge: what happens to an envelope when no script of yours says otherwise.
--
-- Before `route` is asked, the bridge has checked what it was sent: the envelope is valid, its sender is registered,
-- and its `from` is that sender's own id (agents.requireRegister, agents.verifyFrom). So `route` only has to answer one
-- question: who gets it?
--
-- A script of yours (script.path) returns a table like this one. Each hook that it has is asked first; where its
-- `route` returns nil, this one decides.

local enhanced = {}

function enhanced.route(envelope, bridge)
    local recipient = envelope.to
    if recipient then
        -- To that agent. If it is away, its mailbox keeps the envelope until it registers again.
        return bridge.to(recipient)
    end
    -- To everybody who is connected, but not back to the sender.
    return bridge.broadcast()
end

-- No on_register: whoever has passed the checks of the configuration (token, origin, limits) may join as it says it is.
-- No on_undeliverable: an envelope that nobody took is reported to its sender (no_recipient, mailbox_full).
-- No on_disconnect: the registry forgets the agent by itself.

return enhanced
