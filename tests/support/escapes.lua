-- Ways out of a script's sandbox, or ways to bring the bridge down from inside of it. Each is a hook's body and what
-- its caller sees: `gives` is what it returns, as JSON; `fails` is in the log line of the failed hook, whose envelope
-- then goes by the mode's own rule.
local escapes = {}

local function gives(name, expected, body)
    escapes[#escapes + 1] = {name = name, gives = expected, body = body}
end

local function fails(name, text, body)
    escapes[#escapes + 1] = {name = name, fails = text, body = body}
end

-- Metatables that all share.
gives("the metatable of strings", {false, "nil", false, false}, [[
    return getmetatable(""), type(("").x), (pcall(setmetatable, "", {})),
        (pcall(function() ("").x = 1 end))]])
gives("the metatables of envelope, decision, null and libraries", {false, false, false, false, false, false}, [[
    return getmetatable(envelope), getmetatable(bridge.broadcast()), getmetatable(luaduct.null),
        getmetatable(string), getmetatable(luaduct), getmetatable(luaduct.log)]])
gives("setmetatable on what is no table", {false, false, false, false}, [[
    return (pcall(setmetatable, envelope, {})), (pcall(setmetatable, string, {})), (pcall(setmetatable, print, {})),
        (pcall(setmetatable, luaduct.null, {}))]])
gives("a protected metatable", {false}, [[
    return (pcall(setmetatable, setmetatable({}, {__metatable = 1}), {}))]])
gives("writing to libraries", {false, false, false, false, false, false, false, false}, [[
    return (pcall(rawset, table, "insert", 1)), (pcall(table.insert, string, 1)), (pcall(table.sort, math)),
        (pcall(function() bit.band = nil end)), (pcall(function() luaduct.gc = nil end)),
        (pcall(function() luaduct.log.info = nil end)), (pcall(function() os.exit = print end)),
        (pcall(function() coroutine.wrap = nil end))]])
gives("walking libraries", {false, false, false, false}, [[
    return (pcall(pairs, string)), (pcall(next, math)), (pcall(rawget, os, "execute")), (pcall(unpack, table))]])
gives("functions taken from other objects", {"nil", "nil", "nil", "nil"}, [[
    return type(string.dump), type(string.gfind), type(table.foreach), type(bit.load)]])

-- Code.
gives("code from text or bytecode", {"nil", "nil", "nil", "nil", "nil", "nil", "nil"}, [[
    return type(load), type(loadstring), type(loadfile), type(dofile), type(setfenv), type(getfenv), type(module)]])
gives("what reaches the machine", {"nil", "nil", "nil", "nil", "nil", "nil", "nil", "nil"}, [[
    return type(io), type(debug), type(package), type(jit), type(ffi), type(newproxy), type(_G), type(os.execute)]])
gives("require in a hook", {false, false, false, false}, [[
    return (pcall(require, "ffi")), (pcall(require, "jit.util")), (pcall(require, "..script")),
        (pcall(require, "luaduct.http.native"))]])
gives("require with what is no name", {false, false, false}, [[
    return (pcall(require, {})), (pcall(require)), (pcall(require, ("a."):rep(100000) .. "a"))]])
gives("__gc of a table", {"nothing"}, [[
    local ran = "nothing"
    setmetatable({}, {__gc = function() ran = "ran" end})
    for _ = 1, 10000 do local _ = {} end
    return ran]])

-- Coroutines.
gives("yielding out of the hook", {false}, "return (pcall(coroutine.yield, 1))")
fails("yielding out of the hook by a tail call", "a hook cannot yield", "return coroutine.yield(1)")
gives("the hook's own coroutine", {"nil", false}, [[
    local mine
    coroutine.wrap(function() mine = coroutine.running() end)()
    return type(coroutine.running()), (coroutine.resume(mine))]])
gives("resuming oneself", {false, false}, [[
    local one, two
    one = coroutine.create(function() return (coroutine.resume(one)) end)
    two = coroutine.create(function()
        return (coroutine.resume(coroutine.create(function() assert(coroutine.resume(two)) end)))
    end)
    local _, first = coroutine.resume(one)
    local _, second = coroutine.resume(two)
    return first, second]])
gives("a coroutine kept from an earlier call", {false, 2}, [[
    local function body()
        local at = envelope
        coroutine.yield(1)
        coroutine.yield((pcall(function() return at.id end)))
        return 2
    end
    kept = kept or {}
    kept[1] = coroutine.wrap(body)
    kept[1]()
    local old = before
    if old then return old(), old() end
    before = kept[1]
    return again()]])
fails("coroutines in coroutines without end", "C stack overflow", [[
    local function f() return coroutine.wrap(f)() end return f()]])
fails("a coroutine that swallows its stop", "stopped", [[
    while true do
        local inner = coroutine.wrap(function() while true do pcall(coroutine.yield) end end)
        for _ = 1, 1000 do pcall(inner) end
    end]])
fails("yielding across gsub", "attempt to yield", [[
    return coroutine.wrap(function() return (("x"):gsub("x", coroutine.yield)) end)()]])
fails("yielding across sort", "attempt to yield", [[
    return coroutine.wrap(function() table.sort({1, 2, 3}, coroutine.yield) end)()]])
fails("waiting in a coroutine of one's own", "cannot wait", "return coroutine.wrap(luaduct.sleep)(1)")

-- Errors.
fails("a table as error", "an error that is a table", "error({})")
fails("nil as error", "an error that is nil", "error(nil)")
fails("an error whose __tostring loops", "an error that is a table", [[
    error(setmetatable({}, {__tostring = function() while true do end end}))]])
fails("an error whose __tostring raises", "an error that is a table", [[
    error(setmetatable({}, {__tostring = error}))]])
fails("a huge error", "xxxx", 'error(("x"):rep(1e6))')
fails("an error with lines and colours in it", "one", 'error("one\\n\\27[31mtwo")')
gives("an error in an error handler", {false, "second"}, [[
    return xpcall(error, function() error("second", 0) end, "first")]])
fails("xpcall around the stop", "stopped", "while true do xpcall(function() while true do end end, function() end) end")
fails("an error handler that loops", "stopped", 'xpcall(error, function() while true do end end, "x")')
fails("pcall of pcall of the stop", "stopped", [[
    local f = function() while true do end end
    while true do pcall(pcall, pcall, f) end]])

-- Much.
gives("string.rep beyond all memory", {false, false}, [[
    return (pcall(string.rep, "x", 2 ^ 31 - 2 ^ 20)), (pcall(string.rep, ("x"):rep(1e6), 1e6))]])
gives("a wide format", {false, false, false}, [[
    return (pcall(string.format, "%99999d", 1)), (pcall(string.format, "%.99999f", 1)), (pcall(string.format, "%"))]])
fails("gsub that grows", "", [[
    local s = "x" while true do s = s:gsub(".", "%0%0%0%0%0%0%0%0") end]])
fails("concat that grows", "not enough memory", 'local s = "x" while true do s = table.concat({s, s, s, s}) end')
gives("byte and unpack of very much", {false, false, false}, [[
    return (pcall(string.byte, ("x"):rep(5e6), 1, -1)), (pcall(unpack, {}, 1, 1e8)),
        (pcall(string.char, pcall(unpack, {}, 1, 1e8)))]])
gives("select, tonumber and byte at their edges", {false, 0, "nil"}, [[
    return (pcall(select, -100, 1)), select("#", ("x"):byte(-2 ^ 53, -2 ^ 52)), type(tonumber(("!"):rep(1e5), 36))]])
gives("os.date with a wild format", {true, true}, [[
    return (pcall(os.date, ("%c"):rep(100))) ~= nil, (pcall(os.time, {year = 1e300, month = -1e300, day = 0})) ~= nil]])

-- Deep.
gives("recursion in Lua", {false}, "local function f() return 1 + f() end return (pcall(f))")
fails("nested pcall", "", 'local function f() assert(pcall(f)) end pcall(f) error("it came back")')
gives("gsub in gsub", {false}, [[local function f() return (("x"):gsub("x", f)) end return (pcall(f))]])
gives("sort in sort", {false}, [[
    local function f() table.sort({1, 2}, f) return true end return (pcall(f))]])
gives("__index chains", {false}, [[
    local t = setmetatable({}, {}) getmetatable(t).__index = t return (pcall(function() return t.x end))]])
gives("__index, __call, __concat and __eq that call themselves", {false, false, false, false}, [[
    local meta = {}
    local function new() return setmetatable({}, meta) end
    meta.__index = function(_, key) return new()[key] + 1 end
    meta.__call = function() return new()() + 1 end
    meta.__concat = function() return 1 + (new() .. "x") end
    meta.__eq = function() return not (new() == new()) end
    return (pcall(function() return new().x end)), (pcall(new())), (pcall(function() return new() .. "x" end)),
        (pcall(function() return new() == new() end))]])
gives("tostring in __tostring", {false}, [[
    local meta = {}
    meta.__tostring = function() return tostring(setmetatable({}, meta)) .. "x" end
    return (pcall(tostring, setmetatable({}, meta)))]])
gives("print in __tostring", {false}, [[
    local meta = {}
    meta.__tostring = function() print(setmetatable({}, meta)) return "x" end
    return (pcall(print, setmetatable({}, meta)))]])
gives("a deep pattern", {false}, [[return (pcall(string.find, ("("):rep(1e5), ("("):rep(1e5)))]])

-- JSON.
gives("a cycle as payload", {false, false}, [[
    local t = {} t.t = t
    return (pcall(bridge.reply, t)), (pcall(function() envelope.payload = t end))]])
gives("a very deep payload", {false}, [[
    local t = {} for _ = 1, 1e5 do t = {t} end return (pcall(bridge.reply, t))]])
gives("what JSON cannot say", {false, false, false, false}, [[
    return (pcall(bridge.reply, print)), (pcall(bridge.reply, {[{}] = 1})), (pcall(bridge.reply, 0 / 0)),
        (pcall(bridge.reply, coroutine.create(print)))]])
fails("a payload that shares its parts without end", "", [[
    local t = {} for _ = 1, 60 do t = {t, t} end return bridge.reply(t)]])

-- The bridge's own functions with anything.
gives("luaduct.* with wrong types", {0}, [[
    local odd = {luaduct.null, 0 / 0, -1 / 0, 2 ^ 63, "", ("x"):rep(1e5), {}, {{}}, print, true, envelope,
        coroutine.create(print), string, setmetatable({}, {__index = error, __tostring = error})}
    local functions = {luaduct.array, luaduct.pool, luaduct.workers.register, luaduct.workers.execute, bridge.to,
        bridge.role, bridge.label, bridge.all, bridge.any, bridge.drop, bridge.agent, bridge.agents, bridge.broadcast,
        luaduct.log.debug, tostring, rawset, rawget, setmetatable, unpack, select, coroutine.wrap, string.rep,
        string.format, string.gsub, string.gmatch, table.concat, table.insert, table.remove, table.sort, math.random,
        math.randomseed, bit.band, os.date, os.time, next, tonumber, xpcall}
    for _, each in ipairs(functions) do
        for _, value in ipairs(odd) do
            pcall(each, value)
            for _, other in ipairs(odd) do pcall(each, value, other) end
        end
    end
    return 0]])
gives("handles made up or kept", {false, false}, [[
    kept_envelope = kept_envelope or envelope
    local old = kept_envelope
    if old == envelope then return again() end
    return (pcall(function() return old.id end)), (pcall(function() old.to = "x" end))]])
gives("a pool whose functions misbehave", {false, false}, [[
    local bad = luaduct.pool{create = function() error("no") end}
    local odd = luaduct.pool{create = function() return 1 end}
    return (pcall(bad.acquire, bad)), (pcall(odd.acquire, odd))]])
fails("a pool that loops", "stopped", [[
    return luaduct.pool{create = function() while true do end end}:acquire()]])

return escapes
