-- The examples, each with its own config, do what their pages say; their agent scripts print what is shown there.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local process = require "tests.support.process"
local unistd = require "posix.unistd"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local MODULES = os.getenv("LUADUCT_NODE_MODULES") or (unistd.getcwd() .. "/tests/interop/node_modules")

local function read(path)
    local text = process.read_file("examples/" .. path)
    assert(#text > 0, path .. " is missing")
    return text
end

local function start(name, workers)
    return bridge.start({
        config_text = read(name .. "/config.lua"),
        files = {["route.lua"] = read(name .. "/route.lua")},
        args = {"--ws-port", "0", "--http-port", "0", "--workers", tostring(workers or 2)},
        env = {AI_BRIDGE_RATE_MAX = "0"}, -- a spec that waits asks often
    })
end

-- What agents.sh prints, against the block behind the words "It prints" in the example's page.
local function assert_prints_what_the_page_says(name)
    local server = start(name)
    local expected = read(name .. "/README.md"):match("It prints.-```\n(.-)```")

    local status, output, errors = process.run({"bash", "examples/" .. name .. "/agents.sh"}, {
        env = {LUADUCT = bridge.BINARY, AI_BRIDGE_URL = ("ws://127.0.0.1:%d"):format(server.ws_port)}, seconds = 30,
    })

    assert.equal(0, status, errors)
    assert.equal(expected, errors .. output)
end

describe("the skill router", function()
    after_each(bridge.clean)

    local function worker(server, id, skills)
        return websocket.agent(server, id, {role = "worker", labels = skills})
    end

    local function assign(boss, task, payload)
        boss:send_envelope({id = task, intent = "task.assign", taskId = task, payload = payload})
    end

    local function finish(one, task)
        one:send_envelope({to = "boss", intent = "task.complete", payload = {taskId = task}})
    end

    for _, workers in ipairs({1, 2}) do
        it(("gives a task to a worker that has the skill, on %d reactors"):format(workers), function()
            local server = start("skill-router", workers)
            local boss = websocket.agent(server, "boss")
            local painter, writer = worker(server, "painter", {"paint", "draw"}), worker(server, "writer", {"write"})

            assign(boss, "t1", {skill = "draw"})
            assign(boss, "t2", {skill = "write"})

            assert.equal("t1", painter:receive_envelope().taskId)
            assert.equal("t2", writer:receive_envelope().taskId)
            painter:expect_nothing()
            writer:expect_nothing()
        end)
    end

    it("takes the first tool where the payload names no skill", function()
        local server = start("skill-router")
        local boss = websocket.agent(server, "boss")
        local painter = worker(server, "painter", {"paint"})

        boss:send_envelope({id = "t1", intent = "task.assign", tools = {"paint", "write"}, payload = "a horse"})

        local task = painter:receive_envelope()
        assert.equal("t1", task.taskId)
        assert.equal("a horse", task.payload)
    end)

    it("gives the next task to who has finished, though the result names its task in the payload only", function()
        local server = start("skill-router")
        local boss = websocket.agent(server, "boss")
        local workers = {a = worker(server, "a", {"paint"}), b = worker(server, "b", {"paint"})}
        local tasks = {}
        for number = 1, 2 do
            assign(boss, "t" .. number, {skill = "paint"})
        end
        for name, one in pairs(workers) do
            tasks[name] = one:receive_envelope().taskId
        end

        finish(workers.b, tasks.b)
        local result = boss:receive_envelope()
        assign(boss, "t3", {skill = "paint"})

        assert.equal(tasks.b, result.taskId)
        assert.equal("b", result.from)
        assert.equal("t3", workers.b:receive_envelope().taskId)
    end)

    it("keeps a task that nobody can do, for who joins under the name of its queue", function()
        local server = start("skill-router")
        local boss = websocket.agent(server, "boss")
        local painter = worker(server, "painter", {"paint"})
        for number = 1, 3 do
            assign(boss, "t" .. number, {skill = "sing"})
        end
        boss:expect_nothing()
        painter:expect_nothing()

        local singer = worker(server, "waiting.sing", {"sing"})
        assign(boss, "t4", {skill = "sing"})

        for number = 1, 4 do
            local task = singer:receive_envelope()
            assert.equal("t" .. number, task.taskId)
            assert.equal("boss", task.from)
        end
    end)

    it("refuses a task that will not wait when nobody can do it", function()
        local server = start("skill-router")
        local boss = websocket.agent(server, "boss")

        assign(boss, "t1", {skill = "sing", wait = false})

        assert.equal("t1", boss:expect_error("no_recipient").id)
        local late = worker(server, "waiting.sing", {"sing"})
        late:expect_nothing()
    end)

    it("drops a task without a skill that can be a name, and says so", function()
        local server = start("skill-router")
        local boss = websocket.agent(server, "boss")
        local painter = worker(server, "painter", {"paint"})

        for number, payload in ipairs({"paint", {skill = 7}, {skill = "two words"}, {skill = ("x"):rep(65)}}) do
            assign(boss, "t" .. number, payload)
            assert.truthy(boss:expect_error("script_dropped").error:find("payload.skill", 1, true))
        end
        painter:expect_nothing()
    end)

    it("routes tasks that come over HTTP", function()
        local server = start("skill-router")
        local painter = worker(server, "painter", {"paint"})

        local _, answer = http.post(server, "/broadcast",
            {intent = "task.assign", id = "t1", payload = {skill = "paint"}})

        assert.equal(202, answer.status)
        assert.equal("t1", painter:receive_envelope().taskId)
    end)

    it("lets no worker in that names no skill", function()
        local server = start("skill-router")
        local client = websocket.connect(server)

        client:send_register("idler", {role = "worker"})

        assert.truthy(client:expect_error("forbidden").error:find("labels", 1, true))
        client:expect_close(1008)
    end)

    it("leaves other envelopes to the bridge", function()
        local server = start("skill-router")
        local boss = websocket.agent(server, "boss")
        local painter = worker(server, "painter", {"paint"})

        boss:send_envelope({id = "e1", to = "painter"})
        boss:send_envelope({id = "e2"})
        boss:send_envelope({id = "e3", to = "painter", intent = "task.assign"})

        for number = 1, 3 do
            assert.equal("e" .. number, painter:receive_envelope().id)
        end
    end)

    it("is shown at work by agents.sh", function()
        assert_prints_what_the_page_says("skill-router")
    end)

    it("brings a worker in Python and a boss in JavaScript together", function()
        local server = start("skill-router")
        local url = ("ws://127.0.0.1:%d"):format(server.ws_port)
        process.start({"/usr/bin/python3", "examples/skill-router/worker.py", "wanda", url})
        wait.eventually(function()
            return #http.get(server, "/agents").agents == 1
        end)

        local status, output, errors = process.run(
            {"node", "examples/skill-router/boss.mjs", "one two three", "four five"},
            {env = {AI_BRIDGE_URL = url, NODE_PATH = MODULES}, seconds = 30})

        assert.equal(0, status, errors)
        assert.equal(read("skill-router/README.md"):match("prints what it is answered.-```\n(.-)```"), output)
    end)
end)

describe("the moderator", function()
    after_each(bridge.clean)

    local R = "[redacted]"
    local KEY = "sk-proj-0123456789abcdefABCD"
    local PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIB+/=\n-----END RSA PRIVATE KEY-----"

    -- Text in a payload, and how it arrives.
    local TEXTS = {
        {"the key is " .. KEY .. ", keep it", "the key is " .. R .. ", keep it"},
        {"AKIA0123456789ABCDEF", R},
        {"ghp_" .. ("a1"):rep(18), R},
        {"before " .. PEM .. " after", "before " .. R .. " after"},
        {"cut off: " .. PEM:sub(1, 40), "cut off: " .. R},
        {"Authorization: Basic YW5uOmxvdmU=\r\nAccept: */*", "Authorization: " .. R .. "\r\nAccept: */*"},
        {"curl -H 'X: Bearer abcdefgh12345678'", "curl -H 'X: Bearer " .. R .. "'"},
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", R},
        {"postgres://ann:hunter2@db/books", "postgres://ann:" .. R .. "@db/books"},
        {"https://x.example/?password=hunter2&page=2", "https://x.example/?password=" .. R .. "&page=2"},
        {"db_password=hunter2 retries=3", "db_password=" .. R .. " retries=3"},
        {'{"api_key": "two words", "max_tokens": 5}', '{"api_key": "' .. R .. '", "max_tokens": 5}'},
        {'{\\"secret\\":\\"x y\\",\\"n\\":1}', '{\\"secret\\":\\"' .. R .. '\\",\\"n\\":1}'},
        {"OPENAI_API_KEY='abc'\nB=2", "OPENAI_API_KEY='" .. R .. "'\nB=2"},
    }

    local HARMLESS = {
        "a task-list-with-0123456789-many-words", "bearer of bad news", "write to ann@example.com", "max_tokens: 100",
        "sk-learn-is-a-library-for-learning", "see https://x.example:8080/a?b=c", "the password", "password:", "a = b",
    }

    local function moderate(payload)
        local server = start("moderator")
        local alice = websocket.agent(server, "alice")
        alice:send_envelope({to = "alice", payload = payload})
        return alice:receive_envelope().payload, server
    end

    it("redacts what looks like a secret in a text", function()
        local sent, expected = {}, {}
        for index, row in ipairs(TEXTS) do
            sent[index], expected[index] = row[1], row[2]
        end

        assert.same(expected, (moderate(sent)))
    end)

    it("leaves other text alone", function()
        assert.same(HARMLESS, (moderate(HARMLESS)))
    end)

    it("redacts values by the name of their key, at any depth and of any type", function()
        local payload = moderate({
            list = {{DB_Password = "x", user = "ann"}}, token = 12345, tokens = 7, clientSecret = {a = {b = 1}},
        })

        assert.same({list = {{DB_Password = R, user = "ann"}}, token = R, tokens = 7, clientSecret = R}, payload)
    end)

    it("redacts keys that are secrets themselves", function()
        assert.same({[R] = "ann", other = 1}, (moderate({[KEY] = "ann", other = 1})))
    end)

    it("redacts every part that agents fill freely", function()
        local server = start("moderator")
        local alice = websocket.agent(server, "alice")

        alice:send_envelope({
            to = "alice", context = {note = KEY}, attachments = {{KEY}}, tools = {KEY}, trace = KEY, payload = KEY,
        })

        local envelope = alice:receive_envelope()
        assert.same({{note = R}, {{R}}, {R}, R, R},
            {envelope.context, envelope.attachments, envelope.tools, envelope.trace, envelope.payload})
    end)

    it("redacts the history and the answer over HTTP too, and logs where but not what", function()
        local server = start("moderator")

        local _, answer = http.post(server, "/send", {to = "absent", id = "e1", payload = {text = KEY}})

        assert.equal(202, answer.status)
        assert.is_nil(answer.body:find(KEY, 1, true))
        assert.same({text = R}, http.get(server, "/history").history[1].payload)
        assert.is_nil(server:wait_log("redacted payload of e1"):find(KEY, 1, true))
    end)

    it("passes on byte for byte what holds no secret", function()
        local server = start("moderator")
        local alice = websocket.agent(server, "alice")

        alice:send_envelope('{"to":"alice","payload":{"n":1.10,"n":1e400,"big":12345678901234567890,"none":[]}}')

        local _, raw = alice:receive_envelope()
        local _, fields = json.fields(raw)
        assert.equal('{"n":1.10,"n":1e400,"big":12345678901234567890,"none":[]}', fields.payload)
    end)

    it("lets nothing out that it could not check to the end", function()
        local server = start("moderator")
        local alice = websocket.agent(server, "alice")

        alice:send_envelope('{"id":"e1","to":"alice","payload":{"n":1e400,"password":"hunter2"}}')

        assert.equal("e1", alice:expect_error("script_failed").id)
        alice:expect_nothing()
        assert.equal(0, #http.get(server, "/history").history)
    end)

    it("is not shown what is too large for it", function()
        local server = start("moderator")
        local alice = websocket.agent(server, "alice")

        alice:send_envelope({to = "alice", payload = ("x"):rep(300000)})

        alice:expect_error("too_large")
        alice:expect_close(1009)
    end)

    it("is shown at work by agents.sh", function()
        assert_prints_what_the_page_says("moderator")
    end)
end)
