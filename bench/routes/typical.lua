-- By skill: tasks to one worker of the role that the intent names, urgent ones to a fast one; the rest by label.
local roles = {
    ["code.review"] = "reviewer", ["code.write"] = "coder", ["text.translate"] = "translator",
    ["text.summarise"] = "writer", ["image.draw"] = "painter",
}

return {
    cache = {"to", "intent", "priority", "role"},
    route = function(envelope, bridge)
        local intent = envelope.intent
        if intent:sub(1, 7) == "system." and envelope.role ~= "operator" then
            return bridge.drop("for operators only")
        end
        local role = roles[intent]
        if role then
            if envelope.priority == "high" then
                return bridge.any{role = role, label = "fast"}
            end
            return bridge.any{role = role}
        end
        if envelope.to then
            return bridge.to(envelope.to)
        end
        return bridge.label(intent:match("^(%w+)%.") or "unsorted")
    end,
}
