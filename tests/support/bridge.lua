-- Starting and stopping the real binary. Each test starts its own bridge on free ports; bridge.clean(), called after
-- each test, stops it by SIGTERM and holds it to exit status 0 and to silence of the sanitizers.
local process = require "tests.support.process"
local unistd = require "posix.unistd"
local wait = require "tests.support.wait"

local bridge = {}

bridge.BINARY = os.getenv("LUADUCT_BIN") or (unistd.getcwd() .. "/build/luaduct")

local START_SECONDS = 10
local started, clients = {}, {}

local SANITIZERS = {
    "ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer", "runtime error:",
}

local methods = setmetatable({}, {__index = process.methods})
methods.__index = methods

local function write_value(value, out)
    if type(value) == "table" then
        out[#out + 1] = "{"
        for key, inner in pairs(value) do
            out[#out + 1] = ("[%s] = "):format(type(key) == "number" and key or ("%q"):format(key))
            write_value(inner, out)
            out[#out + 1] = ", "
        end
        out[#out + 1] = "}"
    elseif type(value) == "string" then
        out[#out + 1] = ("%q"):format(value)
    else
        out[#out + 1] = tostring(value)
    end
end

-- A table of plain data as the text of a config file.
function bridge.config_text(config)
    local out = {"return "}
    write_value(config, out)
    out[#out + 1] = "\n"
    return table.concat(out)
end

local function merge(base, over)
    for key, value in pairs(over) do
        if type(value) == "table" and type(base[key]) == "table" then
            merge(base[key], value)
        else
            base[key] = value
        end
    end
    return base
end

-- To run the whole suite with what the process may do confined.
local CONFINED = os.getenv("LUADUCT_TEST_CONFINED") and {files = "required", systemCalls = "required"} or nil

-- Free ports, two reactors, no HTTP rate limit; `config` wins over each of these.
function bridge.config(config)
    return merge({
        mode = "enhanced",
        listen = {wsPort = 0, httpPort = 0},
        performance = {worker_threads = 2},
        http = {rateMax = 0},
        confinement = CONFINED,
    }, config or {})
end

-- Writes the config, the script and further files into a fresh folder; gives the config's path.
function bridge.write(options)
    local folder = process.folder()
    local text = options.config_text
    if not text then
        local config = options.bare and options.config or bridge.config(options.config)
        if options.script then
            config = merge({}, config)
            config.script = merge({path = "script.lua"}, config.script or {})
        end
        text = bridge.config_text(config)
    end
    if options.script then
        process.write_file(folder .. "/script.lua", options.script)
    end
    for name, content in pairs(options.files or {}) do
        process.write_file(folder .. "/" .. name, content)
    end
    process.write_file(folder .. "/config.lua", text)
    return folder .. "/config.lua", folder
end

local function command(options, path)
    local list = {options.binary or bridge.BINARY, "run"}
    for _, argument in ipairs(options.args or {}) do
        list[#list + 1] = argument
    end
    list[#list + 1] = path
    return list
end

local function start_at(path, folder, options)
    local self = process.start(command(options, path), {env = options.env})
    setmetatable(self, methods)
    self.folder, self.binary = folder, options.binary
    started[#started + 1] = self
    local ok = pcall(wait.eventually, function()
        local output = self:output()
        self.ws_port = tonumber(output:match("WebSocket%s+wss?://[^%s]-:(%d+)"))
        self.http_port = tonumber(output:match("HTTP%s+https?://[^%s]-:(%d+)"))
        return (self.ws_port and self.http_port) or not self:is_running()
    end, START_SECONDS)
    if not ok or not self.http_port then
        local said = ("status %s:\n%s"):format(tostring(self:status()), self:log())
        self.expected_end = true
        self:kill()
        error("the bridge did not start; " .. said, 3)
    end
    return self
end

-- options: config (table), config_text (instead), script (text of the routing script), files (name to text), env,
-- args (more arguments of `run`), binary (another program). Returns when the bridge has said where it listens.
function bridge.start(options)
    options = options or {}
    local path, folder = bridge.write(options)
    return start_at(path, folder, options)
end

-- Another process of that bridge, which serves in its place.
function bridge.adopt(server, pid)
    local self = setmetatable(process.adopt(pid, server), methods)
    self.folder, self.ws_port, self.http_port = server.folder, server.ws_port, server.http_port
    started[#started + 1] = self
    return self
end

-- The same with a config that is there already, on free ports.
function bridge.run(path)
    return start_at(path, path:match("(.*)/"), {args = {"--ws-port", "0", "--http-port", "0"}})
end

-- For a start that must be refused: exit status and standard error.
function bridge.start_failing(options)
    local path = bridge.write(options)
    local status, _, errors = process.run(command(options, path), {env = options.env})
    return status, errors
end

-- `luaduct ARGUMENTS…`: exit status, standard output, standard error.
function bridge.luaduct(arguments, options)
    local list = {bridge.BINARY}
    for _, argument in ipairs(arguments) do
        list[#list + 1] = argument
    end
    return process.run(list, options)
end

-- The same, running on while the test talks to it.
function bridge.luaduct_start(arguments, options)
    local list = {bridge.BINARY}
    for _, argument in ipairs(arguments) do
        list[#list + 1] = argument
    end
    return process.start(list, options)
end

function methods:url()
    return ("http://127.0.0.1:%d"):format(self.http_port)
end

-- The log so far, once it holds `text` (plain).
function methods:wait_log(text, seconds)
    wait.eventually(function()
        return self:log():find(text, 1, true)
    end, seconds, ("the log to hold %q; it holds:\n%s"):format(text, self:log()))
    return self:log()
end

local function check_log(self)
    local log = self:log()
    for _, report in ipairs(SANITIZERS) do
        if log:find(report, 1, true) then
            error("a sanitizer reported:\n" .. log, 0)
        end
    end
end

-- Resident memory in bytes.
function methods:resident()
    local pages = process.read_file(("/proc/%d/statm"):format(self:pid())):match("^%d+ (%d+)")
    return tonumber(pages) * 4096
end

-- Stops by SIGTERM and asserts exit status 0 and a log without sanitizer reports.
function methods:stop()
    self.expected_end = true
    if self:is_running() then
        self:signal("SIGTERM")
        self:wait_exit(15)
    end
    check_log(self)
    if self:status() ~= 0 then
        error(("the bridge ended with %s:\n%s"):format(tostring(self:status()), self:log()), 2)
    end
end

-- Something with a close() that the end of the test must close (clients register themselves).
function bridge.track(client)
    clients[#clients + 1] = client
    return client
end

-- For after_each: closes every client, stops every bridge as bridge:stop() does, and ends what does not obey.
function bridge.clean()
    local first_error
    for _, client in ipairs(clients) do
        pcall(client.close, client)
    end
    clients = {}
    for _, one in ipairs(started) do
        if not one.expected_end then
            local ok, message = pcall(one.stop, one)
            first_error = first_error or (not ok and message) or nil
        end
    end
    started = {}
    local clean, problem = pcall(process.clean)
    first_error = first_error or (not clean and problem) or nil
    if first_error then
        error(first_error, 0)
    end
end

return bridge
