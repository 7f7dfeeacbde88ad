/* Frames that wait, by priority: a queue for each level, and turns between them. Where order by priority is off
 * (agents.priorityOrder) every frame is of the normal level and this is one queue. */
#ifndef LUADUCT_BRIDGE_LEVELS_H
#define LUADUCT_BRIDGE_LEVELS_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/websocket/frame_queue.h"

enum level { LEVEL_NORMAL, LEVEL_HIGH, LEVEL_LOW, LEVEL_COUNT };

struct levels {
    struct frame_queue queues[LEVEL_COUNT];
    uint32_t count; /* of all frames */
    uint64_t bytes;
    uint8_t turn;
};

/* Whether frames are ordered by priority. Main thread, before any lane runs; false without it. */
void levels_start(bool ordered);
extern bool levels_ordered; /* written by levels_start alone */

/* Of an envelope's priority as it was sent: "high", "low", anything else is normal. */
enum level level_of(struct slice priority);

/* As frame_queue's: takes over the reference when it gives true; admits: one more may join for a peer's sake. */
bool levels_push(struct levels *levels, struct frame *frame);

static inline bool levels_admit(const struct levels *levels, const struct frame *frame)
{
    return frame_queue_admits(&levels->queues[frame->level]);
}

/* Whose turn it is, of 12 turns 8 high, 3 normal, 1 low, spread evenly; an empty level gives its turn on. `more` (may
 * be NULL) has frames that stand behind those of `levels` in the same turns. Not both are empty. Does not take the
 * turn. */
enum level levels_next(const struct levels *levels, const struct levels *more);
void levels_take_turn(struct levels *levels, enum level level);

/* The oldest of that level, borrowed; NULL when it is empty. */
static inline struct frame *levels_peek(const struct levels *levels, enum level level)
{
    return levels->queues[level].count > 0 ? frame_queue_at(&levels->queues[level], 0) : NULL;
}

/* The oldest of that level, which is not empty, with its reference. */
struct frame *levels_pop(struct levels *levels, enum level level);

/* What a limit takes first: the oldest of the lowest level that is not empty, with its reference; NULL: all are empty.
 */
struct frame *levels_pop_least(struct levels *levels);

/* Puts all of `first` before all of `levels`, level by level, and leaves it empty. Gives how many frames found no
 * memory and were released. */
uint32_t levels_prepend(struct levels *levels, struct levels *first);

/* Appends a queue in which the levels are mixed, and leaves it empty. Gives what was lost as above. */
uint32_t levels_append_mixed(struct levels *levels, struct frame_queue *queue);

/* As frame_queue_expire. */
int64_t levels_expire(struct levels *levels, int64_t now_ms, void (*gone)(void *context, struct frame *frame),
                      void *context);

void levels_clear(struct levels *levels);

#endif
