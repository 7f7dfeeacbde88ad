-- docs/openapi.yaml: valid OpenAPI 3.1, and true of a running bridge. What is asked is in openapi.mjs.
local bridge = require "tests.support.bridge"
local process = require "tests.support.process"
local unistd = require "posix.unistd"
local websocket = require "tests.support.websocket"

local MODULES = os.getenv("LUADUCT_NODE_MODULES") or (unistd.getcwd() .. "/tests/interop/node_modules")

-- `version` is decided by the moment a version of the script was loaded, so that a shadow differs from the one in use.
local SCRIPT = [[
local loaded = os.clock()
local script = {}
luaduct.workers.register("endless", "endless.lua")
function script.route(envelope, bridge)
    local intent = envelope.intent
    if intent == "drop" then
        return bridge.drop("not wanted")
    elseif intent == "nobody" then
        return bridge.any{label = "nowhere"}
    elseif intent == "fail" then
        error("on purpose")
    elseif intent == "full" then
        return bridge.to("absent")
    elseif intent == "version" then
        return bridge.to{"alice", "alice-" .. loaded}
    end
end
return script
]]

describe("docs/openapi.yaml", function()
    after_each(bridge.clean)

    it("is valid, complete and true", function()
        local server = bridge.start({
            script = SCRIPT,
            files = {
                ["alerts.lua"] = 'return {{name = "always", value = "agents", above = -1}}',
                ["endless.lua"] = "return function() while true do end end",
            },
            config = {
                agents = {dedupWindowMs = 600000, maxMailboxes = 0},
                alerts = {intervalMs = 10}, policies = {alerts = "alerts.lua"},
                limits = {bodyBytes = 30000},
                phase2 = {workerPool = {executeBytes = 60000}},
                script = {onError = "drop"},
            },
        })
        websocket.agent(server, "alice")

        local status, output, errors = process.run(
            {"node", "tests/interop/openapi.mjs", tostring(server.http_port), MODULES,
                server.folder .. "/script.lua"}, {seconds = 60})

        assert.equal(0, status, output .. errors .. server:log())
    end)
end)
