--- Completions, manual pages and a page of the docs, from what --help says. Called by core/author/manual.c.

local help = require("luaduct.manual.help")

local MAKERS = {
    ["bash"] = function(commands) return require("luaduct.manual.completion").bash(commands) end,
    ["zsh"] = function(commands) return require("luaduct.manual.completion").zsh(commands) end,
    ["luaduct.1"] = function(commands, version) return require("luaduct.manual.roff").commands(commands, version) end,
    ["luaduct.lua.5"] = function(_, version) return require("luaduct.manual.roff").config(version) end,
    ["command-line.md"] = function(commands) return require("luaduct.manual.markdown").page(commands) end,
}

--- The page's text. `texts`: {name, summary, help} of each command.
return function(page, texts, version)
    local commands = {}
    for i, each in ipairs(texts) do
        commands[i] = help.read(each[1], each[2], each[3])
    end
    return MAKERS[page](commands, version)
end
