-- Small answers as JSON, with their keys in order, so that the same state gives the same text.
local native = require "luaduct.http.native"

local json = {}

json.null = {}

local ARRAY = {}

-- Marks a table as an array: needed where it may be empty.
function json.array(list)
    return setmetatable(list, ARRAY)
end

local encode

local function encode_array(list, out)
    out[#out + 1] = "["
    for index = 1, #list do
        if index > 1 then
            out[#out + 1] = ","
        end
        encode(list[index], out)
    end
    out[#out + 1] = "]"
end

local function encode_object(object, out)
    local keys = {}
    for key in pairs(object) do
        keys[#keys + 1] = key
    end
    table.sort(keys)
    out[#out + 1] = "{"
    for index, key in ipairs(keys) do
        if index > 1 then
            out[#out + 1] = ","
        end
        out[#out + 1] = native.json_string(key)
        out[#out + 1] = ":"
        encode(object[key], out)
    end
    out[#out + 1] = "}"
end

local function encode_number(value)
    if value ~= value or value == math.huge or value == -math.huge then
        error("JSON has no such number: " .. tostring(value))
    end
    -- 2^53: up to there every whole number is itself.
    if value == math.floor(value) and math.abs(value) <= 9007199254740992 then
        return ("%.0f"):format(value)
    end
    return ("%.14g"):format(value)
end

function encode(value, out)
    local kind = type(value)
    if value == json.null then
        out[#out + 1] = "null"
    elseif kind == "table" then
        if getmetatable(value) == ARRAY then
            encode_array(value, out)
        else
            encode_object(value, out)
        end
    elseif kind == "string" then
        out[#out + 1] = native.json_string(value)
    elseif kind == "number" then
        out[#out + 1] = encode_number(value)
    elseif kind == "boolean" then
        out[#out + 1] = tostring(value)
    else
        error("JSON has no " .. kind)
    end
end

function json.encode(value)
    local out = {}
    encode(value, out)
    return table.concat(out)
end

return json
