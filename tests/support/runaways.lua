-- Bodies of hooks that never end by themselves, by name, with `envelope` and `bridge` in reach.
return {
    ["while true do end"] = "while true do end",
    ["repeat without end"] = "local n = 0 repeat n = n + 1 until false",
    ["goto"] = "::again:: goto again",
    ["pcall in a loop"] = "while true do pcall(function() while true do end end) end",
    ["pcall that recurses into itself"] = "local function f() pcall(f) f() end f()",
    ["pcall of error in a loop"] = "while true do pcall(error, 'x') end",
    ["xpcall whose handler loops"] = "xpcall(error, function() while true do end end)",
    ["xpcall in a loop"] = "while true do xpcall(function() while true do end end, function(m) return m end) end",
    ["a coroutine that loops"] = "coroutine.wrap(function() while true do end end)()",
    ["coroutines in a loop"] = [[
        while true do coroutine.wrap(function() pcall(function() while true do end end) end)() end]],
    ["resume that swallows"] = "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
    ["a sort whose order never holds"] = [[
        local list = {} for i = 1, 1000 do list[i] = i end
        while true do table.sort(list, function() while true do end end) end]],
    ["a gsub callback that loops"] = [[(("x"):rep(100)):gsub("x", function() while true do end end)]],
    ["a metamethod that loops"] = "local t = setmetatable({}, {__index = function() while true do end end}) return t.x",
    ["tostring that loops"] = "return tostring(setmetatable({}, {__tostring = function() while true do end end}))",
    ["string.rep without measure"] = 'while true do local s = ("x"):rep(2 ^ 30) end',
    ["string.rep in a list"] = 'local list = {} while true do list[#list + 1] = ("x"):rep(100000) .. #list end',
    ["string.rep with nothing"] = 'return (""):rep(1e15)',
    ["a table that grows"] = "local list = {} while true do list[#list + 1] = {} end",
    ["a string that doubles"] = 'local s = "x" while true do s = s .. s end',
    ["concat of very much"] = [[
        local list = {} for i = 1, 1000 do list[i] = ("x"):rep(10000) end
        while true do local s = table.concat(list) end]],
    ["infinite recursion"] = "local function f() return 1 + f() end return f()",
    ["tail calls without end"] = "local function f() return f() end return f()",
    ["recursion through a metamethod"] = [[
        local t = {} setmetatable(t, {__index = function(_, k) return t[k .. "x"] end}) return t.x]],
    ["a catastrophic pattern"] = [[local _ = (("a"):rep(100000)):find((".-"):rep(30) .. "b")]],
    ["a catastrophic pattern in gsub"] = [[local _ = (("a"):rep(100000)):gsub(("a*"):rep(30) .. "b", "")]],
    ["a catastrophic pattern in match"] = [[local _ = (("a"):rep(100000)):match(("a-"):rep(30) .. "b")]],
    ["a catastrophic pattern in gmatch"] = [[for _ in (("a"):rep(100000)):gmatch(("a?"):rep(30000) .. "b") do end]],
    ["a plain search of very much"] = [[
        local s = ("a"):rep(2000000) while true do s:find(("a"):rep(1000000) .. "b", 1, true) end]],
    ["table.insert at the front without end"] = "local list = {} while true do table.insert(list, 1, 1) end",
    ["upper, lower and reverse of a long string"] = [[
        local s = ("x"):rep(1e7) while true do local _ = s:upper(), s:lower(), s:reverse() end]],
    ["byte and char"] = [[local s = ("x"):rep(5000) while true do local _ = string.char(s:byte(1, -1)) end]],
    ["formats"] = [[local s = ("x"):rep(1e6) while true do local _ = ("%s%99.99f%q"):format(s, 1 / 3, s) end]],
    ["tostring of numbers"] = "local n = 0 while true do n = n + 1 local _ = tostring(n) .. tostring({}) end",
    ["insert and remove in a large table"] = [[
        local list = {} for i = 1, 5e5 do list[i] = i end
        while true do table.insert(list, 1, 0) table.remove(list, 1) end]],
    ["writing a large payload again and again"] = [[
        local list = {} for i = 1, 1e5 do list[i] = {i, "text"} end
        while true do envelope.payload = list end]],
    ["writing and reading a payload"] = [[
        local list = luaduct.array{} for i = 1, 1e4 do list[i] = {i, "text"} end
        while true do envelope.payload = list local _ = #envelope.payload end]],
    ["replies without end"] = "while true do pcall(bridge.reply, {('x'):rep(1e5)}) end",
    ["arrays without end"] = "while true do local _ = luaduct.array{1, 2, 3} end",
    ["pools that are filled"] = [[
        local pool = luaduct.pool{create = function() return {} end}
        while true do pool:release(pool:acquire()) end]],
    ["logging"] = 'while true do luaduct.log.debug(("x"):rep(1e5), {}) end',
    ["agents asked for again and again"] = "while true do local _ = bridge.agents() end",
    ["a gsub with a table"] = [[
        local s = ("x"):rep(1e6) while true do local _ = s:gsub("x", {x = "yy"}) end]],
    ["random numbers"] = "while true do math.randomseed(math.random(1000)) end",
    ["dates"] = 'while true do local _ = os.date(("%c"):rep(50)), os.time() end',
    ["unpack of very much"] = "while true do pcall(unpack, {}, 1, 1e7) end",
}
