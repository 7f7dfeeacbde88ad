-- SHA-256 and HMAC-SHA256 (FIPS 180-4, RFC 2104), as hexadecimal text.
local bit = require "bit"
local band, bnot, bxor, ror, rshift = bit.band, bit.bnot, bit.bxor, bit.ror, bit.rshift

-- The first 32 bits of the fractional parts of roots of the first primes.
local function fractions(count, root)
    local list, candidate = {}, 2
    while #list < count do
        local prime = true
        for divisor = 2, math.floor(math.sqrt(candidate)) do
            prime = prime and candidate % divisor ~= 0
        end
        if prime then
            local value = candidate ^ (1 / root)
            list[#list + 1] = bit.tobit(math.floor((value - math.floor(value)) * 2 ^ 32))
        end
        candidate = candidate + 1
    end
    return list
end

local K, INITIAL = fractions(64, 3), fractions(8, 2)

local function block(state, text, at)
    local w = {}
    for i = 1, 16 do
        local a, b, c, d = text:byte(at + 4 * i - 4, at + 4 * i - 1)
        w[i] = bit.bor(bit.lshift(a, 24), bit.lshift(b, 16), bit.lshift(c, 8), d)
    end
    for i = 17, 64 do
        local x, y = w[i - 15], w[i - 2]
        w[i] = bit.tobit(w[i - 16] + bxor(ror(x, 7), ror(x, 18), rshift(x, 3)) + w[i - 7]
            + bxor(ror(y, 17), ror(y, 19), rshift(y, 10)))
    end
    local a, b, c, d, e, f, g, h = unpack(state)
    for i = 1, 64 do
        local t1 = bit.tobit(h + bxor(ror(e, 6), ror(e, 11), ror(e, 25)) + bxor(band(e, f), band(bnot(e), g)) + K[i]
            + w[i])
        local t2 = bit.tobit(bxor(ror(a, 2), ror(a, 13), ror(a, 22)) + bxor(band(a, b), band(a, c), band(b, c)))
        a, b, c, d, e, f, g, h = bit.tobit(t1 + t2), a, b, c, bit.tobit(d + t1), e, f, g
    end
    for i, value in ipairs({a, b, c, d, e, f, g, h}) do
        state[i] = bit.tobit(state[i] + value)
    end
end

local function digest(text)
    local state = {unpack(INITIAL)}
    local bits = #text * 8
    text = text .. "\128" .. ("\0"):rep((55 - #text) % 64) .. "\0\0\0\0"
        .. string.char(math.floor(bits / 2 ^ 24) % 256, math.floor(bits / 2 ^ 16) % 256, math.floor(bits / 256) % 256,
            bits % 256)
    for at = 1, #text, 64 do
        block(state, text, at)
    end
    local out = {}
    for i = 1, 8 do
        out[i] = bit.tohex(state[i])
    end
    return table.concat(out)
end

local function xor_all(key, byte)
    return (key:gsub(".", function(character)
        return string.char(bxor(character:byte(), byte))
    end))
end

local sha256 = {digest = digest}

function sha256.hmac(key, text)
    key = key .. ("\0"):rep(64 - #key)
    local inner = digest(xor_all(key, 0x36) .. text):gsub("%x%x", function(hex)
        return string.char(tonumber(hex, 16))
    end)
    return digest(xor_all(key, 0x5c) .. inner)
end

sha256.hex = digest

return sha256
