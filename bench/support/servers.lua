-- The servers that are measured: how each is started on a port, and what makes it available.
local process = require("bench.support.process")

local function npm_peer(folder, package, runtime)
    return {
        protocol = "websocket",
        -- Installed under the build folder, never in the source tree.
        prepare = function(options)
            local home = options.build .. "/peers/" .. folder
            local manifest = "bench/peers/" .. folder .. "/package.json"
            local copy = "mkdir -p %s && cp %s bench/peers/%s/server.js %s/"
            local _, copied = process.capture(copy:format(home, manifest, folder, home))
            if not copied then
                return nil, "cannot write to " .. home
            end
            local install = "test %s/node_modules/.package-lock.json -nt %s || "
                .. "npm install --prefix %s --no-audit --no-fund --loglevel=error 2>&1"
            local text, installed = process.capture(install:format(home, manifest, home))
            if not installed then
                return nil, "npm install failed: " .. text
            end
            local installed_manifest = process.read_all(("%s/node_modules/%s/package.json"):format(home, package)) or ""
            local package_version = installed_manifest:match('"version": *"([^"]+)"')
            local version, good = process.capture(runtime(home) .. " --version 2>&1")
            if not good or not package_version then
                return nil, version
            end
            return version == package_version and version or ("%s with %s %s"):format(version, package, package_version)
        end,
        command = function(options, port)
            local home = options.build .. "/peers/" .. folder
            return ("%s %s/server.js %d"):format(runtime(home), home, port)
        end,
    }
end

return {
    order = { "luaduct", "floor", "nats", "bun", "node" },

    luaduct = {
        protocol = "websocket",
        prepare = function(options)
            local text, good = process.capture(options.build .. "/luaduct version 2>&1")
            return good and text:match("[%d.]+") or nil, text
        end,
        command = function(options, port)
            return ("%s/luaduct run bench/luaduct-bench.lua --ws-port %d --http-port %d --workers %d"):format(
                options.build,
                port,
                process.free_port(),
                options.workers
            )
        end,
    },

    floor = {
        protocol = "websocket",
        prepare = function(options)
            local path = options.build .. "/peers/floor"
            return process.read_all(path) and "C" or nil, path .. " is not built: make peers"
        end,
        command = function(options, port)
            return ("%s/peers/floor %d"):format(options.build, port)
        end,
    },

    nats = {
        protocol = "nats",
        prepare = function()
            local text, good = process.capture("PATH=$PATH:/usr/sbin nats-server --version 2>&1")
            return good and text:match("v([%d.]+)") or nil, text
        end,
        command = function(_, port)
            return ("env PATH=$PATH:/usr/sbin nats-server -a 127.0.0.1 -p %d"):format(port)
        end,
    },

    node = npm_peer("node-ws", "ws", function()
        return "node"
    end),

    -- The package's own binary: its start script only picks the right one, which npm has installed already.
    bun = npm_peer("bun", "bun", function(home)
        return home .. "/node_modules/bun/bin/bun.exe"
    end),
}
