-- Reading JSON in tests: decoded by lua-cjson, or taken apart as raw text where bytes matter.
local cjson = require "cjson"

local json = {null = cjson.null}

cjson.decode_max_depth(10000)

function json.decode(text)
    local ok, value = pcall(cjson.decode, text)
    if not ok then
        error("not JSON (" .. value .. "): " .. tostring(text):sub(1, 300), 2)
    end
    return value
end

json.encode = cjson.encode

local function skip_string(text, at)
    at = at + 1
    while true do
        local special = text:find('["\\]', at)
        if text:sub(special, special) == '"' then
            return special + 1
        end
        at = special + 2
    end
end

-- The position behind the value that starts at `at`; the text is known to be JSON.
local function skip_value(text, at)
    local first = text:sub(at, at)
    if first == '"' then
        return skip_string(text, at)
    end
    if first ~= "{" and first ~= "[" then
        return text:find("[,%]}%s]", at) or #text + 1
    end
    local depth = 0
    while true do
        local special = text:find('["%[%]{}]', at)
        local found = text:sub(special, special)
        if found == '"' then
            at = skip_string(text, special)
        else
            depth = depth + ((found == "{" or found == "[") and 1 or -1)
            at = special + 1
            if depth == 0 then
                return at
            end
        end
    end
end

-- An object's fields as they are written: a list of names in order, and raw text by name. Only for objects without
-- white space between tokens, as the bridge writes them.
function json.fields(text)
    assert(text:sub(1, 1) == "{", "not an object: " .. text:sub(1, 100))
    local names, raw = {}, {}
    local at = 2
    while text:sub(at, at) ~= "}" do
        local after_name = skip_string(text, at)
        local name = text:sub(at + 1, after_name - 2)
        assert(text:sub(after_name, after_name) == ":", "white space or worse at " .. after_name .. " of " .. text)
        local after_value = skip_value(text, after_name + 1)
        names[#names + 1] = name
        raw[name] = text:sub(after_name + 1, after_value - 1)
        at = after_value
        if text:sub(at, at) == "," then
            at = at + 1
        end
    end
    return names, raw
end

return json
