-- GET /metrics/history?seconds: a sample of the figures for each of the last seconds, oldest first, as rows of numbers
-- whose places `columns` names. Counters are since the start.
local native = require "luaduct.http.native"

local MOST = 600 -- samples that are kept
local PIECE = 100

return function(request)
    local parameters, problem = native.parameters(request.query)
    if not parameters then
        return native.refuse("bad_request", problem)
    end
    local seconds = MOST
    for name, value in pairs(parameters) do
        if name ~= "seconds" then
            return native.refuse("bad_request", ("expected seconds as a parameter, got \"%s\""):format(name:sub(1, 64)))
        end
        seconds = tonumber(value:match("^%d+$"))
        if not seconds or seconds < 1 or seconds > MOST then
            return native.refuse("bad_request", ("seconds must be a whole number from 1 to %d"):format(MOST))
        end
    end
    local first, stop = native.figures_history_range()
    local number = math.max(first, stop - seconds)
    native.write('{"columns":', native.figures_history_columns(), ',"samples":[')
    local any = false
    while number < stop do
        number, any = native.write_figures_history(number, math.min(PIECE, stop - number), any)
        native.pause()
    end
    native.write("]}")
    return 200
end
