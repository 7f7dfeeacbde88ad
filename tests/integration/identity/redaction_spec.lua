-- No secret comes out anywhere, wherever it was put in.
local bridge = require "tests.support.bridge"
local events = require "tests.support.events"
local http = require "tests.support.http"
local process = require "tests.support.process"
local tokens = require "tests.support.tokens"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local SHARED, NAMED, WRONG, HOOKED = "shared-5ecret", "named-5ecret", "wrong-5ecret", "hooked-5ecret"

describe("secrets", function()
    after_each(bridge.clean)

    for _, format in ipairs({"text", "json"}) do
        it("stand in no log, answer, event, trace, error, metric or alert (log." .. format .. ")", function()
            local server = bridge.start({
                config = {
                    auth = {token = SHARED, tokenIsAdmin = true, tokens = "tokens", hook = true},
                    log = {level = "debug", format = format, access = true}, listen = {admin = "admin.sock"},
                },
                files = {tokens = tokens.file({
                    alice = {token = NAMED, roles = {"agent", "admin"}, clientIds = {"alice"}},
                })},
                script = [[return {
                    authenticate = function(credentials)
                        if credentials.token == "hooked-5ecret" then return {name = "hooked", roles = {"admin"}} end
                        return credentials.token and false, "not known"
                    end,
                    on_register = function(agent) print(agent.id, agent.identity) end,
                }]],
            })
            local seen = {}
            local function keep(text)
                seen[#seen + 1] = text
            end
            local stream = events.listen(server, "/events", {headers = tokens.bearer(SHARED)})
            local trace = events.listen(server, "/admin/trace", {headers = tokens.bearer(SHARED)})

            -- In every place that takes one, right and wrong …
            for _, secret in ipairs({SHARED, NAMED, WRONG, HOOKED}) do
                local client = websocket.connect(server)
                client:send_register("alice", {authToken = secret})
                keep(client:receive().payload)
                client:send_envelope({to = "alice", payload = {said = "hello"}})
                client:close()
                for _, path in ipairs({
                    "/agents", "/history", "/tasks", "/metrics", "/optimization", "/alerts", "/health", "/api/status",
                    "/admin/scripts", "/admin/engines", "/nowhere",
                }) do
                    keep(select(2, http.get(server, path, tokens.bearer(secret))).body)
                end
                keep(select(2, http.post(server, "/send", {to = "alice"}, tokens.bearer(secret))).body)
                local status, headers = websocket.upgrade(server, {headers = tokens.bearer(secret)})
                keep(tostring(status) .. (headers[""] or ""))
                -- … and in those that do not.
                for _, query in ipairs({"?token=" .. secret, "?authToken=" .. secret, "?access_token=" .. secret}) do
                    local body, answer = http.get(server, "/agents" .. query)
                    assert.equal(401, answer.status)
                    keep(require("cjson").encode(body))
                    keep(select(2, http.get(server, "/health" .. query)).body)
                    local upgraded = {websocket.upgrade(server, {path = "/" .. query})}
                    assert.equal(101, upgraded[1]) -- the token may follow in the register
                    upgraded[3]:send_json({type = "heartbeat"})
                    assert.equal("unauthorized", upgraded[3]:expect_error("unauthorized").error)
                end
                keep(select(2, http.get(server, "/agents", {Authorization = "Basic " .. secret})).body)
                keep(select(2, http.get(server, "/agents", {Authorization = secret})).body)
            end
            local broken = websocket.connect(server)
            broken:send_text('{"type":"register","clientId":"x","authToken":"' .. WRONG .. '"')
            keep(broken:receive().payload)
            keep(select(2, http.get(server, "/metrics", {
                Authorization = "Bearer " .. SHARED, Accept = "text/plain",
            })).body)
            local status, output, errors = bridge.luaduct({"reload", "--url", server:url()},
                {env = {AI_BRIDGE_AUTH_TOKEN = SHARED}})
            assert.equal(0, status, errors)
            keep(output .. errors)
            _, output, errors = bridge.luaduct({"reload", "--url", server:url()},
                {env = {AI_BRIDGE_AUTH_TOKEN = WRONG}})
            keep(output .. errors)
            process.write_file(server.folder .. "/tokens", '{"token":"' .. NAMED .. '"}\n')
            server:signal("SIGHUP")
            keep(server:wait_log("tokens:1: "))
            _, output, errors = bridge.luaduct({"check", server.folder .. "/config.lua"})
            keep(output .. errors)
            server:stop()
            for _, listener in ipairs({stream, trace}) do
                while listener:read_piece(wait.deadline()) do end -- luacheck: ignore
                keep(listener.text)
                assert.truthy(#listener.text > 100)
            end
            keep(server:log())
            keep(server:output())

            local all = table.concat(seen, "\n")
            assert.truthy(#all > 10000)
            local at = all:find("5ecret", 1, true)
            assert.is_nil(at, at and all:sub(math.max(1, at - 300), at + 100))
        end)
    end
end)
