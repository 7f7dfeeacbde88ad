/* What the files of the worker pool share: its state, under one mutex that is held for moments, never while a task runs
 * or a `done` is called. worker_pool.c has the doors, worker_threads.c what workers do, supervisor.c what is due. */
#ifndef LUADUCT_WORKERS_POOL_STATE_H
#define LUADUCT_WORKERS_POOL_STATE_H

#include <pthread.h>

#include "workers/scaling.h"
#include "workers/task_queue.h"
#include "workers/worker.h"

/* A run that is to stop is interrupted again at this distance: a signal may come at a moment at which it is lost. */
#define INTERRUPT_AGAIN_NS 20000000u

#define MS_NS 1000000u

extern struct worker_pool {
    pthread_mutex_t mutex;
    pthread_cond_t work;    /* for idle workers */
    pthread_cond_t due;     /* for the supervisor */
    pthread_cond_t settled; /* for worker_pool_stop: a worker has ended */
    pthread_t supervisor;
    bool running, stopping, failed;
    struct worker_pool_options options;
    struct task_queue queue;
    struct worker *workers;
    uint32_t worker_count, busy, idle, most_workers, wanted_at_least;
    unsigned last_number;
    uint64_t first_deadline_ns; /* of the tasks that wait, or earlier */
    uint64_t next_due_ns;       /* when the supervisor wakes by itself; UINT64_MAX: not */
    struct scaling scaling;
    uint64_t sampled_ns, create_after_ns;
    uint64_t arrived_since_sample; /* tasks */
    double mean_run_s;             /* of the last tasks, smoothed */
    uint64_t given_up_since_ns;    /* start of the minute being counted */
    unsigned given_up_in_it;
    struct worker_pool_statistics statistics;
    struct histogram waits[TASK_PRIORITIES], runs; /* written with the mutex */
} worker_pool;

/* False: the time has come. UINT64_MAX waits for ever. Mutex held, as for all below but answers_call. */
bool worker_pool_wait(pthread_cond_t *condition, uint64_t ns);

/* --- Answers ---------------------------------------------------------------------------------------------------- */

/* Tasks whose `done` is to be called once the mutex is free. */
struct answers {
    struct task *first, **last;
};

#define NO_ANSWERS(name)                                                                                               \
    struct answers name = {0};                                                                                         \
    name.last = &name.first

/* The task's side of the run ends here. */
void task_answer(struct task_run *run, enum task_status status, struct answers *answers);

/* Calls them, and there are none. Mutex not held. */
void answers_call(struct answers *answers);

/* --- Workers ---------------------------------------------------------------------------------------------------- */

/* 0, or the errno of why there is no new worker. */
int worker_create(void);

/* The pool knows it no longer. */
void worker_forget(struct worker *worker);

/* Tells a run on a worker to stop; again and again, until it does. */
void task_run_stop(struct task_run *run, uint64_t now);

/* The worker does not come back: its task is answered, and it is on its own. */
void worker_give_up(struct worker *worker, struct answers *answers);

/* Answers all tasks that wait. */
void worker_pool_cancel_waiting(struct answers *answers);

/* --- The supervisor --------------------------------------------------------------------------------------------- */

/* Has it look at what is due, at that time at the latest. */
void supervisor_wake(uint64_t due_ns);

/* Its thread: sleeps until something is due (a task is over its time, a worker that was told to stop does not, a queue
 * grows faster than the workers empty it, the load is to be sampled), until the pool stops. */
void *supervisor_main(void *unused);

#endif
