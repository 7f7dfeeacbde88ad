--- "Did you mean": the known key nearest to an unknown one, by edits of the whole path or of its last name.
--- Case, underscores and (in whole paths) dots do not count, so that `ws_port` and `logLevel` find their key.

local schema = require("luaduct.config.schema")

local min, floor = math.min, math.floor

local suggest = {}

local LONGEST = 80 -- bytes: longer names are no slip of a known one, and the table of edits grows with the square

-- Edits between two texts, a swap of neighbours being one (optimal string alignment).
local function distance(a, b)
    local before_last, last = nil, {}
    for j = 0, #b do
        last[j] = j
    end
    for i = 1, #a do
        local row = { [0] = i }
        for j = 1, #b do
            local same = a:byte(i) == b:byte(j)
            local edits = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (same and 0 or 1))
            if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
                edits = min(edits, before_last[j - 2] + 1)
            end
            row[j] = edits
        end
        before_last, last = last, row
    end
    return last[#b]
end

local function flatten(text)
    return (text:lower():gsub("[_.]", ""))
end

local function last_name(path)
    return path:match("[^.]+$")
end

-- A third of a name may be wrong, three letters at most: past that the hint would be a guess.
local function tolerance(text)
    return min(3, floor((#text + 1) / 3))
end

-- What can be meant: every key and section by its path, and the former names. In the schema's order.
local candidates = {}

local function add_candidate(name, target)
    -- The rooms of the log have names that mean other things elsewhere: one is only meant below log.levels.
    local leaf = name:match("^log%.levels%.") and name or last_name(name)
    candidates[#candidates + 1] = { leaf = flatten(leaf), whole = flatten(name), target = target }
end

do
    local seen = {}
    for _, key in ipairs(schema.keys) do
        for stop in key.path:gmatch("()%.") do
            local section = key.path:sub(1, stop - 1)
            if not seen[section] then
                seen[section] = true
                add_candidate(section, section)
            end
        end
        add_candidate(key.path, key.path)
    end
    local former = {}
    for name in pairs(schema.former_names) do
        former[#former + 1] = name
    end
    table.sort(former)
    for _, name in ipairs(former) do
        add_candidate(name, schema.former_names[name])
    end
end

--- The path that was probably meant, or nil. A name that is no identifier (`listen[1]`) is no slip of a key.
function suggest.path(path)
    if #path > LONGEST or path:find("[", 1, true) then
        return nil
    end
    local whole, leaf = flatten(path), flatten(last_name(path))
    local best, best_edits, best_whole
    for _, candidate in ipairs(candidates) do
        local whole_edits = distance(whole, candidate.whole)
        local leaf_edits = distance(leaf, candidate.leaf)
        local edits
        if leaf_edits <= tolerance(leaf) then
            edits = leaf_edits
        end
        if whole_edits <= tolerance(leaf) then
            edits = min(edits or whole_edits, whole_edits)
        end
        -- Among equals the nearer section wins, then the schema's order.
        if edits and (not best or edits < best_edits or (edits == best_edits and whole_edits < best_whole)) then
            best, best_edits, best_whole = candidate, edits, whole_edits
        end
    end
    return best and best.target
end

--- The name of the list that was probably meant, or nil.
function suggest.among(name, names)
    local best, best_edits
    for _, candidate in ipairs(#name <= LONGEST and names or {}) do
        local edits = distance(flatten(name), flatten(candidate))
        if edits <= tolerance(flatten(name)) and (not best or edits < best_edits) then
            best, best_edits = candidate, edits
        end
    end
    return best
end

return suggest
