-- The log as a program reads it: events by name, levels by room, and the access log.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local process = require "tests.support.process"
local tokens = require "tests.support.tokens"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local function lines_of(server)
    local list = {}
    for line in server:errors():gmatch("([^\n]+)\n") do -- whole ones: the last may be on its way
        list[#list + 1] = json.decode(line)
    end
    return list
end

-- The newest line of that event for which `accepts` holds, once there is one.
local function event(server, name, accepts)
    local found
    wait.eventually(function()
        for _, line in ipairs(lines_of(server)) do
            if line.event == name and (not accepts or accepts(line)) then
                found = line
            end
        end
        return found
    end, nil, "an event " .. name)
    return found
end

local function on_path(path)
    return function(line)
        return line.path == path
    end
end

local function start(log, more)
    local config = {log = {format = "json"}}
    for name, value in pairs(log or {}) do
        config.log[name] = value
    end
    for name, value in pairs(more or {}) do
        config[name] = value
    end
    return bridge.start({config = config})
end

describe("docs/logs.md", function()
    -- Events that the source names: {["agent.left"] = "debug", …}; of some the level is not where the name is.
    local function events_of_source()
        local events = {}
        local files = io.popen("find core -name '*.c'")
        for path in files:lines() do
            local text = process.read_file(path)
            for level, room, name in text:gmatch('log_(%l+)%(%s*(%u+),%s*"([%w_]+)"') do
                events[room:lower() .. "." .. name] = level
            end
            for room, name in text:gmatch('%.room = LOG_ROOM_(%u+), %.name = "([%w_]+)"') do
                events[room:lower() .. "." .. name] = true
            end
        end
        files:close()
        return events
    end

    it("lists each event that the code has, with its level, and no other", function()
        local events, page = events_of_source(), process.read_file("docs/logs.md")
        local listed, count = {}, 0
        for name, level in page:gmatch("\n| `(%l+%.[%l_]+)` | ([%l ]+) |") do
            assert.is_nil(listed[name], name .. " is there twice")
            assert.is_truthy(events[name], name .. " is no event of the code")
            if events[name] ~= true then
                assert.equal(events[name], level, name)
            end
            listed[name], count = true, count + 1
        end
        for name in pairs(events) do
            assert.is_true(listed[name], name .. " is not in docs/logs.md")
        end
        assert.is_true(count > 50)
    end)

    it("lists each room that the code has, and so does the schema", function()
        local header = process.read_file("core/base/log.h"):match("#define LOG_ROOMS(.-)enum log_room")
        local page = process.read_file("docs/logs.md")
        local schema = require "luaduct.config.schema"
        local count = 0
        for room in header:gmatch('X%(%u+, "(%l+)"%)') do
            assert.truthy(page:find("\n| `" .. room .. "` | ", 1, true), room)
            assert.truthy(schema.by_path["log.levels." .. room], room)
            count = count + 1
        end
        for _, key in ipairs(schema.keys) do
            count = count - (key.path:find("log.levels.", 1, true) and 1 or 0)
        end
        assert.equal(0, count)
    end)
end)

describe("the log as JSON", function()
    after_each(bridge.clean)

    it("has time, level, thread, room, event and message on each line", function()
        local server = start({level = "debug", access = true})
        local client = websocket.connect(server)
        client:register("alice")
        client:close()
        event(server, "agent.left")
        server:stop()
        for _, line in ipairs(lines_of(server)) do
            assert.match("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$", line.time)
            assert.truthy(("debug info warn error"):find(line.level, 1, true))
            assert.equal(line.room, line.event:match("^(%l+)%.[%l_]+$"))
            assert.is_string(line.thread)
            assert.is_string(line.message)
        end
        assert.equal("main", event(server, "server.listening").thread)
        assert.equal("debug", event(server, "agent.registered").level)
    end)
end)

describe("the level of a room", function()
    after_each(bridge.clean)

    local function register(server, id)
        local client = websocket.connect(server)
        client:register(id)
        client:close()
    end

    local function levels(server)
        return http.get(server, "/admin/log")
    end

    it("comes from the configuration, follows a reload, and leaves the others alone", function()
        local server = start({level = "warn", levels = {agent = "debug"}})
        register(server, "alice")
        event(server, "agent.left")
        for _, line in ipairs(lines_of(server)) do
            assert.truthy(line.room == "agent" or line.level == "warn" or line.level == "error", line.event)
        end
        assert.same({level = "debug", own = true}, levels(server).rooms.agent)
        assert.same({level = "warn", own = false}, levels(server).rooms.tls)

        process.write_file(server.folder .. "/config.lua",
            bridge.config_text(bridge.config({log = {format = "json", level = "info", levels = {tls = "error"}}})))
        assert.equal(200, select(2, http.post(server, "/admin/reload", "")).status)
        assert.same({level = "info", own = false}, levels(server).rooms.agent)
        assert.same({level = "error", own = true}, levels(server).rooms.tls)
        event(server, "reload.done")
    end)

    it("can be changed while the bridge runs, until the next reload", function()
        local server = start()
        local answer, response = http.post(server, "/admin/log", {rooms = {agent = "debug"}})
        assert.equal(200, response.status)
        assert.same({level = "debug", own = true}, answer.rooms.agent)
        register(server, "alice")
        event(server, "agent.registered")
        event(server, "log.levels_changed")

        server = start()
        answer = http.post(server, "/admin/log", {level = "error", rooms = {agent = json.null}})
        event(server, "log.levels_changed") -- also what makes the log silent
        assert.equal("error", answer.level)
        assert.same({level = "error", own = false}, answer.rooms.agent)
        http.post(server, "/admin/reload", "")
        assert.equal("info", levels(server).level)
    end)

    it("is not changed by a mistake, which the answer names", function()
        local server = start()
        local before = levels(server)
        for body, expected in pairs({
            ['{"level":"loud"}'] = 'level: expected "debug", "info", "warn" or "error", got "loud"',
            ['{"level":7}'] = 'level: expected "debug", "info", "warn" or "error", got 7',
            ['{"level":"debug","rooms":{"agents":"debug"}}'] = 'rooms: there is no room "agents"; '
                .. "GET /admin/log shows them",
            ['{"rooms":{"agent":"debug","tls":true}}'] =
                'rooms.tls: expected "debug", "info", "warn" or "error", or null for the general level, got true',
            ['{"rooms":{"tls":"debug","tls":"info"}}'] = "rooms.tls is there twice",
            ['{"level":"debug","level":"info"}'] = "level is there twice",
            ['{"rooms":{},"rooms":{}}'] = "rooms is there twice",
            ['{"rooms":["tls"]}'] = 'rooms: expected an object such as {"tls": "debug"}, got an array',
            ['{"levels":{}}'] = 'expected level or rooms as a key, got "levels"',
            ['[]'] = 'expected an object such as {"level": "info", "rooms": {"tls": "debug"}}, got an array',
        }) do
            local answer, response = http.post(server, "/admin/log", body)
            assert.equal(400, response.status, body)
            assert.equal(expected, answer.error)
        end
        assert.equal("bad_json", http.post(server, "/admin/log", "{").code)
        assert.same(before, levels(server))
    end)

    it("is an administrator's to see and change", function()
        local server = start({}, {auth = {token = "secret"}})
        for _, answer in ipairs({
            select(2, http.get(server, "/admin/log", tokens.bearer("secret"))),
            select(2, http.post(server, "/admin/log", {level = "debug"}, tokens.bearer("secret"))),
        }) do
            assert.equal(403, answer.status)
        end
    end)
end)

describe("a log that cannot be written", function()
    after_each(bridge.clean)

    it("loses lines, and /metrics counts them", function()
        local server = bridge.start({config = {log = {file = "/dev/full", access = true}}})
        local function lost_of(some)
            local text = http.request(some, {path = "/metrics", headers = {Accept = "text/plain"}}).body
            return tonumber(text:match("\nluaduct_log_lines_lost_total (%d+)\n"))
        end
        wait.eventually(function() return lost_of(server) > 0 end, nil, "lost lines in /metrics")
        assert.equal(0, lost_of(bridge.start()))
    end)
end)

describe("the access log", function()
    after_each(bridge.clean)

    it("is off by default, and a reload switches it on and off", function()
        local server = start()
        http.get(server, "/health")
        process.write_file(server.folder .. "/config.lua",
            bridge.config_text(bridge.config({log = {format = "json", access = true}})))
        http.post(server, "/admin/reload", "")
        http.get(server, "/ready")
        event(server, "access.request", on_path("/ready"))
        assert.falsy(server:errors():find("/health", 1, true))
    end)

    it("has a line for each request, with who asked what and how it was answered, without its query", function()
        local server = start({access = true}, {auth = {token = "5ecret"}})
        local _, answer = http.get(server, "/agents?token=hidden", tokens.bearer("5ecret"))
        local line = event(server, "access.request", on_path("/agents"))
        assert.equal("127.0.0.1", line.address)
        assert.equal("plain", line.way)
        assert.equal("GET", line.method)
        assert.equal(200, line.status)
        assert.equal(#answer.body, line.bytes)
        assert.is_string(line.identity)
        assert.is_true(line.ms >= 0)
        http.get(server, "/agents")
        assert.is_nil(event(server, "access.request", function(one) return one.status == 401 end).identity)
        assert.falsy(server:errors():find("hidden", 1, true) or server:errors():find("5ecret", 1, true))
    end)

    it("has a line for what is no request, and for a connection when it comes and when it goes", function()
        local server = start({access = true})
        bridge.track(http.connect(server)):send_bytes("NONSENSE\r\n\r\n")
        local line = event(server, "access.request", function(one) return one.status == 400 end)
        assert.is_nil(line.path)
        local client = websocket.connect(server)
        client:register("alice")
        event(server, "access.request", function(one) return one.status == 101 end)
        client:close()
        line = event(server, "access.disconnected", function(one) return one.agent == "alice" end)
        assert.equal("websocket", line.protocol)
        assert.is_true(line.seconds >= 0)
        assert.equal("127.0.0.1", event(server, "access.connected").address)
    end)

    it("shows of a path that cannot be read what was sent, without its query", function()
        local server = start({access = true}, {http = {headerBytes = 1024}})
        local function ask(first, rest)
            local connection = bridge.track(http.connect(server))
            connection:send_bytes(first .. "\r\nHost: localhost\r\n" .. (rest or "") .. "\r\n")
            return connection
        end
        local function line_of(path)
            return event(server, "access.request", on_path(path))
        end
        ask("GET /%zz/%?token=hidden HTTP/1.1")
        local line = line_of("/%zz/%")
        assert.same({"GET", 404, "127.0.0.1"}, {line.method, line.status, line.address})
        ask("GET /nul%00 HTTP/1.1")
        assert.equal(404, line_of("/nul%00").status)
        ask("GET /" .. ("x"):rep(300) .. "?token=hidden HTTP/1.1")
        assert.equal(404, line_of("/" .. ("x"):rep(255)).status)
        ask("GET /raw\27[2J?token=hidden HTTP/1.1")
        line = line_of("/raw\27[2J")
        assert.same({"GET", 400}, {line.method, line.status})
        ask("DELETE /large?token=hidden HTTP/1.1", "X: " .. ("y"):rep(2000) .. "\r\n")
        line = line_of("/large")
        assert.same({"DELETE", 431}, {line.method, line.status})
        ask("GET http://name:hidden@localhost/ HTTP/9.9")
        ask("\22\3\1\0 /no?hidden")
        wait.eventually(function()
            return select(2, server:errors():gsub('"status":[45]0[05],', "")) == 3
        end, nil, "three requests that were none")
        assert.falsy(server:errors():find("hidden", 1, true))
    end)

    for _, format in ipairs({"text", "json"}) do
        it("lets no control byte through, and no field pretends to be two (" .. format .. ")", function()
            local server = bridge.start({config = {log = {access = true, format = format}}})
            http.get(server, "/a%0a%1b%5b2J%20status=200%22%5c%ff")
            server:wait_log("a\\n")
            assert.falsy(server:errors():gsub("\n", ""):find("[%c\255]"))
            if format == "text" then
                assert.truthy(server:errors():find([[ path="/a\n\x1b[2J status=200\"\\\xff" status=404 ]], 1, true))
            end
        end)
    end
end)
