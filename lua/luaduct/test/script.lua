-- A script in a spec. Its hooks run in the bridge's own script room, and what they decide is delivered by the bridge's
-- own code to the fake agents; here are only what a spec sees of it, and the end of every wait.
local agents = require "luaduct.test.agents"
local clock = require "luaduct.test.clock"
local decision = require "luaduct.test.decision"
local envelope = require "luaduct.test.envelope"
local questions = require "luaduct.test.questions"
local room = require "luaduct.test.room"

local script = {}
local Script = {}
Script.__index = Script

local SUSPEND_MS = 30000 -- script.suspendMs

-- The scripts that the test under way has loaded or called, in that order: their timers run.
local live = {}

local function enliven(self)
    if not self.live then
        self.live = true
        live[#live + 1] = self
    end
end

-- A test has ended.
function script.rest()
    for _, one in ipairs(live) do
        one.live = false
    end
    live = {}
end

function script.load(paths, options)
    local opened, problem = room.open({
        paths = paths, folder = options.folder, budgetMs = options.budgetMs, memoryLimit = options.memoryLimit,
    })
    if not opened then
        return nil, problem
    end
    local loaded = setmetatable({
        room = opened, workers = options.workers or {}, suspend_ms = options.suspendMs or SUSPEND_MS, log = {},
        sent = {}, asked = {},
    }, Script)
    loaded:read_log()
    enliven(loaded)
    return loaded
end

function Script:read_log()
    for _, line in ipairs(self.room:take_log()) do
        self.log[#self.log + 1] = line
    end
end

-- The first line of the log that has this text in it, or nil.
function Script:logged(text)
    for _, line in ipairs(self.log) do
        if line.text:find(text, 1, true) then
            return line
        end
    end
    return nil
end

-- What the script's workers.execute gives: of the fake, a function of the data or a plain result.
local function answer(self, outcome)
    local fake = self.workers[outcome.operation]
    if fake == nil then
        local fake_it = 'harness.load(file, {workers = {["%s"] = function(data) return … end}})'
        return nil, ('there is no operation "%s"; a spec gives a fake for it: ' .. fake_it):format(
            outcome.operation, outcome.operation), "unknown_operation"
    elseif type(fake) ~= "function" then
        return fake
    end
    local result, text, code = fake(outcome.data, outcome)
    if result == nil and text ~= nil then
        return nil, text, code or "task_failed"
    end
    return result
end

local function read_sends(self)
    for _, send in ipairs(self.room:take_sends()) do
        self.sent[#self.sent + 1] = {to = send.to, envelope = envelope.decode(send.envelope)}
    end
end

-- What the waiting call is to return, and how long that takes; nil: longer than `most_ms`.
local function wait(self, outcome, most_ms)
    if outcome.operation then
        return {answer(self, outcome)}, 0
    elseif outcome.questions then
        return questions.ask(self, outcome, most_ms)
    end
    clock.advance(outcome.ms)
    if outcome.ms > most_ms then
        return nil
    end
    return {}, outcome.ms
end

-- Lets the hook go on until it has ended.
local function finish(self, outcome)
    local left = self.suspend_ms
    while outcome.result == "waits" do
        local call = outcome.call
        local answers, took_ms = wait(self, outcome, left)
        if answers then
            left = left - took_ms
            outcome = self.room:resume(call, answers[1], answers[2], answers[3])
        else
            self.room:abandon(call, ("waited longer than %d ms"):format(self.suspend_ms))
            outcome = {result = "failed", broke = true}
        end
    end
    read_sends(self)
    local said = #self.log
    self:read_log()
    if outcome.broke then
        local texts = {}
        for index = said + 1, #self.log do
            if self.log[index].level == "error" then
                texts[#texts + 1] = self.log[index].text
            end
        end
        error(#texts > 0 and table.concat(texts, "\n") or "the script failed", 0)
    end
    return outcome
end

clock.run_timers(function()
    local first, at
    for _, one in ipairs(live) do
        local due = one.room:next_timer()
        if due and (not at or due < at) then
            first, at = one, due
        end
    end
    return at, at and function()
        finish(first, first.room:run_timer())
    end
end)

local function assigned(sent, outgoing)
    local changed = {}
    for name, value in pairs(outgoing) do
        if name ~= "id" and name ~= "timestamp" or rawget(sent, name) ~= nil then
            if name ~= "from" and name ~= "role" or rawget(sent, name) ~= nil then
                if not decision.same(value, sent[name]) then
                    changed[name] = value
                end
            end
        end
    end
    return changed
end

local function make_decision(outcome, sent)
    local made = decision.new(outcome.items)
    made.sent = sent
    made.envelope = envelope.decode(outcome.envelope)
    made.assigned = assigned(sent, made.envelope)
    made.deliveries = {}
    made.accepted, made.refusal = outcome.accepted, outcome.refusal
    made.undeliverable = outcome.undeliverable
    for index, delivery in ipairs(outcome.recipients) do
        made.deliveries[index] = {id = delivery.id, envelope = envelope.decode(delivery.envelope)}
    end
    made.recipients = agents.recipients(made)
    return made
end

local function prepare(self, sent)
    enliven(self)
    if type(sent) ~= "table" then
        error("expected an envelope: harness.envelope{…}", 3)
    end
    if not getmetatable(sent) then
        sent = envelope.new(sent)
    end
    return sent, envelope.encode(sent), agents.sender(sent)
end

-- Runs `route` to its end. Raises what the script raised, as the bridge would log it.
function Script:route(sent)
    local checked, json, sender = prepare(self, sent)
    return make_decision(finish(self, self.room:route(json, sender)), checked)
end

-- A decision, or nil when the script decides nothing.
function Script:on_undeliverable(sent, reason, recipient)
    local checked, json, sender = prepare(self, sent)
    local outcome = finish(self, self.room:on_undeliverable(json, sender, reason, recipient))
    return outcome.items and make_decision(outcome, checked) or nil
end

-- The agent as it joins, or nil and the reason why not. It does not join the fake agents: bridge:join(agent) does that.
function Script:on_register(agent)
    enliven(self)
    local outcome = finish(self, self.room:on_register(agents.encode(agent)))
    if outcome.result == "failed" then
        return nil, outcome.reason
    end
    return outcome.agent
end

-- The fake agent of that id leaves, and the script is told.
function Script:on_disconnect(id, reason)
    enliven(self)
    local outcome = self.room:on_disconnect(id, reason or "closed")
    if not outcome then
        error(('there is no agent "%s": bridge_with{{id = "%s"}} makes one'):format(id, id), 2)
    end
    agents.forget(id)
    finish(self, outcome)
end

return script
