#include "protocol/websocket/frame_queue.h"

#include "memory/admission.h"
#include "memory/pool.h"

/* One cache line of pointers: most queues never hold more. */
#define FIRST_CAPACITY 8u

static bool grow(struct frame_queue *queue)
{
    uint32_t capacity = queue->capacity ? queue->capacity * 2 : FIRST_CAPACITY;
    struct frame **slots = pool_acquire(POOL_ARRAYS, capacity * sizeof *slots);
    if (!slots)
        return false;
    admission_charge(capacity * sizeof *slots);
    for (uint32_t i = 0; i < queue->count; i++)
        slots[i] = frame_queue_at(queue, i);
    pool_release(POOL_ARRAYS, queue->slots, queue->capacity * sizeof *slots);
    queue->slots = slots;
    queue->capacity = capacity;
    queue->head = 0;
    return true;
}

static void give_back_when_empty(struct frame_queue *queue)
{
    if (queue->count > 0)
        return;
    pool_release(POOL_ARRAYS, queue->slots, queue->capacity * sizeof *queue->slots);
    *queue = (struct frame_queue){0};
}

bool frame_queue_push_back(struct frame_queue *queue, struct frame *frame)
{
    if (queue->count == queue->capacity && !grow(queue))
        return false;
    queue->slots[(queue->head + queue->count) & (queue->capacity - 1)] = frame;
    queue->count++;
    queue->bytes += frame->length;
    return true;
}

static bool push_front(struct frame_queue *queue, struct frame *frame)
{
    if (queue->count == queue->capacity && !grow(queue))
        return false;
    queue->head = (queue->head - 1) & (queue->capacity - 1);
    queue->slots[queue->head] = frame;
    queue->count++;
    queue->bytes += frame->length;
    return true;
}

struct frame *frame_queue_pop_front(struct frame_queue *queue)
{
    if (queue->count == 0)
        return NULL;
    struct frame *frame = queue->slots[queue->head];
    queue->head = (queue->head + 1) & (queue->capacity - 1);
    queue->count--;
    queue->bytes -= frame->length;
    give_back_when_empty(queue);
    return frame;
}

struct frame *frame_queue_remove(struct frame_queue *queue, uint32_t index)
{
    struct frame *removed = frame_queue_at(queue, index);
    for (uint32_t i = index; i > 0; i--)
        queue->slots[(queue->head + i) & (queue->capacity - 1)] = frame_queue_at(queue, i - 1);
    queue->slots[queue->head] = removed;
    return frame_queue_pop_front(queue);
}

int64_t frame_queue_expire(struct frame_queue *queue, int64_t now_ms, void (*gone)(void *context, struct frame *frame),
                           void *context)
{
    int64_t next = 0;
    uint32_t kept = 0, count = queue->count;
    for (uint32_t i = 0; i < count; i++) {
        struct frame *frame = frame_queue_at(queue, i);
        if (frame->expires_ms && frame->expires_ms <= now_ms) {
            queue->bytes -= frame->length;
            gone(context, frame);
            continue;
        }
        if (frame->expires_ms && (!next || frame->expires_ms < next))
            next = frame->expires_ms;
        queue->slots[(queue->head + kept++) & (queue->capacity - 1)] = frame;
    }
    queue->count = kept;
    if (count > 0)
        give_back_when_empty(queue);
    return next;
}

uint32_t frame_queue_prepend(struct frame_queue *queue, struct frame_queue *first)
{
    uint32_t lost = 0;
    if (queue->count == 0) {
        *queue = *first;
        *first = (struct frame_queue){0};
        return 0;
    }
    while (first->count > 0) {
        struct frame *newest = frame_queue_at(first, first->count - 1);
        first->count--;
        first->bytes -= newest->length;
        if (!push_front(queue, newest)) {
            frame_release(newest);
            lost++;
        }
    }
    if (first->slots)
        give_back_when_empty(first);
    return lost;
}

void frame_queue_clear(struct frame_queue *queue)
{
    struct frame *frame;
    while ((frame = frame_queue_pop_front(queue)))
        frame_release(frame);
}
