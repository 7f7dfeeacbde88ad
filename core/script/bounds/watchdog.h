/* Stops a hook that runs over its budget, which is processor time of its thread: a hook waits for nothing inside a
 * call, so the rest is what the machine gave to others, and no fault of the script. The thread that runs hooks only
 * numbers its calls (two plain stores a call, no clock); one supervising thread looks every few milliseconds whether
 * the same call is still running, and if so signals that very thread. The signal's handler arms LuaJIT's debug hook,
 * which raises an error at every instruction until the call has unwound, so that a script's own pcall cannot swallow
 * the stop.
 *
 * The signal is SIGURG: its default is to be ignored, so one that comes late or astray harms nobody, and nothing else
 * here asks for it (out-of-band data raises it only after F_SETOWN). */
#ifndef LUADUCT_SCRIPT_BOUNDS_WATCHDOG_H
#define LUADUCT_SCRIPT_BOUNDS_WATCHDOG_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct lua_State;
struct lua_Debug;

/* How often a supervisor calls watchdog_check while hooks run. A stop comes at most this much after the budget. */
#define WATCHDOG_TICK_MS 5

struct watchdog {
    /* Written by the thread that runs hooks, read by the supervisor: odd while a hook runs, one higher at each change.
     */
    _Atomic uint64_t sequence;
    /* Set by the signal handler on the thread that runs hooks; long C loops (patterns, sorting, JSON) look at it. */
    atomic_bool stop;
    /* Set by the supervisor when it sleeps: the next hook writes to wake_fd. */
    atomic_bool asleep;
    /* Written by the supervisor: the call that the signal means. An older signal meets a newer number and does nothing.
     */
    _Atomic uint64_t meant;

    struct lua_State *lua;
    void (*on_stop)(struct lua_State *lua, struct lua_Debug *record); /* raises; runs at each instruction once armed */
    pthread_t thread;
    clockid_t cpu_clock; /* the thread's */
    int wake_fd;         /* for wake_call, or -1 */
    uint64_t budget_ns;

    struct watchdog *next, **previous; /* the supervisor's list */

    /* The supervisor's own. */
    uint64_t seen_sequence, seen_cpu_ns, signalled_ns;
};

/* Installs the handler for SIGURG, once in the process's life, before the first hook runs. False: errno says why. */
bool watchdog_install(void);

/* For the calling thread, which is the one that will run hooks. `on_stop` must raise a Lua error. */
void watchdog_init(struct watchdog *watchdog, struct lua_State *lua,
                   void (*on_stop)(struct lua_State *, struct lua_Debug *), uint32_t budget_ms, int wake_fd);

/* From now on the calling thread runs the hooks. Before the supervisor knows of it. */
void watchdog_move_here(struct watchdog *watchdog);

/* Around each call into a hook, on the thread that runs it. watchdog_leave tells whether the call was stopped, and
 * takes the debug hook away again. Calls do not nest. */
void watchdog_enter(struct watchdog *watchdog);
bool watchdog_leave(struct watchdog *watchdog);

/* The supervisor, every WATCHDOG_TICK_MS with clock_steady_ns(): true while there is something to watch (a hook runs or
 * has run since the last check). One supervising thread; ends before the state is freed. */
bool watchdog_check(struct watchdog *watchdog, uint64_t now_ns);

/* Any thread: stops the call that runs now, if one does, whatever its budget. While the state's thread lives. */
void watchdog_stop_now(struct watchdog *watchdog);

/* The supervisor, before it sleeps without a tick: true when no hook runs, and the next one will write to wake_fd.
 * False when a hook runs after all, or when there is no way to be sure (no wake_fd, no barrier_seldom): keep ticking.
 * Any watchdog_check ends the sleep. */
bool watchdog_sleep(struct watchdog *watchdog);

#endif
