--- `luaduct config migrate`: brings the Node bridge's config here.

local ffi = require("ffi")
local javascript = require("luaduct.migrate.javascript")
local dotenv = require("luaduct.migrate.dotenv")
local loader = require("luaduct.config.load")
local schema = require("luaduct.config.schema")
local translate = require("luaduct.migrate.translate")
local write_config = require("luaduct.migrate.write")

local format = string.format

local USAGE = [[
usage: luaduct config migrate FILE [--output CONFIG]

Reads the config module of the Node bridge (module.exports = {…} or export default {…}), or a file of variables
(.env), and writes the same as a config of this bridge, with a comment where a key changed. Nothing in FILE is
executed: what is exported and no literal is an error with its line and column; app code around it, also where it
starts a bridge, is passed over. That, and what has no counterpart, is named in a comment and on standard error.

  --output CONFIG  where to; standard: standard output. A file that is there is not written over; with a secret in it
                   only its owner may read it

Exit status: 0; 1 when FILE cannot be read; 2 wrong usage.
]]

local LARGEST_FILE = 1024 * 1024 -- bytes: longer ones are something else

local function usage_error(text)
    io.stderr:write("luaduct config: ", text, "; see `luaduct help config`\n")
    return 2
end

local function say(...)
    io.stderr:write(format(...), "\n")
end

local function read(path)
    local file, problem = io.open(path, "rb")
    if not file then
        return nil, problem
    end
    local text, reason = file:read(LARGEST_FILE + 1)
    file:close()
    if reason then
        return nil, format("%s: %s", path, reason)
    elseif text and #text > LARGEST_FILE then
        return nil, format("%s: larger than %d bytes", path, LARGEST_FILE)
    end
    return text or ""
end

local function write(path, text, mode)
    local file, problem = io.open(path, mode or "wb")
    if not file then
        return nil, problem
    end
    local written, reason = file:write(text)
    local closed, close_reason = file:close()
    return written and closed, reason or close_reason
end

ffi.cdef("unsigned umask(unsigned);")

-- A new file, through no link either (x, of glibc: O_EXCL), and only its owner's where it holds a secret.
local function write_new(path, text, secret)
    local before = secret and ffi.C.umask(tonumber("077", 8))
    local written, problem = write(path, text, "wbx")
    if before then
        ffi.C.umask(before)
    end
    return written, problem
end

local function holds_secret(entries)
    for path in pairs(entries) do
        if schema.by_path[path].secret then
            return true
        end
    end
    return false
end

-- The line of a place in the text.
local function line_finder(text)
    local starts = {}
    for stop in text:gmatch("()\n") do
        starts[#starts + 1] = stop
    end
    return function(at)
        local low, high = 1, #starts + 1
        while low < high do
            local middle = math.floor((low + high) / 2)
            if starts[middle] < at then
                low = middle + 1
            else
                high = middle
            end
        end
        return low
    end
end

local function is_variables(path)
    local name = path:match("[^/]*$")
    return name:find("^%.env") ~= nil or name:find("%.env$") ~= nil
end

-- Keys that the loader refuses go, each with the reason: what is written passes `luaduct check`.
local function drop_refused(entries, notes, text_of)
    for _ = 1, 10 do
        local path = os.tmpname()
        local written, problem = write(path, text_of())
        if not written then
            os.remove(path)
            return problem
        end
        local config, texts = loader.load(path, {}, {})
        os.remove(path)
        if config then
            return nil
        end
        local dropped = false
        for _, text in ipairs(texts) do
            local key, reason = text:sub(#path + 3):match("^([%w_.]+): (.*)$")
            if key and entries[key] then
                notes[#notes + 1] = {line = entries[key].line or 1, text = format("%s: left out: %s", key, reason)}
                entries[key], dropped = nil, true
            end
        end
        if not dropped then
            return texts[1]
        end
    end
    return "what it says contradicts itself"
end

local function migrate(path, output)
    local text, problem = read(path)
    if not text then
        say("luaduct config: %s", problem)
        return 1
    end
    local entries, notes, helpers
    if is_variables(path) then
        local list, wrong = dotenv(text)
        if not list then
            say("%s:%d:%d: %s", path, wrong.line, wrong.column, wrong.message)
            return 1
        end
        entries, notes, helpers = translate.variables(list)
    else
        local object, wrong = javascript(text)
        if not object then
            say("%s:%d:%d: %s", path, wrong.line, wrong.column, wrong.message)
            return 1
        end
        local line_of = line_finder(text)
        entries, notes, helpers = translate.object(object, line_of)
        for _, passed in ipairs(wrong) do
            notes[#notes + 1] = {line = line_of(passed.at), text = (passed.text:gsub("%c", "?"))}
        end
        table.sort(notes, function(a, b) return a.line < b.line end)
    end
    local label = path:match("[^/]*$"):gsub("%c", "?")
    local function text_of()
        return write_config(label, entries, notes, helpers, translate.DIFFERENCES)
    end
    problem = drop_refused(entries, notes, text_of)
    if problem then
        say("luaduct config: %s: %s", path, problem)
        return 1
    end
    for _, note in ipairs(notes) do
        if not note.silent then
            say("%s:%d: %s", path, note.line, note.text)
        end
    end
    if not output then
        io.stdout:write(text_of())
        return 0
    end
    local secret = holds_secret(entries)
    local written, reason = write_new(output, text_of(), secret)
    if not written then
        say("luaduct config: %s", reason)
        return 1
    end
    say("wrote %s%s: look at its comments, then `luaduct check %s`", output,
        secret and ", which only you may read, for it holds a secret" or "", output)
    return 0
end

return function(words)
    local path, output
    local index = 2
    for _, word in ipairs(words) do
        if word == "--help" or word == "-h" then
            io.stdout:write(USAGE)
            return 0
        end
    end
    if words[1] ~= "migrate" then
        return usage_error(words[1] and format("there is no %s", words[1]) or "what? `luaduct config migrate FILE`")
    end
    while words[index] do
        local word = words[index]
        local value = word:match("^%-%-output=(.*)$")
        if value then
            output = value
        elseif word == "--output" or word == "-o" then
            index = index + 1
            output = words[index]
            if not output then
                return usage_error("a value is missing after " .. word)
            end
        elseif word:sub(1, 1) == "-" then
            return usage_error("there is no option " .. word)
        elseif path then
            return usage_error("one file at a time, there is no place for " .. word)
        else
            path = word
        end
        index = index + 1
    end
    if not path then
        return usage_error("a file is missing")
    end
    local there = output and io.open(output)
    if there then
        there:close()
        say("luaduct config: %s is there already: choose another name, or move it away", output)
        return 1
    end
    return migrate(path, output)
end
