#include "runtime/work/work.h"

#include "memory/pool.h"
#include "runtime/reactor.h"

void work_inbox_start(struct work_inbox *inbox)
{
    *inbox = (struct work_inbox){.mutex = PTHREAD_MUTEX_INITIALIZER};
    inbox->last = &inbox->first;
}

struct work *work_new(struct reactor *reactor)
{
    struct work *work = pool_acquire(POOL_ARRAYS, sizeof *work);
    if (work)
        *work = (struct work){.reactor = reactor, .task = {.priority = TASK_NORMAL}};
    return work;
}

void work_free(struct work *work)
{
    if (!work)
        return;
    task_clear(&work->task);
    pool_release(POOL_ARRAYS, work, sizeof *work);
}

void work_come_back(struct work *work)
{
    struct reactor *reactor = work->reactor;
    struct work_inbox *inbox = &reactor->work;
    work->next = NULL;
    pthread_mutex_lock(&inbox->mutex);
    *inbox->last = work;
    inbox->last = &work->next;
    /* With the mutex: the reactor ends only after it has taken the last one, and then the loop is gone. */
    ev_async_send(reactor->loop, &reactor->wake_watcher);
    pthread_mutex_unlock(&inbox->mutex);
}

/* On a thread of the pool. */
static void come_back(struct task *task)
{
    work_come_back((struct work *)task);
}

enum code work_submit(struct work *work, struct slice *text)
{
    work->task.operation = slice_from_string(work->operation);
    work->task.done = come_back;
    work->reactor->work.out++;
    enum code code = worker_pool_submit(&work->task);
    if (code == CODE_OK)
        return code;
    work->reactor->work.out--;
    *text = code == CODE_UNKNOWN_OPERATION ? SLICE("there is no such operation")
            : worker_pool_running()        ? SLICE("the workers can take no more tasks: try again later")
                                           : SLICE("the worker pool is off");
    return code;
}

void work_forget(struct work *work, void (*finished)(struct work *))
{
    work->finished = finished;
    task_cancel(&work->task);
}

void work_take_back(struct reactor *reactor)
{
    struct work_inbox *inbox = &reactor->work;
    if (inbox->out == 0)
        return;
    pthread_mutex_lock(&inbox->mutex);
    struct work *work = inbox->first;
    inbox->first = NULL;
    inbox->last = &inbox->first;
    pthread_mutex_unlock(&inbox->mutex);
    for (struct work *next; work; work = next) {
        next = work->next;
        inbox->out--;
        work->finished(work);
    }
}

enum code work_code(const struct work *work)
{
    switch (work->task.status) {
    case TASK_DONE:
        return CODE_OK;
    case TASK_TIMED_OUT:
        return CODE_TASK_TIMEOUT;
    case TASK_CANCELLED:
        return CODE_OVERLOADED;
    default:
        return CODE_TASK_FAILED;
    }
}
