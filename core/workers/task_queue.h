/* Tasks that wait, by priority. Each queue is first in, first out. Of every TASK_QUEUE_TURNS tasks taken while all
 * three queues hold some, 8 are high, 3 normal and 1 low, spread evenly; a queue that is empty gives its turn to the
 * next one. So no priority starves: a low task that is first in its queue waits for at most TASK_QUEUE_TURNS - 1
 * others, a normal one for at most 4, however many of higher priority keep coming.
 *
 * No locks: the pool's mutex is held around every call. */
#ifndef LUADUCT_WORKERS_TASK_QUEUE_H
#define LUADUCT_WORKERS_TASK_QUEUE_H

#include "workers/worker_pool.h"

#define TASK_QUEUE_TURNS 12u

struct task_queue {
    struct task *first[TASK_PRIORITIES], *last[TASK_PRIORITIES];
    uint32_t depth[TASK_PRIORITIES];
    unsigned turn;
};

void task_queue_push(struct task_queue *queue, struct task *task);

/* The next one by the rule above; NULL when nothing waits. */
struct task *task_queue_take(struct task_queue *queue);

/* Out of its queue, wherever it stands. */
void task_queue_remove(struct task_queue *queue, struct task *task);

static inline uint32_t task_queue_depth(const struct task_queue *queue)
{
    return queue->depth[TASK_HIGH] + queue->depth[TASK_NORMAL] + queue->depth[TASK_LOW];
}

#endif
