-- GET /events: what happens in the bridge, to whoever may hear it and as fast as they read.
local bridge = require "tests.support.bridge"
local events = require "tests.support.events"
local http = require "tests.support.http"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local TOKEN = "correct horse battery staple"

describe("GET /events", function()
    after_each(bridge.clean)

    it("tells of agents that come and go, on whichever reactor", function()
        local server = bridge.start()
        local listener = events.listen(server, "/events?kinds=agent")
        for i = 1, 8 do -- with so many, both reactors have some
            local agent = websocket.agent(server, "agent" .. i, {role = "visitor"})
            local event = listener:next()
            assert.equal("agent", event.kind)
            assert.same({"registered", "agent" .. i, "visitor"}, {event.data.state, event.data.agent, event.data.role})
            assert.truthy(event.data.time:match("^%d+%-%d%d%-%d%dT"))
            agent:close()
            assert.equal("left", listener:wait_for("the leaving", function(left)
                return left.data.agent == "agent" .. i
            end).data.state)
        end
    end)

    it("tells of engines that are switched, and only of the kinds that were asked for", function()
        local server = bridge.start()
        local engines = events.listen(server, "/events?kinds=engine")
        local agents = events.listen(server, "/events?kinds=agent")
        http.post(server, "/admin/engines", {workerPool = false})
        local event = engines:next()
        assert.same({"engine", "workerPool", "off"}, {event.kind, event.data.engine, event.data.state})
        http.post(server, "/admin/engines", {workerPool = true})
        assert.equal("on", engines:next().data.state)
        websocket.agent(server, "alice")
        assert.equal("agent", agents:next().kind)
    end)

    it("numbers events in order", function()
        local server = bridge.start()
        local listener = events.listen(server, "/events")
        websocket.agent(server, "alice")
        websocket.agent(server, "bob")
        local first, second = listener:next(), listener:next()
        assert.equal(tonumber(first.id) + 1, tonumber(second.id))
    end)

    it("refuses kinds that there are not, and those for administrators to others", function()
        local server = bridge.start({config = {auth = {token = TOKEN}}})
        local headers = {Authorization = "Bearer " .. TOKEN}
        local body, answer = http.get(server, "/events?kinds=agent,nonsense", headers)
        assert.equal(400, answer.status)
        assert.truthy(body.error:find("nonsense", 1, true))
        assert.equal(403, select(2, http.get(server, "/events?kinds=trace", headers)).status)
        assert.equal(401, select(2, http.get(server, "/events")).status)
        assert.equal("agent", (function()
            local listener = events.listen(server, "/events", {headers = headers})
            websocket.agent(server, "alice", {authToken = TOKEN})
            return listener:next().kind
        end)())
    end)

    it("answers HEAD with a head, and the connection goes on", function()
        local server = bridge.start()
        local connection = http.connect(server)
        assert.equal("text/event-stream",
            connection:request({method = "HEAD", path = "/events"}).headers["content-type"])
        assert.equal(200, connection:request({path = "/health"}).status)
    end)

    it("takes 64 listeners, refuses more, and takes another when one has left", function()
        local server = bridge.start()
        local listeners = {}
        for i = 1, 64 do
            listeners[i] = events.listen(server, "/events?kinds=engine")
        end
        local body, answer = http.get(server, "/events")
        assert.same({503, "overloaded"}, {answer.status, body.code})
        assert.truthy(answer.headers["retry-after"])
        listeners[7]:close()
        wait.eventually(function()
            return (pcall(events.listen, server, "/events"))
        end, nil, "a place")
    end)

    it("says that it is there while nothing happens", function()
        local server = bridge.start({config = {http = {headerTimeoutMs = 200}}})
        local listener = events.listen(server, "/events?kinds=engine")
        listener:expect_comment()
        listener:expect_comment()
        http.post(server, "/admin/engines", {workerPool = false})
        assert.equal("off", listener:wait_for("the switch", function()
            return true
        end).data.state)
    end)

    it("holds nobody up for a listener that does not read, and tells it what it lost", function()
        local server = bridge.start()
        local listener = events.listen(server, "/events?kinds=agent", {receive_buffer = 4096})
        local role = ("r"):rep(256)
        local alice = websocket.agent(server, "alice")
        -- Each tells of as many bytes as its reason has; far more than socket buffers and the queue hold together.
        local lost
        local sent = 0
        for _ = 1, 60 do
            local agents = {}
            for i = 1, 200 do
                sent = sent + 1
                agents[i] = websocket.connect(server)
                agents[i]:send_register(("a"):rep(200) .. sent, {role = role})
            end
            for _, agent in ipairs(agents) do
                assert.equal("registered", agent:receive_json().type)
                agent:close()
            end
            local text = http.request(server, {path = "/metrics", headers = {Accept = "text/plain"}}).body
            if tonumber(text:match("luaduct_events_lost_total (%d+)")) > 0 then
                lost = true
                break
            end
        end
        assert.truthy(lost, "nothing was lost")
        alice:send_envelope({id = "1", to = "alice", payload = {}})
        assert.equal("1", alice:receive_envelope().id)
        local event = listener:wait_for("the event of the loss", function(it)
            return it.kind == "lost"
        end)
        assert.truthy(event.data.count > 0)
    end)

    it("ends when the bridge drains", function()
        local server = bridge.start()
        local listener = events.listen(server, "/events")
        server:signal("TERM")
        local event, reason
        repeat
            event, reason = listener:next()
        until not event
        assert.equal("ended", reason)
        assert.equal(0, server:wait_exit())
        server.expected_end = true
    end)
end)
