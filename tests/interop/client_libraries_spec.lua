-- The clients of examples/clients against the real bridge. The scenarios, the same for each, are in client.mjs and
-- client.py; `network` there is a proxy that cuts connections or swallows what comes from the bridge.
local bridge = require "tests.support.bridge"
local process = require "tests.support.process"
local unistd = require "posix.unistd"

local MODULES = os.getenv("LUADUCT_NODE_MODULES") or (unistd.getcwd() .. "/tests/interop/node_modules")

local SCRIPT = [[
return {
    route = function(envelope, bridge)
        if envelope.intent == "nobody" then
            return bridge.any{label = "nowhere"}
        end
    end,
}
]]

local LANGUAGES = {
    {name = "JavaScript", command = {"node", "tests/interop/client.mjs"}},
    -- Debian's, which has the packages that scripts/setup installs.
    {name = "Python", command = {"/usr/bin/python3", "-W", "error", "tests/interop/client.py"}},
    -- Where Node is new enough to have one.
    {
        name = "JavaScript, with the WebSocket of browsers", browser = "1",
        command = {"node", "--experimental-websocket", "--no-warnings", "tests/interop/client.mjs"},
    },
}

-- What an application may write, and what it may not.
local TYPED = [[
import {Agent, BridgeError, type Envelope} from './luaduct.js';
import * as msgpack from '@msgpack/msgpack';

const agent = new Agent('ws://localhost:4567', {clientId: 'ann', labels: ['x'], msgpack});
const stop: () => boolean = agent.on('envelope', (envelope: Envelope) => { agent.reply(envelope, 1); });
agent.on('closed', (problem: BridgeError) => console.log(problem.code));
const id: string = (await agent.send({to: 'ben', payload: {n: 1}})).id;
const answer: Envelope = await agent.request({id}, {timeoutMs: 10});
const count: number = (await agent.history({limit: 1})).length + (await agent.connect()).labels.length;
// @ts-expect-error
agent.on('nothing', () => {});
// @ts-expect-error
agent.send({payloads: 1});
// @ts-expect-error
new Agent('ws://localhost:4567', {reconnects: true});
export {stop, answer, count};
]]

describe("the types of the JavaScript client", function()
    after_each(bridge.clean)

    it("let an application compile, and mistakes not", function()
        local folder = process.folder()
        assert.equal(0, unistd.link(MODULES, folder .. "/node_modules", true))
        for _, name in ipairs({"luaduct.js", "luaduct.d.ts", "package.json"}) do
            process.write_file(folder .. "/" .. name, process.read_file("examples/clients/javascript/" .. name))
        end
        process.write_file(folder .. "/application.ts", TYPED)

        local status, output = process.run({
            "node", MODULES .. "/typescript/bin/tsc", "--strict", "--noEmit", "--module", "nodenext", "--target",
            "es2022", folder .. "/application.ts",
        }, {seconds = 60})

        assert.equal("", output)
        assert.equal(0, status)
    end)
end)

describe("the JavaScript client in a page", function()
    after_each(bridge.clean)

    it("asks, is refused and reads the history", function()
        local server = bridge.start({config = {http = {corsOrigins = "*"}}})

        local status, output, errors = process.run(
            {"node", "tests/interop/client_browser.mjs", tostring(server.ws_port), MODULES}, {seconds = 60})

        assert.equal(0, status, output .. errors .. server:log())
    end)
end)

local HAS_WEBSOCKET = process.run({
    "node", "--experimental-websocket", "-e", "process.exit(typeof WebSocket === 'undefined' ? 1 : 0)",
}) == 0

for _, language in ipairs(LANGUAGES) do
    if language.browser and not HAS_WEBSOCKET then
        break
    end
    describe("the client in " .. language.name, function()
        after_each(bridge.clean)

        local function run(scenario, config)
            local server = bridge.start({config = config, script = SCRIPT})
            local command = {unpack(language.command)}
            for _, word in ipairs({scenario, tostring(server.ws_port), tostring(server.http_port), MODULES}) do
                command[#command + 1] = word
            end
            local status, output, errors = process.run(command, {
                seconds = 60, env = {
                    PYTHONDONTWRITEBYTECODE = "1", PYTHONPATH = "examples/clients/python",
                    LUADUCT_BROWSER = language.browser,
                },
            })
            if status ~= 0 then
                error(output .. errors .. "\nthe bridge said:\n" .. server:log(), 0)
            end
        end

        it("knows what the bridge took, and of what it refused the code", function()
            run("send")
        end)

        it("loses nothing, repeats nothing and keeps the order over a bad network, with dedupWindowMs", function()
            run("reconnect", {agents = {dedupWindowMs = 60000}})
        end)

        it("never sends again what was acknowledged", function()
            run("acknowledged")
        end)

        it("leaves a connection on which nothing comes any more", function()
            run("silence")
        end)

        it("gives way to a newer connection", function()
            run("replaced")
        end)

        it("goes on after a message that was too large", function()
            run("too large", {limits = {messageBytes = 10000}})
        end)

        it("speaks MessagePack", function()
            run("binary")
        end)

        if language.browser then
            return -- the rest has nothing to do with the connection
        end

        it("knows what was written to a bridge in original mode", function()
            run("mailbox", {mode = "original"})
        end)

        it("asks and is answered, in time or not", function()
            run("request")
        end)

        it("reads the history", function()
            run("history")
        end)

        it("waits for a bridge, with what is to be sent", function()
            run("absent bridge")
        end)

        it("shows a token", function()
            run("token", {auth = {token = "secret"}})
        end)

        it("learns what was taken though heartbeats are limited too", function()
            run("rate", {limits = {messagesPerSecond = 10, messageBurst = 10}})
        end)

        it("gets what waited for it", function()
            run("mailbox")
        end)

        it("comes back when a bridge that goes away says so, not sooner", function()
            run("retry hint")
        end)

        it("waits longer after each attempt, and never as long as others", function()
            run("backoff")
        end)
    end)
end
