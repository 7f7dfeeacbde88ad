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
int isatty(int descriptor);

typedef struct { unsigned long words[16]; } bench_signals; /* glibc's sigset_t */
typedef struct { long seconds, nanoseconds; } bench_time;
int sigemptyset(bench_signals *set);
int sigaddset(bench_signals *set, int signal);
int sigprocmask(int how, const bench_signals *set, bench_signals *old);
int sigtimedwait(const bench_signals *set, void *info, const bench_time *timeout);
int clock_gettime(int clock, bench_time *time);
]])

local SIGHUP, SIGINT, SIGKILL, SIGTERM, WNOHANG, PR_SET_PDEATHSIG = 1, 2, 9, 15, 1, 1
local SIG_BLOCK, SIG_UNBLOCK, CLOCK_MONOTONIC = 0, 1, 1

local process = {}
local started = {} -- pid -> true, so that all can be ended when something fails
local statuses = {} -- pid -> exit status, or 128 and the signal, of those that have ended
local caught -- the signals that sleep() looks for

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

-- From now on SIGINT, SIGTERM and SIGHUP do not end this process at once: sleep() raises {signal = N}, so that whoever
-- caught it can stop its children and remove its files.
function process.catch_signals()
    caught = ffi.new("bench_signals[1]")
    ffi.C.sigemptyset(caught)
    for _, signal in ipairs({ SIGHUP, SIGINT, SIGTERM }) do
        ffi.C.sigaddset(caught, signal)
    end
    ffi.C.sigprocmask(SIG_BLOCK, caught, nil)
end

function process.sleep(seconds)
    if not caught then
        ffi.C.usleep(seconds * 1e6)
        return
    end
    local whole = math.floor(seconds)
    local time = ffi.new("bench_time[1]", { { whole, (seconds - whole) * 1e9 } })
    local signal = ffi.C.sigtimedwait(caught, nil, time)
    if signal > 0 then
        error({ signal = signal }, 0)
    end
end

-- Seconds of a clock that nobody sets.
function process.now()
    local time = ffi.new("bench_time[1]")
    ffi.C.clock_gettime(CLOCK_MONOTONIC, time)
    return tonumber(time[0].seconds) + tonumber(time[0].nanoseconds) / 1e9
end

function process.is_terminal(descriptor)
    return ffi.C.isatty(descriptor) == 1
end

-- What a command prints, without the line end, and whether it succeeded.
function process.capture(command)
    local pipe = assert(io.popen(command .. "\necho \" $?\"", "r"))
    local text = pipe:read("*a")
    pipe:close()
    local printed, status = text:match("^(.-)%s*(%d+)%s*$")
    return printed, status == "0"
end

-- Starts a command line in the background on these processors (nil: on any), all that it prints into a log file. Gives
-- its pid. options: errors (a file of its own for standard error), input (a FIFO), address_space (its RLIMIT_AS, in
-- bytes).
function process.start(cores, command, log, options)
    options = options or {}
    local line = ("ulimit -n $(ulimit -Hn); %sexec %s%s <%s >%s 2>%s"):format(
        options.address_space and ("ulimit -v %d; "):format(options.address_space / 1024) or "",
        cores and ("taskset -c %s "):format(cores) or "",
        command,
        options.input and ">" .. quote(options.input) or "/dev/null", -- "<>": a FIFO opens without its other end
        quote(log),
        options.errors and quote(options.errors) or "&1"
    )
    local arguments = ffi.new("const char *[4]", { "sh", "-c", line, nil })
    local pid = ffi.C.fork()
    if pid == 0 then
        ffi.C.prctl(PR_SET_PDEATHSIG, ffi.cast("unsigned long", SIGTERM))
        if caught then
            ffi.C.sigprocmask(SIG_UNBLOCK, caught, nil)
        end
        ffi.C.execv("/bin/sh", arguments)
        ffi.C._exit(127)
    end
    assert(pid > 0, "cannot start a process")
    started[pid] = true
    return pid
end

-- Also takes the exit status of one that has ended.
function process.alive(pid)
    local status = ffi.new("int[1]")
    if started[pid] and ffi.C.waitpid(pid, status, WNOHANG) ~= 0 then
        local signal = status[0] % 128
        statuses[pid] = signal == 0 and math.floor(status[0] / 256) % 256 or 128 + signal
        started[pid] = nil
    end
    return started[pid] ~= nil
end

-- Of one that has ended.
function process.status(pid)
    return statuses[pid]
end

-- SIGINT: the load generator ends its measuring then, and reports.
function process.interrupt(pid)
    if process.alive(pid) then
        ffi.C.kill(pid, SIGINT)
    end
end

local function wait_gone(pid, seconds)
    for _ = 1, seconds / 0.02 do
        if not process.alive(pid) then
            return true
        end
        ffi.C.usleep(20000) -- not sleep(): what ends children must not be interrupted
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
process.quote = quote

return process
