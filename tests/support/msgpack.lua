-- MessagePack as a peer writes and reads it, apart from the bridge's own. Values of Lua in the shortest formats; bytes
-- that shall go out as they are: msgpack.raw(bytes). What was read keeps its bytes too.
local bit = require "bit"
local ffi = require "ffi"

local msgpack = {}

local raw = {}

function msgpack.raw(bytes)
    return setmetatable({bytes = bytes}, raw)
end

local function big_endian(value, width)
    local out = {}
    for index = width, 1, -1 do
        out[index] = string.char(value % 256)
        value = math.floor(value / 256)
    end
    return table.concat(out)
end

local function double_bytes(value)
    return ffi.string(ffi.new("double[1]", value), 8):reverse()
end

local function encode_number(value)
    if value ~= math.floor(value) or math.abs(value) >= 2 ^ 53 then
        return "\xcb" .. double_bytes(value)
    elseif value >= 0 then
        return value < 128 and string.char(value) or value < 2 ^ 32 and "\xce" .. big_endian(value, 4)
            or "\xcf" .. big_endian(value, 8)
    end
    return value >= -32 and string.char(256 + value) or "\xcb" .. double_bytes(value)
end

local function encode_string(value)
    return (#value < 32 and string.char(0xa0 + #value) or "\xdb" .. big_endian(#value, 4)) .. value
end

-- A table is an array when it has [1] or is empty and not msgpack.map; map keys are sorted.
function msgpack.encode(value)
    local kind = type(value)
    if kind == "number" then
        return encode_number(value)
    elseif kind == "string" then
        return encode_string(value)
    elseif kind == "boolean" then
        return value and "\xc3" or "\xc2"
    elseif kind == "nil" then
        return "\xc0"
    elseif getmetatable(value) == raw then
        return value.bytes
    elseif value[1] ~= nil then
        local out = {"\xdd" .. big_endian(#value, 4)}
        for _, inner in ipairs(value) do
            out[#out + 1] = msgpack.encode(inner)
        end
        return table.concat(out)
    end
    local keys = {}
    for key in pairs(value) do
        keys[#keys + 1] = key
    end
    table.sort(keys)
    local out = {"\xdf" .. big_endian(#keys, 4)}
    for _, key in ipairs(keys) do
        out[#out + 1] = encode_string(key)
        out[#out + 1] = msgpack.encode(value[key])
    end
    return table.concat(out)
end

local function number_at(bytes, at, width)
    assert(at + width - 1 <= #bytes, "cut short")
    local value = 0
    for index = at, at + width - 1 do
        value = value * 256 + bytes:byte(index)
    end
    return value
end

local function text_at(bytes, at, length)
    assert(at + length - 1 <= #bytes, "cut short")
    return bytes:sub(at, at + length - 1), at + length
end

local decode_at

local function array_at(bytes, at, count)
    local out = {}
    for index = 1, count do
        out[index], at = decode_at(bytes, at)
    end
    return out, at
end

-- raw: the bytes of each value, by key.
local function map_at(bytes, at, count)
    local out, parts = {}, {}
    for _ = 1, count do
        local key, value
        key, at = decode_at(bytes, at)
        local from = at
        value, at = decode_at(bytes, at)
        out[key], parts[key] = value, bytes:sub(from, at - 1)
    end
    return setmetatable(out, {parts = parts}), at
end

local FLOATS = {[0xca] = {"float[1]", 4}, [0xcb] = {"double[1]", 8}}

-- The value at `at`, and the place behind it.
function decode_at(bytes, at)
    local format = assert(bytes:byte(at), "cut short")
    at = at + 1
    if format < 0x80 then
        return format, at
    elseif format >= 0xe0 then
        return format - 256, at
    elseif format < 0x90 then
        return map_at(bytes, at, format - 0x80)
    elseif format < 0xa0 then
        return array_at(bytes, at, format - 0x90)
    elseif format < 0xc0 then
        return text_at(bytes, at, format - 0xa0)
    elseif format == 0xc0 then
        return nil, at
    elseif format == 0xc2 or format == 0xc3 then
        return format == 0xc3, at
    elseif FLOATS[format] then
        local kind, width = FLOATS[format][1], FLOATS[format][2]
        local box = ffi.new(kind)
        ffi.copy(box, text_at(bytes, at, width):reverse(), width)
        return tonumber(box[0]), at + width
    elseif format >= 0xcc and format <= 0xcf then
        local width = bit.lshift(1, format - 0xcc)
        return number_at(bytes, at, width), at + width
    elseif format >= 0xd0 and format <= 0xd3 then
        local width = bit.lshift(1, format - 0xd0)
        local value = number_at(bytes, at, width)
        return value >= 256 ^ width / 2 and value - 256 ^ width or value, at + width
    end
    local shapes = {
        [0xc4] = {1, text_at}, [0xc5] = {2, text_at}, [0xc6] = {4, text_at}, [0xd9] = {1, text_at},
        [0xda] = {2, text_at}, [0xdb] = {4, text_at}, [0xdc] = {2, array_at}, [0xdd] = {4, array_at},
        [0xde] = {2, map_at}, [0xdf] = {4, map_at},
    }
    local shape = assert(shapes[format], ("the format %02x"):format(format))
    return shape[2](bytes, at + shape[1], number_at(bytes, at, shape[1]))
end

-- The one value that the bytes are.
function msgpack.decode(bytes)
    local value, behind = decode_at(bytes, 1)
    assert(behind == #bytes + 1, "bytes behind the value")
    return value
end

-- The bytes of a member of a map that was decoded.
function msgpack.bytes_of(map, key)
    return getmetatable(map).parts[key]
end

return msgpack
