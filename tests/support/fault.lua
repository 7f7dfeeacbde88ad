-- A bridge of which the n-th call of a kind fails (fault.c): the file that both have mapped, as a table.
local bridge = require "tests.support.bridge"
local ffi = require "ffi"
local process = require "tests.support.process"

pcall(ffi.cdef, [[
    void *mmap(void *address, size_t length, int protection, int flags, int fd, long offset);
    int open(const char *path, int flags, ...);
    int close(int fd);
    struct fault_plan { uint64_t kind, nth, every, asked, failed; int64_t realtime_shift_ns;
        uint64_t kill_at, steps, stop_at, stopped; };
]])

local fault = {LIBRARY = os.getenv("LUADUCT_FAULT")}

-- In the order of fault.c.
fault.KINDS = {"malloc", "receive", "send", "accept", "epoll", "open", "thread", "map"}
local NUMBERS = {}
for number, name in ipairs(fault.KINDS) do
    NUMBERS[name] = number
end

-- A fresh plan: nothing fails yet. `env` is what the bridge needs to follow it.
function fault.plan()
    local path = process.folder() .. "/plan"
    process.write_file(path, ("\0"):rep(4096))
    local fd = ffi.C.open(path, 2)
    local mapped = ffi.C.mmap(nil, 4096, 3, 1, fd, 0)
    assert(mapped ~= ffi.cast("void *", -1), "the plan cannot be mapped")
    ffi.C.close(fd)
    local plan = ffi.cast("struct fault_plan *", mapped)
    return {memory = plan, env = {LD_PRELOAD = fault.LIBRARY, LUADUCT_FAULT_FILE = path}}
end

-- From now on calls of that kind are counted; the nth fails, and with `every` each so-manieth after it. nth 0: none.
function fault.set(plan, kind, nth, every)
    plan.memory.kind = 0
    plan.memory.asked, plan.memory.failed = 0, 0
    plan.memory.nth, plan.memory.every = nth, every or 0
    plan.memory.kind = NUMBERS[kind]
end

function fault.clear(plan)
    plan.memory.kind = 0
end

function fault.asked(plan)
    return tonumber(plan.memory.asked)
end

function fault.failed(plan)
    return tonumber(plan.memory.failed)
end

function fault.shift_clock(plan, seconds)
    plan.memory.realtime_shift_ns = seconds * 1000000000LL
end

-- A new process that this bridge hands over to is killed at that step of it; 0: not any more.
function fault.kill_successor(plan, step)
    plan.memory.steps = 0
    plan.memory.kill_at = step
end

-- It is stopped there, until a test lets it go on: see fault.stopped.
function fault.stop_successor(plan, step)
    plan.memory.steps, plan.memory.stopped = 0, 0
    plan.memory.stop_at = step
end

-- The process that was; nil: none yet.
function fault.stopped(plan)
    local pid = tonumber(plan.memory.stopped)
    local stopped = pid ~= 0 and process.read_file(("/proc/%d/stat"):format(pid)):find("%) T ")
    return stopped and pid or nil
end

-- A bridge that follows the plan; options as for bridge.start.
function fault.start(plan, options)
    options = options or {}
    options.env = plan.env
    return bridge.start(options)
end

return fault
