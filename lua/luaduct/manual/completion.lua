--- Completions for shells, from what --help says. Where nothing is known of a word, both shells offer files.

local completion = {}

local function names_of(commands)
    local names = {}
    for i, command in ipairs(commands) do
        names[i] = command.name
    end
    return table.concat(names, " ")
end

local function options_of(command)
    local names = {"--help"}
    for _, option in ipairs(command.options) do
        for _, name in ipairs(option.names) do
            names[#names + 1] = name
        end
    end
    return table.concat(names, " ")
end

local BASH = [==[
# bash completion for luaduct, made by `luaduct completion bash`.
_luaduct()
{
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} options='' words=''
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W '%s --help --version' -- "$current")
        return
    fi
    case ${COMP_WORDS[1]} in
%s    esac
    case ${COMP_WORDS[1]}:$before in
%s    esac
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
    elif [ "$COMP_CWORD" -eq 2 ] && [ -n "$words" ]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    fi
}
complete -o bashdefault -o default -F _luaduct luaduct
]==]

function completion.bash(commands)
    local cases, values = {}, {}
    for _, command in ipairs(commands) do
        local words = command.name == "help" and names_of(commands) or table.concat(command.verbs, " ")
        cases[#cases + 1] = ("    %s)\n        options='%s'\n        words='%s'\n        ;;\n"):format(command.name,
            options_of(command), words)
        for _, option in ipairs(command.options) do
            if option.argument then
                local patterns = {}
                for i, name in ipairs(option.names) do
                    patterns[i] = command.name .. ":" .. name
                end
                -- Without known values COMPREPLY stays empty, and bash offers files.
                local offer = option.words and ("        mapfile -t COMPREPLY < <(compgen -W '%s' -- \"$current\")\n")
                    :format(table.concat(option.words, " ")) or ""
                values[#values + 1] = ("    %s)\n%s        return\n        ;;\n"):format(table.concat(patterns, " | "),
                    offer)
            end
        end
    end
    return BASH:format(names_of(commands), table.concat(cases), table.concat(values))
end

-- Inside of single quotes, and of a specification of _arguments.
local function quoted(text)
    return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function plain(text)
    return (text:gsub("[%[%]:\\]", "\\%0"))
end

local FILES = {FILE = true, F = true, DIR = true, PATH = true}

local function zsh_option(command, option)
    local list = {}
    for _, name in ipairs(option.names) do
        local repeated = false
        for line in command.text:gmatch("[^\n]+") do
            repeated = repeated or (line:find("several times", 1, true) and line:find(name, 1, true))
        end
        local value = ""
        if option.argument then
            local choice = option.words and "(" .. table.concat(option.words, " ") .. ")"
                or FILES[option.argument] and "_files" or " "
            value = (":%s:%s"):format(plain(option.argument), choice)
        end
        list[#list + 1] = "        " .. quoted(("%s%s%s[%s]%s"):format(repeated and "*" or "", name,
            option.argument and "=" or "", plain(option.text), value))
    end
    return table.concat(list, " \\\n")
end

local ZSH = [==[
#compdef luaduct
# zsh completion for luaduct, made by `luaduct completion zsh`.
_luaduct()
{
    local -a commands
    commands=(
%s    )
    if (( CURRENT == 2 )); then
        _describe -t commands command commands
        return
    fi
    shift words
    (( CURRENT-- ))
    case $words[1] in
%s    esac
}
if [[ $funcstack[1] == _luaduct ]]; then
    _luaduct "$@"
else
    compdef _luaduct luaduct
fi
]==]

function completion.zsh(commands)
    local described, cases = {}, {}
    for _, command in ipairs(commands) do
        described[#described + 1] = "        " .. quoted(command.name .. ":" .. plain(command.summary)) .. "\n"
        local lines = {"        " .. quoted("(-)--help[say how it is used]")}
        for _, option in ipairs(command.options) do
            lines[#lines + 1] = zsh_option(command, option)
        end
        if command.name == "help" then
            lines[#lines + 1] = "        " .. quoted("1:command:(" .. names_of(commands) .. ")")
        elseif #command.verbs > 0 then
            lines[#lines + 1] = "        " .. quoted("1:what:(" .. table.concat(command.verbs, " ") .. ")")
        end
        lines[#lines + 1] = "        " .. quoted("*:file:_files")
        cases[#cases + 1] = ("    %s)\n        _arguments -S \\\n%s\n        ;;\n"):format(command.name,
            table.concat(lines, " \\\n"))
    end
    return ZSH:format(table.concat(described), table.concat(cases))
end

return completion
