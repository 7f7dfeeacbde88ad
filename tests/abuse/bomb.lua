-- Deflated messages (RFC 1951) that inflate to much, or take long to inflate.
local bit = require "bit"

local bomb = {}

local function new_bits()
    local out, byte, used = {}, 0, 0
    local function put(value, width)
        for index = 0, width - 1 do
            byte = bit.bor(byte, bit.lshift(bit.band(bit.rshift(value, index), 1), used))
            used = used + 1
            if used == 8 then
                out[#out + 1] = string.char(byte)
                byte, used = 0, 0
            end
        end
    end
    local function finish()
        put(0, 3) -- the stored block whose length a WebSocket message leaves out
        if used > 0 then
            put(0, 8 - used)
        end
        return table.concat(out)
    end
    return put, finish
end

-- Codes go with their highest bit first.
local function reversed(value, width)
    local out = 0
    for index = 0, width - 1 do
        out = bit.bor(out, bit.lshift(bit.band(bit.rshift(value, index), 1), width - 1 - index))
    end
    return out
end

-- Inflates to '"xxx…xxx"' of about that many bytes: 13 bits for 258 of them.
function bomb.size(bytes)
    local put, finish = new_bits()
    put(0, 1)
    put(1, 2)
    put(reversed(0x30 + ('"'):byte(), 8), 8)
    put(reversed(0x30 + ("x"):byte(), 8), 8)
    for _ = 1, math.floor(bytes / 258) do
        put(reversed(0xc5, 8), 8) -- 258 bytes …
        put(0, 5)                 -- … from one back
    end
    put(reversed(0x30 + ('"'):byte(), 8), 8)
    put(0, 7)
    return finish()
end

-- Blocks with Huffman codes of their own for nothing but their end: 90 bits each.
function bomb.blocks(count)
    local put, finish = new_bits()
    for _ = 1, count do
        put(0, 1)
        put(2, 2)
        put(0, 5)
        put(0, 5)
        put(14, 4)
        for index = 0, 17 do
            put((index == 2 or index == 17) and 1 or 0, 3)
        end
        put(1, 1)
        put(127, 7)
        put(1, 1)
        put(107, 7)
        put(0, 1)
        put(0, 1)
        put(0, 1)
    end
    return finish()
end

return bomb
