-- Work for the worker threads: over HTTP, by an envelope, from hooks, and by operations that users wrote.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local TOKEN = "correct horse battery staple"

local OPERATIONS = {
    ["endless.lua"] = "return function() while true do end end",
    ["double.lua"] = "return function(data) return data * 2 end",
}

local REGISTERING = [[
luaduct.workers.register("endless", "endless.lua")
luaduct.workers.register("double", "double.lua")
]]

-- A bridge whose workers know `endless` and `double`, and what options.files and options.register add.
local function start(options)
    options = options or {}
    local files = {}
    for _, from in ipairs({OPERATIONS, options.files or {}}) do
        for name, text in pairs(from) do
            files[name] = text
        end
    end
    local script = REGISTERING .. (options.register or "") .. "\n" .. (options.script or "return {}")
    return bridge.start({
        config = {
            phase2 = {workerPool = options.workers or {}}, auth = options.auth, script = options.limits,
            limits = options.bridge_limits,
        },
        script = script,
        files = files,
    })
end

local function execute(server, operation, data, fields)
    local body = {operation = operation, data = data}
    for name, value in pairs(fields or {}) do
        body[name] = value
    end
    return http.post(server, "/workers/execute", body)
end

local function assert_refused(status, code, body, answer)
    assert.equal(code, body.code, answer.body)
    assert.equal(status, answer.status)
    return body.error
end

-- A connection on which a request for work is on its way.
local function ask(server, operation, fields)
    local body = {operation = operation}
    for name, value in pairs(fields or {}) do
        body[name] = value
    end
    local connection = http.connect(server)
    connection:send_request({method = "POST", path = "/workers/execute", body = json.encode(body)})
    return connection
end

local function figures(server)
    return http.get(server, "/optimization").cpuOptimization.workerPool
end

-- The figures, once they are as `holds` wants.
local function wait_figures(server, what, holds)
    return wait.eventually(function()
        local now = figures(server)
        return holds(now) and now
    end, nil, what)
end

-- Has every worker run `endless`; gives a connection that waits for it.
local function occupy(server, workers)
    local connection
    for _ = 1, workers or 1 do
        connection = ask(server, "endless", {timeoutMs = 300000})
    end
    wait_figures(server, "busy workers", function(now) return now.busyWorkers == (workers or 1) end)
    return connection
end

local function switch_workers(server, on)
    http.post(server, "/admin/engines", {workerPool = on})
    wait.eventually(function()
        return http.get(server, "/admin/engines").engines.workerPool.state == (on and "on" or "off")
    end, nil, "the workers to be " .. (on and "on" or "off"))
end

-- What runs and waits is cancelled.
local function free_workers(server)
    switch_workers(server, false)
    switch_workers(server, true)
end

local RECORDS = {{kind = "a", n = 1}, {kind = "b", n = 5}, {kind = "a", n = 3}}

local DONE = {
    hash = {
        {text = "hello"}, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    },
    sort = {{items = {3, 1, 2}}, {1, 2, 3}},
    json_parse = {{text = '{"a":[1,true,null]}'}, {a = {1, true, json.null}}},
    json_stringify = {{value = {a = {1, "x"}}}, '{"a":[1,"x"]}'},
    json_query = {{path = "list[*].n", value = {list = {{n = 1}, {n = 2}}}}, {1, 2}},
    vector_operations = {{op = "dot", a = {1, 2}, b = {3, 4}}, 11},
    text_analysis = {{op = "tokens", text = "To be, or not"}, {tokens = {"to", "be", "or", "not"}, total = 4}},
    aggregate = {
        {records = RECORDS, groupBy = {"kind"}, metrics = {{op = "sum", field = "n"}}},
        {{group = {kind = "a"}, metrics = {sum_n = 4}}, {group = {kind = "b"}, metrics = {sum_n = 5}}},
    },
    regex_extract = {{pattern = "\\d+", text = "a1 b22"}, {"1", "22"}},
}

describe("POST /workers/execute", function()
    after_each(bridge.clean)

    for operation, case in pairs(DONE) do
        it("does " .. operation, function()
            local body, answer = execute(start(), operation, case[1])

            assert.equal(200, answer.status, answer.body)
            assert.same(case[2], body.result)
            assert.is_number(body.ms)
        end)
    end

    it("compresses, and what it compressed it decompresses", function()
        local server = start()
        local text = ("again and "):rep(1000)

        local packed = execute(server, "compress", {text = text, encoding = "base64"}).result
        local unpacked = execute(server, "decompress", {text = packed, inputEncoding = "base64"}).result

        assert.is_true(#packed < #text / 10)
        assert.equal(text, unpacked)
    end)

    it("takes every priority", function()
        local server = start()

        for _, priority in ipairs({"high", "normal", "low"}) do
            assert.equal(42, execute(server, "double", 21, {priority = priority}).result)
        end
    end)

    it("passes null where there are no data", function()
        local server = start({
            register = 'luaduct.workers.register("kind", "kind.lua")',
            files = {["kind.lua"] = "return function(data) return type(data) end"},
        })

        assert.equal(execute(server, "kind", json.null).result, execute(server, "kind").result)
    end)

    it("refuses what there is not", function()
        local server = start()
        assert_refused(400, "unknown_operation", execute(server, "nonsense", {}))
    end)

    for name, case in pairs({
        ["no object"] = {"[]", "bad_field", "expected an object with operation and data, got an array"},
        ["no operation"] = {"{}", "bad_field", "operation: expected a name of 1 to 63 bytes"},
        ["an operation that is no name"] = {'{"operation":7}', "bad_field", "operation: expected"},
        ["an empty operation"] = {'{"operation":""}', "bad_field", "operation: expected"},
        ["too long an operation"] = {('{"operation":"%s"}'):format(("x"):rep(64)), "bad_field", "operation: expected"},
        ["a key that does not exist"] = {'{"operation":"hash","date":1}', "bad_field", 'got "date"'},
        ["another priority"] = {'{"operation":"hash","priority":"urgent"}', "bad_field", 'priority: expected "high"'},
        ["a timeout of nothing"] = {'{"operation":"hash","timeoutMs":0}', "bad_field", "timeoutMs: expected a number"},
        ["a timeout in words"] = {'{"operation":"hash","timeoutMs":"1"}', "bad_field", "timeoutMs: expected a number"},
        ["an endless timeout"] = {'{"operation":"hash","timeoutMs":1e99}', "bad_field", "timeoutMs: expected a number"},
        ["data twice"] = {'{"operation":"hash","data":1,"data":2}', "duplicate_field", '"data" is there twice'},
        ["no JSON"] = {"{", "bad_json", "JSON"},
        ["too deep an array"] = {
            ('{"operation":"hash","data":%s%s}'):format(("["):rep(500), ("]"):rep(500)), "too_deep", "",
        },
    }) do
        it("refuses " .. name, function()
            local body, answer = http.post(start(), "/workers/execute", case[1])

            local text = assert_refused(400, case[2], body, answer)
            assert.truthy(text:find(case[3], 1, true), text)
        end)
    end

    it("says why an operation failed", function()
        local text = assert_refused(422, "task_failed", execute(start(), "sort", {items = "abc"}))
        assert.equal("sort: data.items: expected an array, got a string", text)
    end)

    it("ends what runs longer than its timeout, and does the next", function()
        local server = start({workers = {minWorkers = 1, maxWorkers = 1}})

        local text = assert_refused(504, "task_timeout", execute(server, "endless", {}, {timeoutMs = 20}))

        assert.equal("endless: stopped after 20 ms, while it ran", text)
        assert.equal(42, execute(server, "double", 21).result)
    end)

    it("ends what runs longer than phase2.workerPool.taskTimeout", function()
        local text = assert_refused(504, "task_timeout", execute(start({workers = {taskTimeout = 20}}), "endless"))
        assert.equal("endless: stopped after 20 ms, while it ran", text)
    end)

    it("answers what waits for a worker longer than its timeout", function()
        local server = start({workers = {minWorkers = 1, maxWorkers = 1}})
        local running = occupy(server)

        local text = assert_refused(504, "task_timeout", execute(server, "double", 21, {timeoutMs = 20}))

        assert.equal("double: stopped after 20 ms, before a worker was free", text)
        free_workers(server)
        assert.equal("overloaded", json.decode(running:receive().body).code)
    end)

    it("refuses what the queue has no place for, and takes it later", function()
        local server = start({workers = {minWorkers = 1, maxWorkers = 1, queueLimit = 1}})
        occupy(server)
        ask(server, "double", {data = 21})
        wait_figures(server, "a full queue", function(now) return now.queuedTasks == 1 end)

        local text = assert_refused(503, "overloaded", execute(server, "double", 21))

        assert.equal("the workers can take no more tasks: try again later", text)
        assert.equal(1, figures(server).refused)
        free_workers(server)
        assert.equal(42, execute(server, "double", 21).result)
    end)

    it("is for administrators", function()
        local server = start({auth = {token = TOKEN, tokenIsAdmin = false}})
        local bearer = {Authorization = "Bearer " .. TOKEN}
        local request = {operation = "double", data = 21}

        assert_refused(403, "forbidden", http.post(server, "/workers/execute", request, bearer))
        assert_refused(401, "unauthorized", http.post(server, "/workers/execute", request))

        server = start({auth = {token = TOKEN, tokenIsAdmin = true}})
        assert.equal(42, http.post(server, "/workers/execute", request, bearer).result)
    end)

    it("takes POST only", function()
        local body, answer = http.get(start(), "/workers/execute")
        assert_refused(405, "method_not_allowed", body, answer)
    end)

    it("takes data up to phase2.workerPool.executeBytes, however small other bodies must be", function()
        local server = start({workers = {executeBytes = "4MiB"}, bridge_limits = {bodyBytes = "64KiB"}})
        local around = #'{"text":""}'
        local fits, over = ("x"):rep(4 * 1024 * 1024 - around), ("x"):rep(4 * 1024 * 1024 - around + 1)

        local body, answer = execute(server, "hash", {text = fits})
        assert.equal(200, answer.status, answer.body:sub(1, 200))
        assert.equal(64, #body.result)

        assert_refused(413, "too_large", execute(server, "hash", {text = over}))
    end)

    it("answers with large results too", function()
        local text = ("\\"):rep(1024 * 1024)
        local body, answer = execute(start(), "json_stringify", {value = text})

        assert.equal(200, answer.status, answer.body:sub(1, 200))
        assert.is_true(body.result == '"' .. text .. text .. '"')
    end)

    it("is answered in order beside other requests on one connection", function()
        local server = start()
        local connection = http.connect(server)

        for i = 1, 20 do
            local body = json.encode({operation = "double", data = i})
            connection:send_request({method = "POST", path = "/workers/execute", body = body})
            connection:send_request({path = "/health"})
        end

        for i = 1, 20 do
            assert.equal(2 * i, json.decode(connection:receive().body).result)
            assert.equal("ok", json.decode(connection:receive().body).status)
        end
    end)
end)
