-- What a person sees: a line of progress on standard error, tables on standard output.
local process = require "bench.support.process"

local screen = {}

local PLAIN_INTERVAL = 10 -- seconds between lines where they cannot be written over

local no_color = (os.getenv("NO_COLOR") or "") ~= ""
local in_place = process.is_terminal(2)
local last_line, written = 0, false

function screen.duration(seconds)
    seconds = math.max(0, math.floor(seconds + 0.5))
    if seconds >= 3600 then
        return ("%dh%02dm"):format(seconds / 3600, seconds % 3600 / 60)
    end
    return seconds >= 60 and ("%dm%02ds"):format(seconds / 60, seconds % 60) or ("%ds"):format(seconds)
end

function screen.bytes(bytes)
    if not bytes then
        return "–"
    end
    local unit = 1
    local names = {"B", "KiB", "MiB", "GiB", "TiB"}
    while bytes >= 1024 and unit < #names do
        bytes, unit = bytes / 1024, unit + 1
    end
    return (bytes < 10 and unit > 1 and "%.2f %s" or bytes < 100 and unit > 1 and "%.1f %s" or "%.0f %s"):format(
        bytes, names[unit])
end

-- 1234567 as 1,234,567.
function screen.count(number)
    local text = ("%.0f"):format(number)
    local grouped = text:reverse():gsub("(%d%d%d)", "%1,"):reverse()
    return (grouped:gsub("^,", ""))
end

-- Microseconds as people read them.
function screen.time(us)
    if not us then
        return "–"
    end
    return us < 1000 and ("%.0f µs"):format(us) or us < 1e6 and ("%.2f ms"):format(us / 1000) or
        ("%.2f s"):format(us / 1e6)
end

function screen.progress(left, text)
    local line = ("%s left  %s"):format(screen.duration(left), text)
    if in_place then
        io.stderr:write("\r\27[K\27[?7l", line, "\27[?7h") -- cut at the edge: a second line could not be written over
        written = true
    elseif os.time() - last_line >= PLAIN_INTERVAL then
        io.stderr:write(line, "\n")
        last_line = os.time()
    end
    io.stderr:flush()
end

-- Before anything else is written.
function screen.end_progress()
    if in_place and written then
        io.stderr:write("\r\27[K")
        written = false
    end
end

-- As people count: one for each character of UTF-8.
local function width(text)
    return select(2, text:gsub("[^\128-\191]", ""))
end

local function color(text, code)
    if no_color or not process.is_terminal(1) then
        return text
    end
    return ("\27[%dm%s\27[0m"):format(code, text)
end

local function paint(cell)
    if cell == "ok" then
        return color(cell, 32)
    end
    return cell == "MISSED" and color(cell, 31) or cell
end

-- rows: lists of texts, the first is the head. The first column stands left, the others right.
function screen.table(rows)
    local widths = {}
    for _, row in ipairs(rows) do
        for i, cell in ipairs(row) do
            widths[i] = math.max(widths[i] or 0, width(cell))
        end
    end
    for _, row in ipairs(rows) do
        local out = {}
        for i, cell in ipairs(row) do
            local space = (" "):rep(widths[i] - width(cell))
            out[i] = i == 1 and cell .. space or space .. paint(cell)
        end
        io.write("  ", (table.concat(out, "  "):gsub("%s+$", "")), "\n")
    end
end

return screen
