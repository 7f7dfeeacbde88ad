/* The signal's handler runs on the thread whose hook it means, between two instructions of that thread, so it sees the
 * sequence number in program order: a signal that arrives after its call has ended finds another number and does
 * nothing. All that the handler sets (the stop flag, LuaJIT's debug hook) is taken back by watchdog_leave on the same
 * thread; no other thread ever touches the Lua state. lua_sethook is what LuaJIT's own command line calls on Ctrl-C.
 *
 * Sleeping: a running hook must see `asleep`, or the supervisor its number. Both sides store, then load, and on x86 the
 * load may pass the store: base/threads/barrier.h, where the supervisor is the seldom one. */
#include "script/bounds/watchdog.h"

#include <lua.h>
#include <signal.h>
#include <string.h>

#include "base/threads/barrier.h"
#include "base/threads/wake.h"

/* A signal is sent again at this distance while the call still runs, should the first have met LuaJIT at a moment at
 * which it was lost. */
#define SIGNAL_AGAIN_NS 20000000u

/* ThreadSanitizer holds a signal back until the thread calls into libc, which a loop in Lua never does. So in such a
 * build, for tests only, LuaJIT's debug hook polls from the start, and the supervisor sets the flag itself. */
#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define WATCHDOG_POLLS 1
#endif
#endif
#if !defined(WATCHDOG_POLLS) && defined(__SANITIZE_THREAD__)
#define WATCHDOG_POLLS 1
#endif
#define POLL_INSTRUCTIONS 1000

static _Thread_local struct watchdog *volatile running;
static bool may_sleep;

static void handle_signal(int number)
{
    (void)number;
    struct watchdog *watchdog = running;
    if (!watchdog)
        return;
    uint64_t sequence = atomic_load_explicit(&watchdog->sequence, memory_order_relaxed);
    if (sequence % 2 == 0 || sequence != atomic_load_explicit(&watchdog->meant, memory_order_relaxed))
        return;
    atomic_store_explicit(&watchdog->stop, true, memory_order_relaxed);
    lua_sethook(watchdog->lua, watchdog->on_stop, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

#ifdef WATCHDOG_POLLS
static void poll_flag(lua_State *lua, lua_Debug *record)
{
    struct watchdog *watchdog = running;
    if (!watchdog || !atomic_load_explicit(&watchdog->stop, memory_order_relaxed))
        return;
    lua_sethook(lua, watchdog->on_stop, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
    watchdog->on_stop(lua, record);
}
#endif

/* The state's debug hook as it is while nothing is to be stopped. */
static void disarm(struct watchdog *watchdog)
{
#ifdef WATCHDOG_POLLS
    lua_sethook(watchdog->lua, poll_flag, LUA_MASKCOUNT, POLL_INSTRUCTIONS);
#else
    lua_sethook(watchdog->lua, NULL, 0, 0);
#endif
}

static void send_stop(struct watchdog *watchdog)
{
#ifdef WATCHDOG_POLLS
    atomic_store_explicit(&watchdog->stop, true, memory_order_relaxed);
#else
    pthread_kill(watchdog->thread, SIGURG); /* the kernel orders what was stored before the handler */
#endif
}

bool watchdog_install(void)
{
    may_sleep = barrier_prepare();
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handle_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    return sigaction(SIGURG, &action, NULL) == 0;
}

void watchdog_init(struct watchdog *watchdog, struct lua_State *lua,
                   void (*on_stop)(struct lua_State *, struct lua_Debug *), uint32_t budget_ms, int wake_fd)
{
    memset(watchdog, 0, sizeof *watchdog);
    watchdog->lua = lua;
    watchdog->on_stop = on_stop;
    watchdog->wake_fd = wake_fd;
    watchdog->budget_ns = (uint64_t)budget_ms * 1000000;
    watchdog_move_here(watchdog);
}

void watchdog_move_here(struct watchdog *watchdog)
{
    watchdog->thread = pthread_self();
    pthread_getcpuclockid(watchdog->thread, &watchdog->cpu_clock);
}

static __attribute__((noinline)) void wake_supervisor(struct watchdog *watchdog)
{
    atomic_store_explicit(&watchdog->asleep, false, memory_order_relaxed);
    wake_call(watchdog->wake_fd);
}

void watchdog_enter(struct watchdog *watchdog)
{
    running = watchdog;
#ifdef WATCHDOG_POLLS
    atomic_store_explicit(&watchdog->stop, false, memory_order_relaxed);
    if (watchdog->lua)
        disarm(watchdog);
#endif
    uint64_t next = atomic_load_explicit(&watchdog->sequence, memory_order_relaxed) + 1;
    atomic_store_explicit(&watchdog->sequence, next, memory_order_relaxed);
    barrier_frequent();
    if (__builtin_expect(atomic_load_explicit(&watchdog->asleep, memory_order_relaxed), 0))
        wake_supervisor(watchdog);
}

bool watchdog_leave(struct watchdog *watchdog)
{
    uint64_t next = atomic_load_explicit(&watchdog->sequence, memory_order_relaxed) + 1;
    atomic_store_explicit(&watchdog->sequence, next, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    running = NULL;
    if (__builtin_expect(!atomic_load_explicit(&watchdog->stop, memory_order_relaxed), 1))
        return false;
    disarm(watchdog);
    atomic_store_explicit(&watchdog->stop, false, memory_order_relaxed);
    return true;
}

static uint64_t cpu_ns(const struct watchdog *watchdog)
{
    struct timespec used;
    clock_gettime(watchdog->cpu_clock, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

bool watchdog_check(struct watchdog *watchdog, uint64_t now_ns)
{
    atomic_store_explicit(&watchdog->asleep, false, memory_order_relaxed);
    uint64_t sequence = atomic_load_explicit(&watchdog->sequence, memory_order_relaxed);
    if (sequence != watchdog->seen_sequence) {
        watchdog->seen_sequence = sequence;
        watchdog->seen_cpu_ns = sequence % 2 == 0 ? 0 : cpu_ns(watchdog);
        watchdog->signalled_ns = 0;
        return true;
    }
    if (sequence % 2 == 0)
        return false;
    if (cpu_ns(watchdog) - watchdog->seen_cpu_ns >= watchdog->budget_ns &&
        (watchdog->signalled_ns == 0 || now_ns - watchdog->signalled_ns >= SIGNAL_AGAIN_NS)) {
        watchdog->signalled_ns = now_ns;
        atomic_store_explicit(&watchdog->meant, sequence, memory_order_relaxed);
        send_stop(watchdog);
    }
    return true;
}

void watchdog_stop_now(struct watchdog *watchdog)
{
    uint64_t sequence = atomic_load_explicit(&watchdog->sequence, memory_order_relaxed);
    if (sequence % 2 == 0)
        return;
    atomic_store_explicit(&watchdog->meant, sequence, memory_order_relaxed);
    send_stop(watchdog);
}

bool watchdog_sleep(struct watchdog *watchdog)
{
    if (!may_sleep || watchdog->wake_fd < 0)
        return false;
    atomic_store_explicit(&watchdog->asleep, true, memory_order_seq_cst);
    if (barrier_seldom() &&
        atomic_load_explicit(&watchdog->sequence, memory_order_relaxed) == watchdog->seen_sequence &&
        watchdog->seen_sequence % 2 == 0)
        return true;
    atomic_store_explicit(&watchdog->asleep, false, memory_order_relaxed);
    return false;
}
