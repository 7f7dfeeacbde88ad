-- JSON over real sockets: what RFC 8259 allows arrives unchanged, what it forbids is refused, and what it leaves to the
-- implementation is answered one way or the other with the connection open.
local bridge = require "tests.support.bridge"
local json = require "tests.support.json"
local websocket = require "tests.support.websocket"

local VALID = {
    "[]", "[null]", "[[[]]]", "{}", '{"":0}', '{"a":"b","a":"c"}', "0", "-0", "0.5", "1e1", "1E-1", "1e+1",
    "123.456e78", "20", "-1.5e-9", "true", "false", '""', '"a"', [["\"\\\/\b\f\n\r\t"]], [["\u0000"]], [["\u12ab"]],
    [["\uD834\uDD1E"]], '"\127"', '"\194\128"', '"\223\191"', '"\224\160\128"', '"\237\159\191"', '"\238\128\128"',
    '"\239\191\191"', '"\240\144\128\128"', '"\244\143\191\191"', '"\226\128\168"', '"\239\187\191"',
    '[1,"a",{"b":[]}]',
    "100000000000000000000", "1.0000000000000000000000000000000000001", "-123123e100000",
}

-- A broken value inside an otherwise good message.
local INVALID_VALUES = {
    "", "[", "]", "{", "}", "[1,]", "[,1]", "[1 2]", "[1,,2]", "{,}", '{"a":1,}', '{"a"}', '{"a":}', '{"a" 1}', "{1:1}",
    "{a:1}", "{'a':1}", "'a'", "nul", "nulll", "True", "TRUE", "undefined", "NaN", "Infinity", "-Infinity", "-", "+1",
    "01", "-01", "1.", ".5", "-.5", "1e", "1e+", "1.e1", "1e1.5", "0x10", "1a", "1_000", "--1", '"', '"a', '"\\"',
    [["\x"]], [["\u"]], [["\u12"]], [["\u12g4"]], [["\a"]], [["\']], '"\1"', '"\31"', '"a\nb"', '"a\tb"', "\11",
    "/**/1", "1//", "[1}", "{]", '{"a":1]', '"a""b"', "1 2",
}

-- Bytes that are no UTF-8 at all; the connection ends with 1007 (RFC 6455, 8.1) when a text frame carries them.
local INVALID_UTF8 = {
    '"\128"', '"\192\128"', '"\193\191"', '"\194"', '"\224\128\128"', '"\224\159\191"', '"\237\160\128"',
    '"\237\191\191"', '"\240\143\191\191"', '"\244\144\128\128"', '"\245\128\128\128"', '"\255"', '"\226\130"',
    '"\240\157\132"',
}

-- RFC 8259 leaves these open: big numbers, lone surrogate escapes, a byte order mark, depth.
local IMPLEMENTATION_DEFINED = {
    "1e9999", "-1e9999", "1e-9999", [["\ud800"]], [["\udc00"]], [["\ud800\ud800"]], [["\udead"]], [["\uD888\u1234"]],
    '"\239\191\190"', ("["):rep(100) .. ("]"):rep(100),
}

local function pair()
    local server = bridge.start()
    return websocket.agent(server, "alice"), websocket.agent(server, "bob"), server
end

local function printable(text)
    return (("%.30q"):format(text):gsub("[%c\127-\255]", function(character)
        return ("\\%d"):format(character:byte())
    end))
end

describe("JSON", function()
    after_each(bridge.clean)

    it("that is valid arrives byte for byte", function()
        local alice, bob = pair()

        for _, text in ipairs(VALID) do
            alice:send_envelope('{"to":"bob","payload":' .. text .. "}")
            local _, raw = bob:receive_envelope()
            local _, fields = json.fields(raw)
            assert.equal(text, fields.payload)
        end
    end)

    -- A script's own writer is not in the way: a string or number becomes text that only differs in how it is written.
    it("that a script reads and gives back says the same", function()
        local server = bridge.start({script = [[
            local function copy(value)
                if type(value) ~= "table" then return value end
                local out = next(value) == nil and getmetatable(value) == false and luaduct.array() or {}
                for key, inner in pairs(value) do out[key] = copy(inner) end
                return out
            end
            return {route = function(envelope)
                local payload = envelope.payload
                envelope.payload = envelope.intent == "wide" and {tostring(payload[1])} or copy(payload)
            end}
        ]]})
        local alice, bob = websocket.agent(server, "alice"), websocket.agent(server, "bob")
        local random, PIECES = math.random, {"a", "\\n", "\\u00e9", "\\\"", "\195\169", "\\ud834\\udd1e", " ", "]", "}"}
        math.randomseed(7)
        local function make(depth)
            local kind, parts = random(depth > 0 and 8 or 5), {}
            if kind == 1 then
                return ({"null", "true", "false"})[random(3)]
            elseif kind == 2 then
                return ("%.17g"):format((random() - 0.5) * 10 ^ random(-20, 20))
            elseif kind == 3 then
                return tostring(random(-10 ^ 6, 10 ^ 6))
            elseif kind <= 5 then
                for index = 1, random(0, 12) do
                    parts[index] = PIECES[random(#PIECES)]
                end
                return '"' .. table.concat(parts) .. '"'
            end
            for index = 1, random(0, 4) do
                parts[index] = (kind < 7 and "" or ('"k%d" : '):format(index)) .. make(depth - 1)
            end
            local space = (" "):rep(random(0, 2))
            return (kind < 7 and "[" or "{") .. space .. table.concat(parts, "," .. space) .. (kind < 7 and "]" or "}")
        end
        local texts = {'"\\ud800x"', unpack(VALID, 1, #VALID - 1)} -- without the one that is beyond a double
        for _ = 1, 300 do
            texts[#texts + 1] = make(5)
        end
        for index, text in ipairs(texts) do
            alice:send_envelope('{"to":"bob","payload":[' .. text .. "]}")
            if index == 1 then -- half a pair is no character
                text = '"\239\191\189x"'
            end
            local _, raw = bob:receive_envelope()
            local _, fields = json.fields(raw)
            assert.same(json.decode("[" .. text .. "]"), json.decode(fields.payload), text)
            assert.equal(select(2, text:gsub("%[%s*%]", "")), select(2, fields.payload:gsub("%[%]", "")), text)
        end
        for text, read in pairs({["1e9999"] = "inf", ["-123123e100000"] = "-inf"}) do
            alice:send_envelope('{"to":"bob","intent":"wide","payload":[' .. text .. "]}")
            assert.same({read}, bob:receive_envelope().payload)
        end
    end)

    it("that is invalid is refused, in whatever opaque field it stands", function()
        local alice, bob = pair()

        for _, field in ipairs({"payload", "tools", "unknown"}) do
            for _, text in ipairs(INVALID_VALUES) do
                alice:send_envelope(('{"to":"bob","%s":%s}'):format(field, text))
                local message = alice:receive_json()
                assert.truthy(message.code == "bad_json", ("%s in %s was answered %s"):format(
                    printable(text), field, tostring(message.code or message.type)))
            end
        end

        alice:send_envelope({to = "bob", id = "marker"})
        assert.equal("marker", bob:receive_envelope().id)
    end)

    it("with something behind its end is refused", function()
        local alice = pair()

        for _, tail in ipairs({"x", "{}", ",", "}", '""', "\0", "\239\187\191"}) do
            alice:send_text('{"type":"heartbeat"}' .. tail)
            alice:expect_error("bad_json")
        end
    end)

    it("that breaks off anywhere is refused", function()
        local alice, bob = pair()
        local whole = [[{"type":"envelope","envelope":{"to":"bob","payload":[1.5e3,"\u00e9",{"a":null}],"tools":[]}}]]

        for length = 0, #whole - 1 do
            alice:send_text(whole:sub(1, length))
            alice:expect_error("bad_json")
        end

        alice:send_text(whole)
        assert.equal("alice", bob:receive_envelope().from)
    end)

    for _, text in ipairs(INVALID_UTF8) do
        it("with bytes that are no UTF-8 ends a text connection with 1007: " .. printable(text), function()
            local server = bridge.start({config = {performance = {worker_threads = 1}}})
            local alice = websocket.agent(server, "alice")

            alice:send_envelope('{"to":"bob","payload":' .. text .. "}")

            alice:expect_close(1007)
        end)
    end

    it("with bytes that are no UTF-8 is refused in a binary frame", function()
        local alice = pair()

        for _, text in ipairs(INVALID_UTF8) do
            alice:send_frame({
                opcode = websocket.BINARY, payload = '{"type":"envelope","envelope":{"payload":' .. text .. "}}",
            })
            alice:expect_error("bad_json")
        end
    end)

    it("that the standard leaves open arrives byte for byte or is refused, and the connection stays", function()
        local alice, bob = pair()

        for _, text in ipairs(IMPLEMENTATION_DEFINED) do
            alice:send_envelope('{"to":"alice","payload":' .. text .. "}")
            local raw = alice:receive().payload
            assert.truthy(raw:find('"payload":' .. text, 1, true) or raw:find('"code":"bad_json"', 1, true) or
                raw:find('"code":"too_deep"', 1, true), raw)
        end

        alice:send_envelope({to = "bob", id = "marker"})
        assert.equal("marker", bob:receive_envelope().id)
    end)

    it("after a byte order mark is no message", function()
        local alice = pair()

        alice:send_text('\239\187\191{"type":"heartbeat"}')

        alice:expect_error("bad_json")
    end)

    it("deeper than limits.jsonDepth is refused, much deeper too, and less deep is taken", function()
        local server = bridge.start({config = {limits = {jsonDepth = 20}}})
        local alice = websocket.agent(server, "alice")
        local function nested(depth)
            return ('{"to":"alice","payload":%s%s}'):format(("["):rep(depth), ("]"):rep(depth))
        end

        alice:send_envelope(nested(15))
        assert.equal("alice", alice:receive_envelope().from)
        alice:send_envelope(nested(25))
        alice:expect_error("too_deep")
        alice:send_envelope(nested(200000))
        alice:expect_error("too_deep")
        alice:send_envelope(('{"payload":%s1%s}'):format(('{"a":'):rep(25), ("}"):rep(25)))
        alice:expect_error("too_deep")
    end)
end)
