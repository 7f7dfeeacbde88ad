-- The codes that no other page of tests shows, each with its status.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local json = require "tests.support.json"
local process = require "tests.support.process"
local wait = require "tests.support.wait"

local function expect(answer, status, code)
    assert.equal(status, answer.status)
    local body = json.decode(answer.body)
    assert.equal(code, body.code)
    assert.is_true(#body.error > 0)
end

describe("a refusal over HTTP is", function()
    after_each(bridge.clean)

    it("bad_request, 400, for what is not HTTP", function()
        local server = bridge.start()
        local connection = http.connect(server)

        connection:send_bytes("GET /health HTTP/1.1\nHost: localhost\n\n")

        expect(connection:receive(), 400, "bad_request")
    end)

    it("overloaded, 503 with Retry-After, past the number of connections", function()
        local server = bridge.start({config = {limits = {connections = 2}}})
        local held = {http.connect(server), http.connect(server)}
        for _, connection in ipairs(held) do
            assert.equal(200, connection:request({path = "/health"}).status)
        end

        local answer = http.connect(server):receive()

        expect(answer, 503, "overloaded")
        assert.truthy(tonumber(answer.headers["retry-after"]))
    end)

    it("draining, 503, for what comes when the bridge is going away", function()
        local server = bridge.start()
        local connection = http.connect(server)
        connection:send_bytes("POST /send HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n\r\n")
        http.get(server, "/health")

        server:signal("SIGTERM")
        server:wait_log("draining")
        wait.eventually(function()
            return not pcall(http.connect, server)
        end)
        connection:send_bytes('{"to":"bob"}')

        expect(connection:receive(), 503, "draining")
        connection:close()
        assert.equal(0, server:wait_exit())
    end)

    it("internal, 500, for a defect of the bridge's own, which is in the log with file and line", function()
        local folder = process.folder()
        os.execute(("cp -r lua/luaduct %s/"):format(folder))
        process.write_file(folder .. "/luaduct/http/ready.lua", "return function()\nerror('broken')\nend\n")
        local server = bridge.start({env = {LUADUCT_LUA_PATH = folder}})

        expect(http.request(server, {path = "/ready"}), 500, "internal")

        server:wait_log("ready.lua:2: broken")
        assert.equal("ok", http.get(server, "/health").status)
    end)
end)
