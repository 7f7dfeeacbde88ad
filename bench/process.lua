-- Processes of a benchmark: children of this one, each ended by its pid, and by the kernel should this one die first.
local ffi = require("ffi")

ffi.cdef([[
int fork(void);
int execv(const char *path, const char *const *arguments);
int prctl(int option, unsigned long argument, ...);
int kill(int pid, int signal);
int waitpid(int pid, int *status, int options);
int usleep(unsigned microseconds);
void _exit(int status);
]])

local SIGKILL, SIGTERM, WNOHANG, PR_SET_PDEATHSIG = 9, 15, 1, 1

local process = {}
local started = {} -- pid -> true, so that all can be ended when something fails

local function quote(text)
    return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function read_all(path)
    local file = io.open(path)
    local text = file and file:read("*a")
    if file then
        file:close()
    end
    return text
end

function process.sleep(seconds)
    ffi.C.usleep(seconds * 1e6)
end

-- What a command prints, without the line end, and whether it succeeded.
function process.capture(command)
    local pipe = assert(io.popen(command .. "\necho \" $?\"", "r"))
    local text = pipe:read("*a")
    pipe:close()
    local printed, status = text:match("^(.-)%s*(%d+)%s*$")
    return printed, status == "0"
end

-- Starts a command line in the background on these processors, all that it prints into a log file. Gives its pid.
function process.start(cores, command, log)
    local line = "ulimit -n $(ulimit -Hn); exec taskset -c %s %s </dev/null >%s 2>&1"
    line = line:format(cores, command, quote(log))
    local arguments = ffi.new("const char *[4]", { "sh", "-c", line, nil })
    local pid = ffi.C.fork()
    if pid == 0 then
        ffi.C.prctl(PR_SET_PDEATHSIG, ffi.cast("unsigned long", SIGTERM))
        ffi.C.execv("/bin/sh", arguments)
        ffi.C._exit(127)
    end
    assert(pid > 0, "cannot start a process")
    started[pid] = true
    return pid
end

-- Also takes the exit code of one that has ended.
function process.alive(pid)
    if started[pid] and ffi.C.waitpid(pid, nil, WNOHANG) ~= 0 then
        started[pid] = nil
    end
    return started[pid] ~= nil
end

local function wait_gone(pid, seconds)
    for _ = 1, seconds / 0.02 do
        if not process.alive(pid) then
            return true
        end
        process.sleep(0.02)
    end
    return not process.alive(pid)
end

function process.stop(pid)
    if not process.alive(pid) then
        return
    end
    ffi.C.kill(pid, SIGTERM)
    if not wait_gone(pid, 5) then
        ffi.C.kill(pid, SIGKILL)
        wait_gone(pid, 5)
    end
end

function process.stop_all()
    local pids = {}
    for pid in pairs(started) do
        pids[#pids + 1] = pid
    end
    for _, pid in ipairs(pids) do
        process.stop(pid)
    end
end

local function accepts(port)
    local _, good = process.capture(("bash -c 'exec 3<>/dev/tcp/127.0.0.1/%d' 2>/dev/null"):format(port))
    return good
end

-- A port that nobody listens on, below the range that the kernel gives to outgoing connections.
function process.free_port()
    for _ = 1, 100 do
        local port = math.random(20000, 30000)
        if not accepts(port) then
            return port
        end
    end
    error("no free port found")
end

-- Waits until the process accepts connections. False: it ended, or did not within the time.
function process.await_port(pid, port, seconds)
    for _ = 1, seconds / 0.05 do
        if accepts(port) then
            return true
        end
        if not process.alive(pid) then
            return false
        end
        process.sleep(0.05)
    end
    return false
end

process.read_all = read_all

return process
