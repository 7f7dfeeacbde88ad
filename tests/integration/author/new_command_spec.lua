-- `luaduct new route`: a start that works.
local bridge = require "tests.support.bridge"
local process = require "tests.support.process"

describe("luaduct new route", function()
    after_each(bridge.clean)

    it("writes a script that passes its own spec and luaduct check", function()
        local folder = process.folder()
        local status, output, errors = bridge.luaduct({"new", "route", folder .. "/by-skill"})
        assert.equal(0, status, errors)
        assert.truthy(output:find("luaduct test " .. folder .. "/by-skill_spec.lua", 1, true), output)

        status, output = bridge.luaduct({"test", folder})
        assert.equal(0, status, output)
        assert.truthy(output:find("2 successes", 1, true), output)

        process.write_file(folder .. "/config.lua", 'return { script = { path = "by-skill.lua" } }')
        status, output, errors = bridge.luaduct({"check", folder .. "/config.lua"})
        assert.equal(0, status, errors)
        assert.truthy(output:find("by-skill.lua: ok", 1, true), output)
    end)

    it("writes nothing over", function()
        for _, taken in ipairs({"a.lua", "a_spec.lua"}) do
            local folder = process.folder()
            process.write_file(folder .. "/" .. taken, "mine")
            local status, output, errors = bridge.luaduct({"new", "route", folder .. "/a"})
            assert.equal(1, status)
            assert.equal("", output)
            assert.truthy(errors:find(taken .. " is there already", 1, true), errors)
            assert.equal("mine", process.read_file(folder .. "/" .. taken))
            local other = taken == "a.lua" and "a_spec.lua" or "a.lua"
            assert.equal("", process.read_file(folder .. "/" .. other))
        end
    end)

    it("says what is wrong in one line", function()
        local folder = process.folder()
        for arguments, expected in pairs({
            [{"new"}] = 2, [{"new", "agent", "a"}] = 2, [{"new", "route"}] = 2, [{"new", "route", "a", "b"}] = 2,
            [{"new", "route", folder .. "/a b"}] = 2, [{"new", "route", "--force"}] = 2,
            [{"new", "route", folder .. "/none/a"}] = 1,
        }) do
            local status, output, errors = bridge.luaduct(arguments)
            assert.equal(expected, status)
            assert.equal("", output)
            assert.truthy(errors:match("^luaduct new: [^\n]+\n$"), errors)
        end
    end)
end)
