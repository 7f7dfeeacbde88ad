/* The doors of the pool. Behind them: pool_state.h. */
#include "workers/worker_pool.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "workers/pool_state.h"

/* When the pool stops. */
#define STOP_NS 2000000000u

struct worker_pool worker_pool = {.mutex = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_conditions(void)
{
    pthread_condattr_t steady;
    pthread_condattr_init(&steady);
    pthread_condattr_setclock(&steady, CLOCK_MONOTONIC);
    pthread_cond_init(&worker_pool.work, &steady);
    pthread_cond_init(&worker_pool.due, &steady);
    pthread_cond_init(&worker_pool.settled, &steady);
    pthread_condattr_destroy(&steady);
}

bool worker_pool_wait(pthread_cond_t *condition, uint64_t ns)
{
    if (ns == UINT64_MAX)
        return pthread_cond_wait(condition, &worker_pool.mutex) == 0;
    struct timespec until = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
    return pthread_cond_timedwait(condition, &worker_pool.mutex, &until) != ETIMEDOUT;
}

void worker_pool_set_host(const struct worker_host *host)
{
    pthread_mutex_lock(&worker_pool.mutex);
    worker_pool.options.host = *host;
    pthread_mutex_unlock(&worker_pool.mutex);
}

bool worker_pool_start(const struct worker_pool_options *options, char *error, size_t size)
{
    pthread_once(&once, init_conditions);
    pthread_mutex_lock(&worker_pool.mutex);
    worker_pool.options = *options;
    worker_pool.stopping = worker_pool.failed = false;
    worker_pool.wanted_at_least = 0;
    worker_pool.create_after_ns = 0;
    worker_pool.given_up_in_it = 0;
    worker_pool.arrived_since_sample = 0;
    worker_pool.sampled_ns = clock_steady_ns();
    worker_pool.next_due_ns = 0;
    worker_pool.first_deadline_ns = UINT64_MAX;
    worker_pool.scaling = (struct scaling){
        .min_workers = options->min_workers, .max_workers = options->max_workers, .predictive = options->predictive};
    int failure = pthread_create(&worker_pool.supervisor, NULL, supervisor_main, NULL);
    bool supervised = failure == 0;
    while (failure == 0 && worker_pool.worker_count < options->min_workers)
        failure = worker_create();
    worker_pool.running = failure == 0;
    pthread_mutex_unlock(&worker_pool.mutex);
    if (failure == 0)
        return true;
    snprintf(error, size, "cannot start %s: %s", supervised ? "the workers" : "the workers' supervisor",
             strerror(failure));
    if (supervised) {
        worker_pool.running = true;
        worker_pool_stop();
    }
    return false;
}

void worker_pool_stop(void)
{
    NO_ANSWERS(answers);
    pthread_mutex_lock(&worker_pool.mutex);
    if (!worker_pool.running) {
        pthread_mutex_unlock(&worker_pool.mutex);
        return;
    }
    worker_pool.running = false;
    worker_pool.stopping = true;
    pthread_cond_signal(&worker_pool.due);
    pthread_cond_broadcast(&worker_pool.work);
    worker_pool_cancel_waiting(&answers);
    uint64_t now = clock_steady_ns(), until = now + STOP_NS;
    while (worker_pool.worker_count > 0 && now < until) {
        for (struct worker *worker = worker_pool.workers; worker; worker = worker->next) {
            if (worker->run) {
                worker->run->cancelled = true;
                task_run_stop(worker->run, now);
            }
        }
        pthread_mutex_unlock(&worker_pool.mutex);
        answers_call(&answers);
        pthread_mutex_lock(&worker_pool.mutex);
        if (worker_pool.worker_count > 0)
            worker_pool_wait(&worker_pool.settled, now + INTERRUPT_AGAIN_NS);
        now = clock_steady_ns();
    }
    for (struct worker *worker = worker_pool.workers, *next; worker; worker = next) {
        next = worker->next;
        if (worker->run) {
            worker_give_up(worker, &answers);
        } else { /* about to end */
            worker->given_up = true;
            worker_forget(worker);
        }
    }
    pthread_mutex_unlock(&worker_pool.mutex);
    answers_call(&answers);
    pthread_join(worker_pool.supervisor, NULL);
}

static bool is_of_users(struct slice name)
{
    pthread_mutex_lock(&worker_pool.mutex);
    bool (*has)(struct slice name) = worker_pool.options.host.has;
    pthread_mutex_unlock(&worker_pool.mutex);
    return has && has(name);
}

enum code worker_pool_submit(struct task *task)
{
    const struct operation *operation = operation_find(task->operation);
    if (!operation && !is_of_users(task->operation))
        return CODE_UNKNOWN_OPERATION;
    struct task_run *run = task_run_new(task, operation);
    if (!run)
        return CODE_OVERLOADED;
    pthread_mutex_lock(&worker_pool.mutex);
    if (!worker_pool.running || worker_pool.failed ||
        task_queue_depth(&worker_pool.queue) >= worker_pool.options.queue_limit) {
        worker_pool.statistics.refused++;
        pthread_mutex_unlock(&worker_pool.mutex);
        task->data = run->data;
        run->data = (struct buffer){0};
        task_run_release(run);
        return CODE_OVERLOADED;
    }
    uint64_t now = clock_steady_ns();
    run->timeout_ms = task->timeout_ms > 0 ? task->timeout_ms : worker_pool.options.task_timeout_ms;
    run->submitted_ns = now;
    run->deadline_ns = now + (uint64_t)run->timeout_ms * MS_NS;
    task->run = run;
    task_queue_push(&worker_pool.queue, task);
    if (run->deadline_ns < worker_pool.first_deadline_ns)
        worker_pool.first_deadline_ns = run->deadline_ns;
    worker_pool.arrived_since_sample++;
    worker_pool.statistics.queued_in_all++;
    if (worker_pool.idle > 0)
        pthread_cond_signal(&worker_pool.work);
    supervisor_wake(run->deadline_ns);
    /* Nobody is free: the supervisor looks whether there should be more. Quiet until now: it begins to sample. */
    if (worker_pool.idle < task_queue_depth(&worker_pool.queue) &&
        worker_pool.worker_count < worker_pool.options.max_workers)
        supervisor_wake(now + SCALING_WAIT_MS * (uint64_t)MS_NS);
    supervisor_wake(now + SCALING_SAMPLE_MS * (uint64_t)MS_NS);
    pthread_mutex_unlock(&worker_pool.mutex);
    return CODE_OK;
}

bool worker_pool_running(void)
{
    pthread_mutex_lock(&worker_pool.mutex);
    bool running = worker_pool.running && !worker_pool.failed;
    pthread_mutex_unlock(&worker_pool.mutex);
    return running;
}

void task_cancel(struct task *task)
{
    NO_ANSWERS(answers);
    pthread_mutex_lock(&worker_pool.mutex);
    struct task_run *run = task->run;
    if (run && run->worker) {
        run->cancelled = true;
        task_run_stop(run, clock_steady_ns());
        supervisor_wake(0);
    } else if (run) {
        task_queue_remove(&worker_pool.queue, task);
        task_answer(run, TASK_CANCELLED, &answers);
    }
    pthread_mutex_unlock(&worker_pool.mutex);
    answers_call(&answers);
}

void task_clear(struct task *task)
{
    buffer_free(&task->data);
    buffer_free(&task->result);
}

void worker_pool_want(uint32_t workers)
{
    pthread_mutex_lock(&worker_pool.mutex);
    worker_pool.wanted_at_least = workers < worker_pool.options.max_workers ? workers : worker_pool.options.max_workers;
    supervisor_wake(0);
    pthread_mutex_unlock(&worker_pool.mutex);
}

void worker_pool_read_statistics(struct worker_pool_statistics *out)
{
    pthread_mutex_lock(&worker_pool.mutex);
    *out = worker_pool.statistics;
    out->running = worker_pool.running && !worker_pool.failed;
    out->workers = worker_pool.worker_count;
    out->busy = worker_pool.busy;
    out->most_workers = worker_pool.most_workers;
    memcpy(out->depth, worker_pool.queue.depth, sizeof out->depth);
    out->forecast = scaling_forecast(&worker_pool.scaling);
    pthread_mutex_unlock(&worker_pool.mutex);
}

void worker_pool_add_times(struct histogram_sums waits[TASK_PRIORITIES], struct histogram_sums *runs)
{
    for (unsigned priority = 0; priority < TASK_PRIORITIES; priority++)
        histogram_add(&worker_pool.waits[priority], &waits[priority]);
    histogram_add(&worker_pool.runs, runs);
}
