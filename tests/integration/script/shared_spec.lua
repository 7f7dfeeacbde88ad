-- luaduct.shared: one dictionary for the scripts of all reactors and the operations of all workers.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local websocket = require "tests.support.websocket"

-- Answers with what the expression gives. `envelope` and `luaduct` are in reach.
local function answering(body)
    return ("return {route = function(envelope, bridge)\n%s\nend}"):format(body)
end

local function ask(client, payload)
    client:send_envelope({payload = payload})
    return client:receive_envelope().payload
end

describe("luaduct.shared", function()
    after_each(bridge.clean)

    it("keeps plain values, and gives them back as they were", function()
        local server = bridge.start({script = answering([[
            local shared = luaduct.shared
            local missing = shared.get("none")
            shared.set("value", {list = {1, 2, 3}, empty = luaduct.array{}, null = luaduct.null, deep = {{a = true}},
                text = ("long "):rep(200), bytes = "x\0\255"})
            local value = shared.get("value")
            assert(value.bytes == "x\0\255" and value ~= shared.get("value"))
            value.bytes = nil
            shared.set("false", false)
            shared.set("gone", 1)
            shared.set("gone", nil)
            return bridge.reply{
                missing = missing == nil, value = value, ["false"] = shared.get("false"),
                gone = shared.get("gone") == nil,
                added = shared.add("added", "first"), again = shared.add("added", "second"), is = shared.get("added"),
                counted = {shared.incr("n"), shared.incr("n", 5), shared.incr("m", 1, 10), shared.incr("m", -1, 10)},
                expires = shared.expire("added", 60000), none = shared.expire("none", 60000),
                deleted = shared.delete("added"), twice = shared.delete("added"),
            }
        ]])})
        local alice = websocket.agent(server, "alice")

        local answer = ask(alice, {})

        assert.same({
            missing = true, ["false"] = false, gone = true,
            value = {list = {1, 2, 3}, empty = {}, null = answer.value.null, deep = {{a = true}},
                text = ("long "):rep(200)},
            added = true, again = false, is = "first", counted = {1, 6, 11, 10},
            expires = true, none = false, deleted = true, twice = false,
        }, answer)
    end)

    it("is one for all reactors, and counted", function()
        local server = bridge.start({script = answering([[
            return bridge.reply{count = luaduct.shared.incr("count")}
        ]])})
        local counts = {}
        for i = 1, 20 do -- spread over two reactors
            local agent = websocket.agent(server, "agent " .. i)
            counts[i] = ask(agent, {}).count
        end

        local expected = {}
        for i = 1, 20 do
            expected[i] = i
        end
        assert.same(expected, counts)
        local shown = http.get(server, "/optimization").memoryOptimization.sharedDictionary
        assert.equal(1, shown.entries)
        assert.equal(16 * 2 ^ 20, shown.limit)
        local metrics = http.request(server, {path = "/metrics", headers = {Accept = "text/plain"}}).body
        assert.truthy(metrics:find("\nluaduct_shared_entries 1\n", 1, true))
    end)

    it("is seen by operations on workers", function()
        local server = bridge.start({
            script = [[
                luaduct.workers.register("note", "note.lua")
                return {route = function(envelope, bridge)
                    luaduct.shared.set("from", {"hook"})
                    local before = assert(luaduct.workers.execute{operation = "note", data = "worker"})
                    return bridge.reply{before = before, after = luaduct.shared.get("from")}
                end}
            ]],
            files = {["note.lua"] = [[
                return function(text)
                    local before = luaduct.shared.get("from")
                    luaduct.shared.set("from", text)
                    return before
                end
            ]]},
        })
        local alice = websocket.agent(server, "alice")

        assert.same({before = {"hook"}, after = "worker"}, ask(alice, {}))
    end)

    it("lists keys by prefix and up to a limit", function()
        local server = bridge.start({script = answering([[
            for i = 1, 50 do luaduct.shared.set("user:" .. i, i) end
            luaduct.shared.set("other", true)
            local keys = luaduct.shared.keys("user:")
            table.sort(keys)
            return bridge.reply{count = #keys, first = keys[1], all = #luaduct.shared.keys(),
                few = #luaduct.shared.keys("user:", 7)}
        ]])})
        local alice = websocket.agent(server, "alice")

        assert.same({count = 50, first = "user:1", all = 51, few = 7}, ask(alice, {}))
    end)

    it("keeps to script.sharedBytes: the coldest go", function()
        local server = bridge.start({
            config = {script = {sharedBytes = "64KiB", budgetMs = 10000}},
            script = answering([[
                for i = 1, 2000 do luaduct.shared.set("key " .. i, ("x"):rep(100)) end
                return bridge.reply{first = luaduct.shared.get("key 1") == nil, last = luaduct.shared.get("key 2000")}
            ]]),
        })
        local alice = websocket.agent(server, "alice")

        assert.same({first = true, last = ("x"):rep(100)}, ask(alice, {}))
        local shown = http.get(server, "/optimization").memoryOptimization.sharedDictionary
        assert.equal(65536, shown.limit)
        assert.is_true(shown.bytes <= 65536 and shown.evicted == 2000 - shown.entries)
    end)

    it("may be filled while the script is loaded, and `luaduct check` allows that", function()
        local script = [[
            luaduct.shared.add("loaded", {1})
            return {route = function(_, bridge) return bridge.reply(luaduct.shared.get("loaded")) end}
        ]]
        local server = bridge.start({script = script})
        local alice = websocket.agent(server, "alice")

        assert.same({1}, ask(alice, {}))
        local path = bridge.write({script = script})
        assert.equal(0, (bridge.luaduct({"check", path})))
    end)

    local mistakes = {
        {"luaduct.shared.get()", "luaduct.shared.get: expected a key (a string of 1 to 256 bytes), got nil"},
        {"luaduct.shared.get('')",
            "luaduct.shared.get: expected a key (a string of 1 to 256 bytes), got another string"},
        {"luaduct.shared.set(('x'):rep(257), 1)", "got another string"},
        {"luaduct.shared.set('x', print)", "cannot pass a function to luaduct.shared"},
        {"luaduct.shared.set('x', envelope)", "cannot pass a userdata to luaduct.shared"},
        {"luaduct.shared.set('x', {1, nil, 3})", "cannot pass a table with gaps to luaduct.shared"},
        {"luaduct.shared.set('x', 1, 0)", "luaduct.shared.set: expected ttlMs of 1 or more, got 0"},
        {"luaduct.shared.set('x', 1, 'soon')", "luaduct.shared.set: expected ttlMs (number), got a string"},
        {"luaduct.shared.set('x', ('x'):rep(2^20))", "cannot pass more than 256 KiB to luaduct.shared"},
        {"luaduct.shared.add('x', nil)", "luaduct.shared.add: expected a value, got nil"},
        {"luaduct.shared.set('t', 'x') luaduct.shared.incr('t')", "the value of \"t\" is not a number"},
        {"luaduct.shared.incr('n', 'x')", "luaduct.shared.incr: expected by (number), got a string"},
        {"luaduct.shared.expire('n')", "luaduct.shared.expire: expected ttlMs (number), got nil"},
        {"luaduct.shared.keys(1)", "luaduct.shared.keys: expected a prefix (string), got a number"},
        {"luaduct.shared.keys('', 0)", "luaduct.shared.keys: expected a limit from 1 to 100000, got 0"},
        {"luaduct.shared.get = print", "luaduct.shared is read-only"},
    }
    it("says what is wrong with a call", function()
        local bodies = {}
        for i, mistake in ipairs(mistakes) do
            bodies[i] = ("[%d] = function(envelope) %s end"):format(i, mistake[1])
        end
        local server = bridge.start({script = ([[
            local calls = {%s}
            return {route = function(envelope, bridge)
                local ok, text = pcall(calls[envelope.payload.number], envelope)
                return bridge.reply{ok = ok, text = text}
            end}]]):format(table.concat(bodies, ",\n"))})
        local alice = websocket.agent(server, "alice")

        for i, mistake in ipairs(mistakes) do
            local answer = ask(alice, {number = i})
            assert.is_false(answer.ok)
            assert.truthy(answer.text:find(mistake[2], 1, true), answer.text)
        end
    end)
end)
