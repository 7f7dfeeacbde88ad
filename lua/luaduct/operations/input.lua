-- What the operations written in Lua share: reading fields of the input with errors that say what was expected, looking
-- at the stop flag, and keeping the best few of many.
local ffi = require "ffi"

local input = {}

local NULL = ffi.cast("void *", 0)

-- null and absent are the same.
function input.field(data, name)
    local value = data[name]
    if type(value) == "userdata" then
        return nil
    end
    return value
end

local ARTICLES = {["nil"] = "nothing", number = "a number", string = "a string", boolean = "true or false",
    table = "an array or object", userdata = "null"}

function input.kind(value)
    return ARTICLES[type(value)] or type(value)
end

-- Raised as it is: the operation's name is put before it.
function input.refuse(place, expected, value)
    error(("data.%s: expected %s, got %s"):format(place, expected, input.kind(value)), 0)
end

-- One of the names, which are the keys of `choices` and stand in `list` for the error.
function input.choice(place, value, choices, list)
    if type(value) == "string" and choices[value] then
        return choices[value]
    end
    local got = input.kind(value)
    if type(value) == "string" then
        got = #value <= 40 and not value:find("[^%g ]") and ('"%s"'):format(value) or "something else"
    end
    error(("data.%s: expected one of %s, got %s"):format(place, list, got), 0)
end

-- A list, which may be empty.
function input.list(place, value, expected)
    if type(value) ~= "table" then
        input.refuse(place, expected, value)
    end
    if #value == 0 and next(value) ~= nil then
        error(("data.%s: expected %s, got an object"):format(place, expected), 0)
    end
    return value
end

function input.text(data, name)
    local value = input.field(data, name)
    if type(value) ~= "string" then
        input.refuse(name, "a string", value)
    end
    return value
end

function input.whole(data, name, default, least, most)
    local value = input.field(data, name)
    if value == nil then
        return default
    end
    if type(value) ~= "number" or value ~= math.floor(value) or value < least or value > most then
        local expected = ("a whole number from %d to %d"):format(least, most)
        if type(value) == "number" then
            error(("data.%s: expected %s, got %.14g"):format(name, expected, value), 0)
        end
        input.refuse(name, expected, value)
    end
    return value
end

-- A function to call in every turn of a loop; it ends the operation soon after the flag was set. The look itself is one
-- load in a hundred turns or so, and compiled code does it too: the JIT may not keep what is behind a pointer when a
-- call of C lies between, so the pointer is read through a function that it does not see into.
function input.checkpoint(stop)
    local flag = ffi.cast("const volatile uint8_t *", stop)
    if flag == NULL then
        return function() end
    end
    local turns = 0
    return function()
        turns = turns + 1
        if turns >= 256 then
            turns = 0
            if flag[0] ~= 0 then
                error("stopped", 0)
            end
        end
    end
end

-- The `limit` best of a list by `before(a, b)`, best first, without sorting all of it. The order must be total.
function input.best(list, limit, before, check)
    local heap, count = {}, 0 -- the worst of those kept is heap[1]
    local function sift_down(at)
        local moved = heap[at]
        while true do
            check()
            local child = at * 2
            if child > count then
                break
            end
            if child < count and before(heap[child], heap[child + 1]) then
                child = child + 1
            end
            if not before(moved, heap[child]) then
                break
            end
            heap[at] = heap[child]
            at = child
        end
        heap[at] = moved
    end
    for index = 1, #list do
        check()
        if count < limit then
            count = count + 1
            heap[count] = list[index]
            if count == limit then
                for at = math.floor(count / 2), 1, -1 do
                    sift_down(at)
                end
            end
        elseif before(list[index], heap[1]) then
            heap[1] = list[index]
            sift_down(1)
        end
    end
    for at = math.floor(count / 2), 1, -1 do
        sift_down(at)
    end
    local total = count
    while count > 1 do
        local worst = heap[1]
        heap[1] = heap[count]
        heap[count] = worst
        count = count - 1
        sift_down(1)
    end
    return heap, total
end

return input
