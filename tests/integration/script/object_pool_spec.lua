-- luaduct.pool. What a pool does is asserted by the script itself while it is loaded: one that does not hold does not
-- load, and the bridge does not start.
local bridge = require "tests.support.bridge"
local http = require "tests.support.http"
local wait = require "tests.support.wait"
local websocket = require "tests.support.websocket"

local function holds(script)
    return bridge.start({script = script .. "\nreturn {}", config = {performance = {worker_threads = 1}}})
end

describe("luaduct.pool", function()
    after_each(bridge.clean)

    it("gives what was released last, and makes what it has not", function()
        holds([[
            local made = 0
            local pool = luaduct.pool{create = function() made = made + 1 return {n = made} end}
            local a, b = pool:acquire(), pool:acquire()
            assert(a.n == 1 and b.n == 2)
            pool:release(a)
            pool:release(b)
            assert(pool:acquire() == b and pool:acquire() == a and pool:acquire().n == 3)
            local stats = pool:stats()
            assert(stats.acquired == 5 and stats.released == 2 and stats.created == 3 and stats.held == 3)
            assert(stats.available == 0 and stats.hitRate == 0.4)
        ]])
    end)

    it("resets what comes back", function()
        holds([[
            local pool = luaduct.pool{create = function() return {} end, reset = function(t) t.x = nil end}
            local t = pool:acquire()
            t.x = 1
            pool:release(t)
            assert(pool:acquire().x == nil)
        ]])
    end)

    it("keeps maxSize objects, of which the coldest go first", function()
        holds([[
            local pool = luaduct.pool{create = function() return {} end, maxSize = 2}
            local a, b, c = pool:acquire(), pool:acquire(), pool:acquire()
            pool:release(a) pool:release(b) pool:release(c)
            local stats = pool:stats()
            assert(stats.available == 2 and stats.evicted.lru == 1 and stats.destroyed == 1)
            assert(pool:acquire() == c and pool:acquire() == b and pool:acquire() ~= a)
            assert(luaduct.pool{create = function() return {} end, maxSize = 0}:stats().available == 0)
        ]])
    end)

    it("forgets what has been idle for maxAgeMs", function()
        holds([[
            local pool = luaduct.pool{create = function() return {} end, maxAgeMs = 1}
            pool:release(pool:acquire())
            local start = os.clock()
            while pool:stats().available > 0 do assert(os.clock() - start < 4) end
            assert(pool:stats().evicted.ttl == 1)
        ]])
    end)

    it("stays consistent when create or reset fails, or gives nonsense", function()
        holds([[
            local fails = true
            local pool = luaduct.pool{
                create = function() if fails then error("no more") end return {} end,
                reset = function(t) if t.bad then error("cannot reset") end end,
            }
            local ok, problem = pcall(pool.acquire, pool)
            assert(not ok and problem:find("no more"))
            assert(pool:stats().acquired == 0 and pool:stats().created == 0)
            fails = false
            local t = pool:acquire()
            t.bad = true
            ok, problem = pcall(pool.release, pool, t)
            assert(not ok and problem:find("cannot reset"))
            assert(pool:stats().held == 0 and pool:stats().available == 0 and pool:stats().destroyed == 1)
            local numbers = luaduct.pool{create = function() return 5 end}
            ok, problem = pcall(numbers.acquire, numbers)
            assert(not ok and problem:find("expected create to give a table, got a number", 1, true))
        ]])
    end)

    for name, case in pairs({
        ["an object of its own twice"] = {"local t = pool:acquire() pool:release(t) pool:release(t)", "another table"},
        ["an object of elsewhere"] = {"pool:release({})", "expected an object that was acquired from this pool"},
        ["what is no table"] = {"pool:release('x')", "got a string"},
        ["without a pool"] = {"pool.acquire()", "expected a pool before the colon"},
        ["with a wrong key"] = {"luaduct.pool{create = print, size = 1}", "got size"},
        ["without create"] = {"luaduct.pool{}", "create: expected a function, got nil"},
        ["with a wrong size"] = {"luaduct.pool{create = print, maxSize = -1}", "maxSize: expected a whole number"},
    }) do
        it("refuses " .. name, function()
            local status, errors = bridge.start_failing({
                script = "local pool = luaduct.pool{create = function() return {} end}\n" .. case[1] .. "\nreturn {}",
            })
            assert.equal(1, status)
            assert.truthy(errors:find(case[2], 1, true), errors)
            assert.truthy(errors:find("script.lua:2:", 1, true), errors)
        end)
    end

    it("is shown under its name, or the place where it was made, and gives way when memory is collected", function()
        local server = bridge.start({config = {performance = {worker_threads = 1}}, script = [[
            local named = luaduct.pool{create = function() return {} end, name = "answers", maxSize = 7}
            local other = luaduct.pool{create = function() return {} end}
            return {route = function()
                local t = named:acquire()
                named:release(t)
                other:acquire()
            end}
        ]]})
        local alice = websocket.agent(server, "alice")
        for _ = 1, 10 do
            alice:send_envelope({to = "alice"})
            alice:receive_envelope()
        end

        local pools = http.get(server, "/optimization").memoryOptimization.objectPools.lua
        assert.equal(10, pools.answers.totalAcquired)
        assert.equal(0.9, pools.answers.hitRate)
        assert.equal(1, pools.answers.available)
        assert.equal(7, pools.answers.maxSize)
        assert.equal(10, pools["script.lua:2"].acquired)

        assert.equal("started", http.post(server, "/admin/gc", {}).status)
        wait.eventually(function()
            local answers = http.get(server, "/optimization").memoryOptimization.objectPools.lua.answers
            return answers.evicted.pressure == 1 and answers.available == 0
        end, 10, "the pool to be emptied")
    end)
end)
