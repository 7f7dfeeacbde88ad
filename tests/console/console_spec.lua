-- The console in a real browser: Debian's Chromium without a screen, driven by playwright-core. The scenarios are in
-- console.js. What the bridge serves for it is in tests/integration/http/console_spec.lua.
local bridge = require "tests.support.bridge"
local process = require "tests.support.process"
local tokens = require "tests.support.tokens"
local unistd = require "posix.unistd"

-- Nothing of a browser is instrumented, and it is slow beside a bridge that is.
if os.getenv("LUADUCT_TEST_SLOW") == "1" and os.getenv("LUADUCT_TEST_BROWSER") ~= "1" then
    return
end

local MODULES = os.getenv("LUADUCT_NODE_MODULES") or (unistd.getcwd() .. "/build/interop/node_modules")

local function run(server, scenario, token)
    local status, output, errors = process.run(
        {"node", "tests/console/console.js", scenario, tostring(server.http_port), tostring(server.ws_port), token},
        {env = {NODE_PATH = MODULES, LUADUCT_TEST_PID = tostring(server:pid())}, seconds = 200})
    local missing = errors:match("Cannot find module '([^']+)'")
    assert.is_nil(missing, ("the package %s is not installed in %s"):format(tostring(missing), MODULES))
    if status ~= 0 then
        error(output .. errors .. "\nthe bridge said:\n" .. server:log(), 0)
    end
end

-- Named tokens: root administers, rita may look, and send little.
local function start_with_tokens()
    return bridge.start({
        config = {auth = {tokens = "tokens.json"}},
        files = {["tokens.json"] = tokens.file({
            root = {token = "root-token-0123456789", roles = {"admin"}},
            rita = {token = "rita-token-0123456789", roles = {"agent", "reader"}, clientIds = {"ann"},
                limits = {messagesPerSecond = 7}},
        })},
    })
end

describe("the console in a browser", function()
    after_each(bridge.clean)

    it("asks for the token, keeps it in its tab alone, and forgets it", function()
        run(start_with_tokens(), "token", "root-token-0123456789")
    end)

    it("shows who may only look what he may see, and offers nothing else", function()
        run(start_with_tokens(), "reader", "rita-token-0123456789")
    end)

    it("shows figures that move, agents, envelopes on their way; sends and disconnects", function()
        run(bridge.start(), "operating")
    end)

    it("draws what was before the page was opened", function()
        run(bridge.start(), "charts")
    end)

    it("switches engines, collects, sets log levels and drains, by keyboard, and says what is refused", function()
        run(bridge.start({config = {drain = {delayMs = 4000}}}), "controls")
    end)

    it("maps more agents than fit by role, by label or the most active, and says which", function()
        run(bridge.start(), "crowd")
    end)

    it("says when the bridge does not answer, or wants to be left alone", function()
        local server = bridge.start()
        run(server, "trouble")
        server:wait_exit()
        server.expected_end = true
    end)

    it("writes out characters that show nothing or turn others around", function()
        run(bridge.start(), "characters")
    end)

    it("puts a version of the scripts on trial, compares, takes it back, and returns to an older one", function()
        local server = bridge.start({script = [[
return {route = function(_, bridge)
    return bridge.to("ann")
end}
]]})
        process.write_file(server.folder .. "/script.lua", [[
return {route = function(_, bridge)
    return bridge.drop("enough")
end}
]])
        run(server, "scripts")
    end)

    it("shows markup in any text as the text that it is", function()
        run(bridge.start({
            script = [[
return {route = function(envelope, bridge)
    if envelope.intent == "dropped" then
        return bridge.drop(envelope.payload)
    end
end}
]],
        }), "markup")
    end)

    it("has nothing that the rules for accessibility complain about, dark and light", function()
        run(bridge.start(), "accessibility")
    end)

    it("fits a narrow screen", function()
        run(bridge.start(), "narrow")
    end)
end)
