/* One worker thread, and the run of one task. What a run needs lies in a task_run of its own, held by two sides: a
 * worker that is given up may go on reading it when the task has long been answered. */
#ifndef LUADUCT_WORKERS_WORKER_H
#define LUADUCT_WORKERS_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "workers/worker_pool.h"

struct worker;

struct task_run {
    atomic_uint references;
    atomic_bool stop;
    struct task *task;                 /* pool's mutex; NULL once it is answered */
    struct worker *worker;             /* pool's mutex; NULL while it waits */
    const struct operation *operation; /* NULL: a user's, by name */
    char name[64];
    enum task_format format;
    struct buffer data;
    struct slice json; /* as task.json */
    uint32_t timeout_ms;
    uint64_t submitted_ns, started_ns, deadline_ns, stopped_ns; /* steady clock; stopped: when it was told to, 0: not */
    bool cancelled;                                             /* pool's mutex */

    /* The worker's, until it comes back. */
    struct buffer result;
    enum operation_status status;
    char error[OPERATION_ERROR_BYTES];
};

/* NULL: no memory. Takes the task's data. */
struct task_run *task_run_new(struct task *task, const struct operation *operation);
void task_run_release(struct task_run *run);

struct worker {
    struct worker *next, **previous; /* of the pool */
    unsigned number;
    struct task_run *run; /* pool's mutex; NULL: idle */
    bool given_up;        /* pool's mutex: the pool has forgotten it; it frees itself */
    void *user_state;     /* written with the pool's mutex, by its thread */

    /* Its thread's own. */
    const struct worker_host *host;
    struct lua_State *lua;
};

/* Runs it, on the worker's thread: fills in result, status and error. `mutex` is the pool's, not held. */
void worker_run(struct worker *worker, struct task_run *run, pthread_mutex_t *mutex);

/* Closes the worker's Lua states; on its thread. */
void worker_close(struct worker *worker, pthread_mutex_t *mutex);

#endif
