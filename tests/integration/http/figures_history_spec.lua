-- GET /metrics/history: what the bridge was like lately, without anybody having listened.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

-- The answer's samples by name.
local function history(server, query)
    local answer, whole = http.get(server, "/metrics/history" .. (query or ""))
    assert.equal(200, whole.status)
    local list = {}
    for i, row in ipairs(answer.samples) do
        assert.equal(#answer.columns, #row)
        list[i] = {}
        for place, name in ipairs(answer.columns) do
            list[i][name] = row[place]
        end
    end
    return list
end

describe("GET /metrics/history", function()
    after_each(bridge.clean)

    it("has a sample of each second, also of those in which nobody listened", function()
        local server = bridge.start()
        local alice = websocket.agent(server, "alice")
        alice:send_envelope({to = "alice", payload = {}})
        alice:receive_envelope()
        local list
        wait.eventually(function()
            list = history(server)
            return #list >= 3 and list[#list].accepted == 1
        end, 30, "samples before and after the envelope")
        local last, passed = list[#list], 0
        for i = 2, #list do
            assert.is_true(list[i].time > list[i - 1].time)
            assert.is_true(list[i].accepted >= list[i - 1].accepted)
        end
        for _, sample in ipairs(list) do
            passed = passed + (type(sample.p99) == "number" and 1 or 0)
        end
        assert.equal(1, passed, "one second has a latency, the others nothing")
        assert.same({1, 1, 0}, {last.delivered, last.agents, last.refused})
        assert.is_true(last.memory > 0 and last.luaHeaps > 0 and last.connections >= 1)
        assert.is_true(math.abs(last.time / 1000 - os.time()) < 60)
    end)

    it("gives the newest of them where only those are asked for", function()
        local server = bridge.start()
        wait.eventually(function()
            return #history(server) >= 3
        end, 30, "three samples")
        local all, two = history(server), history(server, "?seconds=2")
        assert.equal(2, #two)
        assert.is_true(two[1].time >= all[#all - 1].time)
    end)

    it("refuses what it cannot read", function()
        local server = bridge.start()
        for _, query in ipairs({"?seconds=0", "?seconds=601", "?seconds=a", "?minutes=1", "?seconds=%zz"}) do
            local answer, whole = http.get(server, "/metrics/history" .. query)
            assert.same({400, "bad_request"}, {whole.status, answer.code}, query)
        end
    end)
end)
