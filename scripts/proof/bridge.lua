-- The bridge that a proof is about: one of its own, started on free loopback ports and ended by its pid, or one that
-- runs already. And what it says of itself.
local cjson = require "cjson"
local http = require "scripts.proof.http"
local process = require "bench.support.process"

local bridge = {}
local methods = {}
methods.__index = methods

bridge.BINARY = os.getenv("LUADUCT_BIN") or "build/luaduct"

local function write_value(value, out)
    if type(value) == "table" then
        out[#out + 1] = "{"
        for key, inner in pairs(value) do
            out[#out + 1] = ("[%q] = "):format(key)
            write_value(inner, out)
            out[#out + 1] = ", "
        end
        out[#out + 1] = "}"
    else
        out[#out + 1] = type(value) == "string" and ("%q"):format(value) or tostring(value)
    end
end

local function write_file(path, text)
    local file = assert(io.open(path, "w"))
    file:write(text)
    file:close()
end

local function await_ports(self, log)
    for _ = 1, 100 do
        local said = process.read_all(log) or ""
        self.ws_port = tonumber(said:match("WebSocket%s+ws://[^%s]-:(%d+)"))
        self.http.port = tonumber(said:match("HTTP%s+http://[^%s]-:(%d+)"))
        if self.ws_port and self.http.port then
            return
        end
        if not process.alive(self.pid) then
            break
        end
        process.sleep(0.1)
    end
    error("the bridge did not start:\n" .. (process.read_all(log) or "") .. (process.read_all(self.errors) or ""), 0)
end

-- config: a table, what it leaves out is standard. options: script (text of the routing script), address_space (bytes).
-- What would stand in a proof's way is off: the limit on requests of one address.
function bridge.start(folder, config, options)
    options = options or {}
    bridge.count = (bridge.count or 0) + 1
    local home = ("%s/bridge-%d"):format(folder, bridge.count)
    process.capture("mkdir " .. process.quote(home))
    config.mode = "enhanced"
    config.listen = {host = "127.0.0.1", wsPort = 0, httpPort = 0}
    config.http = {rateMax = 0}
    config.log = {level = "warn"}
    if options.script then
        config.script = config.script or {}
        config.script.path = "script.lua"
        write_file(home .. "/script.lua", options.script)
    end
    local out = {"return "}
    write_value(config, out)
    write_file(home .. "/config.lua", table.concat(out))
    -- What the caller's environment says of other bridges is not for this one.
    local command = ("env -u AI_BRIDGE_HOST -u AI_BRIDGE_PORT -u AI_BRIDGE_HTTP_PORT -u PORT -u AI_BRIDGE_AUTH_TOKEN "
        .. "-u AI_BRIDGE_RATE_MAX -u AI_BRIDGE_HISTORY_LIMIT -u AI_BRIDGE_MAX_QUEUE %s run %s"):format(
        process.quote(bridge.BINARY), process.quote(home .. "/config.lua"))
    local self = setmetatable({
        own = true, errors = home .. "/log", http = {host = "127.0.0.1", folder = folder},
    }, methods)
    self.pid = process.start(nil, command, home .. "/out",
        {errors = self.errors, address_space = options.address_space})
    await_ports(self, home .. "/out")
    self.ws_url = "ws://127.0.0.1:" .. self.ws_port
    self.http_url = "http://127.0.0.1:" .. self.http.port
    return self
end

local function split_url(url)
    local authority = url:match("^%a+://([^/]+)")
    local host, port = authority:match("^%[(.+)%]:?(%d*)$")
    if not host then
        host, port = authority:match("^([^:]+):?(%d*)$")
    end
    if not host then
        error("cannot read the URL " .. url, 0)
    end
    return host, tonumber(port) or 80
end

-- One that runs. Each of its ports answers HTTP, so the one that is known says which is for HTTP.
function bridge.attach(folder, url, http_url)
    local token = os.getenv("AI_BRIDGE_AUTH_TOKEN")
    local self = setmetatable({own = false, ws_url = url}, methods)
    local host, port = split_url(http_url or url)
    self.http = {host = host, port = port, folder = folder, token = token ~= "" and token or nil}
    local health = http.get_json(self.http, "/health")
    if not health or not health.version then
        error(("no bridge answers at %s"):format(http_url or url), 0)
    end
    if not http_url and tonumber(health.httpPort) then
        self.http.port = health.httpPort
    end
    self.http_url = ("http://%s:%d"):format(host:find(":") and "[" .. host .. "]" or host, self.http.port)
    return self
end

function methods:health()
    return http.get_json(self.http, "/health")
end

-- /metrics holds the same, and does not count against the http.rateMax of a bridge that somebody configured.
function methods:optimization()
    return http.get_json(self.http, self.own and "/optimization" or "/metrics")
end

function methods:metrics()
    return http.get_json(self.http, "/metrics")
end

-- The status of GET /ready, or nil.
function methods:ready()
    return (http.get(self.http, "/ready"))
end

function methods:status_of(path)
    return (http.get(self.http, path))
end

-- A line of /proc/PID/status in bytes: VmRSS, VmHWM (the most there ever was of it), VmSize, VmPeak. nil for a bridge
-- of somebody else, and when it has ended.
function methods:process_bytes(name)
    local status = self.pid and process.read_all(("/proc/%d/status"):format(self.pid)) or ""
    local kilobytes = tonumber(status:match(name .. ":%s*(%d+) kB"))
    return kilobytes and kilobytes * 1024
end

function methods:alive()
    return not self.own or process.alive(self.pid)
end

-- Enough to see what it was about.
local function last_lines(text, count)
    local lines = {}
    for line in text:gmatch("[^\n]+") do
        lines[#lines + 1] = line
    end
    return table.concat(lines, "\n", math.max(1, #lines - count + 1))
end

-- Whether it went as it should: nil, or what went wrong.
function methods:stop()
    if not self.own then
        return nil
    end
    process.stop(self.pid)
    local status = process.status(self.pid)
    if status ~= 0 then
        local log = last_lines(process.read_all(self.errors) or "", 10)
        return ("The bridge ended with status %s%s%s"):format(tostring(status),
            log ~= "" and "; the end of its log:\n" or ".", log)
    end
end

-- What is decoded from JSON may be null, or not there in another version: a path of names, and a number or nil.
function bridge.number(value, ...)
    for _, name in ipairs({...}) do
        value = type(value) == "table" and value ~= cjson.null and value[name] or nil
    end
    return type(value) == "number" and value or nil
end

return bridge
