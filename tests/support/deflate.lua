-- Messages of permessage-deflate (RFC 7692 7.2.1) that are written by hand, for tests of the window between messages.
local deflate = {}

-- The text as one stored block.
function deflate.stored(text)
    local low, high = #text % 256, math.floor(#text / 256)
    return "\0" .. string.char(low, high, 255 - low, 255 - high) .. text .. "\0"
end

-- One block of fixed codes (RFC 1951 3.2.6) that copies `length` bytes (51 to 58) from `distance` (49 to 64) back,
-- which may lie in an earlier message.
function deflate.copy(length, distance)
    local bits = {}
    local function put(value, count, from_the_top)
        for index = 0, count - 1 do
            local place = from_the_top and count - 1 - index or index
            bits[#bits + 1] = math.floor(value / 2 ^ place) % 2
        end
    end
    assert(length >= 51 and length <= 58 and distance >= 49 and distance <= 64)
    put(0, 1)
    put(1, 2)
    put(275 - 256, 7, true)
    put(length - 51, 3)
    put(11, 5, true)
    put(distance - 49, 4)
    put(0, 7, true)
    put(0, 3)
    local out = {}
    for start = 1, #bits, 8 do
        local byte = 0
        for index = 0, 7 do
            byte = byte + (bits[start + index] or 0) * 2 ^ index
        end
        out[#out + 1] = string.char(byte)
    end
    return table.concat(out)
end

return deflate
