-- Clients that others wrote: Node with the npm packages `ws` and `@msgpack/msgpack`, and fetch(). The scenarios are in
-- clients.js.
local bridge = require "tests.support.bridge"
local process = require "tests.support.process"
local unistd = require "posix.unistd"
local variants = require "tests.support.variants"

local MODULES = os.getenv("LUADUCT_NODE_MODULES") or (unistd.getcwd() .. "/build/interop/node_modules")

-- The grace is a bet on how soon the client gets the processor; on a busy machine ten milliseconds may be too short.
local LONG_GRACE = {agents = {registerGraceMs = 1000}}

-- Runs one scenario of clients.js against the bridge.
local function run(server, scenario)
    local status, output, errors = process.run(
        {"node", "tests/interop/clients.js", scenario, tostring(server.ws_port), tostring(server.http_port)},
        {env = {NODE_PATH = MODULES}, seconds = 70})
    local missing = errors:match("Cannot find module '([^']+)'")
    assert.is_nil(missing, ("the package %s is not installed in %s"):format(tostring(missing), MODULES))
    if status ~= 0 then
        error(output .. errors .. "\nthe bridge said:\n" .. server:log(), 0)
    end
end

describe("a JavaScript client", function()
    after_each(bridge.clean)

    for _, variant in ipairs(variants.modes) do
        describe(variant.name, function()
            it("gets queued envelopes though it attaches its handler only after its register has resolved", function()
                run(variant.start({config = LONG_GRACE}), "queued envelopes")
            end)

            it("asks and is answered", function()
                run(variant.start(), "request and answer")
            end)

            it("broadcasts", function()
                run(variant.start(), "broadcast")
            end)

            it("loses nothing and keeps the order over reconnects", function()
                run(variant.start({config = LONG_GRACE}), "reconnect")
            end)

            it("is replaced by its newer connection with 4001", function()
                run(variant.start(), "newest connection wins")
            end)

            it("uses the HTTP API with fetch", function()
                run(variant.start(), "fetch")
            end)
        end)
    end

    for _, variant in ipairs(variants.reactors) do
        describe(variant.name, function()
            it("talks to a hundred others", function()
                run(variant.start(), "many at once")
            end)

            it("speaks MessagePack, with others that do and with some that do not", function()
                run(variant.start(), "MessagePack")
            end)

            it("compresses and is sent compressed messages", function()
                run(variant.start(), "permessage-deflate")
            end)
        end)
    end

    it("may offer permessage-deflate with any parameters", function()
        run(bridge.start(), "permessage-deflate options")
    end)

    it("is sent fewer bytes with permessage-deflate", function()
        run(bridge.start(), "compressed frames are small")
    end)

    it("cannot make the bridge inflate a bomb", function()
        local server = bridge.start()

        run(server, "deflate bomb")

        if os.getenv("LUADUCT_TEST_SLOW") ~= "1" then
            assert.is_true(server:resident() < 64 * 1024 * 1024, server:resident() .. " bytes resident")
        end
    end)

    -- From Node 22 on.
    if process.run({"node", "-e", "process.exit(typeof WebSocket === 'undefined' ? 1 : 0)"}) == 0 then
        it("may be Node's own", function()
            run(bridge.start(), "built-in WebSocket")
        end)
    end
end)
