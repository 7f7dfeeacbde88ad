-- GET /tasks: what the history says of each task, in the order in which they first appear there.
local native = require "luaduct.http.native"

-- A list that holds each text once.
local function add(list, text)
    if text and not list[text] then
        list[text] = true
        list[#list + 1] = native.json_string(text)
    end
end

local function gather(count)
    local tasks, by_id = {}, {}
    for number = 1, count do
        local id, intent, from, to, timestamp = native.read_envelope(number)
        if id then
            local task = by_id[id]
            if not task then
                task = {id = id, intents = {}, participants = {}}
                by_id[id] = task
                tasks[#tasks + 1] = task
            end
            add(task.intents, intent)
            add(task.participants, from)
            add(task.participants, to)
            task.updated, task.last = timestamp, number
        end
        native.pause()
    end
    return tasks
end

return function()
    local tasks = gather(native.take_history(math.huge))
    native.write('{"tasks":[')
    for index, task in ipairs(tasks) do
        native.write(index > 1 and "," or "", '{"taskId":', native.json_string(task.id),
            ',"intents":[', table.concat(task.intents, ","),
            '],"participants":[', table.concat(task.participants, ","),
            '],"lastUpdate":', task.updated, ',"lastEnvelope":')
        native.write_envelope(task.last)
        native.write("}")
        native.pause()
    end
    native.write("]}")
    return 200
end
