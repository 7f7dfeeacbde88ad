--- What `luaduct COMMAND --help` prints, taken apart. The text is the source of completions, manual pages and
--- docs/command-line.md, so all of it has one form:
---   usage: luaduct NAME …          one line for each way, those after the first with seven spaces before them
---   text                           paragraphs, with empty lines between them
---     --option VALUE  what it is   two spaces, a term, two spaces or more, its description
---                     more of it   goes on further to the right
---     an example                   two spaces, and no term
---   Exit status: …                 the last one

local help = {}

--- The blocks of a text: {kind = "text" | "example", lines} or {kind = "list", entries = {{term, text}}}.
local function read_blocks(lines)
    local blocks, current = {}, nil

    local function block(kind)
        if not current or current.kind ~= kind then
            current = {kind = kind, lines = {}, entries = {}}
            blocks[#blocks + 1] = current
        end
        return current
    end

    for _, line in ipairs(lines) do
        local term, text = line:match("^  (%S.-)  +(%S.*)$")
        if not term and line:match("^  %-%-%S") then
            term, text = line:sub(3), ""
        end
        if line == "" or (line:match("^Exit status:") and current) then
            current = nil
        end
        if term then
            local entries = block("list").entries
            entries[#entries + 1] = {term = term, text = text}
        elseif current and current.kind == "list" and line:match("^      ") then
            local entry = current.entries[#current.entries]
            entry.text = entry.text .. (entry.text ~= "" and " " or "") .. line:match("^%s*(.*)$")
        elseif line:match("^  ") then
            local list = block("example").lines
            list[#list + 1] = line:sub(3)
        elseif line ~= "" then
            local list = block("text").lines
            list[#list + 1] = line
        end
    end
    return blocks
end

--- The options of a list: {names, argument, text, words}; `words` are the values that its text names, if those are all.
local function read_option(entry)
    local option = {names = {}, text = entry.text, term = entry.term}
    for part in (entry.term .. ","):gmatch("%s*([^,]*),") do
        local name, argument = part:match("^(%-%-[%w-]+)%s*(.*)$")
        if name then
            option.names[#option.names + 1] = name
            option.argument = argument ~= "" and argument or option.argument
        end
    end
    local head = entry.text:match("^[^;]*")
    if option.argument and (head:gsub(", ", " or ") .. " or "):gsub("[%l%d-]+ or ", "") == "" then
        option.words = {}
        for word in head:gsub(" or ", ", "):gmatch("[^, ]+") do
            option.words[#option.words + 1] = word
        end
    end
    return #option.names > 0 and option or nil
end

-- The words that stand for themselves behind the command: "new" in "luaduct token new NAME", both of "a|b".
local function read_verbs(usage, name)
    local verbs = {}
    for _, line in ipairs(usage) do
        local rest = line:match("^luaduct " .. name .. "%s+(.*)$") or ""
        for word in rest:gsub("%b[]…?", ""):gmatch("%S+") do
            if not word:match("^[%l%d.|-]+$") or word:match("^%-") then
                break
            end
            for verb in word:gmatch("[^|]+") do
                if not verbs[verb] and verb ~= "-" then
                    verbs[verb] = true
                    verbs[#verbs + 1] = verb
                end
            end
        end
    end
    return verbs
end

--- A command: {name, summary, usage, blocks, options, verbs, exit_status}.
function help.read(name, summary, text)
    local command = {name = name, summary = summary, usage = {}, options = {}, text = text}
    local lines = {}
    for line in text:gmatch("([^\n]*)\n") do
        local usage = line:match("^usage: (.*)$") or (#lines == 0 and line:match("^       (luaduct .*)$"))
        if usage then
            command.usage[#command.usage + 1] = usage
        else
            lines[#lines + 1] = line
        end
    end
    command.blocks = read_blocks(lines)
    for _, block in ipairs(command.blocks) do
        for _, entry in ipairs(block.entries) do
            entry.option = read_option(entry)
            entry.signal = entry.term:match("^SIG%u") ~= nil
            command.options[#command.options + 1] = entry.option
        end
    end
    command.verbs = read_verbs(command.usage, name)
    local last = command.blocks[#command.blocks]
    local status = last and last.kind == "text" and table.concat(last.lines, " "):match("^Exit status: (.*)$")
    if status then
        command.exit_status = status
        command.blocks[#command.blocks] = nil
    end
    return command
end

--- What a process does on signals: the entries of all commands that say it.
function help.signals(commands)
    local entries = {}
    for _, command in ipairs(commands) do
        for _, block in ipairs(command.blocks) do
            for _, entry in ipairs(block.entries) do
                entries[#entries + 1] = entry.signal and entry or nil
            end
        end
    end
    return entries
end

--- Marks the options that many commands have with the same words (`entry.common`), and gives them, each once.
local COMMON = 5
function help.find_common(commands)
    local counts, common, order = {}, {}, {}
    local function each(visit)
        for _, command in ipairs(commands) do
            for _, block in ipairs(command.blocks) do
                for _, entry in ipairs(block.entries) do
                    if entry.option then
                        visit(entry, entry.term .. "\0" .. entry.text)
                    end
                end
            end
        end
    end
    each(function(_, key) counts[key] = (counts[key] or 0) + 1 end)
    each(function(entry, key)
        entry.common = counts[key] >= COMMON
        if entry.common and not common[key] then
            common[key] = true
            order[#order + 1] = entry
        end
    end)
    return order
end

return help
