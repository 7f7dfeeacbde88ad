-- What a hook asks agents: the fake agents reply as the spec says, in the time of the spec. Tries, pauses and time-outs
-- go as in the bridge, but that its pauses are up to half shorter or longer by chance.
local agents = require "luaduct.test.agents"
local clock = require "luaduct.test.clock"
local envelope = require "luaduct.test.envelope"

local questions = {}

local BACKOFF_MAXIMUM_MS = 60000

local ABSENT = {code = "no_recipient", text = "the agent is not connected"}
local LATE = {code = "task_timeout", text = "it has not replied in time"}

local function pause_after(question)
    local asked = question.asked
    local pause = asked.backoffMs * 2 ^ (question.tries - 1)
    return math.max(asked.backoffMs, math.min(pause, BACKOFF_MAXIMUM_MS))
end

-- This try has failed: a pause, or the end.
local function try_later(question, why, now)
    if question.tries > question.asked.retries then
        question.failed, question.due = why, nil
    else
        question.paused, question.due = true, now + pause_after(question)
    end
end

-- Asks the next agent, and notes when it replies.
local function put(self, question, now)
    local to = question.asked.to
    local id = to[question.tries % #to + 1]
    local sent = envelope.decode(question.asked.envelope)
    sent.to = id
    question.tries, question.paused, question.last = question.tries + 1, false, id
    if not agents.is_connected(id) then
        try_later(question, ABSENT, now)
        return
    end
    self.asked[#self.asked + 1] = {to = id, envelope = sent}
    question.due = now + question.asked.timeoutMs
    local reply, after_ms = agents.reply(id, sent)
    if reply then
        local at = now + (after_ms or 0)
        if not question.reply or at < question.reply.at then
            question.reply = {at = at, json = reply}
        end
    end
end

-- What happens next: when, to which question, and whether it is a reply.
local function next_event(list)
    local first, at, is_reply
    for _, question in ipairs(list) do
        if not question.done and not question.failed then
            local reply = question.reply and question.reply.at
            if reply and (not at or reply < at or (reply == at and not is_reply)) then
                first, at, is_reply = question, reply, true
            end
            if question.due and (not at or question.due < at) then
                first, at, is_reply = question, question.due, false
            end
        end
    end
    return at, first, is_reply
end

local function missing_of(list)
    local missing = {}
    for index, question in ipairs(list) do
        if not question.done then
            local why = question.failed or {}
            missing[#missing + 1] = {to = question.last, index = index, code = why.code, text = why.text}
        end
    end
    return missing
end

-- Asks and waits, `most_ms` at most: what room:resume is given, and how long it took; nil: longer.
function questions.ask(self, outcome, most_ms)
    local list, replies, now = {}, {}, 0
    for index, asked in ipairs(outcome.questions) do
        list[index] = {asked = asked, tries = 0}
        put(self, list[index], now)
    end
    local at, question, is_reply = next_event(list)
    while at and #replies < outcome.needed do
        local over = outcome.gathers and at > outcome.ms
        at = over and outcome.ms or at
        if at > most_ms then
            clock.advance(most_ms - now)
            return nil
        end
        clock.advance(at - now)
        now = at
        if over then
            for _, one in ipairs(list) do
                one.failed = not one.done and (one.failed or LATE) or nil
            end
            break
        elseif is_reply then
            question.done = true
            replies[#replies + 1] = question.reply.json
        elseif question.paused then
            put(self, question, now)
        else
            try_later(question, LATE, now)
        end
        at, question, is_reply = next_event(list)
    end
    if not outcome.gathers and #replies == 0 then
        return {nil, list[1].failed.text, list[1].failed.code}, now
    end
    return {{replies = replies, missing = missing_of(list)}}, now
end

return questions
