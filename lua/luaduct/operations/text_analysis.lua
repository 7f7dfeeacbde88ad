-- text_analysis: tokens, counts, n-grams and similarity of text in whatever language. A token is a run of letters and
-- digits; every byte of a character beyond ASCII counts as a letter, and only ASCII is made lower-case.
local ffi = require "ffi"
local input = require "luaduct.operations.input"

local TEXT_BYTES = 4 * 1024 * 1024 -- more takes too long between two looks at the stop flag
local TOKENS = 100000 -- that `tokens` lists at most

-- 1 for the bytes of tokens.
local IS_TOKEN = ffi.new("uint8_t[256]")
for byte = 0, 255 do
    local letter = (byte >= 48 and byte <= 57) or (byte >= 65 and byte <= 90) or (byte >= 97 and byte <= 122)
    IS_TOKEN[byte] = (letter or byte >= 128) and 1 or 0
end

local function read_text(data, name)
    local text = input.text(data, name)
    if #text > TEXT_BYTES then
        error(("data.%s: expected at most %d bytes, got %d"):format(name, TEXT_BYTES, #text), 0)
    end
    return text
end

local function tokens_of(text, check)
    text = text:lower()
    local bytes = ffi.cast("const uint8_t *", text)
    local tokens, count, length, at = {}, 0, #text, 0
    while at < length do
        check()
        while at < length and IS_TOKEN[bytes[at]] == 0 do
            at = at + 1
            check()
        end
        local first = at
        while at < length and IS_TOKEN[bytes[at]] == 1 do
            at = at + 1
            check()
        end
        if at > first then
            count = count + 1
            tokens[count] = ffi.string(bytes + first, at - first)
        end
    end
    return tokens, count
end

-- How often each entry of the list stands in it: a table by entry, and how many different ones there are.
local function count_each(list, count, check)
    local counts, distinct = {}, 0
    for index = 1, count do
        check()
        local entry = list[index]
        local seen = counts[entry]
        if seen then
            counts[entry] = seen + 1
        else
            counts[entry] = 1
            distinct = distinct + 1
        end
    end
    return counts, distinct
end

-- The most frequent first; of equally frequent ones the lesser by bytes.
local function top(counts, limit, key, array, check)
    local entries, count = {}, 0
    for entry, times in pairs(counts) do
        check()
        count = count + 1
        entries[count] = {[key] = entry, count = times}
    end
    local best = input.best(entries, limit, function(a, b)
        if a.count ~= b.count then
            return a.count > b.count
        end
        return a[key] < b[key]
    end, check)
    return setmetatable(best, array)
end

local function characters_of(text, check)
    local bytes = ffi.cast("const uint8_t *", text)
    local characters, count, at, length = {}, 0, 0, #text
    while at < length do
        check()
        local first = at
        at = at + 1
        while at < length and bytes[at] >= 128 and bytes[at] < 192 do
            at = at + 1
        end
        count = count + 1
        characters[count] = ffi.string(bytes + first, at - first)
    end
    return characters, count
end

local SPLITS = {tokens = tokens_of, characters = characters_of}

local operations = {}

function operations.tokens(data, check, array)
    local tokens, count = tokens_of(read_text(data, "text"), check)
    local limit = input.whole(data, "limit", TOKENS, 1, TOKENS)
    for index = count, limit + 1, -1 do
        check()
        tokens[index] = nil
    end
    return {total = count, tokens = setmetatable(tokens, array)}
end

function operations.counts(data, check, array)
    local limit = input.whole(data, "limit", 100, 1, TOKENS)
    local tokens, count = tokens_of(read_text(data, "text"), check)
    local counts, distinct = count_each(tokens, count, check)
    return {total = count, distinct = distinct, counts = top(counts, limit, "token", array, check)}
end

function operations.ngrams(data, check, array)
    local limit = input.whole(data, "limit", 100, 1, TOKENS)
    local size = input.whole(data, "n", 2, 1, 8)
    local unit = input.field(data, "unit")
    if unit == nil then
        unit = "tokens"
    end
    local split = input.choice("unit", unit, SPLITS, "tokens, characters")
    local parts, count = split(read_text(data, "text"), check)
    local glue = unit == "tokens" and " " or ""
    local grams, gram_count = {}, 0
    for index = 1, count - size + 1 do
        check()
        gram_count = gram_count + 1
        grams[gram_count] = table.concat(parts, glue, index, index + size - 1)
    end
    local counts, distinct = count_each(grams, gram_count, check)
    return {total = gram_count, distinct = distinct, ngrams = top(counts, limit, "ngram", array, check)}
end

-- Of the counts of tokens (cosine) and of the sets of tokens (jaccard). Two empty texts are alike, an empty one is
-- like no other.
function operations.similarity(data, check)
    local a, a_count = tokens_of(read_text(data, "a"), check)
    local b, b_count = tokens_of(read_text(data, "b"), check)
    local a_counts, a_distinct = count_each(a, a_count, check)
    local b_counts, b_distinct = count_each(b, b_count, check)
    if a_count == 0 or b_count == 0 then
        local alike = a_count == b_count and 1 or 0
        return {cosine = alike, jaccard = alike}
    end
    local dot, a_square, b_square, common = 0, 0, 0, 0
    for token, times in pairs(a_counts) do
        check()
        a_square = a_square + times * times
        local others = b_counts[token]
        if others then
            dot = dot + times * others
            common = common + 1
        end
    end
    for _, times in pairs(b_counts) do
        check()
        b_square = b_square + times * times
    end
    return {
        cosine = math.min(1, dot / math.sqrt(a_square * b_square)), -- rounding may give a little more than 1
        jaccard = common / (a_distinct + b_distinct - common),
    }
end

function operations.statistics(data, check)
    local text = read_text(data, "text")
    local tokens, count = tokens_of(text, check)
    local _, distinct = count_each(tokens, count, check)
    local bytes, characters, lines, token_bytes = ffi.cast("const uint8_t *", text), 0, 0, 0
    for at = 0, #text - 1 do
        check()
        local byte = bytes[at]
        if byte < 128 or byte >= 192 then
            characters = characters + 1
        end
        if byte == 10 then
            lines = lines + 1
        end
    end
    if #text > 0 and bytes[#text - 1] ~= 10 then
        lines = lines + 1
    end
    for index = 1, count do
        check()
        token_bytes = token_bytes + #tokens[index]
    end
    return {bytes = #text, characters = characters, lines = lines, tokens = count, distinct = distinct,
        meanTokenBytes = count > 0 and token_bytes / count or 0}
end

return function(data, stop, array)
    local op = input.field(data, "op")
    if op == nil then
        op = "counts"
    end
    local operation = input.choice("op", op, operations, "tokens, counts, ngrams, similarity, statistics")
    return operation(data, input.checkpoint(stop), array)
end
