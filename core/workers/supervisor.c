/* Decides what is due and when to look next. Nothing is polled: while nothing waits, runs or is sampled, it sleeps. */
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "memory/pool.h"
#include "workers/pool_state.h"

/* How long a worker that was told to stop may take: operations look at the flag every millisecond, Lua every few, so
 * one that takes this long on a loaded machine is stuck. */
#define GRACE_NS 500000000u

/* More workers given up within a minute than this: something is wrong that new threads do not mend. */
#define GIVEN_UP_PER_MINUTE 8u

/* After a thread could not be made. */
#define CREATE_AGAIN_NS 1000000000u

void supervisor_wake(uint64_t due_ns)
{
    if (due_ns >= worker_pool.next_due_ns)
        return;
    worker_pool.next_due_ns = due_ns;
    pthread_cond_signal(&worker_pool.due);
}

/* Gives when the next of them is due. */
static uint64_t check_running(uint64_t now, struct answers *answers)
{
    uint64_t due = UINT64_MAX;
    for (struct worker *worker = worker_pool.workers, *next; worker; worker = next) {
        struct task_run *run = worker->run;
        next = worker->next;
        if (!run)
            continue;
        uint64_t then;
        if (run->stopped_ns == 0 && !run->cancelled && now < run->deadline_ns) {
            then = run->deadline_ns;
        } else if (run->stopped_ns != 0 && now - run->stopped_ns >= GRACE_NS) {
            worker_give_up(worker, answers);
            if (now - worker_pool.given_up_since_ns > 60 * UINT64_C(1000000000)) {
                worker_pool.given_up_since_ns = now;
                worker_pool.given_up_in_it = 0;
            }
            worker_pool.given_up_in_it++;
            continue;
        } else {
            task_run_stop(run, now);
            then = now + INTERRUPT_AGAIN_NS;
        }
        due = then < due ? then : due;
    }
    return due;
}

static uint64_t check_waiting(uint64_t now, struct answers *answers)
{
    uint64_t due = UINT64_MAX;
    if (now < worker_pool.first_deadline_ns) /* no need to look at each */
        return worker_pool.first_deadline_ns;
    for (unsigned priority = 0; priority < TASK_PRIORITIES; priority++) {
        for (struct task *task = worker_pool.queue.first[priority], *next; task; task = next) {
            next = task->next;
            if (now >= task->run->deadline_ns) {
                task_queue_remove(&worker_pool.queue, task);
                task_answer(task->run, TASK_TIMED_OUT, answers);
            } else if (task->run->deadline_ns < due) {
                due = task->run->deadline_ns;
            }
        }
    }
    return worker_pool.first_deadline_ns = due;
}

static double oldest_wait_ms(uint64_t now)
{
    uint64_t oldest = now;
    for (unsigned priority = 0; priority < TASK_PRIORITIES; priority++)
        if (worker_pool.queue.first[priority] && worker_pool.queue.first[priority]->run->submitted_ns < oldest)
            oldest = worker_pool.queue.first[priority]->run->submitted_ns;
    return (double)(now - oldest) / MS_NS;
}

/* Adds workers as the rule says. Gives when to look again. *reason is filled when there are too few and no more to be
 * had. */
static uint64_t scale(uint64_t now, char *reason, size_t size)
{
    bool quiet =
        worker_pool.arrived_since_sample == 0 && worker_pool.busy == 0 && scaling_forecast(&worker_pool.scaling) < 0.05;
    if (now - worker_pool.sampled_ns >= SCALING_SAMPLE_MS * (uint64_t)MS_NS) {
        double seconds = (double)(now - worker_pool.sampled_ns) / 1e9;
        scaling_sample(&worker_pool.scaling,
                       (double)worker_pool.arrived_since_sample * worker_pool.mean_run_s / seconds);
        worker_pool.arrived_since_sample = 0;
        worker_pool.sampled_ns = now;
    }
    uint32_t waiting = task_queue_depth(&worker_pool.queue);
    struct scaling_view view = {.workers = worker_pool.worker_count,
                                .idle = worker_pool.idle,
                                .waiting = waiting,
                                .oldest_wait_ms = waiting > 0 ? oldest_wait_ms(now) : 0};
    uint32_t wanted = scaling_decide(&worker_pool.scaling, &view);
    if (worker_pool.wanted_at_least > wanted)
        wanted = worker_pool.wanted_at_least;
    while (worker_pool.worker_count < wanted && now >= worker_pool.create_after_ns) {
        int failure = worker_create();
        if (failure == 0)
            continue;
        worker_pool.create_after_ns = now + CREATE_AGAIN_NS;
        log_warn(WORKER, "start_failed", "cannot start another worker: %s", strerror(failure));
        if (worker_pool.worker_count < worker_pool.options.min_workers)
            snprintf(reason, size, "only %u of %u workers can be started: %s", worker_pool.worker_count,
                     worker_pool.options.min_workers, strerror(failure));
    }
    /* While tasks wait and there could be more workers, the wait is watched; while there is load, it is sampled. */
    if (waiting > 0 && worker_pool.worker_count < worker_pool.options.max_workers)
        return now + SCALING_WAIT_MS * (uint64_t)MS_NS;
    return quiet ? UINT64_MAX : worker_pool.sampled_ns + SCALING_SAMPLE_MS * (uint64_t)MS_NS;
}

void *supervisor_main(void *unused)
{
    (void)unused;
    log_name_thread("worker pool");
    NO_ANSWERS(answers);
    pthread_mutex_lock(&worker_pool.mutex);
    while (!worker_pool.stopping) {
        char reason[160] = "";
        uint64_t now = clock_steady_ns(), due = UINT64_MAX, then;
        if (!worker_pool.failed) {
            due = check_running(now, &answers);
            then = check_waiting(now, &answers);
            due = then < due ? then : due;
            then = scale(now, reason, sizeof reason);
            due = then < due ? then : due;
            if (worker_pool.given_up_in_it > GIVEN_UP_PER_MINUTE && !reason[0])
                snprintf(reason, sizeof reason, "%u workers did not stop within a minute and were replaced",
                         worker_pool.given_up_in_it);
            if (reason[0]) {
                worker_pool.failed = true;
                worker_pool_cancel_waiting(&answers);
            }
        }
        worker_pool.next_due_ns = due;
        if (answers.first || reason[0]) {
            pthread_mutex_unlock(&worker_pool.mutex);
            answers_call(&answers);
            if (reason[0])
                worker_pool.options.failed(reason);
            pthread_mutex_lock(&worker_pool.mutex);
            if (worker_pool.next_due_ns == due && due <= clock_steady_ns())
                continue;
        }
        if (!worker_pool.stopping && worker_pool.next_due_ns == due)
            worker_pool_wait(&worker_pool.due, due);
    }
    pthread_mutex_unlock(&worker_pool.mutex);
    pool_leave_thread();
    return NULL;
}
