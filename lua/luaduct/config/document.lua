--- Two texts made from the schema: docs/config.md (`reference`) and config/luaduct.lua (`default_file`). The tests
--- compare the committed files with them, so that neither can drift from what the program does.

local schema = require("luaduct.config.schema")
local validate = require("luaduct.config.validate")

local format, rep = string.format, string.rep
local concat = table.concat

local document = {}

-- A default as Lua source.
local function literal(value)
    if type(value) == "string" then
        return validate.quote(value)
    elseif type(value) == "number" then
        return format("%.14g", value)
    elseif type(value) == "table" then
        local items = {} -- the only tables that are defaults are lists of texts
        for index, item in ipairs(value) do
            items[index] = validate.quote(item)
        end
        return #items > 0 and "{ " .. concat(items, ", ") .. " }" or "{}"
    end
    return tostring(value)
end

--- Calls back for each section that opens, each key, and each section that closes, in the schema's order. `chosen`
--- says which keys there are; a section without any is none.
function document.visit(chosen, on_open, on_key, on_close)
    local open = {}
    local function close_to(depth)
        while #open > depth do
            local path = concat(open, ".")
            open[#open] = nil
            on_close(path, #open)
        end
    end
    local function enter(key)
        local names = {}
        for name in key.path:gmatch("([^.]+)%.") do
            names[#names + 1] = name
        end
        local shared = 0
        while shared < #names and open[shared + 1] == names[shared + 1] do
            shared = shared + 1
        end
        close_to(shared)
        for depth = shared + 1, #names do
            open[depth] = names[depth]
            on_open(concat(open, "."), names[depth], depth - 1)
        end
        on_key(key, key.path:match("[^.]+$"), #names)
    end
    for _, key in ipairs(schema.keys) do
        if chosen(key) then
            enter(key)
        end
    end
    close_to(0)
end

local function has_available_key(section)
    for _, key in ipairs(schema.keys) do
        if key.available and key.path:sub(1, #section + 1) == section .. "." then
            return true
        end
    end
    return false
end

local FILE_HEAD = [[
-- Luaduct's configuration: every key of this version with its default. A key that is left out has the same default, so
-- an empty table is a good file too. docs/config.md says more; `luaduct check FILE` says what is wrong.
-- Times are milliseconds where a name ends in Ms. Sizes are bytes: a number, or text such as "64MiB" or "500MB".
-- A line that is commented out shows a key without default, or one that is not available yet.

return {
]]

local COMMENT_COLUMN = 44 -- wide enough for most keys; a longer line puts its comment above

--- The default config file: every key at its default, one line of help each.
function document.default_file()
    local lines = {}
    local function add(text)
        lines[#lines + 1] = text
    end

    -- Inside a section that is commented out as a whole, the indent stands behind the dashes.
    local function prefix(depth, hidden, in_hidden_section)
        if in_hidden_section then
            return "    -- " .. rep("    ", depth)
        end
        return rep("    ", depth + 1) .. (hidden and "-- " or "")
    end

    document.visit(function()
        return true
    end, function(path, name, depth)
        local hidden = not has_available_key(path)
        if depth == 0 then
            add("")
            add(format("    -- %s%s", schema.sections[path], hidden and " Not available yet." or ""))
        end
        add(format("%s%s = {", prefix(depth, hidden, hidden), name))
    end, function(key, name, depth)
        if key.default == nil and not key.example then
            return -- a name that is only reserved
        end
        local section = key.path:match("^(.*)%.")
        local hidden = key.default == nil or not key.available
        local in_hidden_section = section and not has_available_key(section)
        local line = format("%s%s = %s,", prefix(depth, hidden, in_hidden_section), name,
            key.default ~= nil and literal(key.default) or key.example)
        local comment = key.help .. (not key.available and not in_hidden_section and "; not available yet" or "")
        if #line < COMMENT_COLUMN and COMMENT_COLUMN + #comment + 3 <= 120 then
            add(format("%s%s-- %s", line, rep(" ", COMMENT_COLUMN - #line), comment))
        else
            add(format("%s-- %s", rep("    ", depth + 1), comment))
            add(line)
        end
    end, function(path, depth)
        local hidden = not has_available_key(path)
        add(prefix(depth, hidden, hidden) .. "},")
    end)
    return FILE_HEAD .. concat(lines, "\n") .. "\n}\n"
end

local REFERENCE_HEAD = [[
# The config file

<!-- Made by lua/luaduct/config/document.lua from schema/ beside it: change that, then make this page again. -->

One Lua file returns one table. `luaduct run FILE` starts with it, `luaduct check FILE` prints every problem, one a
line. Without a file every key has its default.

- The file is Lua text. It sees the basic functions, `string`, `table`, `math`, `bit` and `os.getenv`, and nothing that
  reads, writes or waits.
- An unknown key, a wrong type or a value out of range stops the start:
  `config.lua: listen.wsPort: expected a whole number from 0 to 65535, got "x"`. A near miss gets a hint:
  `config.lua: listen.wsport: unknown key, did you mean listen.wsPort?`.
- Times are milliseconds where the name ends in `Ms` (and `taskTimeout`).
- Sizes are bytes: a number, or text with a unit. `KiB`, `MiB`, `GiB` and `TiB` are powers of 1024; `B`, `KB`, `MB`,
  `GB` and `TB` powers of 1000.
- Relative paths start at the config file's folder.
- A flag of `luaduct run` wins over an environment variable, a variable over the file. A variable that is set but empty
  counts as not set, except `AI_BRIDGE_AUTH_TOKEN`, which is then refused. Booleans in variables are `1`, `true`, `yes`,
  `on` or `0`, `false`, `no`, `off`.
- A key marked ↻ changes with a reload (`luaduct reload`); the others keep their value until a restart.
- A key marked *not available yet* belongs to a feature of a later version. Leaving it out, or at its default, is fine;
  anything else stops the start. Nothing is accepted and ignored.

## Listening for other machines

`listen.host = "localhost"` is both loopbacks, `127.0.0.1` and `::1`. Any other host that is not a loopback address may
be reached from other machines, and takes both TLS (`tls.cert` and `tls.key`) and a credential (`auth.*` or
`tls.clientCa`). Without them the start is refused, unless `listen.insecure = true` (or `AI_BRIDGE_INSECURE=1`)
allows it.

## What "auto" is

| key | value |
|---|---|
| `performance.worker_threads` | the processors that the process may run on |
| `limits.connections` | the limit of open files less 32, less 16 for each reactor, at most 100,000 |
| `limits.memory` | 80 % of the least of the container's limit, RLIMIT_AS, RLIMIT_DATA and the machine's memory |
| `agents.mailboxTotalBytes` | a quarter of `limits.memory` (of its "auto" where that is 0) |

A number for `limits.connections` that the limit of open files does not carry is refused.
]]

-- Text inside a table of Markdown.
local function cell(text)
    return (text:gsub("|", "\\|"))
end

local function takes(key)
    return key.type == "any" and "" or (validate.expectation(key):gsub('a size such as 1048576 or "1MiB",', "a size"))
end

local function overrides(key)
    local names = {}
    if key.flag then
        names[1] = "`" .. key.flag .. "`"
    end
    for _, variable in ipairs(key.variables or {}) do
        names[#names + 1] = "`" .. variable .. "`"
    end
    return concat(names, ", ")
end

--- The reference page, docs/config.md.
function document.reference()
    local lines = {}
    local function add(text)
        lines[#lines + 1] = text
    end

    local function open_table(title, help)
        add("")
        add("## " .. title)
        add("")
        add(help)
        add("")
        add("| key | default | takes | overridden by | |")
        add("|---|---|---|---|---|")
    end

    local current
    for _, key in ipairs(schema.keys) do
        local section = key.path:match("^(.*)%.") or ""
        if section ~= current then
            current = section
            if section == "" and key.available then
                open_table("General", "At the top of the table.")
            elseif section == "" then
                open_table("Reserved names", "For later versions.")
            else
                open_table(section, schema.sections[section])
            end
        end
        local help = key.help .. (key.available and "" or " (*not available yet*)")
        add(format("| `%s`%s | %s | %s | %s | %s |", key.path, key.live and " ↻" or "",
            key.default ~= nil and "`" .. literal(key.default) .. "`" or "", cell(takes(key)), overrides(key),
            cell(help)))
    end
    return REFERENCE_HEAD .. concat(lines, "\n") .. "\n"
end

--- The paragraphs that the reference page begins with, for the manual page.
function document.introduction()
    local paragraphs = {}
    local text = REFERENCE_HEAD:gsub("<!%-%-.-%-%->", ""):gsub("^# [^\n]*", ""):match("^(.-)\n## "):gsub("↻", "live")
    for part in text:gsub("\n%- ", "\n\n"):gsub("\n\n+", "\0"):gmatch("%Z+") do
        part = part:gsub("%s+", " "):match("^%s*(.-)%s*$"):gsub("%*([^*]+)%*", "%1")
        paragraphs[#paragraphs + 1] = part ~= "" and part or nil
    end
    return paragraphs
end

--- The sections with their keys: {title, help, keys = {{path, default, takes, overrides, help, live, available}}}.
function document.sections()
    local sections, current = {}, nil
    for _, key in ipairs(schema.keys) do
        local section = key.path:match("^(.*)%.") or ""
        if not current or current.path ~= section or (section == "" and current.available ~= key.available) then
            local title, help = section, schema.sections[section]
            if section == "" then
                title = key.available and "General" or "Reserved names"
                help = key.available and "At the top of the table." or "For later versions."
            end
            current = {path = section, available = key.available, title = title, help = help, keys = {}}
            sections[#sections + 1] = current
        end
        current.keys[#current.keys + 1] = {
            path = key.path, default = key.default ~= nil and literal(key.default) or nil, takes = takes(key),
            overrides = overrides(key), help = key.help, live = key.live, available = key.available,
        }
    end
    return sections
end

return document
