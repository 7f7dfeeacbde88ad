-- Passes on to whom the envelope names.
return {
    cache = {"to"},
    route = function(envelope, bridge)
        return bridge.to(envelope.to or "nobody")
    end,
}
