#include "script/times.h"

#include "script/state/state.h"

/* At random, so that what comes at a regular distance is met like all else. */
static int32_t next_distance(struct script_state *state)
{
    uint32_t x = state->distance_seed;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    state->distance_seed = x;
    return (int32_t)(1 + x % (2 * TIMES_ROUTES - 1));
}

void script_count_times(struct script_state *state, struct script_times *times)
{
    state->times = times;
    state->routes_untimed = 1;
    state->distance_seed = (uint32_t)clock_steady_ns() | 1;
}

void times_count(struct script_state *state, enum script_hook hook, uint64_t nanoseconds)
{
    bool due = true;
    if (state->collector.inside | state->timed)
        pauses_record(&state->collector.hook_times, nanoseconds);
    if (hook == HOOK_ROUTE) {
        due = state->routes_untimed <= 0;
        if (due)
            state->routes_untimed = state->times ? next_distance(state) : INT32_MAX;
    }
    if (due && hook < HOOK_COUNT && state->times)
        histogram_record(&state->times->hooks[hook], nanoseconds, 1);
}

void times_count_collector(struct script_state *state, uint64_t nanoseconds)
{
    pauses_record(&state->collector.pauses, nanoseconds);
    if (state->times)
        histogram_record(&state->times->collector, nanoseconds, 1);
}
