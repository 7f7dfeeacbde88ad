-- bench/tls: what TLS costs the bridge and its peers, in turns: processor time for a message, for a full and for a
-- resumed handshake; what a quiet pair of agents notices of handshakes; memory of an idle agent.
package.path = "./?.lua;" .. package.path

local ffi = require("ffi")
local process = require("bench.support.process")
local servers = require("bench.support.servers")
local harness = require("bench.support.harness")

local help = [[
usage: bench/tls [OPTION]...
Prints tables in Markdown: medians of the rounds.

  --rounds N        of each; standard 5
  --seconds S       measured time of each run; standard 3
  --agents N        that exchange messages; standard 1000
  --idle N          idle agents; standard 500
  --clients N       that shake hands at the same time; standard 3. Handshakes are also measured with one client, for
                    which the server waits between them
  --realtime        of handshakes and quiet: all of it runs before other work on the machine, and nothing is nice to
                    anything, which is harder for the pair; there, more than one client meets the kernel's bound on
                    such work
  --only PART       messages, handshakes, quiet or idle; standard all
  --build FOLDER    where luaduct, bench/tls_primitives and peers/ are; standard build
  --server-core N, --generator-core N    processors; standard 0 and 1
]]

local SUITE = "ECDHE-ECDSA-AES128-GCM-SHA256" -- of all: the work that is compared is the same
local QUIET_RATE = 200

local function fail(text)
    harness.fail("tls", text)
end

local function run(line)
    local text, good = process.capture(line .. " 2>&1")
    if not good then
        fail(line .. ":\n" .. text)
    end
    return text
end

-- Seconds of processor time of a process, of all its threads (clock_getcpuclockid's way of naming the clock).
local function cpu_seconds(pid)
    local time = ffi.new("bench_time[1]")
    if ffi.C.clock_gettime(bit.bor(bit.lshift(bit.bnot(pid), 3), 2), time) ~= 0 then
        fail("a server has ended: " .. pid)
    end
    return tonumber(time[0].seconds) + tonumber(time[0].nanoseconds) / 1e9
end

-- ---- servers ----

local function start(options, name, command, port)
    local log = options.folder .. "/" .. name .. ".log"
    local pid = process.start(tostring(options["server-core"]), command, log)
    if not process.await_port(pid, port, 15) then
        fail(name .. " did not start: " .. tostring(process.read_all(log)))
    end
    return pid
end

local CONFIG = [[
return {
    mode = "enhanced",
    performance = {worker_threads = 1},
    http = {rateMax = 0},
    log = {level = "warn"},
    listen = {wsPort = %d, httpPort = %d},
    %s
}
]]

-- Handshake threads are nice: beside other work on the same processor a thousand of them take their time.
local TLS = 'tls = {cert = "server.pem", key = "server.key", handshakeTimeoutMs = 120000}'

local function start_luaduct(options, secure)
    local port, http = process.free_port(), process.free_port()
    local path = options.folder .. (secure and "/secure.lua" or "/plain.lua")
    harness.write(path, CONFIG:format(port, http, secure and TLS or ""))
    local pid = start(options, "luaduct", options.build .. "/luaduct run " .. path, port)
    return {pids = {pid}, port = port, http = http, url = secure and "wss" or "ws"}
end

local NGINX = [[
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
master_process off;
pid %s/nginx.pid;
error_log stderr;
events { worker_connections 8192; }
stream {
    ssl_certificate %s/server.pem;
    ssl_certificate_key %s/server.key;
    ssl_protocols TLSv1.2;
    ssl_ciphers %s;
    ssl_session_cache shared:sessions:4m;
    server { listen 127.0.0.1:%d ssl backlog=4096; %s; }
}
]]

local function start_nginx(options, what)
    local port, folder = process.free_port(), run("realpath " .. options.folder)
    harness.write(folder .. "/nginx.conf", NGINX:format(folder, folder, folder, SUITE, port, what))
    local pid = start(options, "nginx", ("/usr/sbin/nginx -e stderr -p %s -c %s/nginx.conf"):format(folder, folder),
        port)
    return {pids = {pid}, port = port, http = port, url = "wss"}
end

local function start_proxied(options)
    local behind = start_luaduct(options, false)
    local server = start_nginx(options, "proxy_pass 127.0.0.1:" .. behind.port)
    server.pids[2] = behind.pids[1]
    return server
end

local function start_peer(options, name)
    local port = process.free_port()
    local files = (" %s/server.pem %s/server.key"):format(options.folder, options.folder)
    local pid = start(options, name, servers[name].command(options, port) .. files, port)
    return {pids = {pid}, port = port, url = "wss"}
end

local function stop(server)
    for _, pid in ipairs(server.pids) do
        process.stop(pid)
    end
end

-- ---- load ----

local function generator_line(options, server, arguments, prefix)
    local line = ("ulimit -n $(ulimit -Hn); %staskset -c %s %s/luaduct bench %s --json --url %s://127.0.0.1:%d"):format(
        prefix or "", options["generator-core"], options.build, arguments, server.url, server.port)
    if server.url == "wss" then
        line = line .. (" --ca %s/ca.pem"):format(options.folder)
    end
    for _, pid in ipairs(server.pids) do
        line = line .. " --server-pid " .. pid
    end
    return line
end

local function bench(options, server, arguments, prefix)
    local text = process.capture(generator_line(options, server, arguments, prefix) .. " 2>&1")
    return harness.figures(text:match("{.*}") or fail(text))
end

local function shaker_line(options, server, how)
    local line = "taskset -c %s openssl s_time -connect 127.0.0.1:%d -CAfile %s/ca.pem -cipher %s -tls1_2 -%s -time %d"
    return line:format(options["generator-core"], server.http, options.folder, SUITE, how, options.seconds)
end

-- With --realtime what is measured runs before other work on the machine.
local function haste(options)
    return options.realtime and "chrt --rr 20 " or ""
end

local function hurry(options, server)
    if options.realtime then
        run(("chrt --all-tasks --rr --pid 20 %d"):format(server.pids[1]))
    end
end

local function start_shakers(options, server, how, count)
    local shakers = {}
    for i = 1, count do
        local log = ("%s/shaker-%d.log"):format(options.folder, i)
        shakers[i] = {pid = process.start(nil, haste(options) .. shaker_line(options, server, how), log), log = log}
    end
    return shakers
end

-- When all have ended: how often hands were shaken.
local function finish_shakers(shakers)
    local count = 0
    for _, shaker in ipairs(shakers) do
        while process.alive(shaker.pid) do
            process.sleep(0.05)
        end
        local text = process.read_all(shaker.log)
        count = count + tonumber(text:match("(%d+) connections in %d+ real seconds") or fail(text))
    end
    return count
end

-- Milliseconds of the server's processor time for one handshake.
local function measure_handshakes(options, server, how, clients)
    local before = cpu_seconds(server.pids[1])
    local count = finish_shakers(start_shakers(options, server, how, clients))
    return (cpu_seconds(server.pids[1]) - before) / count * 1e3
end

-- ---- the parts ----

local function note(...)
    io.stderr:write(table.concat({...}, " "), "\n")
end

local function measure_messages(options)
    local kinds = {
        {"Luaduct, plain", function() return start_luaduct(options, false) end},
        {"Luaduct, TLS", function() return start_luaduct(options, true) end},
        {"nginx stream TLS + Luaduct", function() return start_proxied(options) end},
        {"Bun, TLS", function() return start_peer(options, "bun") end},
        {"Node + ws, TLS", function() return start_peer(options, "node") end},
    }
    local costs, rates = {}, {}
    for round = 1, options.rounds do
        for _, kind in ipairs(kinds) do
            local name = kind[1]
            local server = kind[2]()
            local figures = bench(options, server, ("direct --agents %d --window 16 --size 256 --seconds %g"):format(
                options.agents, options.seconds))
            stop(server)
            note("messages", round, name, figures.serverCpuUsPerMessage)
            costs[name], rates[name] = costs[name] or {}, rates[name] or {}
            table.insert(costs[name], figures.serverCpuUsPerMessage)
            table.insert(rates[name], figures.messagesPerSecond)
        end
    end
    print(("| %d agents, 256 B, window 16 | CPU for a message | Luaduct with TLS to it |\n|---|---|---|"):format(
        options.agents))
    local own = harness.median(costs["Luaduct, TLS"])
    for _, kind in ipairs(kinds) do
        local cost = harness.median(costs[kind[1]])
        print(("| %s | %.2f us | x %.3f |"):format(kind[1], cost, own / cost))
    end
    print()
end

local function measure_primitives(options)
    local line = "%staskset -c %s %s/bench/tls_primitives handshakes"
    local text = run(line:format(haste(options), options["server-core"], options.build))
    local exchange = tonumber(text:match("X25519%s+%d+ /s%s+([%d.]+) ms")) or fail(text)
    local signature = tonumber(text:match("ECDSA P%-256 sign%s+%d+ /s%s+([%d.]+) ms")) or fail(text)
    return exchange, signature
end

local function measure_all_handshakes(options)
    local kinds = {
        {"Luaduct", function() return start_luaduct(options, true) end},
        {"nginx", function() return start_nginx(options, 'return ""') end},
    }
    local times, exchanges, signatures = {}, {}, {}
    local crowds = options.clients > 1 and {options.clients, 1} or {1}
    for round = 1, options.rounds do
        local exchange, signature = measure_primitives(options)
        table.insert(exchanges, exchange)
        table.insert(signatures, signature)
        for _, kind in ipairs(kinds) do
            local server = kind[2]()
            hurry(options, server)
            for _, clients in ipairs(crowds) do
                for _, how in ipairs({"new", "reuse"}) do
                    local name = kind[1] .. how .. clients
                    local cost = measure_handshakes(options, server, how, clients)
                    note("handshakes", round, name, ("%.3f ms"):format(cost))
                    times[name] = times[name] or {}
                    table.insert(times[name], cost)
                end
            end
            stop(server)
        end
    end
    local function rate(name)
        return 1e3 / harness.median(times[name])
    end
    local exchange, signature = harness.median(exchanges), harness.median(signatures)
    local limit = 1e3 / (exchange + signature)
    for _, clients in ipairs(crowds) do
        print(("| handshakes a second and core, clients at once: %d | full | resumed |\n|---|---|---|"):format(clients))
        local own, own_again = rate("Luaductnew" .. clients), rate("Luaductreuse" .. clients)
        local other, other_again = rate("nginxnew" .. clients), rate("nginxreuse" .. clients)
        print(("| Luaduct | %.0f | %.0f |\n| nginx (OpenSSL) | %.0f | %.0f |"):format(own, own_again, other,
            other_again))
        print(("| mbedtls's X25519 (%.3f ms) and P-256 signature (%.3f ms) alone | %.0f | |"):format(exchange,
            signature, limit))
        print(("| Luaduct to the primitives | x %.2f | |\n| Luaduct to nginx | x %.3f | x %.3f |\n"):format(own / limit,
            own / other, own_again / other_again))
    end
end

local function measure_quiet(options)
    local p50, p99, counts = {{}, {}}, {{}, {}}, {}
    for round = 1, options.rounds do
        local server = start_luaduct(options, true)
        hurry(options, server)
        for busy = 1, 2 do
            local seconds = options.seconds
            options.seconds = seconds + 3 -- longer than the generator, from before it begins
            local shakers = start_shakers(options, server, "new", busy == 2 and options.clients or 0)
            options.seconds = seconds
            process.sleep(busy == 2 and 0.5 or 0)
            local figures = bench(options, server, ("open --agents 2 --rate %d --size 256 --seconds %g"):format(
                QUIET_RATE, seconds), haste(options))
            local count = finish_shakers(shakers)
            note("quiet", round, busy == 2 and "with handshakes" or "alone", figures.p99us)
            table.insert(p50[busy], figures.p50us)
            table.insert(p99[busy], figures.p99us)
            if busy == 2 then
                table.insert(counts, count / (seconds + 3))
            end
        end
        stop(server)
    end
    print(("| a pair of agents, %d messages a second | p50 | p99 |\n|---|---|---|"):format(QUIET_RATE))
    print(("| nothing else | %.2f ms | %.2f ms |"):format(harness.median(p50[1]) / 1e3, harness.median(p99[1]) / 1e3))
    print(("| beside %.0f full handshakes a second, clients at once: %d | %.2f ms | %.2f ms |\n"):format(
        harness.median(counts), options.clients, harness.median(p50[2]) / 1e3, harness.median(p99[2]) / 1e3))
end

local function measure_idle(options)
    local sizes = {{}, {}}
    for round = 1, options.rounds do
        for secure = 1, 2 do
            local server = start_luaduct(options, secure == 2)
            local figures = bench(options, server, ("idle --agents %d --seconds 1"):format(options.idle))
            stop(server)
            note("idle", round, secure == 2 and "TLS" or "plain", figures.rssPerAgent)
            table.insert(sizes[secure], figures.rssPerAgent)
        end
    end
    print(("| %d idle agents | memory for one |\n|---|---|"):format(options.idle))
    for secure, name in ipairs({"plain", "TLS"}) do
        print(("| %s | %.1f KiB |"):format(name, harness.median(sizes[secure]) / 1024))
    end
    print()
end

local options = harness.options(help, {
    rounds = 5, seconds = 3, agents = 1000, idle = 500, build = "build", ["server-core"] = 0, ["generator-core"] = 1,
    only = "all", realtime = false, clients = 3,
}, arg)
options.folder = options.build .. "/tls"
math.randomseed(os.time())
run("mkdir -p " .. options.folder)
run(("%s/luaduct cert dev %s --force"):format(options.build, options.folder))
for _, part in ipairs({
    {"messages", measure_messages}, {"handshakes", measure_all_handshakes}, {"quiet", measure_quiet},
    {"idle", measure_idle},
}) do
    local wanted = options.only == "all" or options.only == part[1]
    if wanted and part[1] == "messages" then
        for _, name in ipairs({"bun", "node"}) do
            local version, why = servers[name].prepare(options)
            note(name, version or fail(why))
        end
    end
    if wanted then
        part[2](options)
    end
end
process.stop_all()
