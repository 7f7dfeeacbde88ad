-- Each fuzz target over its kept corpus (tests/fuzz/corpus/NAME/), without a fuzzer.
local dirent = require "posix.dirent"
local process = require "tests.support.process"

local REPLAY = os.getenv("LUADUCT_REPLAY") or "build/replay"
local CORPUS = "tests/fuzz/corpus"

local function list(folder)
    local names = {}
    for name in dirent.files(folder) do
        if name:sub(1, 1) ~= "." then
            names[#names + 1] = name
        end
    end
    table.sort(names)
    return names
end

describe("the kept fuzz corpus", function()
    after_each(process.clean)

    for _, file in ipairs(list("tests/fuzz")) do
        local name = file:match("^(.+)_fuzz%.c$")
        if name then
            it("runs through the target " .. name .. " without a fault", function()
                local folder = CORPUS .. "/" .. name
                local files = #list(folder)
                assert.is_true(files > 0, "no corpus in " .. folder)
                local status, output, errors = process.run({REPLAY .. "/" .. name, folder}, {seconds = 120})
                assert.are.equal(0, status, errors:sub(-3000))
                assert.are.equal(files, tonumber(output))
            end)
        end
    end

    it("has a target for each of its folders", function()
        for _, name in ipairs(list(CORPUS)) do
            local file = io.open("tests/fuzz/" .. name .. "_fuzz.c")
            assert.is_truthy(file, CORPUS .. "/" .. name .. " has no target")
            file:close()
        end
    end)
end)
