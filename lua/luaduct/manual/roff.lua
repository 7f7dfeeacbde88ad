--- Manual pages in the man macros (man(7)), for man-db and mandoc alike.

local document = require("luaduct.config.document")
local help = require("luaduct.manual.help")
local words = require("luaduct.manual.words")

local roff = {}

local WIDTH = 80

-- Nothing in the text is an escape, and hyphens can be copied as they stand. Back quotes make it bold.
local function escape(text)
    text = text:gsub("\\", "\\e"):gsub("-", "\\-"):gsub("…", "..."):gsub("→", "\\->"):gsub("`([^`]+)`", "\\fB%1\\fR")
    return (text:gsub("%^", "\\(ha"):gsub("~", "\\(ti"):gsub("`", "\\(ga"):gsub("'", "\\(aq"))
end

-- A line of text that is no request, whatever it begins with.
local function line(text)
    return (escape(text):gsub("^%.", "\\&."))
end

-- The same in lines of WIDTH, which are filled anew where they are shown.
local function lines_of(text)
    local lines, current = {}, ""
    for word in escape(text):gmatch("%S+") do
        if current ~= "" and #current + #word + 1 > WIDTH then
            lines[#lines + 1] = current
            current = word:gsub("^%.", "\\&.")
        else
            current = current == "" and word:gsub("^%.", "\\&.") or current .. " " .. word
        end
    end
    lines[#lines + 1] = current
    return table.concat(lines, "\n")
end

local Page = {}
Page.__index = Page

function Page:add(format, ...)
    self[#self + 1] = select("#", ...) > 0 and format:format(...) or format
end

function Page:paragraph(text)
    self:add(".PP")
    self:add(lines_of(text))
end

function Page:entry(term, text)
    self:add(".TP")
    self:add(".B " .. line(term))
    self:add(lines_of(text))
end

function Page:example(lines)
    self:add(".PP")
    self:add(".nf")
    self:add(".RS 4")
    for _, each in ipairs(lines) do
        self:add(line(each))
    end
    self:add(".RE")
    self:add(".fi")
end

-- The day of SOURCE_DATE_EPOCH (reproducible-builds.org), else today.
local function new_page(title, section, version)
    local epoch = tonumber(os.getenv("SOURCE_DATE_EPOCH") or "")
    local page = setmetatable({}, Page)
    page:add('.\\" Made by `luaduct help --man`: what it says stands in the program.')
    page:add('.TH %s %s "%s" "luaduct %s" "Luaduct"', title, section, os.date("!%Y-%m-%d", epoch), version)
    page:add(".ad l")
    return page
end

local function finish(page)
    return table.concat(page, "\n") .. "\n"
end

local function add_command(page, command)
    page:add(".SS luaduct " .. line(command.name))
    page:add(".nf")
    for _, usage in ipairs(command.usage) do
        page:add("\\fB" .. line(usage) .. "\\fR")
    end
    page:add(".fi")
    local common = false
    for _, block in ipairs(command.blocks) do
        if block.kind == "example" then
            page:example(block.lines)
        elseif block.kind == "text" then
            page:paragraph(table.concat(block.lines, " "))
        end
        for _, entry in ipairs(block.entries) do
            common = common or entry.common
            if not entry.common and not entry.signal then
                page:entry(entry.term, entry.text)
            end
        end
    end
    if common then
        page:paragraph("It also has the common options below.")
    end
    if command.exit_status then
        page:paragraph("Exit status: " .. command.exit_status)
    end
end

--- luaduct.1
function roff.commands(commands, version)
    local common = help.find_common(commands)
    local page = new_page("LUADUCT", "1", version)
    page:add(".SH NAME")
    page:add("luaduct \\- message bridge for AI agents, scripted in Lua")
    page:add(".SH SYNOPSIS")
    page:add(".B luaduct")
    page:add("\\fICOMMAND\\fR [\\fIARGUMENT\\fR]...")
    page:add(".SH DESCRIPTION")
    for i, text in ipairs(words.INTRODUCTION) do
        page:add(i > 1 and ".PP" or nil)
        page:add(lines_of(text))
    end
    page:add(".SH COMMANDS")
    for _, command in ipairs(commands) do
        page:entry(command.name, command.summary)
    end
    for _, command in ipairs(commands) do
        add_command(page, command)
    end
    page:add(".SH COMMON OPTIONS")
    page:add("Of commands that talk to a bridge.")
    for _, entry in ipairs(common) do
        page:entry(entry.term, entry.text)
    end
    page:add(".SH EXIT STATUS")
    page:add(lines_of(words.EXIT_STATUS))
    page:add(".SH SIGNALS")
    page:add("To \\fBluaduct run\\fR.")
    for _, entry in ipairs(help.signals(commands)) do
        page:entry(entry.term, entry.text)
    end
    page:add(".SH ENVIRONMENT")
    page:add("Those of \\fBluaduct run\\fR stand with its keys, in \\fBluaduct.lua\\fR(5).")
    for _, variable in ipairs(words.VARIABLES) do
        page:entry(variable[1], variable[2])
    end
    page:add(".SH SEE ALSO")
    page:add(".BR luaduct.lua (5)")
    return finish(page)
end

--- luaduct.lua.5
function roff.config(version)
    local page = new_page("LUADUCT.LUA", "5", version)
    page:add(".SH NAME")
    page:add("luaduct.lua \\- configuration of the luaduct message bridge")
    page:add(".SH DESCRIPTION")
    for i, text in ipairs(document.introduction()) do
        page:add(i > 1 and ".PP" or nil)
        page:add(lines_of(text))
    end
    page:add(".SH KEYS")
    page:add("What is said to be live changes with a reload.")
    for _, section in ipairs(document.sections()) do
        page:add(".SS " .. line(section.title))
        page:add(lines_of(section.help))
        for _, key in ipairs(section.keys) do
            local text = {key.help .. "."}
            text[#text + 1] = key.default and "Default: " .. key.default .. "." or nil
            text[#text + 1] = key.takes ~= "" and "Takes " .. key.takes .. "." or nil
            text[#text + 1] = key.overrides ~= "" and "Overridden by " .. key.overrides .. "." or nil
            text[#text + 1] = key.live and "Live." or nil
            text[#text + 1] = not key.available and "Not available yet." or nil
            page:entry(key.path, table.concat(text, " "))
        end
    end
    page:add(".SH FILES")
    page:entry("config/luaduct.lua", "every key with its default, in the folder share/luaduct of the installation")
    page:add(".SH SEE ALSO")
    page:add(".BR luaduct (1)")
    return finish(page)
end

return roff
