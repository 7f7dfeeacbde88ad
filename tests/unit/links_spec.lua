-- Links of all Markdown files: a file or folder that they name is there, and so is the heading behind a `#`.
local process = require "tests.support.process"
local stat = require "posix.sys.stat"

-- What git tracks and what it would: so a new page is looked at before it is committed.
local function pages()
    local status, output, errors = process.run({
        "git", "ls-files", "--cached", "--others", "--exclude-standard", "--", "*.md",
    })
    if status ~= 0 then -- a checkout without git
        status, output, errors = process.run({
            "find", ".", "-name", "*.md", "-not", "-path", "*/node_modules/*", "-not", "-path", "./build/*",
        })
    end
    assert.equal(0, status, errors)
    local list = {}
    for path in output:gmatch("[^\n]+") do
        list[#list + 1] = path
    end
    return list
end

-- The text without code: what looks like a link there is none.
local function prose(text)
    text = ("\n" .. text .. "\n"):gsub("\n```.-\n```%s*\n", "\n\n")
    return (text:gsub("`[^`\n]*`", "``"))
end

-- As GitHub names a heading: lower case, spaces to dashes, no punctuation; repeated ones are numbered.
local function anchors(text)
    local found, seen = {}, {}
    text = ("\n" .. text):gsub("\n```.-\n```", "\n")
    for heading in text:gmatch("\n#+ +([^\n]*)") do
        heading = heading:gsub("%[([^%]]*)%]%([^)]*%)", "%1"):gsub("%s+$", ""):lower()
        local name = heading:gsub("[%z\1-\44\46\47\58-\64\91-\94\96\123-\127]", function(byte)
            return byte == " " and "-" or ""
        end)
        name = name:gsub("↻", ""):gsub("…", "")
        local count = seen[name]
        seen[name] = (count or 0) + 1
        found[count and name .. "-" .. count or name] = true
    end
    return found
end

local function exists(path)
    return stat.stat(path) ~= nil
end

local function normal(path)
    local parts = {}
    for part in path:gmatch("[^/]+") do
        if part == ".." then
            parts[#parts] = nil
        elseif part ~= "." then
            parts[#parts + 1] = part
        end
    end
    return (path:sub(1, 1) == "/" and "/" or "") .. table.concat(parts, "/")
end

-- Texts about what is wrong in a page.
local function broken_links(path, text)
    local problems = {}
    local folder = path:match("^(.*/)") or ""
    for target in prose(text):gmatch("%]%(%s*<?([^)%s>]+)>?[^)]*%)") do
        if not target:find("^%a[%w+.-]*:") then
            local file, anchor = target:match("^([^#]*)#?(.*)$")
            local there = file == "" and path or normal(folder .. file)
            if not exists(there) then
                problems[#problems + 1] = ("%s: %s is not there"):format(path, target)
            elseif anchor ~= "" and there:find("%.md$") and not anchors(process.read_file(there))[anchor] then
                problems[#problems + 1] = ("%s: no heading for %s"):format(path, target)
            end
        end
    end
    return problems
end

describe("the links of the documentation", function()
    after_each(process.clean)

    it("lead somewhere", function()
        local problems, count = {}, 0
        for _, path in ipairs(pages()) do
            local text = process.read_file(path)
            for _, problem in ipairs(broken_links(path, text)) do
                problems[#problems + 1] = problem
            end
            count = count + select(2, prose(text):gsub("%]%(", ""))
        end
        assert.same({}, problems)
        assert.is_true(count > 200)
    end)

    it("are looked at", function()
        local text = "# One `two`, three!\n## One\n## One\n[a](#one-two-three) [b](#one-1) [c](#none) [d](nowhere.md)\n"
            .. "`[e](nowhere.md)`\n```\n[f](nowhere.md)\n```\n[g](https://x.example/y) [h](docs/README.md#none)\n"
        local path = process.folder() .. "/page.md"
        process.write_file(path, text)

        assert.same({
            path .. ": no heading for #none", path .. ": nowhere.md is not there",
            path .. ": docs/README.md#none is not there",
        }, broken_links(path, text))
    end)

    it("begin in an index that names each page", function()
        local index = process.read_file("docs/README.md")
        for _, path in ipairs(pages()) do
            local name = path:match("^docs/([^/]+%.md)$")
            if name and name ~= "README.md" then
                assert(index:find(name, 1, true), "docs/README.md does not name " .. name)
            end
            local decision = path:match("^docs/adr/([^/]+%.md)$")
            if decision and decision ~= "README.md" then
                assert(process.read_file("docs/adr/README.md"):find("](" .. decision .. ")", 1, true),
                    "docs/adr/README.md does not name " .. decision)
            end
        end
    end)
end)
