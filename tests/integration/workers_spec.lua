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

    -- Asks for `endless` until a worker has begun it before its 20 ms are over, which on a busy machine it may not.
    local function assert_stopped(server, fields)
        wait.eventually(function()
            local text = assert_refused(504, "task_timeout", execute(server, "endless", {}, fields))
            assert.match("^endless: stopped after 20 ms, ", text)
            return text == "endless: stopped after 20 ms, while it ran"
        end, nil, "the task to be stopped while it runs")
    end

    it("ends what runs longer than its timeout, and does the next", function()
        local server = start({workers = {minWorkers = 1, maxWorkers = 1}})

        assert_stopped(server, {timeoutMs = 20})

        assert.equal(42, execute(server, "double", 21).result)
    end)

    it("ends what runs longer than phase2.workerPool.taskTimeout", function()
        assert_stopped(start({workers = {taskTimeout = 20}}))
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

describe("luaduct.workers.execute", function()
    after_each(bridge.clean)

    -- The payload that a route answers with, which is what `body`, the route's, returns.
    local function answer_of(body, options)
        options = options or {}
        options.script = "return {route = function(envelope, bridge)\n" .. body .. "\nend}"
        local server = start(options)
        local alice = websocket.agent(server, "alice")
        alice:send_envelope({to = "alice", payload = {text = "hello", list = {3, 1, 2}}})
        return alice:receive_envelope().payload, server
    end

    it("gives a route the result", function()
        local payload = answer_of([[
            local sorted = luaduct.workers.execute{operation = "sort", data = {items = envelope.payload.list}}
            local digest = luaduct.workers.execute{
                operation = "hash", data = {text = envelope.payload.text, algorithm = "md5"}, priority = "high",
                timeoutMs = 60000,
            }
            return bridge.reply{sorted = sorted, digest = digest}
        ]])

        assert.same({sorted = {1, 2, 3}, digest = "5d41402abc4b2a76b9719d911017c592"}, payload)
    end)

    it("passes strings of any bytes both ways", function()
        local payload = answer_of([[
            local every = {}
            for byte = 0, 255 do every[#every + 1] = string.char(byte) end
            every = table.concat(every)
            local packed = luaduct.workers.execute{operation = "compress", data = {text = every}}
            local again = luaduct.workers.execute{operation = "decompress", data = {text = packed}}
            return bridge.reply{same = again == every, gzip = packed:byte(1) == 31 and packed:byte(2) == 139}
        ]])

        assert.same({same = true, gzip = true}, payload)
    end)

    it("passes tables as they are: lists, empty lists, null, nested ones", function()
        local payload = answer_of([[
            return bridge.reply(luaduct.workers.execute{operation = "same", data = {
                list = {1, "two", true}, none = luaduct.array{}, null = luaduct.null, deep = {{{{a = 1.5}}}},
            }})
        ]], {
            register = 'luaduct.workers.register("same", "same.lua")',
            files = {["same.lua"] = "return function(data) return data end"},
        })

        assert.same({list = {1, "two", true}, none = {}, null = json.null, deep = {{{{a = 1.5}}}}}, payload)
    end)

    for code, case in pairs({
        task_failed = {'{operation = "sort", data = {}}', "sort: data.items: expected an array, got nothing"},
        task_timeout = {'{operation = "endless", timeoutMs = 20}', "endless: stopped after 20 ms, "},
        unknown_operation = {'{operation = "nonsense"}', "there is no such operation"},
    }) do
        it("gives nil, a text and a code: " .. code, function()
            local payload = answer_of("local result, text, code = luaduct.workers.execute" .. case[1] .. [[
                return bridge.reply{is_nil = result == nil, text = text, code = code}]])

            assert.same({true, code}, {payload.is_nil, payload.code})
            assert.equal(case[2], payload.text:sub(1, #case[2]))
        end)
    end

    it("gives nil, a text and a code: overloaded, while the workers are off", function()
        local payload = answer_of([[
            local result, text, code = luaduct.workers.execute{operation = "double", data = 21}
            return bridge.reply{is_nil = result == nil, text = text, code = code}
        ]], {workers = {enabled = false}})

        assert.same({is_nil = true, text = "the worker pool is off", code = "overloaded"}, payload)
    end)

    it("tells a false result from a failure", function()
        local payload = answer_of([[
            local result, text = luaduct.workers.execute{operation = "no"}
            return bridge.reply{result = result, text = type(text)}
        ]], {
            register = 'luaduct.workers.register("no", "no.lua")',
            files = {["no.lua"] = "return function() return false end"},
        })

        assert.same({result = false, text = "nil"}, payload)
    end)

    it("is there for on_register, which may use what it gives", function()
        local server = start({script = [[return {on_register = function(agent)
            local digest = luaduct.workers.execute{operation = "hash", data = {text = agent.id, algorithm = "crc32"}}
            agent.labels = {digest}
            return agent
        end}]]})

        local _, registered = websocket.agent(server, "alice")

        assert.same({"278ebc47"}, registered.client.labels)
    end)

    it("is there for on_undeliverable, which may find a taker by it", function()
        local server = start({script = [[return {
            route = function(envelope, bridge) return bridge.role("none") end,
            on_undeliverable = function(envelope, reason, recipient, bridge)
                local order = luaduct.workers.execute{operation = "sort", data = {items = {"carol", "bob"}}}
                return bridge.to(order[1])
            end,
        }]]})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")

        alice:send_envelope({id = "found"})

        assert.equal("found", bob:receive_envelope().id)
    end)

    it("keeps a sender's order, however long each of its envelopes takes", function()
        local server = start({script = [[return {route = function(envelope)
            if envelope.payload.work then
                luaduct.workers.execute{operation = "hash", data = {text = ("x"):rep(envelope.payload.work)}}
            end
        end}]]})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")

        for i = 1, 100 do
            alice:send_envelope({id = tostring(i), to = "bob", payload = {work = i % 3 == 0 and 300000 / i or nil}})
        end

        for i = 1, 100 do
            assert.equal(tostring(i), bob:receive_envelope().id)
        end
    end)

    it("is cancelled when its hook has waited long enough", function()
        local server = start({
            limits = {suspendMs = 50}, workers = {minWorkers = 1, maxWorkers = 1},
            script = [[return {route = function(envelope)
                if envelope.intent == "wait" then luaduct.workers.execute{operation = "endless"} end
            end}]],
        })
        local alice = websocket.agent(server, "alice")

        alice:send_envelope({id = "w", to = "alice", intent = "wait"})

        assert.equal("w", alice:receive_envelope().id)
        wait_figures(server, "a cancelled task", function(now) return now.cancelled == 1 and now.busyWorkers == 0 end)
        assert.equal(42, execute(server, "double", 21).result)
    end)

    it("does not keep the bridge from stopping", function()
        local server = start({limits = {suspendMs = 300000}, script = [[return {route = function()
            luaduct.workers.execute{operation = "endless", timeoutMs = 300000}
        end}]]})
        local alice = websocket.agent(server, "alice")
        alice:send_envelope({to = "alice"})
        wait_figures(server, "a busy worker", function(now) return now.busyWorkers == 1 end)

        server:stop() -- holds it to exit status 0
    end)
end)

describe("an operation of the user's own", function()
    after_each(bridge.clean)

    -- A bridge that knows an operation `own` in own.lua.
    local function start_own(text, options)
        options = options or {}
        options.register = 'luaduct.workers.register("own", "own.lua")'
        options.files = options.files or {}
        options.files["own.lua"] = text
        return start(options)
    end

    it("that raises says where and why", function()
        local server = start_own("return function(data)\n    error('cannot take ' .. data)\nend")

        local text = assert_refused(422, "task_failed", execute(server, "own", "this"))

        assert.truthy(text:find("own.lua:2: cannot take this", 1, true), text)
        assert.truthy(text:find("^own: "), text)
    end)

    it("that raises no text fails too", function()
        local text = assert_refused(422, "task_failed", execute(start_own("return function() error({}) end"), "own"))
        assert.equal("own: it raised an error that is no text", text)
    end)

    it("that does not end is stopped, in code that catches errors too, and the worker does the next task", function()
        local server = start_own("return function() while true do pcall(function() while true do end end) end end",
            {workers = {minWorkers = 1, maxWorkers = 1}})

        for _ = 1, 3 do
            assert_refused(504, "task_timeout", execute(server, "own", nil, {timeoutMs = 20}))
            assert.equal(42, execute(server, "double", 21).result)
        end

        assert.equal(0, figures(server).workersReplaced)
    end)

    it("that fills its memory fails, and the worker does the next task", function()
        local server = start_own([[return function()
            local list = {}
            while true do list[#list + 1] = ("x"):rep(1000) .. #list end
        end]], {limits = {memoryLimit = "8MiB"}, workers = {minWorkers = 1, maxWorkers = 1}})

        for _ = 1, 3 do
            local text = assert_refused(422, "task_failed", execute(server, "own"))
            assert.truthy(text:find("not enough memory", 1, true), text)
            assert.equal(42, execute(server, "double", 21).result)
        end
    end)

    it("keeps what it keeps from one task to the next, in each worker", function()
        local server = start_own([[
            local calls = 0
            return function() calls = calls + 1 return calls end
        ]], {workers = {minWorkers = 1, maxWorkers = 1}})

        assert.equal(1, execute(server, "own").result)
        assert.equal(2, execute(server, "own").result)
    end)

    it("may require files of the script folder", function()
        local server = start_own([[
            local helper = require "helper"
            return function(data) return helper.greet(data) end
        ]], {files = {["helper.lua"] = "return {greet = function(name) return 'hello ' .. name end}"}})

        assert.equal("hello you", execute(server, "own", "you").result)
    end)

    it("may require at the top of its file only", function()
        local server = start_own("return function() return require 'helper' end", {files = {["helper.lua"] = ""}})

        local text = assert_refused(422, "task_failed", execute(server, "own"))

        assert.truthy(text:find("require", 1, true), text)
    end)

    it("finds what a script finds, and neither files, processes nor ffi", function()
        local server = start_own([[return function()
            local function has(name) return (pcall(require, name)) end
            return {
                io = type(io), execute = type(os.execute), getenv = type(os.getenv), clock = type(os.clock),
                load = type(load), loadstring = type(loadstring), dofile = type(dofile), debug = type(debug),
                jit = type(jit), ffi = has("ffi"), string = type(string.format), bridge = type(bridge),
            }
        end]])

        assert.same({
            io = "nil", execute = "nil", getenv = "nil", clock = "function", load = "nil", loadstring = "nil",
            dofile = "nil", debug = "nil", jit = "nil", ffi = false, string = "function", bridge = "nil",
        }, execute(server, "own").result)
    end)

    it("cannot wait, and says so", function()
        local server = start_own("return function() luaduct.sleep(1) end")

        local text = assert_refused(422, "task_failed", execute(server, "own"))

        assert.truthy(text:find("luaduct.sleep", 1, true), text)
        assert.truthy(text:find("own.lua:1", 1, true), text)
    end)

    it("cannot give what is no plain value, and says so", function()
        local text = assert_refused(422, "task_failed", execute(start_own("return function() return print end"), "own"))
        assert.truthy(text:find("cannot pass a function", 1, true), text)
    end)

    it("cannot give bytes as JSON that are no UTF-8", function()
        local server = start_own([[return function() return "\255" end]])
        assert_refused(422, "task_failed", execute(server, "own"))
    end)

    it("may log", function()
        local server = start_own([[return function() luaduct.log.info("from a worker") return 1 end]])
        assert.equal(1, execute(server, "own").result)
        server:wait_log("from a worker")
    end)

    for name, case in pairs({
        ["without a name"] = {'luaduct.workers.register(nil, "double.lua")', "expected a name of letters"},
        ["with a name that is none"] = {
            'luaduct.workers.register("my op", "double.lua")', "expected a name of letters",
        },
        ["with the name of a built-in one"] = {
            'luaduct.workers.register("hash", "double.lua")', "is an operation of the bridge's own",
        },
        ["with another's name"] = {
            'luaduct.workers.register("double", "endless.lua")', "another file has that name already",
        },
        ["with a file outside"] = {
            'luaduct.workers.register("own", "../double.lua")', "expected a file below the script folder",
        },
        ["with an absolute path"] = {
            'luaduct.workers.register("own", "/etc/passwd")', "expected a file below the script folder",
        },
        ["with a file that is not there"] = {'luaduct.workers.register("own", "none.lua")', "none.lua"},
        ["with a file that is no Lua"] = {'luaduct.workers.register("own", "broken.lua")', "broken.lua:2:"},
    }) do
        it(name .. " refuses the start, and says where", function()
            local files = {["broken.lua"] = "local a = 1\nreturn function( end"}
            for file, text in pairs(OPERATIONS) do
                files[file] = text
            end

            local status, errors = bridge.start_failing({
                script = REGISTERING .. case[1] .. "\nreturn {}", files = files,
            })

            assert.equal(1, status)
            assert.truthy(errors:find(case[2], 1, true), errors)
            assert.truthy(errors:find("script.lua:3", 1, true) or errors:find("broken.lua:2", 1, true), errors)
        end)
    end

    it("cannot be registered by a hook", function()
        local server = start({script = [[return {route = function()
            luaduct.workers.register("late", "double.lua")
        end}]]})
        local alice = websocket.agent(server, "alice")

        alice:send_envelope({to = "alice"})

        alice:receive_envelope()
        server:wait_log("operations are registered while the script is loaded")
        assert_refused(400, "unknown_operation", execute(server, "late"))
    end)
end)

describe("an envelope with the intent bridge.execute", function()
    after_each(bridge.clean)

    local function start_for(roles, options)
        options = options or {}
        options.workers = options.workers or {}
        options.workers.allowRoles = roles
        return start(options)
    end

    local function ask_by_envelope(client, id, operation, data, fields)
        local payload = {operation = operation, data = data}
        for name, value in pairs(fields or {}) do
            payload[name] = value
        end
        client:send_envelope({id = id, intent = "bridge.execute", payload = payload, taskId = "t-" .. id})
    end

    it("is answered by an envelope from the bridge", function()
        local alice = websocket.agent(start_for({"worker"}), "alice", {role = "worker"})

        ask_by_envelope(alice, "e1", "sort", {items = {3, 1, 2}}, {priority = "high", timeoutMs = 60000})

        local answer = alice:receive_envelope()
        assert.equal("bridge", answer.from)
        assert.equal("alice", answer.to)
        assert.equal("e1", answer.replyTo)
        assert.equal("bridge.execute", answer.intent)
        assert.equal("t-e1", answer.taskId)
        assert.same({1, 2, 3}, answer.payload.result)
        assert.is_number(answer.payload.ms)
    end)

    it("is forbidden while no role is allowed", function()
        local alice = websocket.agent(start(), "alice")

        ask_by_envelope(alice, "e1", "double", 21)

        assert.equal("e1", alice:expect_error("forbidden").id)
        alice:expect_nothing()
    end)

    it("is forbidden to other roles, whatever the envelope says of its sender's", function()
        local alice = websocket.agent(start_for({"worker", "other"}), "alice", {role = "agent"})

        alice:send_envelope({
            id = "e1", intent = "bridge.execute", role = "worker", payload = {operation = "double", data = 21},
        })

        assert.equal("e1", alice:expect_error("forbidden").id)
    end)

    it("is forbidden after the role has changed", function()
        local alice = websocket.agent(start_for({"worker"}), "alice", {role = "worker"})
        alice:register("alice", {role = "agent"})

        ask_by_envelope(alice, "e1", "double", 21)

        assert.equal("e1", alice:expect_error("forbidden").id)
    end)

    it("that fails is told by an error with its id", function()
        local server = start_for({"worker"}, {workers = {executeBytes = "1KiB"}})
        local alice = websocket.agent(server, "alice", {role = "worker"})

        for code, case in pairs({
            unknown_operation = {"nonsense"}, task_failed = {"sort", {items = 1}}, bad_field = {7},
            task_timeout = {"endless", nil, {timeoutMs = 20}}, too_large = {"hash", {text = ("x"):rep(2000)}},
        }) do
            ask_by_envelope(alice, code, unpack(case, 1, 3))
            assert.equal(code, alice:expect_error(code).id)
        end

        switch_workers(server, false)
        ask_by_envelope(alice, "off", "double", 21)
        assert.equal("off", alice:expect_error("overloaded").id)
    end)

    it("is seen by no script and no other agent", function()
        local server = start_for({"worker"}, {script = [[return {route = function(envelope)
            luaduct.log.info("saw " .. envelope.id)
        end}]]})
        local alice = websocket.agent(server, "alice", {role = "worker"})
        local bob = websocket.agent(server, "bob")

        ask_by_envelope(alice, "asked", "double", 21)
        assert.equal(42, alice:receive_envelope().payload.result)
        alice:send_envelope({id = "after", to = "bob"})

        assert.equal("after", bob:receive_envelope().id)
        assert.is_nil(server:wait_log("saw after"):find("saw asked", 1, true))
    end)

    it("leaves the agent's other envelopes their way meanwhile", function()
        local server = start_for({"worker"}, {workers = {maxWorkers = 4}})
        local alice = websocket.agent(server, "alice", {role = "worker"})

        ask_by_envelope(alice, "slow", "endless", nil, {timeoutMs = 300000})
        wait_figures(server, "a busy worker", function(now) return now.busyWorkers == 1 end)
        alice:send_envelope({id = "own", to = "alice"})
        ask_by_envelope(alice, "quick", "double", 21)

        local seen = {}
        for _ = 1, 2 do
            local envelope = alice:receive_envelope()
            seen[#seen + 1] = envelope.replyTo ~= json.null and envelope.replyTo or envelope.id
        end
        table.sort(seen)
        assert.same({"own", "quick"}, seen)
        switch_workers(server, false)
        assert.equal("slow", alice:expect_error("overloaded").id)
    end)

    -- A bridge whose one worker waits at a gate, and what opens the gate.
    local function start_gated()
        local server = start_for({"worker"}, {
            workers = {minWorkers = 1, maxWorkers = 1, taskTimeout = 600000},
            register = 'luaduct.workers.register("gate", "gate.lua")',
            files = {["gate.lua"] = 'return function() while not luaduct.shared.get("open") do end return "open" end'},
            script = 'return {route = function() luaduct.shared.set("open", true) end}',
        })
        local blocking = ask(server, "gate")
        wait_figures(server, "a busy worker", function(now) return now.busyWorkers == 1 end)
        return server, function()
            assert.equal(202, select(2, http.post(server, "/send", {to = "nobody"})).status)
            assert.equal("open", json.decode(blocking:receive().body).result)
        end
    end

    it("is answered after a reconnect", function()
        local server, open = start_gated()
        local alice = websocket.agent(server, "alice", {role = "worker"})
        ask_by_envelope(alice, "e1", "double", 21)
        wait_figures(server, "a task that waits", function(now) return now.queuedTasks == 1 end)

        alice:finish(1000)
        alice = websocket.agent(server, "alice", {role = "worker"})
        open()

        local answer = alice:receive_envelope()
        assert.equal("e1", answer.replyTo)
        assert.equal(42, answer.payload.result)
    end)

    it("is answered into the mailbox of one that is away", function()
        local server, open = start_gated()
        local alice = websocket.agent(server, "alice", {role = "worker"})
        ask_by_envelope(alice, "e1", "double", 21)
        wait_figures(server, "a task that waits", function(now) return now.queuedTasks == 1 end)
        alice:close()
        wait.eventually(function() return #http.get(server, "/agents").agents == 0 end)
        open()
        wait_figures(server, "both tasks to be done", function(now) return now.tasksCompleted == 2 end)

        alice = websocket.agent(server, "alice", {role = "worker"})

        assert.equal("e1", alice:receive_envelope().replyTo)
    end)
end)

describe("the workers", function()
    after_each(bridge.clean)

    it("leave the reactors free: messages pass while every worker is kept busy", function()
        local server = start({workers = {minWorkers = 4, maxWorkers = 4}})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        occupy(server, 4)

        for i = 1, 200 do
            alice:send_envelope({id = "a" .. i, to = "bob"})
            assert.equal("a" .. i, bob:receive_envelope().id)
            bob:send_envelope({id = "b" .. i, to = "alice"})
            assert.equal("b" .. i, alice:receive_envelope().id)
        end

        assert.equal(4, figures(server).busyWorkers)
    end)

    it("have figures on /optimization that add up", function()
        local server = start({workers = {minWorkers = 2, maxWorkers = 2, queueLimit = 3}})
        for i = 1, 5 do
            assert.equal(2 * i, execute(server, "double", i).result)
        end
        execute(server, "sort", {})
        execute(server, "endless", nil, {timeoutMs = 20})
        occupy(server, 2)
        for _ = 1, 3 do
            ask(server, "double", {data = 1})
        end
        wait_figures(server, "a full queue", function(now) return now.queuedTasks == 3 end)
        assert_refused(503, "overloaded", execute(server, "double", 1))
        assert.same({high = 0, normal = 3, low = 0}, figures(server).depth)

        free_workers(server)

        local now = figures(server)
        assert.equal(12, now.tasksQueued)
        assert.equal(5, now.tasksCompleted)
        assert.equal(1, now.tasksFailed)
        assert.equal(1, now.timeouts)
        assert.equal(5, now.cancelled)
        assert.equal(1, now.refused)
        assert.equal(now.tasksQueued, now.tasksCompleted + now.tasksFailed + now.timeouts + now.cancelled)
        assert.equal(0, now.queuedTasks + now.busyWorkers)
        assert.equal(now.currentWorkers, now.workersCreated - now.workersDestroyed)
        assert.is_true(now.averageTaskTime > 0 and now.maxTaskTime >= now.averageTaskTime)
        assert.equal(5, http.get(server, "/optimization").performance.workerTasks)
    end)

    it("grow in number when tasks wait, and no further than they may", function()
        local server = start({workers = {minWorkers = 1, maxWorkers = 3, idleTimeoutMs = 50}})
        occupy(server, 3)
        ask(server, "endless", {timeoutMs = 300000})
        wait_figures(server, "a task that waits", function(now) return now.queuedTasks == 1 end)

        assert.equal(3, figures(server).currentWorkers)
        assert.equal(3, figures(server).mostWorkers)
    end)
end)
