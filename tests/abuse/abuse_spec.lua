-- Each attack for a short time: the bridge keeps to its memory and to its word, and goes on serving. tests/abuse/run
-- does the same for longer, and measures.
local attacks = require "tests.abuse.attacks.init"
local bridge = require "tests.support.bridge"
local tls = require "tests.support.tls"
local tls_stream = require "tests.support.tls_stream"
local tools = require "tests.abuse.tools"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local SECONDS = 0.7
-- A sanitizer keeps freed memory on purpose, so there the figure says nothing.
local MEASURES_MEMORY = os.getenv("LUADUCT_TEST_SLOW") ~= "1"

describe("under attack the bridge keeps its word and serves others:", function()
    after_each(bridge.clean)

    for _, attack in ipairs(attacks) do
        it(attack.name, function()
            local options = {config = tools.config(attack), script = attack.script}
            local server = (attack.tls and tls or bridge).start(options)
            server.connect = attack.tls and tls_stream.connector(server.authority.ca)
            local alice, bob
            local function pair()
                alice = websocket.agent(server, "alice", nil, {host = "::1"})
                bob = websocket.agent(server, "bob", nil, {host = "::1"})
            end
            if not attack.late_pair then -- it says nothing meanwhile
                pair()
            end
            local before = server:resident()

            local outcome, good = attack.run(server, wait.deadline(SECONDS))

            if attack.late_pair then
                pair()
            end
            alice:send_envelope({to = "bob", id = "served"})
            local got
            repeat
                got = bob:receive_json() -- what an attack broadcast comes first
            until got.envelope and got.envelope.id == "served"
            if attack.tls then -- and who shakes hands now is served too
                assert.equal(0, (tls.curl(server, "/health", {"--ipv6"})))
            end
            assert.is_true(good, outcome)
            if MEASURES_MEMORY then
                local grown = server:resident() - before
                assert.is_true(grown < tools.MEMORY_BYTES, ("it grew by %d bytes"):format(grown))
            end
        end)
    end
end)
