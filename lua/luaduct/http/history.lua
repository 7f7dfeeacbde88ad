-- GET /history?limit&agentId&taskId&intent: the newest envelopes that match, oldest first.
local native = require "luaduct.http.native"

-- agentId is who sent it, or whom it names.
local function matches(number, filter)
    local task, intent, from, to = native.read_envelope(number)
    return (not filter.taskId or filter.taskId == task) and (not filter.intent or filter.intent == intent)
        and (not filter.agentId or filter.agentId == from or filter.agentId == to)
end

-- The numbers of the newest `limit` that match, newest first.
local function select_matching(count, limit, filter)
    local selected = {}
    for number = count, 1, -1 do
        if #selected >= limit then
            break
        end
        if matches(number, filter) then
            selected[#selected + 1] = number
        end
        native.pause()
    end
    return selected
end

local function write_envelopes(numbers)
    native.write('{"history":[')
    for index = #numbers, 1, -1 do
        native.write_envelope(numbers[index])
        native.write(index > 1 and "," or "")
        native.pause()
    end
    native.write("]}")
end

local function all(count)
    local numbers = {}
    for number = count, 1, -1 do
        numbers[#numbers + 1] = number
    end
    return numbers
end

return function(request)
    local filter, problem = native.parameters(request.query)
    if not filter then
        return native.refuse("bad_request", problem)
    end
    local limit = math.huge
    if filter.limit then
        limit = tonumber(filter.limit:match("^%d+$"))
        -- 2^53: no history is that long, and beyond it numbers are not exact.
        if not limit or limit < 1 or limit > 9007199254740992 then
            return native.refuse("bad_request", "limit must be a whole number from 1 on")
        end
    end
    if filter.agentId or filter.taskId or filter.intent then
        write_envelopes(select_matching(native.take_history(math.huge), limit, filter))
    else
        write_envelopes(all(native.take_history(limit)))
    end
    return 200
end
