/* A first-in first-out queue of frames that borrows its array from the pool only while it holds something. */
#ifndef LUADUCT_PROTOCOL_FRAME_QUEUE_H
#define LUADUCT_PROTOCOL_FRAME_QUEUE_H

#include <stdbool.h>

#include "memory/admission.h"
#include "protocol/websocket/frame.h"

struct frame_queue {
    struct frame **slots; /* ring; NULL while empty */
    uint32_t capacity;    /* a power of two, 0 while empty */
    uint32_t head, count;
    uint64_t bytes; /* sum of the frames' lengths: what the limits compare */
};

/* Whether one more may join for a peer's sake: a broadcast to many slow agents doubles many arrays at once. Frames that
 * come home need not ask. */
static inline bool frame_queue_admits(const struct frame_queue *queue)
{
    size_t grown = 2 * (size_t)queue->capacity * sizeof *queue->slots;
    return queue->count < queue->capacity || grown <= ADMISSION_SMALL_BYTES || admission_take(grown);
}

/* Takes over the caller's reference when it gives true; false: out of memory, the reference stays the caller's. */
bool frame_queue_push_back(struct frame_queue *queue, struct frame *frame);

/* The oldest, with its reference; NULL when empty. */
struct frame *frame_queue_pop_front(struct frame_queue *queue);

/* Borrowed; index 0 is the oldest, index must be below count. */
static inline struct frame *frame_queue_at(const struct frame_queue *queue, uint32_t index)
{
    return queue->slots[(queue->head + index) & (queue->capacity - 1)];
}

/* Takes the frame at that index out, with its reference. Costs a move of the frames before it. */
struct frame *frame_queue_remove(struct frame_queue *queue, uint32_t index);

/* Takes out what has expired by `now_ms` and hands each, with its reference, to `gone`. The order of the rest stays.
 * Gives when the next one expires; 0: none does. */
int64_t frame_queue_expire(struct frame_queue *queue, int64_t now_ms, void (*gone)(void *context, struct frame *frame),
                           void *context);

/* Puts all of `first` before all of `queue` and leaves `first` empty. Frames that find no memory are released and
 * counted in the answer. */
uint32_t frame_queue_prepend(struct frame_queue *queue, struct frame_queue *first);

/* Releases every frame. */
void frame_queue_clear(struct frame_queue *queue);

#endif
