-- `luaduct token`: from making a token to its end.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local process = require "tests.support.process"
local sha256 = require "tests.support.sha256"
local stat = require "posix.sys.stat"
local tokens = require "tests.support.tokens"
local websocket = require "tests.support.websocket"

local function token(file, ...)
    return bridge.luaduct({"token", "--file", file, ...})
end

local function mode(path)
    return ("%o"):format(stat.stat(path).st_mode % 512)
end

describe("luaduct token", function()
    local file

    before_each(function()
        file = process.folder() .. "/tokens.jsonl"
    end)
    after_each(bridge.clean)

    local function new(name, ...)
        local arguments = {"token", "new", name, "--file", file, ...}
        local status, output, errors = bridge.luaduct(arguments)
        assert.equal(0, status, errors)
        return (output:match("^(%S+)\n$"))
    end

    it("new prints the token once and keeps its hash, in a file that is the owner's alone", function()
        local secret = new("alice", "--role", "agent", "--role", "reader", "--client-id", "alice")

        assert.equal(46, #secret)
        assert.truthy(secret:match("^ld_[%w_-]+$"))
        local text = process.read_file(file)
        assert.is_nil(text:find(secret, 1, true))
        assert.equal('{"name":"alice","sha256":"' .. sha256.hex(secret) ..
            '","roles":["agent","reader"],"clientIds":["alice"]}\n', text)
        assert.equal("600", mode(file))
        assert.not_equal(secret, new("bob"))
    end)

    it("new writes everything that can be said of one, and the bridge takes it up", function()
        local secret = new("crew", "--role", "agent", "--client-id", "crew-*", "--agent-role", "worker", "--label",
            "eu", "--expires", "1d", "--messages-per-second", "100", "--message-burst", "200", "--bytes-per-second",
            "1000000", "--connections", "5")
        local server = bridge.start({config = {auth = {tokens = file}}})
        local client = websocket.connect(server)

        client:send_register("crew-1", {authToken = secret})

        local meta = client:receive_json().client
        assert.same({"worker", {"eu"}}, {meta.role, meta.labels})
        assert.truthy(process.read_file(file):find('"limits":{"messagesPerSecond":100,"messageBurst":200,' ..
            '"connections":5,"bytesPerSecond":1000000},"expires":"20', 1, true))
    end)

    it("revoke takes it away, and a reload closes who holds it", function()
        local alice, bob = new("alice", "--client-id", "alice"), new("bob", "--role", "reader")
        local server = bridge.start({config = {auth = {tokens = file}}})
        local client = websocket.agent(server, "alice", {authToken = alice})

        assert.equal(0, (token(file, "revoke", "alice")))
        server:signal("SIGHUP")

        client:expect_error("unauthorized")
        client:expect_close(1008)
        assert.equal(200, select(2, http.get(server, "/agents", tokens.bearer(bob))).status)
    end)

    it("list shows who there is, and never a token or its hash", function()
        local secret = new("alice", "--role", "agent", "--client-id", "a", "--client-id", "b")
        new("bob", "--expires", "2090-01-01T00:00:00Z")

        local status, output = token(file, "list")

        assert.equal(0, status)
        assert.truthy(output:match("\nalice +agent +a,b +never\nbob +%- +%- +2090%-01%-01T00:00:00.000Z\n$"), output)
        assert.is_nil(output:find(sha256.hex(secret), 1, true))
    end)

    it("leaves lines alone that are none of its own", function()
        process.write_file(file, "# people\n\n# no end")
        new("alice")
        assert.equal(0, (token(file, "revoke", "alice")))
        assert.equal("# people\n\n# no end\n", process.read_file(file))
    end)

    it("refuses a name that is taken or unknown, and a file that is wrong, and changes nothing", function()
        new("alice")
        local before = process.read_file(file)
        for _, arguments in ipairs({{"new", "alice"}, {"revoke", "bob"}}) do
            local status, output, errors = token(file, unpack(arguments))
            assert.same({1, ""}, {status, output})
            assert.truthy(errors:find("tokens.jsonl: there is", 1, true), errors)
        end
        assert.equal(before, process.read_file(file))

        process.write_file(file, before .. "{}\n")
        for _, arguments in ipairs({{"new", "bob"}, {"revoke", "alice"}, {"list"}}) do
            local status, _, errors = token(file, unpack(arguments))
            assert.equal(1, status)
            assert.truthy(errors:find("tokens.jsonl:2: name: expected one", 1, true), errors)
        end
        assert.equal(before .. "{}\n", process.read_file(file))
        assert.equal(1, (token(file .. ".absent", "list")))
        assert.equal(1, (token("/nowhere/tokens", "new", "x")))
    end)

    it("says what is wrong with its arguments", function()
        for _, case in ipairs({
            {{}, 'expected new, list or revoke, got ""'}, {{"make"}, 'expected new, list or revoke, got "make"'},
            {{"new"}, "expected a NAME"}, {{"new", "a b"}, "expected a NAME"}, {{"new", "a", "b"}, "no place for b"},
            {{"list", "--role", "x"}, "list takes no option but --file"},
            {{"new", "a", "--expires", "soon"}, "--expires: expected a time to come"},
            {{"new", "a", "--expires", "2001-01-01T00:00:00Z"}, "--expires: expected a time to come"},
            {{"new", "a", "--connections", "0"}, "--connections: expected a whole number from 1"},
            {{"new", "a", "--role", ""}, "--role: expected at most 256 texts"},
        }) do
            local status, output, errors = bridge.luaduct({"token", unpack(case[1])})
            assert.same({2, ""}, {status, output})
            assert.truthy(errors:find(case[2], 1, true), errors)
        end
        local status, output = bridge.luaduct({"token", "--help"})
        assert.equal(0, status)
        assert.truthy(output:find("usage: luaduct token new NAME", 1, true))
    end)
end)
