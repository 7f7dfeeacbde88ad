-- Writes the C file that puts the program's Lua into the binary (core/runtime/config/bundle.h says how it is used).
-- luajit scripts/bundle.lua OUT FILE…: lua/luaduct/…/x.lua becomes a module as bytecode, any other file stays text.
-- Bytecode keeps its debug information, so that errors name lua/luaduct/…:line.

local bit = require "bit"

local out_path = arg[1]
local entries = {}

local function fail(message)
    io.stderr:write("scripts/bundle.lua: ", message, "\n")
    os.exit(1)
end

local function read_file(path)
    local file, problem = io.open(path, "rb")
    if not file then
        fail(problem)
    end
    local text = file:read("*a")
    file:close()
    return text
end

for index = 2, #arg do
    local path = arg[index]
    local module = path:match("^lua/(luaduct/.+)%.lua$")
    if module then
        local chunk, problem = loadstring(read_file(path), "@" .. path)
        if not chunk then
            fail(problem)
        end
        entries[#entries + 1] = {name = module:gsub("/", "."), source = "@" .. path, content = string.dump(chunk)}
    else
        entries[#entries + 1] = {name = path, content = read_file(path)}
    end
end
-- What the console's files are, in 16 digits: part of their addresses, so that browsers may keep each for ever.
local function tag(parts)
    local high, low = 5381, 52711 -- Bernstein's hash, twice, times 33 and times 65
    for byte in table.concat(parts, "\0"):gmatch(".") do
        high = bit.bxor(bit.tobit(high * 33), byte:byte())
        low = bit.bxor(bit.tobit(low * 65), byte:byte())
    end
    return bit.tohex(high) .. bit.tohex(low)
end

local console = {}
for _, entry in ipairs(entries) do
    if entry.name:match("^lua/luaduct/console/") then
        console[#console + 1] = entry.name
        console[#console + 1] = entry.content
    end
end
entries[#entries + 1] = {name = "lua/luaduct/console/tag", content = tag(console)}

table.sort(entries, function(a, b) -- byte order, as strcmp has it: bundle.c searches by halves
    return a.name < b.name
end)

local hex = {}
for byte = 0, 255 do
    hex[string.char(byte)] = ("%d,"):format(byte)
end

local parts = {'#include "runtime/config/bundle.h"\n\n'}
for index, entry in ipairs(entries) do
    parts[#parts + 1] = ("static const unsigned char content_%d[] = {\n"):format(index)
    for at = 1, #entry.content, 64 do
        parts[#parts + 1] = entry.content:sub(at, at + 63):gsub(".", hex) .. "\n"
    end
    parts[#parts + 1] = "0};\n" -- a byte more than the content: C has no empty arrays
end
parts[#parts + 1] = "\nconst struct bundle_entry bundle_entries[] = {\n"
for index, entry in ipairs(entries) do
    parts[#parts + 1] = ("    {%q, %s, {(const char *)content_%d, %d}},\n"):format(
        entry.name, entry.source and ("%q"):format(entry.source) or "NULL", index, #entry.content)
end
parts[#parts + 1] = "    {NULL, NULL, {NULL, 0}},\n};\n"

local file, problem = io.open(out_path, "wb")
if not file then
    fail(problem)
end
file:write(table.concat(parts))
if not file:close() then
    fail("cannot write " .. out_path)
end
