/* One mutex guards the queues, the workers and who answers what; it is held for moments, never while a task runs or a
 * `done` is called. A supervising thread sleeps until something is due: a task is over its time, a worker that was told
 * to stop does not, a queue grows faster than the workers empty it, the load is to be sampled. */
#include "workers/worker_pool.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "memory/pool.h"
#include "workers/scaling.h"
#include "workers/task_queue.h"
#include "workers/worker.h"

/* How long a worker that was told to stop may take: operations look at the flag every millisecond, Lua every few, so
 * one that takes this long on a loaded machine is stuck. */
#define GRACE_NS 500000000u

/* A run that is to stop is interrupted again at this distance: a signal may come at a moment at which it is lost. */
#define INTERRUPT_AGAIN_NS 20000000u

/* More workers given up within a minute than this: something is wrong that new threads do not mend. */
#define GIVEN_UP_PER_MINUTE 8u

/* When the pool stops. */
#define STOP_NS 2000000000u

/* After a thread could not be made. */
#define CREATE_AGAIN_NS 1000000000u

#define MS_NS 1000000u

static struct worker_pool {
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
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_conditions(void)
{
    pthread_condattr_t steady;
    pthread_condattr_init(&steady);
    pthread_condattr_setclock(&steady, CLOCK_MONOTONIC);
    pthread_cond_init(&pool.work, &steady);
    pthread_cond_init(&pool.due, &steady);
    pthread_cond_init(&pool.settled, &steady);
    pthread_condattr_destroy(&steady);
}

/* False: the time has come. UINT64_MAX waits for ever. */
static bool wait_until(pthread_cond_t *condition, uint64_t ns)
{
    if (ns == UINT64_MAX)
        return pthread_cond_wait(condition, &pool.mutex) == 0;
    struct timespec until = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
    return pthread_cond_timedwait(condition, &pool.mutex, &until) != ETIMEDOUT;
}

static void wake_supervisor(uint64_t due_ns)
{
    if (due_ns >= pool.next_due_ns)
        return;
    pool.next_due_ns = due_ns;
    pthread_cond_signal(&pool.due);
}

/* --- Answers ------------------------------------------------------------------------------------------------------ */

/* Tasks whose `done` is to be called once the mutex is free. */
struct answers {
    struct task *first, **last;
};

#define NO_ANSWERS(name)                                                                                               \
    struct answers name = {0};                                                                                         \
    name.last = &name.first

static void call_done(struct answers *answers)
{
    for (struct task *task = answers->first, *next; task; task = next) {
        next = task->next;
        task->done(task);
    }
    answers->first = NULL;
    answers->last = &answers->first;
}

/* Mutex held. The task's side of the run ends here. */
static void answer(struct task_run *run, enum task_status status, struct answers *answers)
{
    struct task *task = run->task;
    struct worker_pool_statistics *statistics = &pool.statistics;
    uint64_t now = clock_steady_ns();
    task->status = status;
    if (run->started_ns != 0) {
        uint64_t ran = now - run->started_ns;
        task->run_ms = (double)ran / MS_NS;
        if (status == TASK_DONE || status == TASK_FAILED) {
            statistics->total_run_ns += ran;
            histogram_record(&pool.runs, ran, 1);
            if (ran > statistics->longest_run_ns)
                statistics->longest_run_ns = ran;
            double seconds = (double)ran / 1e9;
            pool.mean_run_s = pool.mean_run_s == 0 ? seconds : pool.mean_run_s + 0.1 * (seconds - pool.mean_run_s);
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

static void forget_worker(struct worker *worker)
{
    *worker->previous = worker->next;
    if (worker->next)
        worker->next->previous = worker->previous;
    pool.worker_count--;
    pool.statistics.destroyed++;
}

/* Whether the one that asks, which is idle, may end. */
static bool surplus(void)
{
    struct scaling_view view = {.workers = pool.worker_count, .idle = pool.idle + 1};
    uint32_t wanted = scaling_decide(&pool.scaling, &view);
    if (pool.wanted_at_least > wanted)
        wanted = pool.wanted_at_least;
    return pool.worker_count > wanted;
}

/* The next run, started; NULL: the worker is to end. Mutex held. */
static struct task_run *take_run(struct worker *worker)
{
    uint64_t idle_ns = (uint64_t)pool.options.idle_timeout_ms * MS_NS, until = clock_steady_ns() + idle_ns;
    for (;;) {
        struct task *task;
        if (pool.stopping || pool.failed)
            return NULL;
        if ((task = task_queue_take(&pool.queue))) {
            struct task_run *run = task->run;
            uint64_t now = clock_steady_ns(), waited = now - run->submitted_ns;
            run->started_ns = now;
            run->worker = worker;
            worker->run = run;
            atomic_fetch_add_explicit(&run->references, 1, memory_order_relaxed);
            pool.busy++;
            pool.statistics.total_wait_ns += waited;
            histogram_record(&pool.waits[task->priority], waited, 1);
            if (waited > pool.statistics.longest_wait_ns)
                pool.statistics.longest_wait_ns = waited;
            return run;
        }
        pool.idle++;
        bool woken = wait_until(&pool.work, until);
        pool.idle--;
        if (!woken && task_queue_depth(&pool.queue) == 0) {
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
    pthread_mutex_lock(&pool.mutex);
    struct task_run *run;
    while (!worker->given_up && (run = take_run(worker))) {
        pthread_mutex_unlock(&pool.mutex);
        worker_run(worker, run, &pool.mutex);
        pthread_mutex_lock(&pool.mutex);
        worker->run = NULL;
        run->worker = NULL;
        if (!worker->given_up)
            pool.busy--;
        if (run->task)
            answer(run, status_of(run), &answers);
        pthread_mutex_unlock(&pool.mutex);
        task_run_release(run);
        call_done(&answers);
        pthread_mutex_lock(&pool.mutex);
    }
    bool counted = !worker->given_up;
    pthread_mutex_unlock(&pool.mutex);
    worker_close(worker, &pool.mutex);
    pool_leave_thread();
    pthread_mutex_lock(&pool.mutex);
    if (counted && !worker->given_up) {
        forget_worker(worker);
        pthread_cond_signal(&pool.settled);
    }
    pthread_mutex_unlock(&pool.mutex);
    free(worker);
    return NULL;
}

/* Mutex held. 0, or the errno of why there is no new worker. */
static int create_worker(void)
{
    struct worker *worker = calloc(1, sizeof *worker);
    if (!worker)
        return ENOMEM;
    worker->number = ++pool.last_number;
    worker->host = &pool.options.host;
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
    worker->next = pool.workers;
    worker->previous = &pool.workers;
    if (worker->next)
        worker->next->previous = &worker->next;
    pool.workers = worker;
    pool.worker_count++;
    pool.statistics.created++;
    if (pool.worker_count > pool.most_workers)
        pool.most_workers = pool.worker_count;
    return 0;
}

/* --- The supervisor ----------------------------------------------------------------------------------------------- */

static void cancel_waiting(struct answers *answers)
{
    struct task *task;
    while ((task = task_queue_take(&pool.queue)))
        answer(task->run, TASK_CANCELLED, answers);
}

static void stop_run(struct task_run *run, uint64_t now)
{
    if (run->stopped_ns == 0)
        run->stopped_ns = now;
    atomic_store_explicit(&run->stop, true, memory_order_relaxed);
    if (!run->operation && run->worker->user_state)
        pool.options.host.interrupt(run->worker->user_state);
}

/* The worker does not come back: its task is answered, and it is on its own. */
static void give_up(struct worker *worker, struct answers *answers)
{
    struct task_run *run = worker->run;
    log_warn(WORKER, "replaced", "worker %u does not stop in %s: it is replaced", worker->number, run->name);
    worker->given_up = true;
    forget_worker(worker);
    pool.busy--;
    pool.statistics.replaced++;
    if (run->task)
        answer(run, run->cancelled ? TASK_CANCELLED : TASK_TIMED_OUT, answers);
}

/* Gives when the next of them is due. */
static uint64_t check_running(uint64_t now, struct answers *answers)
{
    uint64_t due = UINT64_MAX;
    for (struct worker *worker = pool.workers, *next; worker; worker = next) {
        struct task_run *run = worker->run;
        next = worker->next;
        if (!run)
            continue;
        uint64_t then;
        if (run->stopped_ns == 0 && !run->cancelled && now < run->deadline_ns) {
            then = run->deadline_ns;
        } else if (run->stopped_ns != 0 && now - run->stopped_ns >= GRACE_NS) {
            give_up(worker, answers);
            if (now - pool.given_up_since_ns > 60 * UINT64_C(1000000000)) {
                pool.given_up_since_ns = now;
                pool.given_up_in_it = 0;
            }
            pool.given_up_in_it++;
            continue;
        } else {
            stop_run(run, now);
            then = now + INTERRUPT_AGAIN_NS;
        }
        due = then < due ? then : due;
    }
    return due;
}

static uint64_t check_waiting(uint64_t now, struct answers *answers)
{
    uint64_t due = UINT64_MAX;
    if (now < pool.first_deadline_ns) /* no need to look at each */
        return pool.first_deadline_ns;
    for (unsigned priority = 0; priority < TASK_PRIORITIES; priority++) {
        for (struct task *task = pool.queue.first[priority], *next; task; task = next) {
            next = task->next;
            if (now >= task->run->deadline_ns) {
                task_queue_remove(&pool.queue, task);
                answer(task->run, TASK_TIMED_OUT, answers);
            } else if (task->run->deadline_ns < due) {
                due = task->run->deadline_ns;
            }
        }
    }
    return pool.first_deadline_ns = due;
}

static double oldest_wait_ms(uint64_t now)
{
    uint64_t oldest = now;
    for (unsigned priority = 0; priority < TASK_PRIORITIES; priority++)
        if (pool.queue.first[priority] && pool.queue.first[priority]->run->submitted_ns < oldest)
            oldest = pool.queue.first[priority]->run->submitted_ns;
    return (double)(now - oldest) / MS_NS;
}

/* Adds workers as the rule says. Gives when to look again. *reason is filled when there are too few and no more to be
 * had. */
static uint64_t scale(uint64_t now, char *reason, size_t size)
{
    bool quiet = pool.arrived_since_sample == 0 && pool.busy == 0 && scaling_forecast(&pool.scaling) < 0.05;
    if (now - pool.sampled_ns >= SCALING_SAMPLE_MS * (uint64_t)MS_NS) {
        double seconds = (double)(now - pool.sampled_ns) / 1e9;
        scaling_sample(&pool.scaling, (double)pool.arrived_since_sample * pool.mean_run_s / seconds);
        pool.arrived_since_sample = 0;
        pool.sampled_ns = now;
    }
    uint32_t waiting = task_queue_depth(&pool.queue);
    struct scaling_view view = {.workers = pool.worker_count,
                                .idle = pool.idle,
                                .waiting = waiting,
                                .oldest_wait_ms = waiting > 0 ? oldest_wait_ms(now) : 0};
    uint32_t wanted = scaling_decide(&pool.scaling, &view);
    if (pool.wanted_at_least > wanted)
        wanted = pool.wanted_at_least;
    while (pool.worker_count < wanted && now >= pool.create_after_ns) {
        int failure = create_worker();
        if (failure == 0)
            continue;
        pool.create_after_ns = now + CREATE_AGAIN_NS;
        log_warn(WORKER, "start_failed", "cannot start another worker: %s", strerror(failure));
        if (pool.worker_count < pool.options.min_workers)
            snprintf(reason, size, "only %u of %u workers can be started: %s", pool.worker_count,
                     pool.options.min_workers, strerror(failure));
    }
    /* While tasks wait and there could be more workers, the wait is watched; while there is load, it is sampled. */
    if (waiting > 0 && pool.worker_count < pool.options.max_workers)
        return now + SCALING_WAIT_MS * (uint64_t)MS_NS;
    return quiet ? UINT64_MAX : pool.sampled_ns + SCALING_SAMPLE_MS * (uint64_t)MS_NS;
}

static void *supervise(void *argument)
{
    (void)argument;
    log_name_thread("worker pool");
    NO_ANSWERS(answers);
    pthread_mutex_lock(&pool.mutex);
    while (!pool.stopping) {
        char reason[160] = "";
        uint64_t now = clock_steady_ns(), due = UINT64_MAX, then;
        if (!pool.failed) {
            due = check_running(now, &answers);
            then = check_waiting(now, &answers);
            due = then < due ? then : due;
            then = scale(now, reason, sizeof reason);
            due = then < due ? then : due;
            if (pool.given_up_in_it > GIVEN_UP_PER_MINUTE && !reason[0])
                snprintf(reason, sizeof reason, "%u workers did not stop within a minute and were replaced",
                         pool.given_up_in_it);
            if (reason[0]) {
                pool.failed = true;
                cancel_waiting(&answers);
            }
        }
        pool.next_due_ns = due;
        if (answers.first || reason[0]) {
            pthread_mutex_unlock(&pool.mutex);
            call_done(&answers);
            if (reason[0])
                pool.options.failed(reason);
            pthread_mutex_lock(&pool.mutex);
            if (pool.next_due_ns == due && due <= clock_steady_ns())
                continue;
        }
        if (!pool.stopping && pool.next_due_ns == due)
            wait_until(&pool.due, due);
    }
    pthread_mutex_unlock(&pool.mutex);
    pool_leave_thread();
    return NULL;
}

/* --- What others call --------------------------------------------------------------------------------------------- */

void worker_pool_set_host(const struct worker_host *host)
{
    pthread_mutex_lock(&pool.mutex);
    pool.options.host = *host;
    pthread_mutex_unlock(&pool.mutex);
}

bool worker_pool_start(const struct worker_pool_options *options, char *error, size_t size)
{
    pthread_once(&once, init_conditions);
    pthread_mutex_lock(&pool.mutex);
    pool.options = *options;
    pool.stopping = pool.failed = false;
    pool.wanted_at_least = 0;
    pool.create_after_ns = 0;
    pool.given_up_in_it = 0;
    pool.arrived_since_sample = 0;
    pool.sampled_ns = clock_steady_ns();
    pool.next_due_ns = 0;
    pool.first_deadline_ns = UINT64_MAX;
    pool.scaling = (struct scaling){
        .min_workers = options->min_workers, .max_workers = options->max_workers, .predictive = options->predictive};
    int failure = pthread_create(&pool.supervisor, NULL, supervise, NULL);
    bool supervised = failure == 0;
    while (failure == 0 && pool.worker_count < options->min_workers)
        failure = create_worker();
    pool.running = failure == 0;
    pthread_mutex_unlock(&pool.mutex);
    if (failure == 0)
        return true;
    snprintf(error, size, "cannot start %s: %s", supervised ? "the workers" : "the workers' supervisor",
             strerror(failure));
    if (supervised) {
        pool.running = true;
        worker_pool_stop();
    }
    return false;
}

void worker_pool_stop(void)
{
    NO_ANSWERS(answers);
    pthread_mutex_lock(&pool.mutex);
    if (!pool.running) {
        pthread_mutex_unlock(&pool.mutex);
        return;
    }
    pool.running = false;
    pool.stopping = true;
    pthread_cond_signal(&pool.due);
    pthread_cond_broadcast(&pool.work);
    cancel_waiting(&answers);
    uint64_t now = clock_steady_ns(), until = now + STOP_NS;
    while (pool.worker_count > 0 && now < until) {
        for (struct worker *worker = pool.workers; worker; worker = worker->next) {
            if (worker->run) {
                worker->run->cancelled = true;
                stop_run(worker->run, now);
            }
        }
        pthread_mutex_unlock(&pool.mutex);
        call_done(&answers);
        pthread_mutex_lock(&pool.mutex);
        if (pool.worker_count > 0)
            wait_until(&pool.settled, now + INTERRUPT_AGAIN_NS);
        now = clock_steady_ns();
    }
    for (struct worker *worker = pool.workers, *next; worker; worker = next) {
        next = worker->next;
        if (worker->run) {
            give_up(worker, &answers);
        } else { /* about to end */
            worker->given_up = true;
            forget_worker(worker);
        }
    }
    pthread_mutex_unlock(&pool.mutex);
    call_done(&answers);
    pthread_join(pool.supervisor, NULL);
}

static bool is_of_users(struct slice name)
{
    pthread_mutex_lock(&pool.mutex);
    bool (*has)(struct slice name) = pool.options.host.has;
    pthread_mutex_unlock(&pool.mutex);
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
    pthread_mutex_lock(&pool.mutex);
    if (!pool.running || pool.failed || task_queue_depth(&pool.queue) >= pool.options.queue_limit) {
        pool.statistics.refused++;
        pthread_mutex_unlock(&pool.mutex);
        task->data = run->data;
        run->data = (struct buffer){0};
        task_run_release(run);
        return CODE_OVERLOADED;
    }
    uint64_t now = clock_steady_ns();
    run->timeout_ms = task->timeout_ms > 0 ? task->timeout_ms : pool.options.task_timeout_ms;
    run->submitted_ns = now;
    run->deadline_ns = now + (uint64_t)run->timeout_ms * MS_NS;
    task->run = run;
    task_queue_push(&pool.queue, task);
    if (run->deadline_ns < pool.first_deadline_ns)
        pool.first_deadline_ns = run->deadline_ns;
    pool.arrived_since_sample++;
    pool.statistics.queued_in_all++;
    if (pool.idle > 0)
        pthread_cond_signal(&pool.work);
    wake_supervisor(run->deadline_ns);
    /* Nobody is free: the supervisor looks whether there should be more. Quiet until now: it begins to sample. */
    if (pool.idle < task_queue_depth(&pool.queue) && pool.worker_count < pool.options.max_workers)
        wake_supervisor(now + SCALING_WAIT_MS * (uint64_t)MS_NS);
    wake_supervisor(now + SCALING_SAMPLE_MS * (uint64_t)MS_NS);
    pthread_mutex_unlock(&pool.mutex);
    return CODE_OK;
}

bool worker_pool_running(void)
{
    pthread_mutex_lock(&pool.mutex);
    bool running = pool.running && !pool.failed;
    pthread_mutex_unlock(&pool.mutex);
    return running;
}

void task_cancel(struct task *task)
{
    NO_ANSWERS(answers);
    pthread_mutex_lock(&pool.mutex);
    struct task_run *run = task->run;
    if (run && run->worker) {
        run->cancelled = true;
        stop_run(run, clock_steady_ns());
        wake_supervisor(0);
    } else if (run) {
        task_queue_remove(&pool.queue, task);
        answer(run, TASK_CANCELLED, &answers);
    }
    pthread_mutex_unlock(&pool.mutex);
    call_done(&answers);
}

void task_clear(struct task *task)
{
    buffer_free(&task->data);
    buffer_free(&task->result);
}

void worker_pool_want(uint32_t workers)
{
    pthread_mutex_lock(&pool.mutex);
    pool.wanted_at_least = workers < pool.options.max_workers ? workers : pool.options.max_workers;
    wake_supervisor(0);
    pthread_mutex_unlock(&pool.mutex);
}

void worker_pool_read_statistics(struct worker_pool_statistics *out)
{
    pthread_mutex_lock(&pool.mutex);
    *out = pool.statistics;
    out->running = pool.running && !pool.failed;
    out->workers = pool.worker_count;
    out->busy = pool.busy;
    out->most_workers = pool.most_workers;
    memcpy(out->depth, pool.queue.depth, sizeof out->depth);
    out->forecast = scaling_forecast(&pool.scaling);
    pthread_mutex_unlock(&pool.mutex);
}

void worker_pool_add_times(struct histogram_sums waits[TASK_PRIORITIES], struct histogram_sums *runs)
{
    for (unsigned priority = 0; priority < TASK_PRIORITIES; priority++)
        histogram_add(&pool.waits[priority], &waits[priority]);
    histogram_add(&pool.runs, runs);
}
