-- `luaduct test`: hands the files to busted, in this very state, and turns its verdict into an exit code.
local USAGE = [[
usage: luaduct test [OPTION]… FILE…

Runs specs of scripts, without a server: files, or folders with *_spec.lua in them.

  --filter PATTERN   only tests whose name matches the Lua pattern
  --output NAME      how busted shows them: utfTerminal, plainTerminal, TAP, json, junit
  --list             names the tests and runs none

Exits 0 when all pass, 1 when one does not or there is none, 2 on wrong usage. `luaduct new route NAME` writes a script
with its spec.
]]

local function usage_error(text)
    io.stderr:write("luaduct test: ", text, "; see `luaduct help test`\n")
    return 2
end

local WITH_VALUE = {["--filter"] = true, ["--output"] = true}

-- busted's arguments; or nil and the exit code.
local function read_arguments(words)
    local options, files = {}, {}
    local index, options_end = 1, false
    while index <= #words do
        local word = words[index]
        local name, value = word:match("^(%-%-[%a-]+)=(.*)$")
        name = name or word
        if options_end or word:sub(1, 1) ~= "-" then
            files[#files + 1] = word
        elseif word == "--" then
            options_end = true
        elseif word == "--help" or word == "-h" then
            io.stdout:write(USAGE)
            return nil, 0
        elseif word == "--list" then
            options[#options + 1] = word
            options.lists = true
        elseif WITH_VALUE[name] then
            if not value then
                index = index + 1
                value = words[index]
            end
            if not value then
                return nil, usage_error("a value is missing after " .. name)
            end
            options[#options + 1] = name .. "=" .. value
        else
            return nil, usage_error("there is no option " .. word)
        end
        index = index + 1
    end
    if #files == 0 then
        return nil, usage_error("which files? Name specs, or folders with *_spec.lua in them")
    end
    for _, file in ipairs(files) do
        local opened, problem = io.open(file)
        if not opened then
            return nil, usage_error(problem)
        end
        opened:close()
        options[#options + 1] = file
    end
    return options
end

-- Busted makes its core in its runner and shows it to nobody, so it is counted where that is made.
local function count_tests()
    local counts = {tests = 0}
    local make = require "busted.core"
    package.loaded["busted.core"] = function(...)
        local core = make(...)
        core.subscribe({"test", "end"}, function()
            counts.tests = counts.tests + 1
            return nil, true
        end)
        return core
    end
    return counts
end

-- The exit code.
local function run_busted(arguments, lists)
    local exit, stop = os.exit, {}
    local counts = count_tests()
    local verdict = 0 -- busted exits for a failure only, or raises nil
    arguments[0] = "luaduct test"
    rawset(_G, "arg", arguments)
    rawset(os, "exit", function(code)
        verdict = (code == nil or code == true or code == 0) and 0 or 1
        error(stop, 0)
    end)
    local ok, problem = xpcall(function()
        require "busted.runner"({standalone = false})
    end, function(problem)
        if problem == nil then
            verdict = 1
        end
        return (problem == nil or problem == stop) and stop or debug.traceback(tostring(problem), 2)
    end)
    rawset(os, "exit", exit)
    if not ok and problem ~= stop then
        io.stderr:write("luaduct test: ", problem, "\n")
    end
    verdict = problem == stop and verdict or ok and 0 or 1
    if verdict == 0 and counts.tests == 0 and not lists then
        io.stderr:write("luaduct test: no test ran: none of these files has one that is asked for\n")
        return 1
    end
    return verdict
end

return function(words)
    local arguments, code = read_arguments(words)
    if not arguments then
        return code
    end
    if not package.searchpath("busted.runner", package.path) then
        io.stderr:write("luaduct test: busted is missing: install the package lua-busted\n")
        return 1
    end
    return run_busted(arguments, arguments.lists)
end
