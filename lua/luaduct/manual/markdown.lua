--- docs/command-line.md.

local help = require("luaduct.manual.help")
local words = require("luaduct.manual.words")

local markdown = {}

-- Text outside of code: what stands in back quotes stays as it is.
local function prose(text)
    local parts = {}
    for plain, code in (text .. "``"):gmatch("([^`]*)(`[^`]*`)") do
        parts[#parts + 1] = plain:gsub("[*<>|]", "\\%0") .. (code ~= "``" and code or "")
    end
    return table.concat(parts)
end

-- At most 120 columns wide.
local function fill(text, indent)
    local lines, current = {}, ""
    for word in text:gmatch("%S+") do
        if current ~= "" and #current + #word + 1 > 120 then
            lines[#lines + 1] = current
            current = indent .. word
        else
            current = current == "" and word or current .. " " .. word
        end
    end
    lines[#lines + 1] = current
    return table.concat(lines, "\n")
end

local function add_entries(add, entries, wanted)
    for _, entry in ipairs(entries) do
        if wanted(entry) then
            add(fill(("- `%s`%s"):format(entry.term, entry.text ~= "" and ": " .. prose(entry.text) or ""), "  "))
        end
    end
end

local function add_command(add, command)
    add("")
    add("## luaduct " .. command.name)
    add("")
    add("```")
    for _, usage in ipairs(command.usage) do
        add(usage)
    end
    add("```")
    local common = false
    for _, block in ipairs(command.blocks) do
        local own = false
        for _, entry in ipairs(block.entries) do
            common, own = common or entry.common, own or not (entry.common or entry.signal)
        end
        if block.kind == "text" then
            add("")
            add(fill(prose(table.concat(block.lines, " ")), ""))
        elseif block.kind == "example" then
            add("")
            add("```sh")
            add(table.concat(block.lines, "\n"))
            add("```")
        elseif own then
            add("")
            add_entries(add, block.entries, function(entry) return not (entry.common or entry.signal) end)
        end
    end
    if common then
        add("")
        add("It also has the [common options](#common-options).")
    end
    if command.exit_status then
        add("")
        add(fill("Exit status: " .. prose(command.exit_status), ""))
    end
end

function markdown.page(commands)
    local lines = {}
    local function add(text)
        lines[#lines + 1] = text
    end
    local common = help.find_common(commands)
    add("# The command line")
    add("")
    add("<!-- Made by `luaduct help --man command-line.md` (make docs) from what --help says: change that. -->")
    for _, text in ipairs(words.INTRODUCTION) do
        add("")
        add(fill(prose(text), ""))
    end
    add("")
    add("| command | |")
    add("|---|---|")
    for _, command in ipairs(commands) do
        add(("| [`%s`](#luaduct-%s) | %s |"):format(command.name, command.name, prose(command.summary)))
    end
    add("")
    add("## Common options")
    add("")
    add("Of commands that talk to a bridge.")
    add("")
    add_entries(add, common, function() return true end)
    add("")
    add("## Signals")
    add("")
    add("To `luaduct run`.")
    add("")
    add_entries(add, help.signals(commands), function() return true end)
    add("")
    add("## Environment")
    add("")
    add("Those of `luaduct run` stand with its keys, in [config.md](config.md).")
    add("")
    for _, variable in ipairs(words.VARIABLES) do
        add(fill(("- `%s`: %s"):format(variable[1], prose(variable[2])), "  "))
    end
    add("")
    add("## Exit status")
    add("")
    add(prose(words.EXIT_STATUS))
    for _, command in ipairs(commands) do
        add_command(add, command)
    end
    return table.concat(lines, "\n") .. "\n"
end

return markdown
