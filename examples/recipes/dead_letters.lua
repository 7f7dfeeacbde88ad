-- Dead letters: what reaches nobody goes to the agent "undertaker", with the reason in `context`; its mailbox keeps it
-- while that agent is away. (agents.deadLetters does it in the bridge, for what a limit took too.)
local script = {}

function script.on_undeliverable(envelope, reason, recipient, bridge)
    if recipient == "undertaker" then
        return nil -- not even there: no circles
    end
    envelope.context = {reason = reason, recipient = recipient, before = envelope.context}
    return bridge.to("undertaker")
end

return script
