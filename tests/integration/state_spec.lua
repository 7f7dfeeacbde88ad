-- Mailboxes and history as lines of JSON: out of one bridge, into another.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local msgpack = require "tests.support.msgpack"
local process = require "tests.support.process"
local terminal = require "tests.support.terminal"
local tokens = require "tests.support.tokens"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local HEAD = '{"luaduct":"state","version":1}\n'
local END = '{"end":{"history":0,"envelopes":0}}\n'
local END_1 = '{"end":{"history":0,"envelopes":1}}\n'
local TOKENS = {auth = {token = "correct horse battery staple", tokenIsAdmin = true}}
local AUTHORIZED = {AI_BRIDGE_AUTH_TOKEN = TOKENS.auth.token}

local function export(server, env)
    local status, out, errors = bridge.luaduct({"export", "--url", server:url()}, {env = env})
    assert.equal(0, status, errors)
    return out
end

local function import(server, text, env)
    return bridge.luaduct({"import", "--url", server:url()}, {input = text, env = env})
end

local function lines_of(text)
    local lines = {}
    for line in text:gmatch("[^\n]+") do
        lines[#lines + 1] = json.decode(line)
    end
    return lines
end

local function mail_of(text)
    local mail = {}
    for _, line in ipairs(lines_of(text)) do
        if line.mailbox then
            mail[#mail + 1] = line
        end
    end
    return mail
end

-- The lines as they are, by mailbox: which of those comes first is not said.
local function parts_of(text)
    local parts = {}
    for line in text:match("\n(.*)"):gmatch("[^\n]+") do
        local name = json.decode(line).mailbox or "history"
        parts[name] = (parts[name] or "") .. line .. "\n"
    end
    return parts
end

local function payloads(agent, count)
    local got = {}
    for index = 1, count do
        got[index] = agent:receive_envelope().payload
    end
    return got
end

-- Each way to bring what one bridge exported into another.
local WAYS = {
    ["luaduct import"] = function(text, options)
        local server = bridge.start(options)
        local status, out, errors = import(server, text)
        assert.equal(0, status, errors)
        return server, out
    end,
    ["luaduct run --import"] = function(text, options)
        local folder = process.folder()
        process.write_file(folder .. "/state.jsonl", text)
        options.args = {"--import", folder .. "/state.jsonl"}
        return bridge.start(options)
    end,
}

describe("an export", function()
    after_each(bridge.clean)

    for name, bring in pairs(WAYS) do
        it("comes back by " .. name .. " with the mailboxes in their order", function()
            local first = bridge.start()
            local alice = websocket.agent(first, "alice")
            for number = 1, 700 do
                alice:send_envelope({to = "bob", payload = number})
                alice:send_envelope({to = "carol " .. number % 5, payload = {text = ("x"):rep(2000)}})
            end
            alice:expect_nothing()

            local text = export(first)
            local second = bring(text, {})

            local bob = websocket.agent(second, "bob")
            for number, payload in ipairs(payloads(bob, 700)) do
                assert.equal(number, payload)
            end
            bob:expect_nothing()
            local before, after = parts_of(text), parts_of(export(second))
            for index = 0, 4 do
                assert.equal(before["carol " .. index], after["carol " .. index])
            end
            assert.is_nil(after.bob)
        end)

        it("comes back by " .. name .. " with priorities and expiry", function()
            local config = {agents = {priorityOrder = true, expiry = true}}
            local first = bridge.start({config = config})
            local alice = websocket.agent(first, "alice")
            for _, priority in ipairs({"low", "normal", "high"}) do
                alice:send_envelope({to = "bob", priority = priority, payload = priority})
            end
            alice:send_envelope({to = "bob", payload = "later", context = {expiresAt = os.time() * 1000 + 3600000}})
            alice:expect_nothing()

            local text = export(first)
            local second = bring(text:gsub('("expires":)%d+', "%11000"), {config = config})
            local third = bring(text, {config = config})

            assert.same({"high", "normal", "low"}, payloads(websocket.agent(second, "bob"), 3))
            assert.same({"high", "normal", "later", "low"}, payloads(websocket.agent(third, "bob"), 4))
        end)

        it("comes back by " .. name .. " with MessagePack as it was sent", function()
            local first = bridge.start()
            local options = {headers = {["Sec-WebSocket-Protocol"] = "luaduct.msgpack"}}
            local alice = websocket.connect(first, options)
            local packed = msgpack.encode({type = "register", clientId = "alice"})
            alice:send_frame({opcode = websocket.BINARY, payload = packed})
            assert.equal("binary", alice:receive().type)
            -- {"b": bin 8 of three bytes, "f": float32 1.5, "i": 7 as uint16}
            local payload = "\x83\xa1b\xc4\x03\x00\xff\x10\xa1f\xca\x3f\xc0\x00\x00\xa1i\xcd\x00\x07"
            alice:send_frame({opcode = websocket.BINARY, payload = "\x82\xa4type\xa8envelope\xa8envelope" ..
                "\x82\xa2to\xa3bob\xa7payload" .. payload})
            alice:expect_nothing()

            local text = export(first)
            assert.truthy(mail_of(text)[1].packed.payload)
            local second = bring(text, {})

            local bob = websocket.connect(second, options)
            bob:send_frame({opcode = websocket.BINARY, payload = msgpack.encode({type = "register", clientId = "bob"})})
            bob:receive()
            local message = bob:receive()
            assert.truthy(message.payload:find(payload, 1, true))
        end)

        it("comes back by " .. name .. " with the history, shown to whom it concerned", function()
            local first = bridge.start()
            local alice = websocket.agent(first, "alice")
            websocket.agent(first, "bob")
            alice:send_envelope({to = "bob", id = "e1"})
            alice:send_envelope({to = "carol", id = "e2"})
            alice:send_envelope({id = "e3"})
            alice:expect_nothing()

            local second = bring(export(first), {})

            local ids = {}
            for _, envelope in ipairs(http.get(second, "/history").history) do
                ids[#ids + 1] = envelope.id
            end
            assert.same({"e1", "e2", "e3"}, ids)
            for id, expected in pairs({alice = {"e1", "e2", "e3"}, bob = {"e1", "e3"}, carol = {"e2", "e3"}}) do
                local _, registered = websocket.agent(second, id)
                local seen = {}
                for _, envelope in ipairs(registered.history) do
                    seen[#seen + 1] = envelope.id
                end
                assert.same(expected, seen, id)
            end
        end)
    end

    it("of what was imported is the same again", function()
        local first = bridge.start({script = [[return {route = function(envelope, bridge)
            return bridge.to{"bob", "carol"}
        end}]]})
        local alice = websocket.agent(first, "alice")
        for number = 1, 20 do
            alice:send_envelope({payload = {number = number, text = "äöü \"quoted\" \\ \1"}})
        end
        alice:expect_nothing()

        local once = export(first)
        local second = bridge.start()
        assert.equal(0, (import(second, once)))

        assert.same(parts_of(once), parts_of(export(second)))
    end)

    it("keeps a mailbox for the identity that held it", function()
        local options = {config = {auth = {tokens = "tokens"}}, files = {tokens = tokens.file({
            red = {token = "red-token", clientIds = {"bob"}}, blue = {token = "blue-token", clientIds = {"bob"}},
            ops = {token = "ops-token", roles = {"admin"}, clientIds = {"*"}},
        })}}
        local env = {AI_BRIDGE_AUTH_TOKEN = "ops-token"}
        local first = bridge.start(options)
        websocket.agent(first, "bob", {authToken = "red-token"}):finish(1000)
        local answer = select(2, http.post(first, "/send", {to = "bob", id = "e1"}, tokens.bearer("ops-token")))
        assert.equal(202, answer.status)

        local second = bridge.start(options)
        assert.equal(0, (import(second, export(first, env), env)))

        local other = websocket.connect(second)
        other:send_register("bob", {authToken = "blue-token"})
        other:expect_error("forbidden")
        local bob = websocket.agent(second, "bob", {authToken = "red-token"})
        assert.equal("e1", bob:receive_envelope().id)
    end)

    it("goes to an agent that is connected at once", function()
        local server = bridge.start()
        local bob = websocket.agent(server, "bob")

        local status, out = import(server, HEAD .. '{"mailbox":"bob","envelope":{"id":"e1"}}\n' .. END_1)

        assert.equal(0, status)
        assert.truthy(out:find("1 in mailboxes", 1, true))
        assert.equal("e1", bob:receive_envelope().id)
    end)

    it("says what a limit did not let in", function()
        local server = bridge.start({config = {agents = {mailboxTotalBytes = 2000}}})
        local text = {HEAD}
        for number = 1, 5 do
            text[#text + 1] = ('{"mailbox":"a%d","envelope":{"payload":"%s"}}\n'):format(number, ("x"):rep(600))
        end

        local status, out, errors = import(server, table.concat(text) .. '{"end":{"history":0,"envelopes":5}}\n')

        assert.equal(0, status)
        assert.truthy(out:find("2 in mailboxes", 1, true), out)
        assert.truthy(errors:find("not taken: 3 (mailbox_full)", 1, true), errors)
    end)

    it("skips and counts what was kept for an id that nobody may have, and takes what stands behind it", function()
        local server = bridge.start()
        local text = HEAD .. '{"mailbox":"api","envelope":{"id":"lost"}}\n{"mailbox":"bob","envelope":{"id":"kept"}}\n'

        local status, out, errors = import(server, text .. '{"end":{"history":0,"envelopes":2}}\n')

        assert.equal(0, status, errors)
        assert.truthy(out:find("1 in mailboxes", 1, true), out)
        assert.truthy(errors:find("not taken: 1 (forbidden)", 1, true), errors)
        assert.equal("kept", websocket.agent(server, "bob"):receive_envelope().id)
    end)

    it("takes in original mode what that mode takes from agents", function()
        local server = bridge.start({config = {mode = "original"}})
        local status, out, errors = import(server, HEAD .. '{"mailbox":"5","envelope":{"to":5}}\n' .. END_1)
        assert.equal(0, status, errors)
        assert.truthy(out:find("1 in mailboxes", 1, true), out)
    end)

    it("takes a dead letter whose envelope was as deep as it may be", function()
        local config = {limits = {jsonDepth = 8}, agents = {deadLetters = "letters", maxQueue = 1}}
        local server = bridge.start({config = config})
        local alice = websocket.agent(server, "alice")
        for _ = 1, 2 do
            alice:send_text('{"type":"envelope","envelope":{"to":"bob","payload":[[[[[[1]]]]]]}}')
        end
        local text
        wait.eventually(function()
            text = export(server)
            return text:find('"deadLetter":true', 1, true)
        end)

        local status, out, errors = import(bridge.start({config = config}), text)

        assert.equal(0, status, errors)
        assert.truthy(out:find("2 in mailboxes", 1, true), out)
    end)

    local WRONG = {
        ["no head"] = {'{"mailbox":"bob","envelope":{}}\n' .. END, 1, "the first line has to be"},
        ["a newer version"] = {'{"luaduct":"state","version":2}\n' .. END, 1, "version: expected 1, got 2"},
        ["no JSON"] = {HEAD .. '{"mailbox":"bob","envelope":{}}\n{"mailbox":\n' ..
            '{"end":{"history":0,"envelopes":2}}\n', 3, "not JSON"},
        ["no object"] = {HEAD .. "[1]\n" .. END_1, 2, "expected an object"},
        ["an unknown member"] = {HEAD .. '{"mailbox":"bob","envelop":{}}\n' .. END_1, 2, "no member envelop"},
        ["two kinds"] = {HEAD .. '{"mailbox":"bob","history":{},"envelope":{}}\n' .. END_1, 2, "expected one of"},
        ["no kind"] = {HEAD .. '{"envelope":{}}\n' .. END_1, 2, "expected one of"},
        ["no id"] = {HEAD .. '{"mailbox":"","envelope":{}}\n' .. END_1, 2, "mailbox: expected the id"},
        ["a number in a text's place"] = {
            HEAD .. '{"mailbox":"bob","envelope":{"to":5}}\n' .. END_1, 2, "to: expected a string"},
        ["a priority that is none"] = {
            HEAD .. '{"mailbox":"bob","envelope":{"priority":9}}\n' .. END_1, 2, "priority: expected a string"},
        ["more nesting than limits.jsonDepth"] = {
            HEAD .. '{"mailbox":"bob","envelope":{"payload":' .. ("["):rep(200) .. ("]"):rep(200) .. "}}\n" .. END_1,
            2, "nested"},
        ["no envelope"] = {HEAD .. '{"mailbox":"bob"}\n' .. END_1, 2, "envelope: expected an object"},
        ["a bad field"] = {HEAD .. '{"mailbox":"bob","envelope":{"to":[]}}\n' .. END_1, 2, "to: expected a string"},
        ["a bad owner"] = {HEAD .. '{"mailbox":"bob","owner":"xyz","envelope":{}}\n' .. END_1, 2, "owner: expected"},
        ["a bad time"] = {HEAD .. '{"mailbox":"bob","expires":-1,"envelope":{}}\n' .. END_1, 2, "expires: expected"},
        ["packed that says something else"] = {
            HEAD .. '{"mailbox":"bob","envelope":{"payload":1},"packed":{"payload":"Ag=="}}\n' .. END_1, 2,
            "packed: expected what the envelope says"},
        ["packed that is broken"] = {
            HEAD .. '{"mailbox":"bob","envelope":{"payload":1},"packed":{"payload":"!"}}\n' .. END_1, 2,
            "packed: expected"},
        ["parties that are none"] = {HEAD .. '{"history":7,"envelope":{}}\n' .. END_1, 2,
            "history: expected an object"},
        ["a recipient that is none"] = {
            HEAD .. '{"history":{"recipients":[7]},"envelope":{}}\n' .. END_1, 2,
            "history.recipients: expected"},
        ["a first line again"] = {HEAD .. HEAD .. END_1, 2, "a first line again"},
        ["a line behind the end"] = {HEAD .. END .. END_1, 3, "nothing may come after"},
        ["the other kind of line than the end says"] = {
            HEAD .. '{"mailbox":"bob","envelope":{}}\n{"end":{"history":1,"envelopes":0}}\n', 3,
            "end: expected 1 lines of the history, got 0"},
        ["an end that is none"] = {HEAD .. '{"end":{"history":0}}\n{"end":{"history":0,"envelopes":1}}\n', 2,
            "end: expected an object"},
    }
    for name, case in pairs(WRONG) do
        it("with " .. name .. " is refused with line and reason", function()
            local server = bridge.start()
            local expected = "line " .. case[2] .. ": "

            local status, _, errors = import(server, case[1])
            assert.equal(1, status)
            assert.truthy(errors:find(expected, 1, true), errors)
            assert.truthy(errors:find(case[3], 1, true), errors)

            local folder = process.folder()
            process.write_file(folder .. "/state.jsonl", case[1])
            status, errors = bridge.start_failing({args = {"--import", folder .. "/state.jsonl"}})
            assert.equal(1, status)
            assert.truthy(errors:find("state.jsonl: " .. expected, 1, true), errors)
        end)
    end

    it("that is cut off is told from a whole one", function()
        local server = bridge.start()

        local status, _, errors = import(server, HEAD .. '{"mailbox":"bob","envelope":{}}\n')

        assert.equal(1, status)
        assert.truthy(errors:find("not whole", 1, true), errors)
        assert.same({}, mail_of(export(server)))
    end)

    local LINE = '{"mailbox":"bob","envelope":{"id":"e%d","payload":"' .. ("x"):rep(400) .. '"}}\n'
    local function export_of(count, said)
        local text = {HEAD}
        for number = 1, count do
            text[#text + 1] = LINE:format(number)
        end
        return table.concat(text) .. ('{"end":{"history":0,"envelopes":%d}}\n'):format(said)
    end
    local COUNTS = {
        {"a line missing", 2, 3}, {"a line doubled", 4, 3},
        {"a line missing of many, which go in several requests", 1199, 1200},
    }
    for _, case in ipairs(COUNTS) do
        it("with " .. case[1] .. " is refused whole, whichever way it comes", function()
            local text = export_of(case[2], case[3])
            local problem = ("line %d: end: expected %d lines between the first and this one, got %d"):format(
                case[2] + 2, case[3], case[2])
            local server = bridge.start()

            local status, _, errors = import(server, text)
            assert.equal(1, status)
            assert.truthy(errors:find(problem, 1, true), errors)
            assert.truthy(errors:find("nothing was sent", 1, true), errors)
            local refused, answer = http.post(server, "/admin/import", text)
            assert.equal(400, answer.status)
            assert.truthy(refused.error:find(problem, 1, true), answer.body)
            assert.same({}, mail_of(export(server)))

            local folder = process.folder()
            process.write_file(folder .. "/state.jsonl", text)
            status, errors = bridge.start_failing({args = {"--import", folder .. "/state.jsonl"}})
            assert.equal(1, status)
            assert.truthy(errors:find("state.jsonl: " .. problem, 1, true), errors)
        end)
    end

    it("is counted by the bridge over several requests too", function()
        local server = bridge.start()
        local function post(line, text)
            return (http.post(server, "/admin/import?line=" .. line, text))
        end

        assert.equal(2, post(1, HEAD .. LINE:format(1) .. LINE:format(2)).envelopes)
        local refused = post(4, LINE:format(3) .. '{"end":{"history":1,"envelopes":3}}\n')
        assert.truthy(refused.error:find("line 5: end: expected 4 lines", 1, true), refused.error)
        assert.is_true(post(4, LINE:format(3) .. '{"end":{"history":1,"envelopes":2}}\n').ended)
        assert.equal(3, #mail_of(export(server)))
    end)

    it("names the line of a file that goes in several requests", function()
        local server = bridge.start()
        local text = {HEAD}
        for number = 1, 1000 do
            text[#text + 1] = ('{"mailbox":"bob","envelope":{"payload":"%d%s"}}\n'):format(number, ("x"):rep(700))
        end

        local status, _, errors = import(server, table.concat(text) .. "broken\n" ..
            '{"end":{"history":0,"envelopes":1001}}\n')

        assert.equal(1, status)
        assert.truthy(errors:find("line 1002: ", 1, true), errors)
        assert.equal(1000, #mail_of(export(server)))
    end)

    it("leaves a file of before as it is until all of the new one is there", function()
        local folder = process.folder()
        local path = folder .. "/state.jsonl"
        process.write_file(path, "the backup of yesterday\n")

        local gone = bridge.start()
        local url = gone:url()
        gone:stop()
        assert.equal(1, (bridge.luaduct({"export", "--url", url, path})))
        local locked = bridge.start({config = TOKENS})
        assert.equal(1, (bridge.luaduct({"export", "--url", locked:url(), path})))
        assert.equal("the backup of yesterday\n", process.read_file(path))

        local status, out, errors = bridge.luaduct({"export", "--url", locked:url(), path}, {env = AUTHORIZED})
        assert.equal(0, status, errors)
        assert.equal("", out)
        assert.truthy(process.read_file(path):find('"end":', 1, true))
        local _, listed = process.run({"sh", "-c", "cd " .. folder .. "; stat -c '%a %n' *"})
        assert.equal("600 state.jsonl\n", listed)
    end)

    it("is harmless on a terminal, and as it was sent elsewhere", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice")
        alice:send_envelope({to = "bob", payload = "a\194\1552Jz"})
        alice:expect_nothing()

        local shown = terminal.start({bridge.BINARY, "export", "--url", server:url()}, {columns = 200, rows = 20})
        shown:shows([[a\u009b2Jz]])
        shown:shows('{"end":')
        assert.truthy(export(server):find("a\194\1552Jz", 1, true))
    end)

    it("is for administrators", function()
        local server = bridge.start({config = {auth = {token = TOKENS.auth.token}}})

        for _, arguments in ipairs({{"export"}, {"import"}}) do
            local status, _, errors = bridge.luaduct({arguments[1], "--url", server:url()},
                {env = AUTHORIZED, input = HEAD .. END})
            assert.equal(1, status)
            assert.truthy(errors:find("403 forbidden", 1, true), errors)
        end
    end)
end)
