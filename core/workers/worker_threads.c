/* What a worker's thread does: it takes runs from the queue, one after the other, and answers their tasks. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "memory/pool.h"
#include "workers/pool_state.h"

/* --- Answers ------------------------------------------------------------------------------------------------------ */

void answers_call(struct answers *answers)
{
    for (struct task *task = answers->first, *next; task; task = next) {
        next = task->next;
        task->done(task);
    }
    answers->first = NULL;
    answers->last = &answers->first;
}

void task_answer(struct task_run *run, enum task_status status, struct answers *answers)
{
    struct task *task = run->task;
    struct worker_pool_statistics *statistics = &worker_pool.statistics;
    uint64_t now = clock_steady_ns();
    task->status = status;
    if (run->started_ns != 0) {
        uint64_t ran = now - run->started_ns;
        task->run_ms = (double)ran / MS_NS;
        if (status == TASK_DONE || status == TASK_FAILED) {
            statistics->total_run_ns += ran;
            histogram_record(&worker_pool.runs, ran, 1);
            if (ran > statistics->longest_run_ns)
                statistics->longest_run_ns = ran;
            double seconds = (double)ran / 1e9;
            worker_pool.mean_run_s = worker_pool.mean_run_s == 0
                                         ? seconds
                                         : worker_pool.mean_run_s + 0.1 * (seconds - worker_pool.mean_run_s);
        }
    }
    switch (status) {
    case TASK_DONE:
        statistics->completed++;
        task->result = run->result;
        run->result = (struct buffer){0};
        break;
    case TASK_FAILED:
        statistics->failed++;
        memcpy(task->error, run->error, sizeof task->error);
        break;
    case TASK_TIMED_OUT:
        statistics->timeouts++;
        snprintf(task->error, sizeof task->error, "%s: stopped after %u ms, %s", run->name, run->timeout_ms,
                 run->started_ns == 0 ? "before a worker was free" : "while it ran");
        break;
    case TASK_CANCELLED:
        statistics->cancelled++;
        snprintf(task->error, sizeof task->error, "%s: cancelled", run->name);
        break;
    }
    run->task = NULL;
    task->run = NULL;
    task->next = NULL;
    *answers->last = task;
    answers->last = &task->next;
    task_run_release(run);
}

/* --- Workers ------------------------------------------------------------------------------------------------------ */

void worker_forget(struct worker *worker)
{
    *worker->previous = worker->next;
    if (worker->next)
        worker->next->previous = worker->previous;
    worker_pool.worker_count--;
    worker_pool.statistics.destroyed++;
}

/* Whether the one that asks, which is idle, may end. */
static bool surplus(void)
{
    struct scaling_view view = {.workers = worker_pool.worker_count, .idle = worker_pool.idle + 1};
    uint32_t wanted = scaling_decide(&worker_pool.scaling, &view);
    if (worker_pool.wanted_at_least > wanted)
        wanted = worker_pool.wanted_at_least;
    return worker_pool.worker_count > wanted;
}

/* The next run, started; NULL: the worker is to end. Mutex held. */
static struct task_run *take_run(struct worker *worker)
{
    uint64_t idle_ns = (uint64_t)worker_pool.options.idle_timeout_ms * MS_NS, until = clock_steady_ns() + idle_ns;
    for (;;) {
        struct task *task;
        if (worker_pool.stopping || worker_pool.failed)
            return NULL;
        if ((task = task_queue_take(&worker_pool.queue))) {
            struct task_run *run = task->run;
            uint64_t now = clock_steady_ns(), waited = now - run->submitted_ns;
            run->started_ns = now;
            run->worker = worker;
            worker->run = run;
            atomic_fetch_add_explicit(&run->references, 1, memory_order_relaxed);
            worker_pool.busy++;
            worker_pool.statistics.total_wait_ns += waited;
            histogram_record(&worker_pool.waits[task->priority], waited, 1);
            if (waited > worker_pool.statistics.longest_wait_ns)
                worker_pool.statistics.longest_wait_ns = waited;
            return run;
        }
        worker_pool.idle++;
        bool woken = worker_pool_wait(&worker_pool.work, until);
        worker_pool.idle--;
        if (!woken && task_queue_depth(&worker_pool.queue) == 0) {
            if (surplus())
                return NULL;
            until = clock_steady_ns() + idle_ns;
        }
    }
}

static enum task_status status_of(const struct task_run *run)
{
    if (run->cancelled)
        return TASK_CANCELLED;
    if (run->status == OPERATION_STOPPED || run->stopped_ns != 0)
        return TASK_TIMED_OUT;
    return run->status == OPERATION_DONE ? TASK_DONE : TASK_FAILED;
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    char name[24];
    snprintf(name, sizeof name, "worker %u", worker->number);
    log_name_thread(name);
    NO_ANSWERS(answers);
    pthread_mutex_lock(&worker_pool.mutex);
    struct task_run *run;
    while (!worker->given_up && (run = take_run(worker))) {
        pthread_mutex_unlock(&worker_pool.mutex);
        worker_run(worker, run, &worker_pool.mutex);
        pthread_mutex_lock(&worker_pool.mutex);
        worker->run = NULL;
        run->worker = NULL;
        if (!worker->given_up)
            worker_pool.busy--;
        if (run->task)
            task_answer(run, status_of(run), &answers);
        pthread_mutex_unlock(&worker_pool.mutex);
        task_run_release(run);
        answers_call(&answers);
        pthread_mutex_lock(&worker_pool.mutex);
    }
    bool counted = !worker->given_up;
    pthread_mutex_unlock(&worker_pool.mutex);
    worker_close(worker, &worker_pool.mutex);
    pool_leave_thread();
    pthread_mutex_lock(&worker_pool.mutex);
    if (counted && !worker->given_up) {
        worker_forget(worker);
        pthread_cond_signal(&worker_pool.settled);
    }
    pthread_mutex_unlock(&worker_pool.mutex);
    free(worker);
    return NULL;
}

int worker_create(void)
{
    struct worker *worker = calloc(1, sizeof *worker);
    if (!worker)
        return ENOMEM;
    worker->number = ++worker_pool.last_number;
    worker->host = &worker_pool.options.host;
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int failure = pthread_create(&thread, &attributes, worker_main, worker);
    pthread_attr_destroy(&attributes);
    if (failure != 0) {
        free(worker);
        return failure;
    }
    worker->next = worker_pool.workers;
    worker->previous = &worker_pool.workers;
    if (worker->next)
        worker->next->previous = &worker->next;
    worker_pool.workers = worker;
    worker_pool.worker_count++;
    worker_pool.statistics.created++;
    if (worker_pool.worker_count > worker_pool.most_workers)
        worker_pool.most_workers = worker_pool.worker_count;
    return 0;
}

/* --- Ending what runs --------------------------------------------------------------------------------------------- */

void worker_pool_cancel_waiting(struct answers *answers)
{
    struct task *task;
    while ((task = task_queue_take(&worker_pool.queue)))
        task_answer(task->run, TASK_CANCELLED, answers);
}

void task_run_stop(struct task_run *run, uint64_t now)
{
    if (run->stopped_ns == 0)
        run->stopped_ns = now;
    atomic_store_explicit(&run->stop, true, memory_order_relaxed);
    if (!run->operation && run->worker->user_state)
        worker_pool.options.host.interrupt(run->worker->user_state);
}

void worker_give_up(struct worker *worker, struct answers *answers)
{
    struct task_run *run = worker->run;
    log_warn(WORKER, "replaced", "worker %u does not stop in %s: it is replaced", worker->number, run->name);
    worker->given_up = true;
    worker_forget(worker);
    worker_pool.busy--;
    worker_pool.statistics.replaced++;
    if (run->task)
        task_answer(run, run->cancelled ? TASK_CANCELLED : TASK_TIMED_OUT, answers);
}
