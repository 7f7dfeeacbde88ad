--- A config file out of entries by path (translate.lua), in the schema's order, with a comment where a key changed.

local document = require("luaduct.config.document")

local format, rep = string.format, string.rep

local WIDTH = 110 -- of a comment's line, so that with its indent it stays within 120

local function add_comment(lines, indent, text)
    local line = indent .. "--"
    for word in text:gmatch("%S+") do
        if #line + #word + 1 > WIDTH and #line > #indent + 2 then
            lines[#lines + 1], line = line, indent .. "--"
        end
        line = line .. " " .. word
    end
    lines[#lines + 1] = line
end

local HELPERS = {
    variable = [[
-- A variable that is set and not empty.
local function variable(name)
    local text = os.getenv(name)
    return text ~= "" and text or nil
end
]],
    number = [[
-- A variable that is a number, and not 0.
local function number(name)
    local value = tonumber(variable(name))
    return value ~= 0 and value or nil
end
]],
}

--- `label`: what it was read from. `notes`: texts {line, text} of what was left out. `differences`: lines for the head.
return function(label, entries, notes, helpers, differences)
    local lines = {}
    add_comment(lines, "", format("Made by `luaduct config migrate` from %s. A comment stands where something changed; "
        .. "docs/config.md has every key.", label))
    for _, text in ipairs(differences) do
        add_comment(lines, "", "- " .. text)
    end
    for _, note in ipairs(notes) do
        add_comment(lines, "", format("line %d: %s", note.line, note.text))
    end
    lines[#lines + 1] = ""
    for _, name in ipairs({"variable", "number"}) do
        if helpers[name] then
            lines[#lines + 1] = HELPERS[name]
        end
    end
    lines[#lines + 1] = "return {"

    document.visit(function(key)
        return entries[key.path]
    end, function(_, name, depth)
        lines[#lines + 1] = rep("    ", depth + 1) .. name .. " = {"
    end, function(key, name, depth)
        local entry, indent = entries[key.path], rep("    ", depth + 1)
        if entry.note ~= "" then
            add_comment(lines, indent, entry.note)
        end
        lines[#lines + 1] = format("%s%s = %s,", indent, name, entry.source)
    end, function(_, depth)
        lines[#lines + 1] = rep("    ", depth + 1) .. "},"
    end)
    lines[#lines + 1] = "}"
    return table.concat(lines, "\n") .. "\n"
end
