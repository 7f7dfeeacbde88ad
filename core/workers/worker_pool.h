/* Threads for work that would hold up a reactor. A task is handed in with its data and comes back, done or not, through
 * its `done` function; whoever handed it in is never blocked.
 *
 *   submit ──► queue by priority ──► a worker runs it ──► done(task)
 *      │              │                   │ over its time: told to stop; deaf: given up and replaced
 *      └─ refused     └─ over its time ───┴──► done(task) with TASK_TIMED_OUT
 */
#ifndef LUADUCT_WORKERS_WORKER_POOL_H
#define LUADUCT_WORKERS_WORKER_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/histogram.h"
#include "protocol/code.h"
#include "workers/operation.h"

struct lua_State;

enum task_priority { TASK_HIGH, TASK_NORMAL, TASK_LOW, TASK_PRIORITIES };

enum task_status {
    TASK_DONE,
    TASK_FAILED,    /* error says why */
    TASK_TIMED_OUT, /* error says after how long, and where it was: waiting or running */
    TASK_CANCELLED, /* by task_cancel, or the pool stopped */
};

enum task_format {
    TASK_VALUE, /* data and result are one value (value.h) */
    TASK_JSON,  /* data is JSON text and the result is to be JSON: converted on the worker */
};

struct task {
    /* The caller's, set before worker_pool_submit. */
    struct slice operation; /* a name; text owned by `owner`, or static: must live until done */
    struct buffer data;     /* handed over: freed by task_free */
    struct slice json;      /* TASK_JSON: the part of data that is the text; length 0: all of it */
    enum task_format format;
    enum task_priority priority;
    uint32_t timeout_ms;             /* from submit to done; 0: phase2.workerPool.taskTimeout */
    void (*done)(struct task *task); /* exactly once, on a thread of the pool; must not block and may not submit */
    void *owner;

    /* The answer, from done on. */
    enum task_status status;
    struct buffer result;
    char error[OPERATION_ERROR_BYTES];
    double run_ms; /* 0 when it never ran */

    /* The pool's own. */
    struct task *next, *previous;
    struct task_run *run; /* NULL once it has been answered */
};

/* How operations that users wrote are run: given by the runtime, because sandboxed states are the script room's. Each
 * worker thread has at most one such state, made at its first need and used by that thread alone. */
struct worker_host {
    bool (*has)(struct slice name);          /* any thread: whether a user operation of that name exists */
    void *(*open)(char *error, size_t size); /* on the worker's thread; NULL: error says why */
    enum operation_status (*run)(void *state, struct slice name, struct operation_call *call);
    void (*interrupt)(void *state); /* any thread, while the state is open: makes a running `run` end soon; may be
                                       called again and again */
    void (*close)(void *state);
    void (*open_bundle)(struct lua_State *lua); /* makes require("luaduct.…") work in a worker's own state */
};

struct worker_pool_options {
    uint32_t min_workers, max_workers;
    uint32_t task_timeout_ms, queue_limit, idle_timeout_ms;
    bool predictive; /* scale by the forecast too */
    struct worker_host host;
    void (*failed)(const char *reason); /* on a thread of the pool: workers cannot be made or die in a loop; the pool
                                           refuses tasks from then on, until it is started again */
};

/* Main thread, before others hand in tasks: operations that users wrote are known even while the pool does not run, so
 * that a task for one is CODE_OVERLOADED then and not CODE_UNKNOWN_OPERATION. */
void worker_pool_set_host(const struct worker_host *host);

/* Main thread. False: `error` says why (no threads to be had) and nothing runs. */
bool worker_pool_start(const struct worker_pool_options *options, char *error, size_t size);

/* Main thread. Ends all workers; tasks that wait or run come back with TASK_CANCELLED before it returns. A worker that
 * does not answer within two seconds is left behind, detached. Harmless when the pool is not running. */
void worker_pool_stop(void);

/* Any thread. CODE_OK: the task is the pool's until its done is called. Otherwise it stays the caller's:
 * CODE_UNKNOWN_OPERATION, CODE_OVERLOADED (the queue is full, or the pool is not running). */
enum code worker_pool_submit(struct task *task);

/* Any thread: whether it takes tasks. */
bool worker_pool_running(void);

/* Any thread: the caller is no longer interested. done is still called, soon; for a task that waits, before this
 * returns. */
void task_cancel(struct task *task);

/* Frees what the task owns (data, result), not the task. */
void task_clear(struct task *task);

/* Now: changes how many workers there may be (an alert's SCALE_UP, a forecast); clamped to the options. Any thread. */
void worker_pool_want(uint32_t workers);

struct worker_pool_statistics {
    bool running;
    uint32_t workers, busy, most_workers;
    uint64_t created, destroyed, replaced; /* threads; replaced: were deaf, or died */
    uint64_t queued_in_all;                /* tasks taken */
    uint64_t completed, failed, timeouts, cancelled, refused;
    uint64_t total_run_ns, longest_run_ns; /* of completed and failed ones */
    uint64_t total_wait_ns, longest_wait_ns;
    uint32_t depth[TASK_PRIORITIES]; /* waiting now */
    double forecast;                 /* workers that the forecast asks for; 0 when off */
};
void worker_pool_read_statistics(struct worker_pool_statistics *out); /* any thread */

/* How long tasks waited for a worker, by priority, and how long those ran that ended done or failed: added to the sums.
 * Any thread. */
void worker_pool_add_times(struct histogram_sums waits[TASK_PRIORITIES], struct histogram_sums *runs);

#endif
