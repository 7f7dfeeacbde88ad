-- aggregate: groups records by fields and computes figures of each group. Groups come in the order of their first
-- record.
local ffi = require "ffi"
local input = require "luaduct.operations.input"

local METRICS = 64
local KEYS = 16

-- Text that is the same for the same values of the key fields and no others.
local function part_of(value)
    local kind = type(value)
    if kind == "string" then
        return "s" .. #value .. ":" .. value
    elseif kind == "number" then
        return ("n%.17g;"):format(value)
    elseif kind == "boolean" then
        return value and "t" or "f"
    elseif kind == "nil" or kind == "userdata" then
        return "-"
    end
    return nil
end

-- The k-th smallest (from 0) of values[0 … count - 1], which change places: quickselect, the middle of three as pivot.
local function select_nth(values, count, k, check)
    local low, high = 0, count - 1
    while low < high do
        local a, b, c = values[low], values[math.floor((low + high) / 2)], values[high]
        local pivot = math.max(math.min(a, b), math.min(math.max(a, b), c))
        local i, j = low, high
        while i <= j do
            check()
            while values[i] < pivot do
                i = i + 1
                check()
            end
            while values[j] > pivot do
                j = j - 1
                check()
            end
            if i <= j then
                values[i], values[j] = values[j], values[i]
                i, j = i + 1, j - 1
            end
        end
        if k <= j then
            high = j
        elseif k >= i then
            low = i
        else
            break
        end
    end
    return values[k]
end

-- Between the two nearest ranks, in proportion (as spreadsheets and numpy do).
local function percentile(list, count, p, check)
    local values = ffi.new("double[?]", count)
    for index = 1, count do
        check()
        values[index - 1] = list[index]
    end
    local rank = (count - 1) * p / 100
    local below = math.floor(rank)
    local low = select_nth(values, count, below, check)
    if below == rank then
        return low
    end
    local high = math.huge
    for index = below + 1, count - 1 do -- all of these are at least `low`
        check()
        high = math.min(high, values[index])
    end
    return low + (high - low) * (rank - below)
end

local FIGURES = {
    sum = function(figure)
        return figure.sum
    end,
    avg = function(figure)
        return figure.count > 0 and figure.sum / figure.count or nil
    end,
    min = function(figure)
        return figure.min
    end,
    max = function(figure)
        return figure.max
    end,
    count = function(figure)
        return figure.count
    end,
    percentile = function(figure, metric, check)
        return figure.count > 0 and percentile(figure.values, figure.count, metric.p, check) or nil
    end,
}

local function read_metric(metric, index)
    local place = ("metrics[%d]"):format(index - 1)
    if type(metric) ~= "table" then
        input.refuse(place, "an object", metric)
    end
    local op, field = input.field(metric, "op"), input.field(metric, "field")
    input.choice(place .. ".op", op, FIGURES, "sum, avg, min, max, count, percentile")
    if type(field) ~= "string" and not (op == "count" and field == nil) then
        input.refuse(place .. ".field", "a string", field)
    end
    local p = input.field(metric, "p")
    if op == "percentile" and type(p) == "number" and not (p >= 0 and p <= 100) then
        error(("data.%s.p: expected a number from 0 to 100, got %.14g"):format(place, p), 0)
    end
    if op == "percentile" and type(p) ~= "number" then
        input.refuse(place .. ".p", "a number from 0 to 100", p)
    end
    local name = input.field(metric, "as")
    if name ~= nil and type(name) ~= "string" then
        input.refuse(place .. ".as", "a string", name)
    end
    if not name then
        name = op == "percentile" and ("p%.14g_%s"):format(p, field) or field and op .. "_" .. field or op
    end
    return {op = op, field = field, p = p, name = name, place = place, keeps = op == "percentile"}
end

local function read_metrics(data)
    local list = input.field(data, "metrics")
    if list == nil then
        list = {{op = "count"}}
    end
    input.list("metrics", list, "an array")
    if #list == 0 or #list > METRICS then
        error(("data.metrics: expected 1 to %d metrics, got %d"):format(METRICS, #list), 0)
    end
    local metrics = {}
    for index = 1, #list do
        metrics[index] = read_metric(list[index], index)
    end
    return metrics
end

local function read_keys(data)
    local keys = input.field(data, "groupBy")
    if keys == nil then
        return {}
    end
    if type(keys) == "string" then
        return {keys}
    end
    input.list("groupBy", keys, "a string or an array of strings")
    if #keys > KEYS then
        error(("data.groupBy: expected at most %d fields, got %d"):format(KEYS, #keys), 0)
    end
    for index = 1, #keys do
        if type(keys[index]) ~= "string" then
            input.refuse(("groupBy[%d]"):format(index - 1), "a string", keys[index])
        end
    end
    return keys
end

local function new_group(record, keys, metrics)
    local group = {}
    for index = 1, #keys do
        group[keys[index]] = record[keys[index]]
    end
    local figures = {}
    for index = 1, #metrics do
        figures[index] = {count = 0, sum = 0, values = metrics[index].keeps and {} or nil}
    end
    return {group = group, figures = figures}
end

local function id_of(record, keys, index)
    local id = ""
    for at = 1, #keys do
        local part = part_of(record[keys[at]])
        if not part then
            input.refuse(("records[%d].%s"):format(index - 1, keys[at]), "a plain value", record[keys[at]])
        end
        id = #keys == 1 and part or id .. part
    end
    return id
end

local function take(figure, metric, record, index)
    local value = 1
    if metric.field then
        value = record[metric.field]
        local kind = type(value)
        if kind == "nil" or kind == "userdata" then
            return -- a record without the field does not count
        end
        if kind ~= "number" and metric.op ~= "count" then
            input.refuse(("records[%d].%s"):format(index - 1, metric.field), "a number", value)
        end
    end
    figure.count = figure.count + 1
    if metric.op == "count" then
        return
    end
    figure.sum = figure.sum + value
    if not figure.min or value < figure.min then
        figure.min = value
    end
    if not figure.max or value > figure.max then
        figure.max = value
    end
    if metric.keeps then
        figure.values[figure.count] = value
    end
end

return function(data, stop, array)
    local check = input.checkpoint(stop)
    local records = input.list("records", input.field(data, "records"), "an array")
    local keys, metrics = read_keys(data), read_metrics(data)
    local groups, by_id = {}, {}
    for index = 1, #records do
        check()
        local record = records[index]
        if type(record) ~= "table" then
            input.refuse(("records[%d]"):format(index - 1), "an object", record)
        end
        local id = id_of(record, keys, index)
        local group = by_id[id]
        if not group then
            group = new_group(record, keys, metrics)
            by_id[id] = group
            groups[#groups + 1] = group
        end
        for at = 1, #metrics do
            take(group.figures[at], metrics[at], record, index)
        end
    end
    local result = {}
    for index = 1, #groups do
        check()
        local figures = {}
        for at = 1, #metrics do
            figures[metrics[at].name] = FIGURES[metrics[at].op](groups[index].figures[at], metrics[at], check)
        end
        result[index] = {group = groups[index].group, metrics = figures}
    end
    return setmetatable(result, array)
end
