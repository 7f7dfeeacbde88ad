-- Runs the attacks whose names hold one of the words given (all without one), each for so many seconds against a
-- bridge of its own, while two agents send each other an envelope every few milliseconds. Prints for each what came of
-- it, the most memory that the bridge had, and how long the pair's envelopes took.
--
-- LUADUCT_BIN: the binary (default build/luaduct). Exit status 1: an attack had a worse end than promised, or the
-- memory went past its bound. The times are printed and not judged: they are the machine's as well.
package.path = "./?.lua;" .. package.path
local attacks = require "tests.abuse.attacks.init"
local bridge = require "tests.support.bridge"
local process = require "tests.support.process"
local socket = require "socket"
local tls = require "tests.support.tls"
local tools = require "tests.abuse.tools"
local wait = require "tests.support.wait"

local P99_TARGET_MS = 20

local seconds, realtime, words = 5, false, {}
local index = 1
while arg[index] do
    if arg[index] == "--seconds" then
        index = index + 1
        seconds = assert(tonumber(arg[index]), "--seconds takes a number")
    elseif arg[index] == "--realtime" then
        realtime = true
    elseif arg[index]:sub(1, 1) == "-" then
        io.stderr:write("usage: tests/abuse/run [--realtime] [--seconds N] [WORD…]\n")
        os.exit(2)
    else
        words[#words + 1] = arg[index]
    end
    index = index + 1
end

local function wanted(name)
    for _, word in ipairs(words) do
        if name:find(word, 1, true) then
            return true
        end
    end
    return #words == 0
end

local function child(script, server, ...)
    local command = {"luajit", "tests/abuse/" .. script .. ".lua", tostring(server.ws_port), tostring(server.http_port),
        ...}
    if realtime then
        for place, word in ipairs({"chrt", "-f", script == "pair" and "10" or "2"}) do
            table.insert(command, place, word)
        end
    end
    return process.start(command)
end

local function run(attack)
    local options = {config = tools.config(attack), script = attack.script}
    local server = (attack.tls and tls or bridge).start(options)
    local before = server:resident()
    local ca = attack.tls and server.authority.ca or nil
    local pair = child("pair", server, tostring(seconds), ca)
    wait.eventually(function()
        return pair:output():find("ready", 1, true) or not pair:is_running()
    end)
    local attacker = attack.run and child("attack", server, tostring(seconds), attack.name, server.paths.errors, ca)
    local most = before
    while pair:is_running() or (attacker and attacker:is_running()) do
        assert(server:is_running(), "the bridge has ended:\n" .. server:log())
        most = math.max(most, server:resident())
        socket.sleep(0.05)
    end
    local times = pair:output():match("p50[^\n]*") or ""
    local outcome = attacker and attacker:output():match("^(.-)%s*$") or "nothing"
    local good = pair:status() == 0 and (not attacker or attacker:status() == 0)
    if not good then
        outcome = outcome .. (attacker and attacker:errors() or "") .. pair:errors()
    end
    local bounded = most - before <= tools.MEMORY_BYTES
    bridge.clean()
    local p99 = tonumber(times:match("p99 ([%d.]+)"))
    print(("%-4s %-52s %4.0f MiB  %s%s\n     %s"):format(good and bounded and "ok" or "BAD", attack.name,
        most / 2 ^ 20, times, p99 and p99 > P99_TARGET_MS and "  (target 20 ms)" or "", outcome))
    io.stdout:flush()
    return good and bounded
end

local good = true
wait.DEFAULT = 30
for _, attack in ipairs(attacks) do
    if wanted(attack.name) then
        good = run(attack) and good
    end
end
for _, nothing in ipairs({{name = "none"}, {name = "none, TLS", tls = true}}) do
    if wanted(nothing.name) then
        run(nothing)
    end
end
os.exit(good and 0 or 1)
