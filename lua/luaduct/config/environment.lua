--- What overrides the file: flags of `luaduct run` over environment variables, those over the file. The schema says
--- which key listens to which; the text is converted here and judged by validate.lua as a value of the file is.

local schema = require("luaduct.config.schema")
local validate = require("luaduct.config.validate")

local environment = {}

local BOOLEANS = {
    ["1"] = true, ["true"] = true, yes = true, on = true,
    ["0"] = false, ["false"] = false, no = false, off = false,
}

local LONGEST_INTEGER = 15 -- digits that a Lua number holds exactly

local function split_commas(text)
    local items = {}
    for item in text:gmatch("[^,]+") do
        item = item:match("^%s*(.-)%s*$")
        if item ~= "" then
            items[#items + 1] = item
        end
    end
    return items
end

-- The text as the file would hold it. What does not convert stays text, so that the message shows it as it was given.
local function convert(key, text)
    if key.type == "boolean" then
        local value = BOOLEANS[text:lower()]
        if value ~= nil then
            return value
        end
    elseif key.type == "integer" and #text <= LONGEST_INTEGER and text:find("^%d+$") then
        return tonumber(text)
    elseif key.type == "origins" and text ~= "*" then
        return split_commas(text)
    end
    return text
end

-- The text that overrides the key, and what messages call it; nil where nothing does.
local function find_override(key, flags, variable)
    if key.flag and flags[key.flag] then
        return flags[key.flag], key.flag
    end
    for _, name in ipairs(key.variables or {}) do
        local text = variable(name)
        -- Set but empty counts as not set, as shells and containers leave it; an empty secret is a mistake that would
        -- open the bridge, so that one is judged.
        if text and (text ~= "" or key.secret) then
            return text, name
        end
    end
end

--- Puts the overrides into `values` (by path). `flags` has texts by flag ("--ws-port"), `variable(name)` gives text or
--- nil. Gives a list of texts such as `AI_BRIDGE_PORT (listen.wsPort): expected …, got "x"`, the paths that failed, and
--- for each path that was overridden what overrode it.
function environment.apply(values, flags, variable)
    local texts, failed, origin = {}, {}, {}
    for _, key in ipairs(schema.keys) do
        local text, name = find_override(key, flags, variable)
        if text then
            local good, normal = false, "is set but empty; unset it or give it a value"
            if text ~= "" or not key.secret then
                good, normal = validate.value(key, convert(key, text))
            end
            if good then
                values[key.path], origin[key.path] = normal, name
            else
                texts[#texts + 1] = string.format("%s (%s): %s", name, key.path, normal)
                failed[key.path] = true
            end
        end
    end
    return texts, failed, origin
end

return environment
