-- Enrichment from a worker operation: a text gets its statistics before an agent reads it. The operation runs on a
-- worker thread; the hook waits for it, the reactor does not. When it fails the envelope goes on as it is.
local script = {}

function script.route(envelope)
    local text = envelope.intent == "document.submit" and envelope.payload.text
    if not text then
        return nil
    end
    local analysis, problem, code = luaduct.workers.execute{
        operation = "text_analysis", data = {op = "statistics", text = text}, timeoutMs = 2000,
    }
    if not analysis then
        luaduct.log.warn("document not analysed:", problem, code)
        return nil
    end
    local context = envelope.context
    context.analysis = analysis
    envelope.context = context
end

return script
