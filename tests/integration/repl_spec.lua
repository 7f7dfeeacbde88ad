-- `luaduct repl`, and POST /admin/repl behind it: a prompt that looks at a running bridge, and only looks.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local process = require "tests.support.process"
local terminal = require "tests.support.terminal"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local SCRIPT = [[
local script = {}
greeting = "hello"
luaduct.shared.set("seen", 1)
luaduct.every(60000, function() end)

function script.route(envelope, bridge)
    if envelope.intent == "fail" then
        error("no idea")
    elseif envelope.intent == "loop" then
        while true do end
    elseif envelope.intent == "count" then
        return bridge.reply{seen = luaduct.shared.incr("seen")}
    elseif envelope.intent == "sleep" then
        luaduct.sleep(3600000)
        return bridge.drop("slept")
    elseif envelope.priority == "high" then
        envelope.channel = "fast"
        print("urgent from", envelope.sender and envelope.sender.role)
        return bridge.any{role = "worker"}
    end
end

return script
]]

-- Lines through the command; gives exit status, standard output, standard error.
local function repl(server, lines, options)
    options = options or {}
    options.input = table.concat(lines, "\n") .. "\n"
    return bridge.luaduct({"repl", "--url", server:url()}, options)
end

-- What one line shows, without the end of its last line.
local function shown(server, line)
    local status, output, errors = repl(server, {line})
    assert.equal("", errors)
    assert.equal(0, status, output)
    return (output:gsub("\n$", ""))
end

local function fails(server, line, ...)
    local status, output = repl(server, {line})
    assert.equal(1, status, output)
    for _, text in ipairs({...}) do
        assert.truthy(output:find(text, 1, true), text .. " is missing in:\n" .. output)
    end
    return output
end

local function post(server, body, headers)
    return http.request(server, {method = "POST", path = "/admin/repl", body = json.encode(body), headers = headers})
end

describe("luaduct repl", function()
    after_each(bridge.clean)

    it("shows who is connected", function()
        local server = bridge.start({script = SCRIPT})
        websocket.agent(server, "ann")
        websocket.agent(server, "ben", {role = "worker", labels = {"night"}})

        assert.equal("2", shown(server, "#agents()"))
        assert.equal('"worker"  {"night"}', shown(server, 'agent("ben").role, agent("ben").labels'))
        assert.equal('"ben"', shown(server, 'agents{role = "worker"}[1].id'))
        assert.equal("nil", shown(server, 'agent("cem")'))
    end)

    it("says what the script decides about an envelope, and who would get it, and sends nothing", function()
        local server = bridge.start({script = SCRIPT})
        local ann = websocket.agent(server, "ann", {role = "boss"})
        local ben = websocket.agent(server, "ben", {role = "worker"})

        local output = shown(server, 'route(envelope{from = "ann", priority = "high", payload = {n = 1}})')
        assert.truthy(output:find("urgent from    boss", 1, true), output)
        assert.truthy(output:find([[decision = 'any{role = "worker"}']], 1, true), output)
        assert.truthy(output:find('recipients = {"ben"}', 1, true), output)
        assert.truthy(output:find('assigned = {channel = "fast"}', 1, true), output)
        assert.equal('{"ann", "ben"}', shown(server, "route{}.recipients"))
        assert.equal('{"ben"}', shown(server, 'route{from = "ann"}.recipients'))
        assert.equal('{"away"}', shown(server, 'route(envelope{to = "away"}).mailboxes'))
        output = shown(server, 'route{sender = {id = "ben"}, priority = "high"}')
        assert.truthy(output:find('refused = "no_recipient"', 1, true), output)

        ann:send_envelope({to = "ben", id = "the first that arrives"})
        assert.equal("the first that arrives", ben:receive_envelope().id)
        assert.equal(1, #http.get(server, "/history").history)
    end)

    it("says that a hook failed, where, and what script.onError makes of it", function()
        local server = bridge.start({script = SCRIPT})
        websocket.agent(server, "ann")
        local output = shown(server, 'route{intent = "fail"}')
        assert.truthy(output:find("route failed: ", 1, true), output)
        assert.truthy(output:find("script.lua:8: no idea", 1, true), output)
        assert.truthy(output:find('decision = "nil", failed = true, recipients = {"ann"}', 1, true), output)

        local strict = bridge.start({script = SCRIPT, config = {script = {onError = "drop"}}})
        output = shown(strict, 'route{intent = "fail"}')
        local dropped = [[decision = 'drop("script.onError")', failed = true, recipients = {}]]
        assert.truthy(output:find(dropped, 1, true), output)
    end)

    it("lets hooks sleep without waiting for them", function()
        local server = bridge.start({script = SCRIPT})
        assert.equal([['drop("slept")']], shown(server, 'route{intent = "sleep"}.decision'))
        assert.equal("1", shown(server, "luaduct.sleep(3600000) return 1"))
    end)

    it("refuses what would act on the bridge", function()
        local server = bridge.start({script = SCRIPT})
        local bob = websocket.agent(server, "bob")
        for _, line in ipairs({
            'bridge.send{to = "bob"}', 'bridge.request{to = "bob"}', 'bridge.gather{to = {"bob"}}',
            'luaduct.shared.set("seen", 2)', 'luaduct.shared.add("new", 2)', 'luaduct.shared.incr("seen")',
            'luaduct.shared.delete("seen")', 'luaduct.shared.expire("seen", 1)', "luaduct.after(1, print)",
            "luaduct.every(1, print)", 'luaduct.workers.execute{operation = "hash", data = "x"}',
        }) do
            local name = line:match("^[%a.]+")
            fails(server, line, "repl:1: " .. name .. ": the repl only reads")
        end
        assert.truthy(shown(server, 'route{intent = "count"}'):find(
            "script.lua:12: luaduct.shared.incr: the repl only reads", 1, true))
        assert.equal("1", shown(server, 'luaduct.shared.get("seen")'))
        bob:send_envelope({to = "bob", id = "only this"})
        assert.equal("only this", bob:receive_envelope().id)
    end)

    it("runs expressions and statements, keeps globals and reads the script's", function()
        local server = bridge.start({script = SCRIPT})
        local status, output, errors = repl(server, {
            "x = 2", "= x + 1", "local y = 1", "y", "for i = 1, 2 do", "print(i)", "end", "{", "x}",
            "greeting", "greeting = 'mine'", "greeting", "-- nothing", "nil", "",
        })
        assert.equal(0, status, output .. errors)
        assert.equal('3\nnil\n1\n2\n{2}\n"hello"\n"mine"\nnil\n', output)
        assert.equal('"hello"', shown(server, "greeting")) -- another session
    end)

    it("shows values so that they can be read, and cut where they are large", function()
        local server = bridge.start({script = SCRIPT})
        assert.equal('{1, 2, {a = {b = true}, ["x y"] = luaduct}}',
            (shown(server, '{1, 2, {a = {b = true}, ["x y"] = luaduct}}'):gsub("a library", "luaduct")))
        assert.equal("{{… a table within itself}}", shown(server, "x = {} x[1] = x return x"))
        assert.equal('bridge.to{"ann", "ben"}', shown(server, 'bridge.to{"ann", "ben"}'))
        assert.equal([["\027[31mred\n"  null  a function]], shown(server, [["\27[31mred\n", luaduct.null, print]]))
        assert.truthy(shown(server, '("x"):rep(50000)'):find("x\" … (50000 bytes)", 1, true))
        local long = shown(server, "local t = {} for i = 1, 1000 do t[i] = i end return t")
        assert.truthy(long:find("… 900 more", 1, true), long)
        local deep = shown(server, "local t = {} local u = t for i = 1, 50 do u.x = {} u = u.x end return t")
        assert.truthy(deep:find("{…}", 1, true), deep)
        local many = shown(server, 'for i = 1, 2000 do print(("y"):rep(100)) end')
        assert.is_true(#many < 70000)
        assert.truthy(many:find("… (cut)", 1, true))
    end)

    it("says where a line failed", function()
        local server = bridge.start({script = SCRIPT})
        fails(server, "nonsense.x", "repl:1: attempt to index global 'nonsense'")
        fails(server, "function f() error('deep') end f()",
            "repl:1: deep\nstack traceback:", "repl:1: in function 'f'", "repl:1: in main chunk")
        fails(server, "y = = 3", "repl:1: unexpected symbol near '='")
        fails(server, "error({})", "repl:1: an error that is a table")
        fails(server, "route{prio = 1}", "repl:1: an envelope has no field prio")
        fails(server, "route{priority = 7}", "repl:1: the bridge would refuse this envelope: priority")
        fails(server, "coroutine.wrap(function() route{} end)()", "route: call it in the line itself")
    end)

    it("stops a line that runs away, and goes on", function()
        local server = bridge.start({script = SCRIPT})
        local status, output = repl(server, {
            "while true do end", "while true do pcall(function() while true do end end) end",
            'route{intent = "loop"}.failed', "while true do luaduct.sleep(1) end", "1 + 1",
        })
        assert.equal(1, status)
        assert.truthy(output:find("repl:1: stopped: it ran longer than 50 ms", 1, true), output)
        assert.truthy(output:find("script.lua:10: stopped: it ran longer than 50 ms", 1, true), output)
        assert.truthy(output:match("\ntrue\n.*\n2\n$"), output)
    end)

    it("makes an error of a memory bomb, and goes on", function()
        local server = bridge.start({script = SCRIPT, config = {script = {memoryLimit = 4194304, budgetMs = 5000}}})
        local status, output = repl(server, {
            '("x"):rep(1e8)', 'x = {} for i = 1, 1e9 do x[i] = ("y"):rep(1e5) .. i end', "x = nil", "1 + 1",
        })
        assert.equal(1, status)
        assert.truthy(output:find("repl:1: not enough memory", 1, true), output)
        assert.truthy(output:match("not enough memory.*not enough memory.*\n2\n$"), output)
    end)

    it("gives no control characters of agents to a terminal", function()
        local server = bridge.start({script = [[return {route = function(envelope)
            print(envelope.payload.text)
            error(envelope.payload.text)
        end}]]})
        local line = [[route{payload = {text = "\27]0;x\7\194\155m\r\127"}}]]
        local output = shown(server, line)
        assert.is_nil(output:find("[%z\1-\9\11-\31\127]"), output)
        assert.is_nil(output:find("\194[\128-\159]"))
        assert.truthy(output:find("\\027]0;x\\007", 1, true), output)
    end)

    it("says when the scripts have changed, and looks at the new ones in a new session", function()
        local server = bridge.start({script = SCRIPT})
        local child = bridge.luaduct_start({"repl", "--url", server:url()}, {input = "pipe"})
        child:send_input("greeting\n")
        wait.eventually(function() return child:output():find("hello", 1, true) end)
        process.write_file(server.folder .. "/script.lua", 'greeting = "new" return {}')
        assert.equal(0, (bridge.luaduct({"reload", "--url", server:url()})))
        child:send_input("greeting\n")
        child:close_input()
        assert.equal(0, child:wait_exit())
        assert.equal('"hello"\n"hello"\n', child:output())
        assert.equal("luaduct repl: version 2 of the scripts is in use now; this session looks at version 1\n",
            child:errors())
        assert.equal('"new"', shown(server, "greeting"))
    end)

    it("has a prompt in a terminal, where a failing line is not the end", function()
        local server = bridge.start({script = SCRIPT})
        local screen = terminal.start({bridge.BINARY, "repl", "--url", server:url()})
        local function types(text, until_shown)
            screen:types(text)
            screen:keys("Enter")
            screen:shows(until_shown)
        end
        screen:shows("version 1 of the scripts; help() says what there is, Ctrl-D ends\n>")
        types("nonsense.x", "repl:1: attempt to index global 'nonsense'")
        types("for i = 1, 2 do", ">>")
        types("print('line ' .. i) end", "line 1\nline 2\n>")
        types("gone(", "gone(\n>>")
        screen:keys("C-c")
        screen:shows(">>\n>")
        types("'ü' .. 1 + 1", '"ü2"\n>')
        screen:keys("Up", "BSpace", "2", "Enter")
        screen:shows('"ü3"\n>')
        screen:keys("C-d")
        local status, before, after = screen:ended()
        assert.equal(0, status)
        assert.equal(before, after)
    end)

    it("looks without a script too, and with one reactor", function()
        local server = bridge.start({config = {performance = {worker_threads = 1}}})
        local ann = websocket.agent(server, "ann")
        local status, output, errors = repl(server, {
            'route{to = "ann"}.recipients', "#agents()", 'route{from = "ann"}.recipients',
        })
        assert.equal(0, status, output .. errors)
        assert.equal('{"ann"}\n1\n{}\n', output)
        ann:send_envelope({to = "ann", id = "after it"})
        assert.equal("after it", ann:receive_envelope().id)
    end)

    it("looks at agents that come and go beside it, on a reactor that is alone", function()
        local server = bridge.start({config = {performance = {worker_threads = 1}}})
        local line = '#agents(), #route{from = "a1"}.recipients\n'
        local child = bridge.luaduct_start({"repl", "--url", server:url()}, {input = line:rep(60)})
        local round = 0
        wait.eventually(function() -- as long as it looks
            round = round + 1
            local agent = websocket.agent(server, "a" .. round % 7, {labels = {"l" .. round}})
            agent:send_envelope({to = "a1"})
            if round % 2 == 0 then
                agent:close()
            end
            return not child:is_running()
        end, 30)
        assert.equal(0, child:status(), child:log())
        assert.equal(60, select(2, child:output():gsub("%d+  %d+\n", "")))
    end)

    it("says in one line why there is no answer", function()
        local status, output, errors = bridge.luaduct({"repl", "--url", "http://127.0.0.1:1"}, {input = "1\n2\n"})
        assert.equal(1, status)
        assert.equal("", output)
        assert.match("^luaduct repl: cannot reach the bridge [^\n]*\n$", errors)
        status, output, errors = bridge.luaduct({"repl", "now"})
        assert.equal("", output)
        assert.equal(2, status)
        assert.match("there is no place for now", errors)
        local server = bridge.start({script = SCRIPT})
        status, output, errors = repl(server, {"for i = 1, 2 do"})
        assert.equal("", output)
        assert.equal(1, status)
        assert.match("the input ends in the middle of a statement", errors)
    end)

    it("is for administrators", function()
        local server = bridge.start({script = SCRIPT, config = {auth = {token = "secret-secret-secret"}}})
        local status, output, errors = repl(server, {"1"})
        assert.same({1, ""}, {status, output})
        assert.match("the bridge refused %(401 unauthorized%)", errors)
        status, output, errors = repl(server, {"1"}, {env = {AI_BRIDGE_AUTH_TOKEN = "secret-secret-secret"}})
        assert.same({1, ""}, {status, output})
        assert.match("the bridge refused %(403 forbidden%)", errors)

        local open = bridge.start({
            script = SCRIPT, config = {auth = {token = "secret-secret-secret", tokenIsAdmin = true}},
        })
        status, output = repl(open, {"1"}, {env = {AI_BRIDGE_AUTH_TOKEN = "secret-secret-secret"}})
        assert.equal(0, status)
        assert.equal("1\n", output)
    end)
end)

describe("POST /admin/repl", function()
    after_each(bridge.clean)

    it("keeps four sessions, the fifth takes the place of the one idle for longest", function()
        local server = bridge.start({script = SCRIPT})
        local ids = {}
        for index = 1, 5 do
            local answer = json.decode(post(server, {line = "x = " .. index}).body)
            assert.equal("done", answer.result)
            assert.is_false(answer.renewed)
            ids[index] = answer.session
        end
        local second = json.decode(post(server, {line = "x", session = ids[2]}).body)
        assert.same({"2\n", false}, {second.output, second.renewed})
        local first = json.decode(post(server, {line = "x", session = ids[1]}).body)
        assert.same({"nil\n", true}, {first.output, first.renewed})
    end)

    it("forgets a session that has ended", function()
        local server = bridge.start({script = SCRIPT})
        local id = json.decode(post(server, {line = "x = 1"}).body).session
        assert.equal(200, post(server, {session = id, ["end"] = true}).status)
        assert.is_true(json.decode(post(server, {line = "x", session = id}).body).renewed)
    end)

    it("says what is wrong with what it is given", function()
        local server = bridge.start({script = SCRIPT})
        for _, case in ipairs({
            {{line = 1}, "line: expected a text"}, {{session = "me", line = "1"}, "session: expected the text"},
            {{lines = "1"}, "expected line, session"}, {{["end"] = true, line = "1"}, "expected either line"},
            {{line = ("x"):rep(70000)}, "at most 64 KiB"},
        }) do
            local answer = post(server, case[1])
            assert.equal(400, answer.status)
            assert.truthy(answer.body:find(case[2], 1, true), answer.body)
        end
        assert.equal(405, http.request(server, {path = "/admin/repl"}).status)
    end)
end)
