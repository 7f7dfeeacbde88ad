--- What little of UTF-8 reading another language's texts takes.

local char, floor = string.char, math.floor

local utf8 = {}

--- Characters in the text: bytes that are no continuation.
function utf8.length(text)
    return select(2, text:gsub("[^\128-\191]", ""))
end

--- The bytes of a character, nil where there is no such.
function utf8.encode(code)
    if code < 0x80 then
        return char(code)
    elseif code < 0x800 then
        return char(0xC0 + floor(code / 0x40), 0x80 + code % 0x40)
    elseif code >= 0xD800 and code < 0xE000 or code > 0x10FFFF then
        return nil
    elseif code < 0x10000 then
        return char(0xE0 + floor(code / 0x1000), 0x80 + floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
    end
    return char(0xF0 + floor(code / 0x40000), 0x80 + floor(code / 0x1000) % 0x40, 0x80 + floor(code / 0x40) % 0x40,
        0x80 + code % 0x40)
end

return utf8
