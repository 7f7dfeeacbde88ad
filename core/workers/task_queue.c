#include "workers/task_queue.h"

void task_queue_push(struct task_queue *queue, struct task *task)
{
    enum task_priority priority = task->priority;
    task->next = NULL;
    task->previous = queue->last[priority];
    if (task->previous)
        task->previous->next = task;
    else
        queue->first[priority] = task;
    queue->last[priority] = task;
    queue->depth[priority]++;
}

void task_queue_remove(struct task_queue *queue, struct task *task)
{
    enum task_priority priority = task->priority;
    if (task->previous)
        task->previous->next = task->next;
    else
        queue->first[priority] = task->next;
    if (task->next)
        task->next->previous = task->previous;
    else
        queue->last[priority] = task->previous;
    task->next = task->previous = NULL;
    queue->depth[priority]--;
}

struct task *task_queue_take(struct task_queue *queue)
{
    static const uint8_t order[TASK_QUEUE_TURNS] = {TASK_HIGH, TASK_HIGH, TASK_NORMAL, TASK_HIGH,
                                                    TASK_HIGH, TASK_LOW,  TASK_HIGH,   TASK_NORMAL,
                                                    TASK_HIGH, TASK_HIGH, TASK_NORMAL, TASK_HIGH};
    for (unsigned passed = 0; passed < TASK_QUEUE_TURNS; passed++) {
        struct task *task = queue->first[order[queue->turn]];
        queue->turn = (queue->turn + 1) % TASK_QUEUE_TURNS;
        if (task) {
            task_queue_remove(queue, task);
            return task;
        }
    }
    return NULL;
}
