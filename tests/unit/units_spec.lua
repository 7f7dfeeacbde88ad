-- Every C unit test as a test of its own: each runs in a process of its own, so that one that crashes fails alone.
-- LUADUCT_UNIT_FILES, words with commas between them: only those whose file's path below tests/unit has one of them.
local process = require "tests.support.process"

local UNIT = os.getenv("LUADUCT_UNIT") or "build/tests/unit"

local status, list, list_errors = process.run({UNIT, "--list"})
process.clean()

describe("C unit", function()
    after_each(process.clean)

    it("tests are built and listed", function()
        assert.equal(0, status, UNIT .. " --list failed: " .. list_errors)
        assert.truthy(list:find("\t", 1, true), UNIT .. " lists no test")
    end)

    local words = os.getenv("LUADUCT_UNIT_FILES") or ""
    local function is_chosen(file)
        local path = file:match("tests/unit/(.+)$") or file
        for word in words:gmatch("[^,]+") do
            if path:find(word, 1, true) then
                return true
            end
        end
        return words == ""
    end

    local files, by_file = {}, {}
    for file, promise in list:gmatch("([^\t\n]+)\t([^\n]+)") do
        if is_chosen(file) and not by_file[file] then
            by_file[file] = {}
            files[#files + 1] = file
        end
        if by_file[file] then
            table.insert(by_file[file], promise)
        end
    end
    table.sort(files)

    for _, file in ipairs(files) do
        describe(file:match("[^/]+$"), function()
            for _, promise in ipairs(by_file[file]) do
                it(promise, function()
                    local result, output, errors = process.run({UNIT, promise}, {seconds = 60})
                    assert.equal(0, result, output .. errors)
                end)
            end
        end)
    end
end)
