-- docs/recipes.md and examples/recipes: every recipe has a spec that passes, loads in a bridge, and stands on the page.
local bridge = require "tests.support.bridge"
local dirent = require "posix.dirent"
local process = require "tests.support.process"
local websocket = require "tests.support.websocket"
local unistd = require "posix.unistd"

local FOLDER = unistd.getcwd() .. "/examples/recipes"

-- The scripts' file names, in order.
local function recipes()
    local names = {}
    for name in dirent.files(FOLDER) do
        if name:match("%.lua$") and not name:match("_spec%.lua$") then
            names[#names + 1] = name
        end
    end
    table.sort(names)
    return names
end

describe("recipes", function()
    after_each(bridge.clean)

    it("pass their specs", function()
        local status, output, errors = bridge.luaduct({"test", "--output=TAP", FOLDER})
        assert.equal(0, status, output .. errors)
        for _, name in ipairs(recipes()) do
            assert.truthy(io.open(FOLDER .. "/" .. name:gsub("%.lua$", "_spec.lua")), name .. " has no spec")
        end
    end)

    it("load in a bridge", function()
        local path = bridge.write({config = {script = {path = FOLDER .. "/skill.lua"}}})
        local arguments = {"check", path}
        for _, name in ipairs(recipes()) do
            arguments[#arguments + 1] = FOLDER .. "/" .. name
        end
        local status, _, errors = bridge.luaduct(arguments)
        assert.equal(0, status, errors)
    end)

    it("keeps a scheduled message over a reload", function()
        local server = bridge.start({config = {script = {path = FOLDER .. "/scheduled.lua"}}})
        local ann, ben = websocket.agent(server, "ann"), websocket.agent(server, "ben")
        ann:send_envelope({to = "ben", id = "r1", payload = {text = "tea"}, context = {afterMs = 1500}})
        assert.equal("r1", ann:receive_envelope().payload.scheduled)

        local status, _, errors = bridge.luaduct({"reload", "--url", server:url()})
        assert.equal(0, status, errors)
        local reminder = ben:receive_envelope()
        assert.same({"r1", "ann", {text = "tea"}}, {reminder.id, reminder.from, reminder.payload})
    end)

    it("are all on their page, and nothing else is", function()
        local page, listed = process.read_file("docs/recipes.md"), {}
        for shown, linked in page:gmatch("%[([%w_]+%.lua)%]%(%.%./examples/recipes/([%w_]+%.lua)%)") do
            assert.equal(shown, linked)
            listed[#listed + 1] = linked
        end
        table.sort(listed)
        assert.same(recipes(), listed)
    end)
end)
