-- Child processes and temporary folders of the tests. Everything started here is gone when a test is over:
-- process.clean() ends what still runs, and the kernel ends it when the test runner itself dies.
local dirent = require "posix.dirent"
local fcntl = require "posix.fcntl"
local ffi = require "ffi"
local signal = require "posix.signal"
local stdlib = require "posix.stdlib"
local syswait = require "posix.sys.wait"
local unistd = require "posix.unistd"
local wait = require "tests.support.wait"

-- Declared only once, for each test file loads its own copy of this module.
pcall(ffi.cdef, "int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d);")
local PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
-- What a child leaves behind becomes ours, so that its end can be waited for.
ffi.C.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

local process = {}
local methods = {}
methods.__index = methods
process.methods = methods

local running, folders = {}, {}

-- What an environment of the person who runs the tests must not change.
local CLEARED = {
    "AI_BRIDGE_HOST", "AI_BRIDGE_INSECURE", "AI_BRIDGE_PORT", "AI_BRIDGE_HTTP_PORT", "PORT", "AI_BRIDGE_AUTH_TOKEN",
    "AI_BRIDGE_CORS_ORIGINS", "AI_BRIDGE_HISTORY_LIMIT", "AI_BRIDGE_MAX_QUEUE", "AI_BRIDGE_CLIENT_TTL_MS",
    "AI_BRIDGE_CLEANUP_INTERVAL_MS", "AI_BRIDGE_RATE_WINDOW_MS", "AI_BRIDGE_RATE_MAX", "NODE_ENV", "AI_BRIDGE_URL",
    "AGENT_ID", "AGENT_ROLE",
}

function process.read_file(path)
    local file = io.open(path, "rb")
    if not file then
        return ""
    end
    local text = file:read("*a")
    file:close()
    return text
end

function process.write_file(path, text)
    local file = assert(io.open(path, "wb"))
    file:write(text)
    file:close()
end

-- A fresh folder, removed by process.clean().
function process.folder()
    local path = assert(stdlib.mkdtemp("/tmp/luaduct-test-XXXXXX"))
    folders[#folders + 1] = path
    return path
end

local function close_inherited()
    local open = {}
    for name in dirent.files("/proc/self/fd") do
        local number = tonumber(name)
        if number and number > 2 then
            open[#open + 1] = number
        end
    end
    for _, number in ipairs(open) do
        unistd.close(number)
    end
end

-- Runs in the child and never returns.
local function become(command, options, paths)
    ffi.C.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    local input = fcntl.open(paths.input or "/dev/null", fcntl.O_RDONLY)
    local flags = bit.bor(fcntl.O_WRONLY, fcntl.O_CREAT, fcntl.O_TRUNC, fcntl.O_APPEND)
    local output = fcntl.open(paths.output, flags, 384)
    local errors = fcntl.open(paths.errors, flags, 384)
    if options.keep_input then
        input = options.keep_input
    end
    unistd.dup2(input, 0)
    unistd.dup2(output, 1)
    unistd.dup2(errors, 2)
    close_inherited()
    for _, name in ipairs(CLEARED) do
        stdlib.setenv(name, nil)
    end
    for name, value in pairs(options.env or {}) do
        stdlib.setenv(name, value)
    end
    if options.directory then
        unistd.chdir(options.directory)
    end
    local arguments = {}
    for index = 2, #command do
        arguments[index - 1] = command[index]
    end
    unistd.execp(command[1], arguments)
    unistd._exit(127)
end

-- Starts `command` (a list). options: env (table), input (text for standard input, or "pipe": then send_input and
-- close_input work), directory.
function process.start(command, options)
    options = options or {}
    local folder = process.folder()
    local paths = {output = folder .. "/stdout", errors = folder .. "/stderr"}
    local write_end
    if options.input == "pipe" then
        options.keep_input, write_end = unistd.pipe()
    elseif options.input then
        paths.input = folder .. "/stdin"
        process.write_file(paths.input, options.input)
    end
    io.stdout:flush()
    io.stderr:flush()
    local pid = assert(unistd.fork())
    if pid == 0 then
        become(command, options, paths)
    end
    if options.keep_input then
        unistd.close(options.keep_input)
    end
    local self = setmetatable({process_id = pid, paths = paths, write_end = write_end}, methods)
    running[#running + 1] = self
    return self
end

-- The process with that id, which one of ours has started and left behind; it writes where that one wrote.
function process.adopt(pid, other)
    local self = setmetatable({process_id = pid, paths = other.paths}, methods)
    running[#running + 1] = self
    return self
end

-- Runs `command` to its end: exit status, standard output, standard error.
function process.run(command, options)
    local child = process.start(command, options)
    local status = child:wait_exit(options and options.seconds)
    return status, child:output(), child:errors()
end

function methods:pid()
    return self.process_id
end

function methods:output()
    return process.read_file(self.paths.output)
end

function methods:errors()
    return process.read_file(self.paths.errors)
end

function methods:log()
    return self:output() .. self:errors()
end

function methods:send_input(text)
    assert(unistd.write(self.write_end, text))
end

function methods:close_input()
    if self.write_end then
        unistd.close(self.write_end)
        self.write_end = nil
    end
end

function methods:signal(name)
    assert(self:is_running(), "the process has ended")
    assert(signal.kill(self.process_id, signal[name]))
end

-- Exit status, or the text "killed by N".
function methods:status()
    self:is_running()
    return self.exit_status
end

function methods:is_running()
    if self.exit_status ~= nil then
        return false
    end
    local pid, how, code = syswait.wait(self.process_id, syswait.WNOHANG)
    if pid == self.process_id and how ~= "running" then
        self.exit_status = how == "exited" and code or "killed by " .. tostring(code)
        return false
    end
    if not pid and not signal.kill(self.process_id, 0) then
        self.exit_status = "known to another process that waited for it"
        return false
    end
    return true
end

function methods:wait_exit(seconds)
    local ok = pcall(wait.eventually, function()
        return not self:is_running()
    end, seconds)
    if not ok then
        local log = self:log()
        self:kill()
        error("the process did not end in time; it said:\n" .. log, 2)
    end
    return self.exit_status
end

function methods:kill()
    self:close_input()
    if self:is_running() then
        signal.kill(self.process_id, signal.SIGKILL)
        wait.eventually(function()
            return not self:is_running()
        end, 10, "a killed process to end")
    end
end

local function remove_folder(path)
    for name in dirent.files(path) do
        if name ~= "." and name ~= ".." then
            local inner = path .. "/" .. name
            if not os.remove(inner) then
                remove_folder(inner)
            end
        end
    end
    unistd.rmdir(path)
end

-- Ends every process that still runs and removes every folder.
function process.clean()
    local first_problem
    for _, child in ipairs(running) do
        local ended, problem = pcall(child.kill, child)
        first_problem = first_problem or (not ended and problem) or nil
    end
    running = {} -- also what could not be ended: the next test is not to fail for it, too
    repeat -- what they left behind has ended with them
        local pid = syswait.wait(-1, syswait.WNOHANG)
    until not pid or pid <= 0
    if os.getenv("LUADUCT_TEST_KEEP") ~= "1" then
        for _, path in ipairs(folders) do
            remove_folder(path)
        end
    end
    folders = {}
    if first_problem then
        error(first_problem, 0)
    end
end

return process
