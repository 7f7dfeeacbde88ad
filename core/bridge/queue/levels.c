#include "bridge/queue/levels.h"

#define TURNS 12u

/* The same shares as the queue of the workers' tasks. */
static const uint8_t turns[TURNS] = {LEVEL_HIGH, LEVEL_NORMAL, LEVEL_HIGH, LEVEL_HIGH, LEVEL_HIGH,   LEVEL_NORMAL,
                                     LEVEL_HIGH, LEVEL_HIGH,   LEVEL_LOW,  LEVEL_HIGH, LEVEL_NORMAL, LEVEL_HIGH};

bool levels_ordered;

void levels_start(bool ordered)
{
    levels_ordered = ordered;
}

enum level level_of(struct slice priority)
{
    if (slice_equal(priority, SLICE("high")))
        return LEVEL_HIGH;
    return slice_equal(priority, SLICE("low")) ? LEVEL_LOW : LEVEL_NORMAL;
}

/* After frames came or went. */
static void sum_up(struct levels *levels)
{
    levels->count = 0;
    levels->bytes = 0;
    for (unsigned i = 0; i < LEVEL_COUNT; i++) {
        levels->count += levels->queues[i].count;
        levels->bytes += levels->queues[i].bytes;
    }
}

bool levels_push(struct levels *levels, struct frame *frame)
{
    if (!frame_queue_push_back(&levels->queues[frame->level], frame))
        return false;
    levels->count++;
    levels->bytes += frame->length;
    return true;
}

static uint32_t count_of(const struct levels *levels, const struct levels *more, unsigned level)
{
    return levels->queues[level].count + (more ? more->queues[level].count : 0);
}

enum level levels_next(const struct levels *levels, const struct levels *more)
{
    if (__builtin_expect(!levels_ordered, 1))
        return LEVEL_NORMAL;
    for (unsigned i = 0; i < TURNS; i++) {
        unsigned level = turns[(levels->turn + i) % TURNS];
        if (count_of(levels, more, level) > 0)
            return (enum level)level;
    }
    return LEVEL_NORMAL;
}

void levels_take_turn(struct levels *levels, enum level level)
{
    if (__builtin_expect(!levels_ordered, 1))
        return;
    unsigned turn = levels->turn;
    while (turns[turn % TURNS] != level)
        turn++;
    levels->turn = (uint8_t)((turn + 1) % TURNS);
}

struct frame *levels_pop(struct levels *levels, enum level level)
{
    struct frame *frame = frame_queue_pop_front(&levels->queues[level]);
    levels->count--;
    levels->bytes -= frame->length;
    return frame;
}

struct frame *levels_pop_least(struct levels *levels)
{
    static const enum level upwards[] = {LEVEL_LOW, LEVEL_NORMAL, LEVEL_HIGH};
    for (unsigned i = 0; i < LEVEL_COUNT; i++)
        if (levels->queues[upwards[i]].count > 0)
            return levels_pop(levels, upwards[i]);
    return NULL;
}

uint32_t levels_prepend(struct levels *levels, struct levels *first)
{
    uint32_t lost = 0;
    for (unsigned i = 0; i < LEVEL_COUNT; i++)
        lost += frame_queue_prepend(&levels->queues[i], &first->queues[i]);
    sum_up(levels);
    sum_up(first);
    return lost;
}

uint32_t levels_append_mixed(struct levels *levels, struct frame_queue *queue)
{
    uint32_t lost = 0;
    struct frame *frame;
    if (levels->count == 0 && !levels_ordered) {
        levels->queues[LEVEL_NORMAL] = *queue;
        *queue = (struct frame_queue){0};
        sum_up(levels);
        return 0;
    }
    while ((frame = frame_queue_pop_front(queue))) {
        if (!levels_push(levels, frame)) {
            frame_release(frame);
            lost++;
        }
    }
    return lost;
}

int64_t levels_expire(struct levels *levels, int64_t now_ms, void (*gone)(void *context, struct frame *frame),
                      void *context)
{
    int64_t next = 0;
    for (unsigned i = 0; i < LEVEL_COUNT; i++) {
        int64_t expires = frame_queue_expire(&levels->queues[i], now_ms, gone, context);
        if (expires && (!next || expires < next))
            next = expires;
    }
    sum_up(levels);
    return next;
}

void levels_clear(struct levels *levels)
{
    for (unsigned i = 0; i < LEVEL_COUNT; i++)
        frame_queue_clear(&levels->queues[i]);
    sum_up(levels);
}
