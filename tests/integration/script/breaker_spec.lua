-- Hooks that keep overrunning are switched off for a while, and those who make them overrun are slowed.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local tokens = require "tests.support.tokens"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local ROUTE = [[
    return {route = function(envelope, bridge)
        while envelope.intent == "run away" do end
        return bridge.to("catcher")
    end}]]

-- A long window, so that a slow machine counts as a fast one does; a cool-down for each test.
local function start(script, more, config)
    local rules = {budgetMs = 5, breakerOverruns = 4, breakerSenders = 2, breakerWindowMs = 600000,
        breakerCooldownMs = 600000}
    for key, value in pairs(more or {}) do
        rules[key] = value
    end
    config = config or {}
    config.script = rules
    config.performance = {worker_threads = 1}
    return bridge.start({config = config, script = script})
end

-- One after the other, and waits until the script has been asked about each.
local function run_away(agent, times)
    for number = 1, times do
        agent:send_envelope({intent = "run away", to = agent.id, id = agent.id .. number})
        agent:receive_json()
    end
end

local function degraded(server)
    local names = {}
    for _, each in ipairs(http.get(server, "/health").degraded) do
        names[#names + 1] = each.name
    end
    return table.concat(names, " ")
end

local function metric(server, line)
    local text = http.request(server, {path = "/metrics", headers = {Accept = "text/plain"}}).body
    return tonumber(text:match((line:gsub("%p", "%%%0")) .. " (%d+)"))
end

local function named(server, id)
    local agent = websocket.agent(server, id)
    agent.id = id
    return agent
end

describe("the breaker of a route", function()
    after_each(bridge.clean)

    it("switches it off after overruns of several senders, and says so", function()
        local server = start(ROUTE)
        local alice, bob, catcher = named(server, "alice"), named(server, "bob"), named(server, "catcher")

        run_away(alice, 2)
        run_away(bob, 2)

        assert.equal("script.route.script.lua", degraded(server))
        local alert = http.get(server, "/alerts").alerts[1]
        assert.equal("script.route.script.lua", alert.name)
        assert.is_true(alert.active)
        assert.truthy(alert.text:find("4 of its calls, by 2 senders", 1, true), alert.text)
        assert.truthy(server:wait_log("route is switched off for 600000 ms"))
        local overruns = metric(server, 'luaduct_script_overruns_total{hook="route"}')
        alice:send_envelope({intent = "run away", to = "alice", id = "last"})
        assert.equal("last", alice:receive_envelope().id) -- by the mode's own rule
        assert.equal(overruns, metric(server, 'luaduct_script_overruns_total{hook="route"}'))
        assert.equal(1, metric(server, 'luaduct_script_skipped_total{hook="route"}'))
        assert.equal(1, metric(server, 'luaduct_script_switched_off_total{hook="route"}'))
        catcher:expect_nothing()
    end)

    it("stays closed for one sender alone, however often", function()
        local server = start(ROUTE)
        local alice = named(server, "alice")

        run_away(alice, 12)

        assert.equal("", degraded(server))
        named(server, "bob"):send_envelope({id = "e1"})
        assert.equal("e1", named(server, "catcher"):receive_envelope().id)
    end)

    it("counts callers over HTTP as one sender", function()
        local server = start(ROUTE, {breakerOverruns = 2})
        for _ = 1, 3 do
            wait.eventually(function()
                return http.request(server, {method = "POST", path = "/send",
                    body = '{"to":"x","intent":"run away"}'}).status == 202
            end)
        end

        assert.equal("", degraded(server))
    end)

    it("drops where script.onError says so", function()
        local server = start(ROUTE, {onError = "drop"})
        local alice, bob = named(server, "alice"), named(server, "bob")
        run_away(alice, 2)
        run_away(bob, 2)

        bob:send_envelope({to = "alice", id = "e1"})

        assert.equal("e1", bob:expect_error("script_failed").id)
        assert.equal("script.route.script.lua", degraded(server))
    end)

    it("tries one call after the cool-down, and closes when it ends in time", function()
        local server = start(ROUTE, {breakerCooldownMs = 1})
        local alice, bob, catcher = named(server, "alice"), named(server, "bob"), named(server, "catcher")
        run_away(alice, 2)
        run_away(bob, 2)
        assert.equal("script.route.script.lua", degraded(server))

        wait.eventually(function()
            bob:send_envelope({to = "bob"})
            return degraded(server) == ""
        end)

        server:wait_log("alert script.route.script.lua: over")
        catcher:receive_envelope()
    end)

    it("opens again when the call on trial overruns", function()
        local server = start(ROUTE, {breakerCooldownMs = 1})
        local alice, bob = named(server, "alice"), named(server, "bob")
        run_away(alice, 2)
        run_away(bob, 2)

        run_away(alice, 1)

        assert.equal("script.route.script.lua", degraded(server))
    end)

    it("is switched off itself by 0", function()
        local server = start(ROUTE, {breakerOverruns = 0})
        for _, id in ipairs({"alice", "bob", "carol"}) do
            run_away(named(server, id), 3)
        end

        assert.equal("", degraded(server))
    end)
end)

describe("the breaker of on_register", function()
    after_each(bridge.clean)

    it("lets nobody in while it is open", function()
        local server = start([[return {on_register = function(agent) while agent.role == "runaway" do end end}]],
            {breakerOverruns = 2, breakerSenders = 1})
        for index = 1, 2 do
            local client = websocket.connect(server)
            client:send_register("runaway-" .. index, {role = "runaway"})
            client:receive_json()
            client:expect_close(1008)
        end

        local client = websocket.connect(server)
        client:send_register("alice")

        assert.equal("forbidden", client:receive_json().code)
        client:expect_close(1008)
        assert.equal("script.on_register.script.lua", degraded(server))
    end)
end)

describe("a sender whose messages overrun", function()
    after_each(bridge.clean)

    it("waits longer each time, and loses nothing", function()
        local server = start(ROUTE, {budgetMs = 50})
        local alice, bob = named(server, "alice"), named(server, "bob")
        for number = 1, 5 do
            alice:send_envelope({intent = "run away", to = "alice", payload = number})
        end
        bob:send_envelope({to = "bob", id = "quick"})

        -- What bob sends after alice's five is handled before her last ones.
        assert.equal("quick", named(server, "catcher"):receive_envelope().id)
        assert.is_true(metric(server, 'luaduct_script_overruns_total{hook="route"}') < 5)
        for number = 1, 5 do
            assert.equal(number, alice:receive_envelope().payload)
        end
    end)

    it("is refused over HTTP while it should pause", function()
        local server = start(ROUTE, {budgetMs = 1000})
        local first = {method = "POST", path = "/send", body = '{"to":"x","intent":"run away"}'}
        assert.equal(202, http.request(server, first).status)

        local answer = http.request(server, {method = "POST", path = "/send", body = '{"to":"x"}'})

        assert.equal(429, answer.status)
        assert.truthy(answer.body:find("rate_limited", 1, true))
        assert.equal(200, http.request(server, {path = "/health"}).status)
    end)

    it("gains nothing by connecting anew", function()
        local server = start(ROUTE, {budgetMs = 1000})
        local alice, bob = named(server, "alice"), named(server, "bob")
        alice:send_envelope({intent = "run away", to = "alice"})
        alice:receive_envelope()

        alice = named(server, "alice")
        alice:send_envelope({to = "x", id = "second"})
        bob:send_envelope({to = "x", id = "first"})

        local catcher = named(server, "catcher")
        assert.equal("first", catcher:receive_envelope().id)
        assert.equal("second", catcher:receive_envelope().id)
    end)

    it("gains nothing by another name, where its identity may have several", function()
        local server = bridge.start({
            config = {auth = {tokens = "tokens.jsonl"}, script = {budgetMs = 1000}, performance = {worker_threads = 1}},
            script = ROUTE,
            files = {["tokens.jsonl"] = tokens.file({
                crew = {token = "crew-token", roles = {"agent"}, clientIds = {"*"}},
                other = {token = "other-token", roles = {"agent"}, clientIds = {"*"}},
            })},
        })
        local crew = websocket.agent(server, "crew-1", {authToken = "crew-token"})
        local other = websocket.agent(server, "other", {authToken = "other-token"})
        crew:send_envelope({intent = "run away", to = "crew-1"})
        crew:receive_envelope()

        crew = websocket.agent(server, "crew-2", {authToken = "crew-token"})
        crew:send_envelope({to = "x", id = "second"})
        other:send_envelope({to = "x", id = "first"})

        local catcher = websocket.agent(server, "catcher", {authToken = "other-token"})
        assert.equal("first", catcher:receive_envelope().id)
        assert.equal("second", catcher:receive_envelope().id)
    end)

    it("is slowed by its own id when it hung up meanwhile, and others of its address are not", function()
        local server = start([[
            local open = false
            return {route = function(envelope, bridge)
                if envelope.intent == "open" then open = true return bridge.drop("opened") end
                if envelope.intent == "run away" then
                    print("waits")
                    while not open do luaduct.sleep(2) end
                    while true do end
                end
                return bridge.to("catcher")
            end}]], {budgetMs = 1000})
        local alice, bob = named(server, "alice"), named(server, "bob")
        alice:send_envelope({intent = "run away", to = "bob"})
        server:wait_log("waits")
        alice:close()
        wait.eventually(function()
            return http.get(server, "/health").connectedClients == 1
        end)
        bob:send_envelope({intent = "open"})
        bob:receive_envelope()

        assert.equal(202, http.request(server, {method = "POST", path = "/send", body = '{"to":"x"}'}).status)
        alice = named(server, "alice")
        alice:send_envelope({to = "x", id = "second"})
        bob:send_envelope({to = "x", id = "first"})
        local catcher = named(server, "catcher")
        catcher:receive_envelope() -- the caller's
        assert.equal("first", catcher:receive_envelope().id)
        assert.equal("second", catcher:receive_envelope().id)
    end)

    it("is slowed for an on_undeliverable that waited and then overran", function()
        local server = start([[
            return {
                route = function(envelope, bridge)
                    return envelope.intent == "run away" and bridge.role("nobody") or bridge.to("catcher")
                end,
                on_undeliverable = function()
                    luaduct.sleep(1)
                    while true do end
                end,
            }]], {budgetMs = 1000})
        local alice, bob = named(server, "alice"), named(server, "bob")
        alice:send_envelope({intent = "run away"})
        alice:expect_error("no_recipient")
        alice:send_envelope({to = "x", id = "second"})
        bob:send_envelope({to = "x", id = "first"})

        local catcher = named(server, "catcher")
        assert.equal("first", catcher:receive_envelope().id)
        assert.equal("second", catcher:receive_envelope().id)
    end)

    it("does not hold the bridge up when it stops", function()
        local server = start(ROUTE, {budgetMs = 1000})
        local alice = named(server, "alice")
        alice:send_envelope({intent = "run away", to = "alice"})
        alice:receive_envelope()
        alice:send_envelope({to = "x"})

        server:stop()
    end)
end)
