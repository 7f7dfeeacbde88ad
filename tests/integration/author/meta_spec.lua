-- lua/luaduct/meta.lua and docs/lua-api.md name what a script can reach, no less and no more. What it can reach is
-- asked of a running state.
local bridge = require "tests.support.bridge"
local process = require "tests.support.process"

local SCRIPT = [[
return {route = function(envelope, bridge)
    local names = {}
    for name in pairs(bridge.agent("ann")) do names[#names + 1] = name end
    return bridge.reply(names)
end}
]]

local SPEC = [[
local harness = require "luaduct.test"
it("runs", function()
    harness.bridge_with{{id = "ann"}}
    local script = harness.load("route.lua")
    for name in script.room:names():gmatch("[^\n]+") do print("NAME " .. name) end
    local made = script:route(harness.envelope{from = "ann", to = "ann", taskId = "t", replyTo = "r"})
    for _, name in ipairs(made[1].payload) do print("NAME agent." .. name) end
    for name in pairs(made.envelope) do print("NAME envelope." .. name) end
    for name in pairs(script:on_register{id = "ben", identity = "ben@example.org"}) do
        print("NAME registration." .. name)
    end
end)
]]

-- By what they begin with: {luaduct = {"luaduct.log.info" = true, …}, …}.
local function reachable()
    local folder = process.folder()
    process.write_file(folder .. "/route.lua", SCRIPT)
    process.write_file(folder .. "/route_spec.lua", SPEC)
    local status, output, errors = bridge.luaduct({"test", "--output=TAP", folder})
    assert.equal(0, status, output .. errors)
    local names = {}
    for name in output:gmatch("NAME ([^\n]+)") do
        names[name] = true
    end
    return names
end

local CLASSES = {
    ["luaduct.Log"] = "luaduct.log", ["luaduct.Workers"] = "luaduct.workers", ["luaduct.Shared"] = "luaduct.shared",
    ["luaduct.Bridge"] = "bridge",
    ["luaduct"] = "luaduct", ["luaduct.Agent"] = "agent", ["luaduct.Envelope"] = "envelope",
    ["luaduct.Registration"] = "registration",
}

local function annotated()
    local names, class, prefix = {}, nil, {luaduct = "luaduct"}
    for line in process.read_file("lua/luaduct/meta.lua"):gmatch("[^\n]*") do
        class = line:match("^%-%-%-@class ([%w.]+)") or class
        local variable = line:match("^local (%w+) = {}")
        if variable then
            prefix[variable] = CLASSES[class]
        end
        local field, kind = line:match("^%-%-%-@field (%w+)%?? (%S+)")
        if field and CLASSES[class] and not kind:match("^luaduct%.[LWS]%w+$") then
            names[CLASSES[class] .. "." .. field] = true
        end
        local owner, name = line:match("^function (%w+)%.(%w+)%(")
        if owner and prefix[owner] then
            names[prefix[owner] .. "." .. name] = true
        end
    end
    names["envelope.sender"] = nil -- no field of the wire
    return names
end

local function sorted(names)
    local list = {}
    for name in pairs(names) do
        list[#list + 1] = name
    end
    table.sort(list)
    return list
end

describe("what a script can reach", function()
    after_each(bridge.clean)

    it("is what the annotations say", function()
        local expected = {}
        for name in pairs(reachable()) do
            if name:match("^luaduct%.") or name:match("^bridge%.") or name:match("^agent%.") or
                name:match("^envelope%.") or name:match("^registration%.") then
                expected[name] = true
            end
        end
        assert.same(sorted(expected), sorted(annotated()))
    end)

    it("is what the page lists", function()
        local page = process.read_file("docs/lua-api.md")
        local listed = {}
        local sandbox = page:match("\n## The sandbox\n(.-)\n## ")
        for line in sandbox:match("There is:\n\n(.-)\n\n"):gmatch("[^\n]+") do
            for library, words in (line .. ";"):gmatch("`(%w+)`: `([%w ]+)`") do
                for word in (library == "luaduct" and "" or words):gmatch("%w+") do
                    listed[library .. "." .. word] = true
                end
            end
        end
        for word in sandbox:match("\n%- `(assert [%w ]+)`"):gmatch("%w+") do
            listed[word] = true
        end
        listed.collectgarbage = true
        local expected = {}
        for name in pairs(reachable()) do
            local library = name:match("^(%w+)%.")
            if library == nil or library == "string" or library == "table" or library == "coroutine" or
                library == "os" then
                expected[name] = true
            elseif library == "luaduct" or library == "bridge" then
                assert.truthy(page:find(name, 1, true) or name:match("^luaduct%.log"), name .. " is not on the page")
            end
        end
        assert.same(sorted(expected), sorted(listed))
    end)

    it("is installed for editors where the page says", function()
        local status, output, errors = process.run({"make", "--dry-run", "install"})
        assert.equal(0, status, errors)
        assert.truthy(output:find("lua/luaduct/meta.lua '/usr/local/share/luaduct/meta/luaduct.lua'", 1, true), output)
        assert.truthy(process.read_file("docs/lua-api.md"):find('"/usr/local/share/luaduct/meta"', 1, true))
    end)
end)
