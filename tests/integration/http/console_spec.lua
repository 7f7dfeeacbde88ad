-- What the console at /console is made of and asks for. In a browser: tests/console/.
local bridge = require "tests.support.bridge"
local events = require "tests.support.events"
local http = require "tests.support.http"
local process = require "tests.support.process"
local tokens = require "tests.support.tokens"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local TOKENS = {
    root = {token = "root-token", roles = {"admin"}},
    rita = {token = "rita-token", roles = {"reader"}},
}

local function start_with_tokens()
    return bridge.start({
        config = {auth = {tokens = "tokens.json"}},
        files = {["tokens.json"] = tokens.file(TOKENS)},
    })
end

local function page_of(server, path)
    local answer = http.request(server, {path = path or "/console"})
    assert.equal(200, answer.status)
    return answer.body, answer.headers
end

-- The paths of everything that the page loads, directly or by imports.
local function files_of(server)
    local page = page_of(server)
    local list, known = {}, {}
    local function add(path)
        if not known[path] then
            known[path] = true
            list[#list + 1] = path
        end
    end
    for path in page:gmatch('%f[%w]%a+="(console/assets/[^"]+)"') do
        add("/" .. path)
    end
    local index = 1
    while list[index] do
        if list[index]:find("%.js$") then
            local body = http.request(server, {path = list[index]}).body
            for name in body:gmatch('from "%./([%w]+%.js)"') do
                add(list[index]:gsub("[^/]+$", name))
            end
        end
        index = index + 1
    end
    return list
end

describe("GET /console", function()
    after_each(bridge.clean)

    it("is a page that may load what lies beside it, and nothing else", function()
        local server = bridge.start()
        for _, path in ipairs({"/console", "/console/"}) do
            local page, headers = page_of(server, path)
            assert.equal("text/html; charset=utf-8", headers["content-type"])
            local policy = headers["content-security-policy"]
            for _, part in ipairs({
                "default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'",
                "form-action 'none'", "require-trusted-types-for 'script'",
            }) do
                assert.truthy(policy:find(part, 1, true), part)
            end
            assert.is_nil(policy:find("unsafe", 1, true))
            assert.is_nil(policy:find("*", 1, true))
            assert.same({"DENY", "nosniff", "no-referrer", "same-origin"}, {
                headers["x-frame-options"], headers["x-content-type-options"], headers["referrer-policy"],
                headers["cross-origin-resource-policy"],
            })
            assert.equal("no-cache", headers["cache-control"])
            assert.is_nil(page:find("<script>", 1, true))
            assert.is_nil(page:find("style=", 1, true))
            assert.is_nil(page:find("%son%a+="))
            assert.is_nil(page:find("://", 1, true))
            assert.is_nil(page:find("ASSETS", 1, true))
        end
    end)

    it("is complete, and its files may be kept for ever", function()
        local server = bridge.start()
        local files = files_of(server)
        assert.is_true(#files > 10, #files .. " files")
        for _, path in ipairs(files) do
            local answer = http.request(server, {path = path})
            assert.equal(200, answer.status, path)
            assert.equal("public, max-age=31536000, immutable", answer.headers["cache-control"])
            assert.truthy(answer.headers["content-type"]:find(
                path:find("js$") and "^text/javascript" or path:find("css$") and "^text/css" or "^image/svg"), path)
            assert.truthy(answer.headers["content-security-policy"])
            assert.equal("nosniff", answer.headers["x-content-type-options"])
        end
        local folder = files[1]:match("^(.*)/")
        for _, path in ipairs({
            folder .. "/nothing.js", folder .. "/index", folder .. "/tag", folder .. "/../../luaduct/http/init.lua",
            folder .. "/..%2f..%2fconfig%2fschema.lua", folder .. "/", "/console/assets/0000/main.js", "/console/else",
        }) do
            assert.equal(404, http.request(server, {path = path}).status, path)
        end
        assert.equal(405, http.request(server, {method = "POST", path = "/console", body = "{}"}).status)
        assert.equal(405, http.request(server, {method = "POST", path = files[1], body = "{}"}).status)
    end)

    it("is not there where the config says so, until a reload says otherwise", function()
        local server = bridge.start({config = {console = false}})
        for _, path in ipairs({"/console", "/console/", "/console/session", "/console/assets/0000/main.js"}) do
            assert.equal(404, http.request(server, {path = path}).status, path)
        end
        process.write_file(server.folder .. "/config.lua", bridge.config_text(bridge.config({console = true})))
        assert.equal(200, select(2, http.post(server, "/admin/reload", {})).status)
        page_of(server)
    end)

    it("comes without a credential, and says nothing about one", function()
        local server = start_with_tokens()
        for _, path in ipairs({"/console", files_of(server)[1]}) do
            assert.equal(200, http.request(server, {path = path, headers = tokens.bearer("no-such-token")}).status)
        end
        assert.same({needed = "a credential"}, (http.get(server, "/console/session")))
        assert.equal(401, select(2, http.get(server, "/console/session", tokens.bearer("no-such-token"))).status)
        local root, rita = http.get(server, "/console/session", tokens.bearer("root-token")),
            http.get(server, "/console/session", tokens.bearer("rita-token"))
        assert.same({true, "token:root"}, {root.admin, root.name})
        assert.same({false, "token:rita"}, {rita.admin, rita.name})
    end)

    it("may be linked to from elsewhere, but what it asks for may not", function()
        local server = bridge.start()
        local linked = {["Sec-Fetch-Site"] = "cross-site", ["Sec-Fetch-Mode"] = "navigate"}
        assert.equal(200, http.request(server, {path = "/console", headers = linked}).status)
        assert.equal(403, http.request(server, {path = "/console/session", headers = linked}).status)
        local foreign = {Origin = "http://elsewhere.example"}
        assert.equal(403, http.request(server, {path = "/console", headers = foreign}).status)
        local rebound = {Host = "elsewhere.example"}
        assert.equal(403, http.request(server, {path = "/console", headers = rebound}).status)
    end)

    it("is no place for a WebSocket", function()
        local server = bridge.start()
        for _, path in ipairs({"/console", "/console/assets/x/main.js"}) do
            local answer = http.request(server, {path = path, headers = {
                Connection = "Upgrade", Upgrade = "websocket", ["Sec-WebSocket-Version"] = "13",
                ["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ==",
            }})
            assert.equal(404, answer.status)
        end
    end)
end)

describe("the event figures", function()
    after_each(bridge.clean)

    it("comes again and again to who names it, with what has happened since", function()
        local server = bridge.start()
        local listener = events.listen(server, "/events?kinds=figures")
        local alice = websocket.agent(server, "alice")
        local first = listener:next()
        assert.equal("figures", first.kind)
        alice:send_envelope({to = "alice", payload = {}})
        alice:receive_envelope()
        local moved = listener:wait_for("the envelope among the figures", function(event)
            return event.data.messages.accepted == 1
        end).data
        assert.equal(1, moved.agents)
        assert.equal(1, moved.script.number)
        assert.is_true(moved.memory.used > 0)
        assert.is_number(moved.workers.currentWorkers)
        assert.is_number(moved.collector.pauses.p99)
        assert.is_number(moved.pools.bridge.envelopes.hitRate)
        -- Of what passed lately alone.
        listener:wait_for("figures of a second in which nothing passed", function(event)
            return event.data.messages.delivered == 1 and type(event.data.latency) ~= "table"
        end)
    end)

    it("does not come to who does not", function()
        local server = bridge.start()
        local named = events.listen(server, "/events?kinds=figures")
        local listener = events.listen(server, "/events")
        named:next()
        named:next()
        websocket.agent(server, "alice")
        assert.equal("agent", listener:next().kind)
    end)
end)

describe("GET /admin/trace?pace", function()
    after_each(bridge.clean)

    it("lets so many a second through, however many there are", function()
        local server = bridge.start()
        local listener = events.listen(server, "/admin/trace?pace=10")
        local alice = websocket.agent(server, "alice")
        for _ = 1, 1000 do
            alice:send_envelope({to = "absent", intent = "many"})
        end
        alice:send_envelope({id = "done", to = "alice"})
        assert.equal("done", alice:receive_envelope().id)
        local ended, many = false, 0
        wait.eventually(function()
            alice:send_envelope({to = "absent", intent = "end"})
            local event = listener:next(0.2)
            while event and not ended do
                ended = event.data.intent == "end"
                many = many + (event.data.intent == "many" and 1 or 0)
                event = not ended and listener:next(0.2)
            end
            return ended
        end, nil, "a trace of the end")
        assert.is_true(many >= 1 and many < 500, many .. " traces")
    end)

    it("leaves others all that they ask for", function()
        local server = bridge.start()
        events.listen(server, "/admin/trace?pace=1")
        local all = events.listen(server, "/admin/trace?agent=alice")
        local alice = websocket.agent(server, "alice")
        for i = 1, 50 do
            alice:send_envelope({id = "e" .. i, to = "absent"})
        end
        for i = 1, 50 do
            assert.equal("e" .. i, all:next().data.id)
        end
    end)

    it("is a whole number from 1 to a million", function()
        local server = bridge.start()
        for _, pace in ipairs({"0", "-1", "1.5", "many", "1000001", ""}) do
            local body, answer = http.get(server, "/admin/trace?pace=" .. pace)
            assert.same({400, "bad_request"}, {answer.status, body.code}, pace)
        end
    end)
end)

describe("POST /admin/disconnect", function()
    after_each(bridge.clean)

    it("closes the connection of an agent, on whichever reactor, which may come back", function()
        local server = bridge.start()
        local agents = {}
        for i = 1, 8 do
            agents[i] = websocket.agent(server, "agent" .. i)
        end
        for i = 1, 8 do
            local body, answer = http.post(server, "/admin/disconnect", {agent = "agent" .. i})
            assert.same({202, "closing"}, {answer.status, body.status})
            assert.truthy(agents[i]:expect_close(1008).reason:find("administrator", 1, true))
        end
        wait.eventually(function()
            return #http.get(server, "/agents").agents == 0
        end)
        http.post(server, "/send", {to = "agent1", payload = "kept"})
        assert.equal("kept", websocket.agent(server, "agent1"):receive_envelope().payload)
    end)

    it("reads an id as it was meant", function()
        local server = bridge.start()
        local agent = websocket.agent(server, 'a "quoted" é')
        local _, answer = http.post(server, "/admin/disconnect", [[{"agent": "a \"quoted\" \u00e9"}]])
        assert.equal(202, answer.status)
        agent:expect_close(1008)
    end)

    it("refuses what it cannot do", function()
        local server = bridge.start()
        websocket.agent(server, "alice")
        for body, expected in pairs({
            ['{"agent": "bob"}'] = "not_found", ["{}"] = "bad_field", ['{"agent": 1}'] = "bad_field",
            ['{"agent": ""}'] = "bad_field", ['{"agent": "alice", "agent": "alice"}'] = "bad_field",
            ['{"agent": "alice", "why": "so"}'] = "bad_field", ['["alice"]'] = "bad_field",
            ['{"agent": "\\ud800"}'] = "bad_field", ["{"] = "bad_json", [""] = "bad_json",
        }) do
            local answer = http.post(server, "/admin/disconnect", body)
            assert.equal(expected, answer.code, body)
        end
        assert.equal(1, #http.get(server, "/agents").agents)
    end)

    it("is for administrators", function()
        local server = start_with_tokens()
        local body, answer = http.post(server, "/admin/disconnect", {agent = "alice"}, tokens.bearer("rita-token"))
        assert.same({403, "forbidden"}, {answer.status, body.code})
        assert.equal(404,
            select(2, http.post(server, "/admin/disconnect", {agent = "alice"}, tokens.bearer("root-token"))).status)
    end)
end)

describe("GET /admin/scripts/sources", function()
    after_each(bridge.clean)

    it("gives the text that each version was made of, whatever lies there now", function()
        local first, second = "return {} -- one \"1\"\n", "return {} -- two é\n"
        local server = bridge.start({script = first})
        process.write_file(server.folder .. "/script.lua", second)
        http.post(server, "/admin/reload", {})
        process.write_file(server.folder .. "/script.lua", "nonsense")
        for number, text in ipairs({first, second}) do
            local sources = http.get(server, "/admin/scripts/sources?version=" .. number)
            assert.equal(number, sources.version)
            assert.same({text}, {sources.files[1].text, sources.files[2]})
            assert.truthy(sources.files[1].path:find("script.lua", 1, true))
        end
        for query, status in pairs({["?version=9"] = 404, ["?version=x"] = 400, [""] = 400, ["?version=0"] = 400}) do
            assert.equal(status, http.request(server, {path = "/admin/scripts/sources" .. query}).status, query)
        end
    end)

    it("is for administrators", function()
        local server = start_with_tokens()
        local _, answer = http.get(server, "/admin/scripts/sources?version=1", tokens.bearer("rita-token"))
        assert.equal(403, answer.status)
    end)
end)

describe("GET /agents", function()
    after_each(bridge.clean)

    it("counts what an agent got, what waits for it, and its open tasks", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice", {maxConcurrentTasks = 2})
        local bob = websocket.agent(server, "bob", nil, {receive_buffer = 4096})
        local function of(id)
            for _, agent in ipairs(http.get(server, "/agents").agents) do
                if agent.id == id then
                    return agent
                end
            end
        end
        for i = 1, 3 do
            bob:send_envelope({to = "alice", intent = "task.assign", taskId = "t" .. i})
            alice:receive_envelope()
        end
        wait.eventually(function()
            local view = of("alice")
            return view.receivedCount == 3 and view.openTasks == 3 and view.waiting == 0
        end)
        local text = ("x"):rep(60000)
        wait.eventually(function() -- bob does not read
            for _ = 1, 20 do
                alice:send_envelope({to = "bob", payload = text})
            end
            local view = of("bob")
            return view.waiting > 0 and view.waitingBytes >= view.waiting * 60000
        end)
        local waiting = of("bob").waiting
        assert.is_true(waiting > 0)
    end)
end)
