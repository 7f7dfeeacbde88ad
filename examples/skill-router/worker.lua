-- A worker: envelopes come in as lines of JSON, results go out as lines. `luaduct agent` is its connection:
--
--   mkfifo lines
--   luaduct agent ben --role worker --label count --intent task.complete <lines | luajit worker.lua ben boss >lines
--
-- An LLM agent would call its model where this one looks into the table of skills.
local cjson = require "cjson"

local name, boss = assert(arg[1]), assert(arg[2])

local skills = {}

function skills.count(text)
    local _, words = text:gsub("%S+", "")
    return words .. (words == 1 and " word" or " words")
end

function skills.shout(text)
    return text:upper()
end

local words = {good = "guten", morning = "Morgen", thank = "danke", you = "dir"}

function skills.translate(text)
    return (text:gsub("%a+", words))
end

-- "@id payload" is how `luaduct agent` takes a line for one agent.
local function say(to, format, ...)
    local values = {...}
    for index, value in ipairs(values) do
        values[index] = cjson.encode(value)
    end
    io.write("@", to, " ", format:format(unpack(values)), "\n")
    io.flush()
end

say(boss, '{"ready":%s}', name)
for line in io.lines() do
    local task = cjson.decode(line)
    if task.intent == "task.assign" then
        local result = skills[task.payload.skill](task.payload.text)
        say(task.from, '{"taskId":%s,"result":%s,"by":%s}', task.taskId, result, name)
    end
end
