-- `luaduct new`: a script and its spec to start from.
local USAGE = [[
usage: luaduct new route NAME

Writes NAME.lua, a script, and NAME_spec.lua, its spec. Neither is written over. NAME may have folders before it, which
must be there.
]]

local SCRIPT = [[
-- @NAME@: what is urgent goes to one free worker, everything else its usual way.
local script = {}

function script.route(envelope, bridge)
    if envelope.priority == "high" then
        return bridge.any{role = "worker"}
    end
    -- nil: to whom `to` names, else to everybody but the sender
end

return script
]]

local SPEC = [[
-- Run it with: luaduct test @PATH@_spec.lua
local harness = require "luaduct.test"

describe("@NAME@", function()
    local bridge, script

    before_each(function()
        bridge = harness.bridge_with{
            {id = "alice"},
            {id = "worker-1", role = "worker", maxConcurrentTasks = 4, openTasks = 2},
            {id = "worker-2", role = "worker", maxConcurrentTasks = 4},
        }
        script = harness.load("@NAME@.lua")
    end)

    it("gives what is urgent to the worker with the least to do", function()
        local decision = script:route(harness.envelope{from = "alice", priority = "high"})
        assert.decides(decision, bridge.any{role = "worker"})
        assert.same({"worker-2"}, harness.recipients(decision))
    end)

    it("leaves the rest to the bridge", function()
        local decision = script:route(harness.envelope{from = "alice", to = "worker-1"})
        assert.decides(decision, nil)
        assert.same({"worker-1"}, harness.recipients(decision))
    end)
end)
]]

local function usage_error(text)
    io.stderr:write("luaduct new: ", text, "; see `luaduct help new`\n")
    return 2
end

local function failed(text)
    io.stderr:write("luaduct new: ", text, "\n")
    return 1
end

local function exists(path)
    local file = io.open(path)
    if file then
        file:close()
    end
    return file ~= nil
end

local function write(path, text)
    local file, problem = io.open(path, "w")
    local written = file and file:write(text) and file:close()
    return written, problem or path .. ": cannot be written"
end

return function(words)
    for _, word in ipairs(words) do
        if word == "--help" or word == "-h" then
            io.stdout:write(USAGE)
            return 0
        elseif word:sub(1, 1) == "-" then
            return usage_error("there is no option " .. word)
        end
    end
    if words[1] ~= "route" then
        return usage_error(words[1] and ("it makes a route, no " .. words[1]) or "what? `luaduct new route NAME`")
    elseif #words ~= 2 then
        return usage_error(words[3] and "one name at a time, there is no place for " .. words[3] or "a name is missing")
    end
    local path = words[2]:gsub("%.lua$", "")
    local name = path:match("[^/]*$")
    if not name:match("^[%w_-]+$") then
        return usage_error(("a name is letters, digits, _ and -, got %q"):format(name))
    end
    for _, file in ipairs({path .. ".lua", path .. "_spec.lua"}) do
        if exists(file) then
            return failed(file .. " is there already: choose another name, or move it away")
        end
    end
    for file, text in pairs({[path .. ".lua"] = SCRIPT, [path .. "_spec.lua"] = SPEC}) do
        local written, problem = write(file, (text:gsub("@(%u+)@", {NAME = name, PATH = path})))
        if not written then
            return failed(problem)
        end
    end
    io.stdout:write((([[
wrote @PATH@.lua and @PATH@_spec.lua. Now:
  luaduct test @PATH@_spec.lua     runs the spec
  script = { path = "@NAME@.lua" }   in a config beside it takes the script into a bridge
]]):gsub("@(%u+)@", {NAME = name, PATH = path})))
    return 0
end
