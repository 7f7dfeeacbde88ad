-- What commands show a bridge, and whom they trust: from files, with a message for each way in which these are wrong.
local bridge = require "tests.support.bridge"
local process = require "tests.support.process"
local tokens = require "tests.support.tokens"

local LONG = ("t0ken-"):rep(1365) -- 8,190 bytes

local function file(text)
    local path = process.folder() .. "/file"
    process.write_file(path, text)
    return path
end

describe("a command", function()
    after_each(bridge.clean)

    local function status(server, ...)
        return bridge.luaduct({"status", "--url", server:url(), ...})
    end

    it("shows a credential as long as the bridge takes, over HTTP and as an agent", function()
        local people = {ops = {token = LONG, roles = {"admin"}, clientIds = {"*"}}}
        local server = bridge.start({config = {auth = {tokens = "tokens"}}, files = {tokens = tokens.file(people)}})
        local path = file(LONG .. "\nthe rest of the file\n")

        local code, _, errors = status(server, "--token-file", path)
        assert.equal(0, code, errors)
        code, _, errors = bridge.luaduct({"bench", "direct", "--token-file", path,
            "--url", "ws://127.0.0.1:" .. server.ws_port, "--agents", "2", "--seconds", "0.2"})
        assert.equal(0, code, errors)
    end)

    local WRONG = {
        ["longer than a token"] = {function() return file(LONG .. LONG) end, "longer than the 8192 bytes"},
        ["empty"] = {function() return file("") end, "the file is empty"},
        ["blank in its first line"] = {function() return file("\nsecret\n") end, "its first line is blank"},
        ["a folder"] = {process.folder, "Is a directory"},
        ["a device"] = {function() return "/dev/zero" end, "longer than the 8192 bytes"},
        ["not there"] = {function() return process.folder() .. "/none" end, "No such file"},
    }
    for name, case in pairs(WRONG) do
        it("says so of a --token-file that is " .. name, function()
            local code, _, errors = bridge.luaduct({"health", "--url", "http://127.0.0.1:1", "--token-file", case[1]()})
            assert.equal(1, code)
            assert.truthy(errors:find(case[2], 1, true), errors)
        end)
    end

    for name, case in pairs({
        ["a folder"] = {process.folder, "Is a directory"},
        ["empty"] = {function() return file("") end, "the file is empty"},
        ["no certificate"] = {function() return file("nonsense") end, "no certificate is in it"},
    }) do
        it("says so of a --ca that is " .. name, function()
            local code, _, errors = bridge.luaduct({"health", "--url", "https://127.0.0.1:1", "--ca", case[1]()})
            assert.equal(1, code)
            assert.truthy(errors:find(case[2], 1, true), errors)
        end)
    end
end)

describe("a bridge", function()
    after_each(bridge.clean)

    it("says of an Ed25519 certificate that this kind is not supported", function()
        local folder = process.folder()
        local code, _, errors = process.run({"openssl", "req", "-x509", "-newkey", "ed25519", "-nodes",
            "-subj", "/CN=x", "-keyout", folder .. "/key.pem", "-out", folder .. "/cert.pem"})
        assert.equal(0, code, errors)
        code, errors = bridge.start_failing({
            config = {tls = {cert = folder .. "/cert.pem", key = folder .. "/key.pem"}},
        })
        assert.equal(1, code)
        assert.truthy(errors:find("Ed25519 does not", 1, true), errors)
    end)
end)
