-- docs/lua-api.md: its examples run. A block that begins with ```lua example has lines `EXPRESSION --> WHAT COMES OUT`,
-- each run in a hook (`goes to:`, `logs:` and `sends:` say what else is looked at); lines without an arrow stand at the
-- top of the script. ```lua spec is a spec for the first script
-- of the page.
local bridge = require "tests.support.bridge"
local process = require "tests.support.process"

local PAGE = process.read_file("docs/lua-api.md")

local function blocks(kind)
    local list = {}
    for block in PAGE:gmatch("\n```lua" .. kind .. "\n(.-)\n```") do
        list[#list + 1] = block
    end
    return list
end

-- Lists of a fixed length, nil as null.
local PACK = [[
local function pack(null, list, ...)
    for index = 1, select("#", ...) do
        local value = select(index, ...)
        if value == nil then value = null end
        list[index] = value
    end
    return list
end
]]

-- Setup lines and {expression, expected} of a block.
local function read_block(block)
    local setup, lines = {}, {}
    for line in block:gmatch("[^\n]+") do
        local expression, expected = line:match("^(.-)%s*%-%->%s*(.*)$")
        if expression then
            lines[#lines + 1] = {expression = expression, expected = expected}
        else
            setup[#setup + 1] = line
        end
    end
    return table.concat(setup, "\n"), lines
end

local function script_of(setup, lines)
    local parts = {PACK, setup, "local runs = {"}
    for _, line in ipairs(lines) do
        if line.expected:match("^goes to:") then
            parts[#parts + 1] = ("function(envelope, bridge) return %s end,"):format(line.expression)
        else
            parts[#parts + 1] = ("function(envelope, bridge)\nreturn bridge.reply(pack(luaduct.null, " ..
                "luaduct.array(), %s))\nend,"):format(line.expression)
        end
    end
    parts[#parts + 1] = "}\nlocal at = 0\nreturn {route = function(envelope, bridge)\nat = at + 1\n" ..
        "return runs[at](envelope, bridge)\nend}"
    return table.concat(parts, "\n")
end

local SPEC = PACK .. [=[
local harness = require "luaduct.test"
local function twice(asked)
    return {payload = {n = 2 * asked.payload.n}}
end
it("runs", function()
    local script = harness.load("route.lua", {workers = {double = function(number) return 2 * number end}})
    harness.clock.set(1767268800000)
    for _, line in ipairs(LINES) do
        harness.bridge_with{
            {id = "ann"}, {id = "dan"}, {id = "cem", role = "worker", reply = twice},
            {id = "ben", role = "worker", labels = {"night"}, tools = {"paint"}, openTasks = 2, reply = twice},
        }
        script.sent = {}
        local where = line.expression
        local made = script:route(harness.envelope{from = "ann", payload = {n = 1, nothing = harness.null}})
        local to, logs = line.expected:match("^goes to: (.*)$"), line.expected:match("^logs: (.*)$")
        local sends = line.expected:match("^sends: (.*)$")
        if to then
            local got = table.concat(harness.recipients(made), ", ")
            assert.equal(to, got == "" and "nobody" or got, where)
        elseif logs then
            assert.truthy(script:logged(logs), where)
        elseif sends then
            assert.equal(sends, script.sent[1] and script.sent[1].envelope.intent or "nothing", where)
        else
            local expected = pack(harness.null, {}, assert(loadstring("return " .. line.expected))())
            assert.same(expected, made[1].payload, where)
        end
        print("RAN")
    end
end)
]=]

local function list_literal(lines)
    local parts = {}
    for index, line in ipairs(lines) do
        parts[index] = ("{expression = %q, expected = %q}"):format(line.expression, line.expected)
    end
    return "{" .. table.concat(parts, ",\n") .. "}"
end

local function run_block(block)
    local setup, lines = read_block(block)
    local folder = process.folder()
    process.write_file(folder .. "/double.lua", "return function(number) return 2 * number end")
    process.write_file(folder .. "/route.lua", script_of(setup, lines))
    process.write_file(folder .. "/route_spec.lua", (SPEC:gsub("LINES", function()
        return list_literal(lines)
    end)))
    local status, output, errors = bridge.luaduct({"test", "--output=TAP", folder})
    assert.equal(0, status, output .. errors)
    assert.equal(#lines, select(2, output:gsub("RAN", "")))
end

describe("the Lua API page", function()
    after_each(bridge.clean)

    it("has examples that give what they say", function()
        local examples = blocks(" example")
        assert.equal(5, #examples)
        for _, block in ipairs(examples) do
            run_block(block)
        end
    end)

    it("has an example of each function that runs", function()
        local examples = table.concat(blocks(" example"), "\n")
        local meta = process.read_file("lua/luaduct/meta.lua")
        local prefixes = {
            Log = "luaduct.log.", Workers = "luaduct.workers.", Bridge = "bridge.", luaduct = "luaduct.",
            Pool = "lists:", Shared = "luaduct.shared.", Timer = "handle:",
        }
        local count = 0
        for owner, name in meta:gmatch("\nfunction (%w+)[.:](%w+)%(") do
            local called = assert(prefixes[owner], owner) .. name
            assert.truthy(examples:find(called, 1, true), called .. " has no example")
            count = count + 1
        end
        assert.is_true(count > 20)
    end)

    it("has a spec for its first script that passes", function()
        local folder = process.folder()
        local spec = blocks(" spec")[1]
        process.write_file(folder .. "/route.lua", blocks("")[1])
        process.write_file(folder .. "/route_spec.lua", spec)
        local status, output, errors = bridge.luaduct({"test", folder})
        assert.equal(0, status, output .. errors)
    end)
end)
