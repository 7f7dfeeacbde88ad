-- Traces: what a collector gets to see of an envelope's way, and what agents see of it.
local bridge = require "tests.support.bridge"
local collector = require "tests.support.collector"
local http = require "tests.support.http"
local json = require "tests.support.json"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
local SAMPLED = ("00-%s-%s-01"):format(TRACE, PARENT)
local UNSAMPLED = ("00-%s-%s-00"):format(TRACE, PARENT)

local function start(spans, options)
    options = options or {}
    options.config = options.config or {}
    local tracing = {endpoint = spans.url, intervalMs = 20}
    for name, value in pairs(options.config.tracing or {}) do
        tracing[name] = value
    end
    options.config.tracing = tracing
    return bridge.start(options)
end

-- Times are text of 19 digits: numbers of Lua would not hold them.
local function in_order(...)
    local times = {...}
    for index = 2, #times do
        assert.is_true(times[index - 1] <= times[index], table.concat(times, " "))
    end
end

describe("an envelope with a traceparent", function()
    after_each(bridge.clean)

    it("has a span for each hop, below the sender's and in the order of time", function()
        local spans = collector.listen()
        local server = start(spans, {config = {agents = {registerGraceMs = 0}}}) -- no delivery waits for it
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        alice:send_envelope({id = "one", to = "bob", intent = "ask", trace = {traceparent = SAMPLED}})
        bob:receive_envelope()

        local receive = spans:span("receive", TRACE)
        local route, deliver = spans:span("route", TRACE), spans:span("deliver", TRACE)
        assert.equal(PARENT, receive.parent)
        assert.equal(receive.id, route.parent)
        assert.equal(receive.id, deliver.parent)
        local ids = {[receive.id] = true, [route.id] = true, [deliver.id] = true, [PARENT] = true}
        local count = 0
        for id in pairs(ids) do
            assert.match("^%x+$", id)
            assert.equal(16, #id)
            count = count + 1
        end
        assert.equal(4, count)
        in_order(receive.began, route.began, route.ended, receive.ended)
        in_order(route.ended, deliver.began, deliver.ended)
        assert.equal(19, #receive.began)
        assert.is_true(math.abs(tonumber(receive.began:sub(1, 10)) - os.time()) < 100)
        assert.same({5, 1, 4}, {receive.kind, route.kind, deliver.kind})

        assert.equal("one", receive.attributes["messaging.message.id"])
        assert.equal("alice", receive.attributes["luaduct.from"])
        assert.equal("bob", receive.attributes["luaduct.to"])
        assert.equal("ask", receive.attributes["luaduct.intent"])
        assert.equal("websocket", receive.attributes["luaduct.transport"])
        assert.equal("accepted", receive.attributes["luaduct.outcome"])
        assert.equal(1, receive.attributes["luaduct.recipients"])
        assert.is_number(receive.attributes["luaduct.reactor"])
        assert.equal(1, route.attributes["luaduct.script.version"])
        assert.is_false(route.attributes["luaduct.script.waited"])
        assert.equal("bob", deliver.attributes["luaduct.agent"])
        assert.is_nil(receive.status)
        assert.equal(3, #spans.list) -- no mailbox
    end)

    it("is delivered with its trace byte for byte as it was sent", function()
        local server = start(collector.listen())
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        local trace = ('{"tracestate":"a=1,b=2", "traceparent" : "%s","n":1e400}'):format(SAMPLED)
        alice:send_text(('{"type":"envelope","envelope":{"to":"bob","trace":%s}}'):format(trace))
        assert.truthy(bob:receive().payload:find('"trace":' .. trace, 1, true))
    end)

    it("is not traced when its sender does not sample, whatever the ratio is", function()
        local spans = collector.listen()
        local server = start(spans, {config = {tracing = {sampleRatio = 1}}})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        alice:send_envelope({id = "quiet", to = "bob", trace = {traceparent = UNSAMPLED}})
        alice:send_envelope({id = "loud", to = "bob"})
        bob:receive_envelope()
        bob:receive_envelope()
        assert.equal("loud", spans:span("receive").attributes["messaging.message.id"])
        assert.not_equal(TRACE, spans:span("receive").trace)
    end)

    local MALFORMED = {
        SAMPLED:upper(), SAMPLED .. "-01", SAMPLED:sub(1, -2), "", "00", "ff" .. SAMPLED:sub(3), "0" .. SAMPLED,
        "00-" .. ("0"):rep(32) .. "-" .. PARENT .. "-01", "00-" .. TRACE .. "-" .. ("0"):rep(16) .. "-01",
        SAMPLED:gsub("%-", "_"), SAMPLED:gsub("f", "g"), " " .. SAMPLED:sub(2), 7, true, {}, json.null,
    }

    it("that is malformed is carried as it was sent, and has no span", function()
        local spans = collector.listen()
        local server = start(spans, {config = {tracing = {sampleRatio = 1}}})
        -- Nor does what the upgrade said take its place.
        local alice = websocket.connect(server, {headers = {traceparent = SAMPLED}})
        alice:register("alice")
        local bob = websocket.agent(server, "bob")
        for _, traceparent in ipairs(MALFORMED) do
            local trace = json.encode({traceparent = traceparent})
            alice:send_text(('{"type":"envelope","envelope":{"to":"bob","trace":%s}}'):format(trace))
            assert.truthy(bob:receive().payload:find('"trace":' .. trace, 1, true), trace)
        end
        alice:send_envelope({id = "good", to = "bob", trace = {traceparent = SAMPLED}})
        bob:receive_envelope()
        assert.equal("good", spans:span("receive").attributes["messaging.message.id"])
    end)

    it("of a later version is understood as far as this one goes", function()
        local spans = collector.listen()
        local server = start(spans)
        local alice = websocket.agent(server, "alice")
        alice:send_envelope({to = "alice", trace = {traceparent = "cc" .. SAMPLED:sub(3) .. "-what-comes"}})
        assert.equal(PARENT, spans:span("receive", TRACE).parent)
    end)
end)

describe("an envelope without a traceparent", function()
    after_each(bridge.clean)

    it("is not traced by default, and its trace stays empty", function()
        local spans = collector.listen()
        local server = start(spans)
        local alice = websocket.agent(server, "alice")
        alice:send_envelope({id = "none", to = "alice"})
        assert.same({}, alice:receive_envelope().trace)
        alice:send_envelope({id = "one", to = "alice", trace = {traceparent = SAMPLED}})
        assert.equal("one", spans:span("receive").attributes["messaging.message.id"])
    end)

    it("begins a trace by tracing.sampleRatio, and says so to who gets it", function()
        local spans = collector.listen()
        local server = start(spans, {config = {tracing = {sampleRatio = 1}}})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        alice:send_envelope({to = "bob"})
        local receive = spans:span("receive")
        assert.is_nil(receive.parent)
        assert.equal(("00-%s-%s-01"):format(receive.trace, receive.id), bob:receive_envelope().trace.traceparent)
    end)

    it("is no part of what the request said that opened its connection, sampled or not", function()
        local spans = collector.listen()
        local quiet, loud = start(spans), start(spans, {config = {tracing = {sampleRatio = 1}}})
        for _, header in ipairs({SAMPLED, UNSAMPLED}) do
            local alice = websocket.connect(quiet, {headers = {traceparent = header}})
            alice:register("alice")
            alice:send_envelope({id = "quiet", to = "alice"})
            assert.same({}, alice:receive_envelope().trace)
            alice:close()
            alice = websocket.connect(loud, {headers = {traceparent = header}})
            alice:register("alice")
            alice:send_envelope({id = "loud", to = "alice"})
            local traceparent = alice:receive_envelope().trace.traceparent
            assert.falsy(traceparent:find(TRACE, 1, true))
            alice:close()
        end
        local first, second = unpack(spans:spans("receive", nil, 2))
        assert.is_nil(first.parent)
        assert.is_nil(second.parent)
        assert.not_equal(first.trace, second.trace)
        assert.same({"loud", "loud"}, {
            first.attributes["messaging.message.id"], second.attributes["messaging.message.id"],
        })
    end)

    it("hangs on what the request said that it came by", function()
        local spans = collector.listen()
        local server = start(spans)
        local alice = websocket.agent(server, "alice")
        http.post(server, "/send", {to = "alice"}, {traceparent = SAMPLED})
        local receive = spans:span("receive", TRACE)
        assert.equal(PARENT, receive.parent)
        assert.equal("http", receive.attributes["luaduct.transport"])
        assert.equal("alice", spans:span("deliver", TRACE).attributes["luaduct.agent"])
        alice:receive_envelope()
        -- Its own word counts for more.
        local other = ("1"):rep(32)
        http.post(server, "/send", {to = "alice", trace = {traceparent = "00-" .. other .. "-" .. PARENT .. "-01"}},
            {traceparent = SAMPLED})
        assert.equal(PARENT, spans:span("receive", other).parent)
    end)
end)

describe("a registration", function()
    after_each(bridge.clean)

    local function open(server, header)
        return websocket.connect(server, {headers = {traceparent = header}})
    end

    it("is a span below what the request said that opened its connection, once", function()
        local spans = collector.listen()
        local server = start(spans)
        local alice = open(server, SAMPLED)
        alice:register("alice")
        alice:register("alice", {role = "other"})
        open(server, UNSAMPLED):register("bob")
        websocket.agent(server, "carol")
        local span = spans:span("register", TRACE)
        assert.same({PARENT, 2, "alice", "accepted"},
            {span.parent, span.kind, span.attributes["luaduct.agent"], span.attributes["luaduct.outcome"]})
        assert.is_nil(span.status)
        in_order(span.began, span.ended)
        http.post(server, "/send", {to = "alice"}, {traceparent = SAMPLED})
        spans:span("receive")
        assert.equal(1, #spans:spans("register"))
    end)

    it("is over when its hook is, whose work, questions and envelopes hang on it", function()
        local spans = collector.listen()
        local server = start(spans, {script = [[return {on_register = function(agent, bridge)
            if agent.id == "alice" then
                bridge.send{to = "bob", intent = "early"}
                luaduct.workers.execute{operation = "compress", data = {text = "x"}}
                bridge.send{to = "bob", intent = "late"}
            elseif agent.id == "carol" then
                return false, "not you"
            end
        end}]]})
        local bob = websocket.agent(server, "bob")
        open(server, SAMPLED):register("alice")
        local register = spans:span("register", TRACE)
        local work = spans:span("work", TRACE)
        assert.equal(register.id, work.parent)
        in_order(register.began, work.began, work.ended, register.ended)
        for index, send in ipairs(spans:spans("send", TRACE, 2)) do
            assert.equal(register.id, send.parent)
            assert.equal(index == 1 and "early" or "late", send.attributes["luaduct.intent"])
            assert.same({"bridge", "bob", 1, 4}, {send.attributes["luaduct.from"], send.attributes["luaduct.to"],
                send.attributes["luaduct.recipients"], send.kind})
            local envelope = bob:receive_envelope()
            assert.equal(envelope.id, send.attributes["messaging.message.id"])
            assert.equal(("00-%s-%s-01"):format(TRACE, send.id), envelope.trace.traceparent)
        end
        local parents = {}
        for _, deliver in ipairs(spans:spans("deliver", TRACE, 2)) do
            parents[deliver.parent] = deliver.attributes["luaduct.agent"]
        end
        for _, send in ipairs(spans:spans("send", TRACE)) do
            assert.equal("bob", parents[send.id])
        end

        local other = ("1"):rep(32)
        open(server, ("00-%s-%s-01"):format(other, PARENT)):send_register("carol")
        local refused = spans:span("register", other)
        assert.same({"refused", 2}, {refused.attributes["luaduct.outcome"], refused.status})
    end)

    it("is one too where its hook is not asked any more, because it took too much time before", function()
        local spans = collector.listen()
        local server = start(spans, {
            config = {limits = {scriptMsPerSecond = 1}, script = {budgetMs = 10000},
                performance = {worker_threads = 1}},
            script = [[return {on_register = function()
                local till = os.clock() + 0.02
                while os.clock() < till do end
            end}]],
        })
        for number = 1, 20 do
            local trace = ("%032x"):format(number)
            local client = open(server, ("00-%s-%s-01"):format(trace, PARENT))
            client:send_register("alice")
            local code = client:receive_json().code
            local span = spans:span("register", trace)
            assert.equal(code and "refused" or "accepted", span.attributes["luaduct.outcome"])
            if code then
                assert.equal("rate_limited", code)
                return
            end
        end
        error("none was refused")
    end)
end)

describe("an envelope that a script makes", function()
    after_each(bridge.clean)

    local SCRIPT = [[return {
        on_register = function(_, bridge)
            bridge.send{id = "own", to = "bob", trace = {traceparent = "%s"}}
            bridge.send{id = "plain", to = "bob"}
        end}]]

    it("goes by its own trace, else by the ratio", function()
        local spans = collector.listen()
        local server = start(spans, {script = SCRIPT:format(SAMPLED)})
        websocket.agent(server, "alice")
        local bob = websocket.agent(server, "bob")
        assert.equal(SAMPLED, bob:receive_envelope().trace.traceparent)
        assert.same({}, bob:receive_envelope().trace)
        assert.equal(PARENT, spans:spans("send", TRACE)[1].parent)
        assert.equal("own", spans:spans("send")[1].attributes["messaging.message.id"])

        local all = collector.listen()
        server = start(all, {script = SCRIPT:format(UNSAMPLED), config = {tracing = {sampleRatio = 1}}})
        websocket.agent(server, "alice")
        local send = all:span("send")
        assert.equal("plain", send.attributes["messaging.message.id"])
        assert.is_nil(send.parent)
    end)
end)

describe("work that a peer asks for", function()
    after_each(bridge.clean)

    it("is a span below its envelope, and its answer is delivered below that", function()
        local spans = collector.listen()
        local server = start(spans, {config = {phase2 = {workerPool = {allowRoles = {"worker"}}}}})
        local alice = websocket.agent(server, "alice", {role = "worker"})
        alice:send_envelope({id = "good", intent = "bridge.execute", trace = {traceparent = SAMPLED},
            payload = {operation = "compress", data = {text = "x", encoding = "base64"}}})
        local answer = alice:receive_envelope()
        local receive, work = spans:span("receive", TRACE), spans:span("work", TRACE)
        assert.same({PARENT, "good", "accepted", 1}, {receive.parent, receive.attributes["messaging.message.id"],
            receive.attributes["luaduct.outcome"], receive.attributes["luaduct.recipients"]})
        assert.same({receive.id, "compress"}, {work.parent, work.attributes["luaduct.operation"]})
        in_order(receive.began, work.began, work.ended, receive.ended)
        assert.equal(receive.id, spans:span("deliver", TRACE).parent)
        assert.equal(("00-%s-%s-01"):format(TRACE, receive.id), answer.trace.traceparent)

        for code, ask in pairs({
            unknown_operation = {("1"):rep(32), alice, "nonsense"}, task_failed = {("2"):rep(32), alice, "aggregate"},
            forbidden = {("3"):rep(32), websocket.agent(server, "bob"), "compress"},
        }) do
            local other, agent, operation = unpack(ask)
            agent:send_envelope({intent = "bridge.execute", payload = {operation = operation, data = 7},
                trace = {traceparent = ("00-%s-%s-01"):format(other, PARENT)}})
            receive = spans:span("receive", other)
            assert.same({"refused", code}, {receive.attributes["luaduct.outcome"], receive.attributes["luaduct.code"]})
        end
        assert.equal("task_failed", spans:span("work", ("2"):rep(32)).attributes["luaduct.code"])
    end)

    it("over HTTP is a span below what the request says", function()
        local spans = collector.listen()
        local server = start(spans)
        local body = {operation = "compress", data = {text = "x", encoding = "base64"}}
        assert.equal(200, select(2, http.post(server, "/workers/execute", body)).status)
        assert.equal(200, select(2, http.post(server, "/workers/execute", body, {traceparent = UNSAMPLED})).status)
        assert.equal(200, select(2, http.post(server, "/workers/execute", body, {traceparent = SAMPLED})).status)
        assert.equal(PARENT, spans:span("work", TRACE).parent)
        assert.equal(1, #spans.list)
    end)
end)

describe("a sender that asks to be sampled", function()
    after_each(bridge.clean)

    local function refused(server)
        local text = http.request(server, {path = "/metrics", headers = {Accept = "text/plain"}}).body
        return tonumber(text:match("\nluaduct_traces_refused_total (%d+)"))
    end

    it("may have so many a second traced, by whatever connection; its envelopes arrive all the same", function()
        local spans = collector.listen()
        local server = start(spans, {config = {tracing = {forcedPerSecond = 1}}})
        local bob = websocket.agent(server, "bob")
        for number = 1, 20 do
            local alice = websocket.connect(server, {headers = {traceparent = SAMPLED}})
            alice:register("alice" .. number)
            alice:send_envelope({to = "bob", trace = {traceparent = SAMPLED}})
            assert.equal(SAMPLED, bob:receive_envelope().trace.traceparent)
            http.post(server, "/send", {to = "bob"}, {traceparent = SAMPLED})
            bob:receive_envelope()
            alice:close()
        end
        assert.is_true(refused(server) > 30, tostring(refused(server)))
        spans:spans(nil, TRACE)
    end)

    it("for more than it may goes by the ratio like one that says nothing, in its own trace", function()
        local spans = collector.listen()
        local server = start(spans, {config = {tracing = {forcedPerSecond = 1, sampleRatio = 1}}})
        local alice = websocket.agent(server, "alice")
        for _ = 1, 20 do
            alice:send_envelope({to = "bob", trace = {traceparent = SAMPLED}})
        end
        assert.equal(PARENT, spans:spans("receive", TRACE, 20)[20].parent)
        assert.is_true(refused(server) > 10)
    end)
end)

describe("the spans of an envelope", function()
    after_each(bridge.clean)

    it("show how long it lay in a mailbox", function()
        local spans = collector.listen()
        local server = start(spans)
        local alice = websocket.agent(server, "alice")
        alice:send_envelope({to = "bob", trace = {traceparent = SAMPLED}})
        spans:span("receive", TRACE)
        local bob = websocket.agent(server, "bob")
        bob:receive_envelope()
        local deliver, mailbox = spans:span("deliver", TRACE), spans:span("mailbox", TRACE)
        assert.equal(deliver.id, mailbox.parent)
        assert.equal("bob", mailbox.attributes["luaduct.agent"])
        in_order(deliver.began, mailbox.began, mailbox.ended, deliver.ended)
        -- What comes now does not wait there.
        alice:send_envelope({to = "bob", trace = {traceparent = SAMPLED}})
        bob:receive_envelope()
        spans:spans("deliver", TRACE, 2)
        assert.equal(1, #spans:spans("mailbox", TRACE))
    end)

    it("are one deliver for each agent that got it", function()
        local spans = collector.listen()
        local server = start(spans)
        local alice = websocket.agent(server, "alice")
        local others = {}
        for index = 1, 5 do
            others[index] = websocket.agent(server, "agent" .. index)
        end
        alice:send_envelope({trace = {traceparent = SAMPLED}})
        for _, other in ipairs(others) do
            other:receive_envelope()
        end
        local agents = {}
        for _, span in ipairs(spans:spans("deliver", TRACE, 5)) do
            agents[#agents + 1] = span.attributes["luaduct.agent"]
        end
        table.sort(agents)
        assert.same({"agent1", "agent2", "agent3", "agent4", "agent5"}, agents)
    end)

    it("cover the waiting of a hook, and what it decided", function()
        local spans = collector.listen()
        local server = start(spans, {script = [[return {route = function(envelope, bridge)
            luaduct.sleep(30)
            return bridge.to("bob")
        end}]]})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        alice:send_envelope({to = "nobody", trace = {traceparent = SAMPLED}})
        bob:receive_envelope()
        local route, receive = spans:span("route", TRACE), spans:span("receive", TRACE)
        assert.is_true(route.attributes["luaduct.script.waited"])
        assert.truthy(route.attributes["luaduct.decision"]:find("bob", 1, true))
        assert.is_true(tonumber(route.ended:sub(6)) - tonumber(route.began:sub(6)) >= 25e6)
        in_order(receive.began, route.began, route.ended, receive.ended)
        assert.equal(receive.id, route.parent)
        assert.equal(receive.id, spans:span("deliver", TRACE).parent)
    end)

    it("keep to themselves what a script says to somebody", function()
        local spans = collector.listen()
        local server = start(spans, {script = [[
            return {route = function(envelope, bridge)
                if envelope.intent == "ask" then return bridge.reply{password = "hunter2"} end
                return bridge.drop("hunter2 is banned", {tell = true})
            end}]]})
        local alice = websocket.agent(server, "alice")
        for intent, decision in pairs({ask = "reply(…)", tell = "drop(…)"}) do
            local trace = intent == "ask" and TRACE or TRACE:reverse()
            alice:send_envelope({to = "bob", intent = intent, trace = {
                traceparent = ("00-%s-%s-01"):format(trace, PARENT)}})
            assert.equal(decision, spans:span("route", trace).attributes["luaduct.decision"])
        end
        local receive = spans:span("receive", TRACE)
        assert.equal(receive.id, spans:span("deliver", TRACE).parent) -- of the reply
        local replies = 0
        for _ = 1, 2 do
            local message = alice:receive_json()
            if message.type == "envelope" then
                replies = replies + 1
                assert.equal(("00-%s-%s-01"):format(TRACE, receive.id), message.envelope.trace.traceparent)
            end
        end
        assert.equal(1, replies)
    end)

    it("show what the hook had workers do", function()
        local spans = collector.listen()
        local server = start(spans, {script = [[return {route = function(envelope, bridge)
            luaduct.sleep(1)
            luaduct.workers.execute{operation = "compress", data = {text = "x"}}
            pcall(luaduct.workers.execute, {operation = "aggregate", data = 7})
        end}]]})
        local alice = websocket.agent(server, "alice")
        alice:send_envelope({to = "alice", trace = {traceparent = SAMPLED}})
        alice:receive_envelope()
        local receive = spans:span("receive", TRACE)
        local good, bad = unpack(spans:spans("work", TRACE, 2))
        assert.equal(receive.id, good.parent)
        assert.equal("compress", good.attributes["luaduct.operation"])
        assert.is_nil(good.status)
        assert.equal("task_failed", bad.attributes["luaduct.code"])
        assert.equal(2, bad.status)
        local route = spans:span("route", TRACE)
        in_order(route.began, good.began, good.ended, bad.began, bad.ended, route.ended)
    end)

    it("show what the hook asked others, and which of them did not reply", function()
        local spans = collector.listen()
        local server = start(spans, {script = [[return {route = function(envelope, bridge)
            if envelope.from ~= "alice" then return end
            local reply = bridge.request{to = "bob", intent = "ask", timeoutMs = 5000}
            pcall(bridge.request, {to = "carol", intent = "ask", timeoutMs = 50, retries = 0})
            return bridge.reply(reply.payload)
        end}]]})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        alice:send_envelope({trace = {traceparent = SAMPLED}})
        local question = bob:receive_envelope()
        bob:send_envelope({to = "bridge", replyTo = question.id, payload = 7})
        assert.equal(7, alice:receive_envelope().payload)
        local receive, asked = spans:span("receive", TRACE), spans:spans("request", TRACE, 2)
        assert.same({receive.id, "bob", 3}, {asked[1].parent, asked[1].attributes["luaduct.agent"], asked[1].kind})
        assert.equal(("00-%s-%s-01"):format(TRACE, asked[1].id), question.trace.traceparent)
        assert.is_nil(asked[1].status)
        assert.same({receive.id, "carol", "no_recipient", 2}, {
            asked[2].parent, asked[2].attributes["luaduct.agent"], asked[2].attributes["luaduct.code"], asked[2].status,
        })
        local parents = {}
        for _, deliver in ipairs(spans:spans("deliver", TRACE, 2)) do
            parents[deliver.attributes["luaduct.agent"]] = deliver.parent
        end
        assert.same({bob = asked[1].id, alice = receive.id}, parents)
        in_order(receive.began, asked[1].began, asked[1].ended, asked[2].began, asked[2].ended, receive.ended)
    end)

    it("say what went wrong", function()
        local spans = collector.listen()
        local server = start(spans, {script = [[return {route = function(envelope, bridge)
            if envelope.intent == "fail" then error("broken") end
            if envelope.intent == "drop" then return bridge.drop("not today") end
            return bridge.any{role = "nobody"}
        end}]]})
        local alice = websocket.agent(server, "alice")
        for _, intent in ipairs({"fail", "drop", "lost"}) do
            alice:send_envelope({id = intent, to = "alice", intent = intent, trace = {traceparent = SAMPLED}})
        end
        local by_id = {}
        for _, span in ipairs(spans:spans("receive", TRACE, 3)) do
            by_id[span.attributes["messaging.message.id"]] = span
        end
        assert.equal("accepted", by_id.fail.attributes["luaduct.outcome"]) -- by the mode's own rule
        assert.equal("dropped", by_id.drop.attributes["luaduct.outcome"])
        assert.equal("refused", by_id.lost.attributes["luaduct.outcome"])
        assert.equal("no_recipient", by_id.lost.attributes["luaduct.code"])
        assert.equal(2, by_id.lost.status)
        local failed = {}
        for _, span in ipairs(spans:spans("route", TRACE, 3)) do
            failed[span.parent] = span.status == 2
        end
        assert.same({true, false, false}, {failed[by_id.fail.id], failed[by_id.drop.id], failed[by_id.lost.id]})
    end)

    it("are the same for an agent that speaks MessagePack", function()
        local spans = collector.listen()
        local server = start(spans)
        local alice = websocket.connect(server, {headers = {["Sec-WebSocket-Protocol"] = "luaduct.msgpack"}})
        alice:send_register("alice")
        http.post(server, "/send", {to = "alice"}, {traceparent = SAMPLED})
        assert.equal(spans:span("receive", TRACE).id, spans:span("deliver", TRACE).parent)
    end)
end)

describe("the collector", function()
    after_each(bridge.clean)

    it("gets batches of JSON with the headers that are configured, and who sends them", function()
        local spans = collector.listen()
        local server = start(spans, {config = {
            environment = "testing",
            tracing = {sampleRatio = 1, batchSpans = 2, serviceName = "my bridge", headers = {["X-Api-Key"] = "k3y"}},
        }})
        local alice = websocket.agent(server, "alice")
        for index = 1, 4 do
            alice:send_envelope({id = "e" .. index, to = "alice"})
            alice:receive_envelope()
        end
        spans:spans(nil, nil, 12)
        for _, request in ipairs(spans.requests) do
            assert.equal("POST /v1/traces HTTP/1.1", request.line)
            assert.equal("application/json", request.headers["content-type"])
            assert.equal("k3y", request.headers["x-api-key"])
            assert.is_true(#request.body.resourceSpans[1].scopeSpans[1].spans <= 2)
        end
        assert.equal("my bridge", spans.resource["service.name"])
        assert.equal("testing", spans.resource["deployment.environment.name"])
        assert.is_string(spans.resource["service.version"])
        assert.equal(36, #spans.resource["service.instance.id"])
    end)

    it("gets what waits when the bridge stops", function()
        local spans = collector.listen()
        local server = start(spans, {config = {tracing = {sampleRatio = 1, intervalMs = 60000}}})
        local alice = websocket.agent(server, "alice")
        alice:send_envelope({to = "alice"})
        alice:receive_envelope()
        server.expected_end = true
        server:signal("SIGTERM")
        spans:spans("deliver")
        server:wait_exit()
        assert.equal(0, server:status())
    end)

    it("that is too busy is asked again; one that refuses loses them, and the log says so", function()
        local spans = collector.listen()
        local server = start(spans)
        local alice = websocket.agent(server, "alice")
        spans:answer(503)
        alice:send_envelope({id = "one", to = "alice", trace = {traceparent = SAMPLED}})
        assert.equal("one", spans:span("receive").attributes["messaging.message.id"])
        assert.equal(503, spans.requests[1].status)
        assert.falsy(server:log():find("tracing.export_failed", 1, true))

        spans:answer(400)
        local before = #spans.requests
        alice:send_envelope({id = "two", to = "alice", trace = {traceparent = SAMPLED}})
        spans:expect_requests(before + 1)
        server:wait_log("tracing.export_failed: tracing.endpoint:")
        server:wait_log("the answer was 400")
        local count = #spans.list
        alice:send_envelope({id = "three", to = "alice", trace = {traceparent = SAMPLED}})
        spans:spans(nil, nil, count + 3)
        server:wait_log("tracing.export_works")
    end)

    it("that throws spans away says how many and why, and they are not sent again", function()
        local spans = collector.listen()
        local server = start(spans, {config = { -- a batch is full with the spans of one envelope
            agents = {registerGraceMs = 0}, tracing = {batchSpans = 3, intervalMs = 60000},
        }})
        local function count(outcome)
            local text = http.request(server, {path = "/metrics", headers = {Accept = "text/plain"}}).body
            return tonumber(text:match('\nluaduct_spans_total{outcome="' .. outcome .. '"} (%d+)'))
        end
        local alice = websocket.agent(server, "alice")
        local partial = '{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too \\"old\\""}}'
        spans:answer({status = 200, body = partial}, {status = 200, chunked = true,
            headers = "Transfer-Encoding: chunked\r\n", body = ("%x\r\n%s\r\n0\r\n\r\n"):format(#partial, partial)})
        for number = 1, 3 do
            alice:send_envelope({id = "e" .. number, to = "alice", trace = {traceparent = SAMPLED}})
            alice:receive_envelope()
            spans:expect_requests(number)
        end
        wait.eventually(function() return count("exported") == 5 end, nil, "five exported spans")
        assert.same({4, 0}, {count("rejected"), count("lost")})
        assert.equal(3, #spans.requests)
        server:wait_log([[tracing.endpoint: the collector threw 2 of 3 spans away: too "old"]])
        assert.equal(1, select(2, server:log():gsub("tracing%.export_rejected", "")))
        assert.falsy(server:log():find("tracing.export_failed", 1, true))
    end)

    it("that says when to come again is asked then; one that says no for good is not", function()
        local spans = collector.listen()
        local server = start(spans)
        local alice = websocket.agent(server, "alice")
        spans:answer({status = 429, headers = "Retry-After: 2\r\n"}, {status = 500, body = '{"message":"a defect"}'})
        alice:send_envelope({id = "one", to = "alice", trace = {traceparent = SAMPLED}})
        spans:expect_requests(2)
        -- Without its word the second try comes within three quarters of a second.
        assert.is_true(spans.requests[2].time - spans.requests[1].time >= 2)
        server:wait_log("the answer was 500: a defect")
        alice:send_envelope({id = "two", to = "alice", trace = {traceparent = SAMPLED}})
        assert.equal("two", spans:span("receive").attributes["messaging.message.id"])
    end)

    for _, status in ipairs({429, 502, 503, 504}) do
        it("that answers " .. status .. " is asked again", function()
            local spans = collector.listen()
            local server = start(spans)
            spans:answer(status)
            http.post(server, "/send", {to = "bob"}, {traceparent = SAMPLED})
            spans:span("receive", TRACE)
            assert.equal(status, spans.requests[1].status)
        end)
    end

    it("that is not there holds up nobody, and is complained of once", function()
        local spans = collector.listen()
        spans:close() -- nobody listens on that port now
        local server = start(spans, {config = {tracing = {sampleRatio = 1, batchSpans = 1, queueSpans = 10}}})
        local alice = websocket.agent(server, "alice")
        for index = 1, 500 do
            alice:send_envelope({id = "e" .. index, to = "alice"})
        end
        for index = 1, 500 do
            assert.equal("e" .. index, alice:receive_envelope().id)
        end
        server:stop()
        local _, complaints = server:log():gsub("tracing%.export_failed", "")
        assert.is_true(complaints <= 1)
    end)
end)

describe("/metrics", function()
    after_each(bridge.clean)

    local function scrape(server, accept)
        return http.request(server, {path = "/metrics", headers = {Accept = accept}}).body
    end

    it("has the newest traced envelope as an exemplar of the latency, in OpenMetrics alone", function()
        local spans = collector.listen()
        local server = start(spans, {config = {agents = {registerGraceMs = 0}}})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        assert.falsy(scrape(server, "application/openmetrics-text"):find("trace_id", 1, true))
        alice:send_envelope({to = "bob", trace = {traceparent = SAMPLED}})
        bob:receive_envelope()
        local text
        wait.eventually(function()
            text = scrape(server, "application/openmetrics-text")
            return text:find("trace_id", 1, true)
        end, nil, "an exemplar")
        local edge, trace, value, time = text:match('\nluaduct_message_latency_seconds_bucket{le="(%S+)"} %d+ '
            .. '# {trace_id="(%x+)"} (%S+) (%S+)\n')
        assert.equal(TRACE, trace)
        assert.is_true(edge == "+Inf" or tonumber(value) <= tonumber(edge))
        assert.is_true(math.abs(tonumber(time) - os.time()) < 100)
        assert.equal(1, select(2, text:gsub("trace_id", "")))
        assert.falsy(scrape(server, "text/plain"):find("trace_id", 1, true))
    end)

    it("counts spans by what became of them", function()
        local spans = collector.listen()
        local server = start(spans, {config = {
            agents = {registerGraceMs = 0},
            tracing = {sampleRatio = 1, queueSpans = 3, batchSpans = 3, intervalMs = 60000},
        }})
        local function count(outcome)
            local sample = '\nluaduct_spans_total{outcome="' .. outcome .. '"} (%d+)'
            return tonumber(scrape(server, "text/plain"):match(sample))
        end
        assert.same({0, 0, 0}, {count("exported"), count("lost"), count("dropped")})
        local alice = websocket.agent(server, "alice")
        spans:answer(400)
        alice:send_envelope({to = "alice"})
        spans:expect_requests(1)
        wait.eventually(function() return count("lost") == 3 end, nil, "three lost spans")
        -- Nobody takes these: the next batch waits for an answer, three spans wait behind it.
        for _ = 1, 10 do
            alice:send_envelope({to = "alice"})
        end
        wait.eventually(function() return count("dropped") >= 1 end, nil, "dropped spans")
        spans:expect_requests(2)
        wait.eventually(function() return count("exported") >= 3 end, nil, "exported spans")
    end)

    it("says nothing of spans while nothing is traced", function()
        assert.falsy(scrape(bridge.start(), "text/plain"):find("luaduct_spans", 1, true))
    end)
end)

describe("the configuration of tracing", function()
    after_each(bridge.clean)

    it("is refused where it is wrong, without saying the values of headers", function()
        for text, expected in pairs({
            ['endpoint = "localhost:4318"'] = "tracing.endpoint: expected http://host[:port][/path] or https://…, got ",
            ['headers = { ["x y"] = "s3cret" }'] = "tracing.headers: expected a table of header names",
            ['headers = { host = "s3cret" }'] = "tracing.headers: expected a table of header names",
            ['headers = { a = "s3cret\\r\\nb: c" }'] = "tracing.headers: expected a table of header names",
            ['headers = { a = ("s3cret"):rep(200) }'] = "tracing.headers: expected a table of header names",
            ['sampleRatio = 2'] = "tracing.sampleRatio: expected a number from 0 to 1, got 2",
        }) do
            local status, errors = bridge.start_failing({config_text = "return { tracing = { " .. text .. " } }"})
            assert.equal(1, status)
            assert.truthy(errors:find(expected, 1, true), errors)
            assert.falsy(errors:find("s3cret", 1, true))
        end
    end)
end)
