-- What is made of --help: completions, which bash and zsh themselves run; manual pages; docs/command-line.md.
local bridge = require "tests.support.bridge"
local process = require "tests.support.process"
local terminal = require "tests.support.terminal"

local function output_of(...)
    local status, output, errors = bridge.luaduct({...})
    assert.equal(0, status, errors)
    assert.equal("", errors)
    return output
end

local function has(program)
    return (process.run({"sh", "-c", "command -v " .. program})) == 0
end

local function commands()
    local names = {}
    for name in output_of("help"):gmatch("\n  (%l+)  ") do
        names[#names + 1] = name
    end
    assert.is_true(#names > 20)
    return names
end

describe("luaduct completion bash", function()
    after_each(bridge.clean)

    -- What bash offers for the last of the words, with spaces between.
    local function offered(...)
        local script = [[
            source <("$0" completion bash)
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
            _luaduct
            echo "${COMPREPLY[*]}"]]
        local status, output, errors = process.run({"bash", "-c", script, bridge.BINARY, "luaduct", ...})
        assert.equal(0, status)
        assert.equal("", errors)
        return output:match("^(.-)%s*$")
    end

    it("offers the commands", function()
        assert.equal("tail tasks test token top trace", table.concat((function()
            local list = {}
            for name in offered("t"):gmatch("%S+") do
                list[#list + 1] = name
            end
            table.sort(list)
            return list
        end)(), " "))
        assert.equal("--help --version", offered("--"))
    end)

    it("offers the options of each command, all that --help names", function()
        assert.equal("--ca --cert", offered("status", "--c"))
        assert.equal("--interval --insecure-skip-verify", offered("top", "--in"))
        for _, name in ipairs(commands()) do
            local offers = " " .. offered(name, "--") .. " "
            for option in output_of(name, "--help"):gmatch("\n  (%-%-[%w-]+)") do
                assert.truthy(offers:find(" " .. option .. " ", 1, true), name .. " " .. option)
            end
        end
    end)

    it("offers values and words that are known, and leaves others to bash, which offers files", function()
        assert.equal("enhanced original", offered("run", "--mode", ""))
        assert.equal("rate", offered("top", "--json", "--sort", "r"))
        assert.equal("promote", offered("canary", "p"))
        assert.equal("new list revoke", offered("token", ""))
        assert.equal("bash zsh", offered("completion", ""))
        assert.equal("history", offered("help", "his"))
        assert.equal("", offered("status", "--ca", ""))
        assert.equal("", offered("check", ""))
    end)
end)

describe("luaduct completion zsh", function()
    after_each(bridge.clean)

    -- A zsh with these lines in its .zshrc; gives what checks that a text is completed to another.
    local function start(lines)
        local folder = process.folder()
        process.run({"ln", "-s", bridge.BINARY, folder .. "/luaduct"})
        process.write_file(folder .. "/_luaduct", output_of("completion", "zsh"))
        process.write_file(folder .. "/.zshrc", ("PS1='%%%% ' PATH=%s:$PATH\n"):format(folder)
            .. lines:gsub("FOLDER", folder))
        local screen = terminal.start({"zsh", "-i"}, {env = {ZDOTDIR = folder}, columns = 120})
        screen:shows("%")
        return function(typed, expected)
            screen:keys("C-u")
            screen:types(typed)
            screen:keys("Tab")
            screen:shows(expected)
        end
    end

    it("completes commands, options and values in zsh", function()
        if not has("zsh") then
            return
        end
        local completes = start("autoload -U compinit && compinit -u -d FOLDER/dump\n"
            .. "source <(luaduct completion zsh)\n")
        completes("luaduct hist", "luaduct history")
        completes("luaduct status --js", "luaduct status --json")
        completes("luaduct run --mode orig", "luaduct run --mode original")
        completes("luaduct canary prom", "luaduct canary promote")
        completes("luaduct ta", "tail   -- see envelopes as they pass")
    end)

    it("is a file that zsh finds by its name, too", function()
        if not has("zsh") then
            return
        end
        local completes = start("fpath=(FOLDER $fpath)\nautoload -U compinit && compinit -u -d FOLDER/dump\n")
        completes("luaduct hist", "luaduct history")
        completes("luaduct token rev", "luaduct token revoke")
    end)
end)

describe("luaduct completion", function()
    after_each(bridge.clean)

    it("says which shells there are", function()
        for _, arguments in ipairs({{"completion"}, {"completion", "fish"}, {"completion", "bash", "zsh"}}) do
            local status, output, errors = bridge.luaduct(arguments)
            assert.same({2, ""}, {status, output})
            assert.match("^luaduct completion: expected bash or zsh[^\n]*\n$", errors)
        end
    end)
end)

describe("a manual page", function()
    after_each(bridge.clean)

    local PAGES = {"luaduct.1", "luaduct.lua.5"}

    local function write(page)
        local path = process.folder() .. "/" .. page
        process.write_file(path, output_of("help", "--man", page))
        return path
    end

    it("is clean for mandoc and for groff", function()
        for _, page in ipairs(PAGES) do
            local path = write(page)
            if has("mandoc") then
                local _, output, errors = process.run({"mandoc", "-Tlint", "-Wstyle", path})
                assert.equal("", output .. errors)
            end
            if has("groff") then
                local status, _, errors = process.run({"groff", "-man", "-ww", "-Kutf8", "-Tutf8", "-z", path})
                assert.equal("", errors)
                assert.equal(0, status)
            end
        end
    end)

    local function shown(page)
        if not has("mandoc") then
            return nil
        end
        local _, output = process.run({"mandoc", "-Tutf8", "-Owidth=100", write(page)})
        return (output:gsub(".\b", ""))
    end

    it("luaduct.1 has every command and its options", function()
        local text = shown("luaduct.1") or output_of("help", "--man", "luaduct.1"):gsub("\\%-", "-")
        for _, name in ipairs(commands()) do
            assert.truthy(text:find("luaduct " .. name, 1, true), name)
            for option in output_of(name, "--help"):gmatch("\n  (%-%-[%w-]+)") do
                assert.truthy(text:find(option, 1, true), name .. " " .. option)
            end
        end
    end)

    it("luaduct.lua.5 has every key", function()
        local text = output_of("help", "--man", "luaduct.lua.5"):gsub("\\%-", "-")
        for _, key in ipairs(require("luaduct.config.schema").keys) do
            assert.truthy(text:find(key.path, 1, true), key.path)
        end
    end)

    it("bears the day of SOURCE_DATE_EPOCH, so that builds can be repeated", function()
        local _, output = bridge.luaduct({"help", "--man", "luaduct.1"}, {env = {SOURCE_DATE_EPOCH = "86400"}})
        assert.match('\n%.TH LUADUCT 1 "1970%-01%-02" "luaduct %d+%.%d+%.%d+" "Luaduct"\n', output)
    end)

    it("is one of those there are", function()
        for _, arguments in ipairs({{"help", "--man"}, {"help", "--man", "luaduct.7"}}) do
            local status, output, errors = bridge.luaduct(arguments)
            assert.same({2, ""}, {status, output})
            assert.match("^luaduct help: %-%-man: expected luaduct.1, luaduct.lua.5 or command%-line.md\n$", errors)
        end
    end)
end)

describe("docs/command-line.md", function()
    after_each(bridge.clean)

    it("is what the commands say of themselves (make docs writes it)", function()
        assert.equal(output_of("help", "--man", "command-line.md"), process.read_file("docs/command-line.md"))
    end)
end)

-- Pages link to pages that are installed too; to other files of the source only where one reads that.
local function assert_links(folder)
    local _, pages = process.run({"find", folder, "-name", "*.md"})
    for page in pages:gmatch("[^\n]+") do
        for link in process.read_file(page):gmatch("%]%(([^)#%s]+%.md)[#)]") do
            local path = page:match("^.*/") .. link
            if not link:find("^%a+:") and not link:find("examples/", 1, true) and not link:find("bench/", 1, true) then
                local file = io.open(path)
                assert.truthy(file, path)
                file:close()
            end
        end
    end
end

describe("make install", function()
    after_each(bridge.clean)

    it("puts pages and completions where man and the shells look, and make uninstall removes them", function()
        local folder = process.folder()
        local function make(target)
            local status, _, errors = process.run({
                "make", "-s", target, "DESTDIR=" .. folder, "PREFIX=/usr", "BUILD=" .. folder .. "/build",
                "-o", folder .. "/build/luaduct",
            }, {seconds = 60})
            assert.equal(0, status, errors)
        end
        process.run({"mkdir", "-p", folder .. "/build"})
        process.run({"cp", bridge.BINARY, folder .. "/build/luaduct"})
        make("install")
        local share = folder .. "/usr/share/"
        assert.match("^%.\\\" Made", process.read_file(share .. "man/man1/luaduct.1"))
        assert.match("LUADUCT.LUA 5", process.read_file(share .. "man/man5/luaduct.lua.5"))
        assert.match("complete .*_luaduct", process.read_file(share .. "bash-completion/completions/luaduct"))
        assert.match("^#compdef luaduct", process.read_file(share .. "zsh/site-functions/_luaduct"))
        assert_links(share .. "doc/luaduct/")
        make("uninstall")
        local _, left = process.run({"find", folder .. "/usr", "-type", "f"})
        assert.equal("", left)
    end)
end)
