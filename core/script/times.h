/* How long hooks and steps of the collector take, for scrapers: kept by whoever runs states, because states come and
 * go. Every call of a hook is timed but for routes: of those one in TIMES_ROUTES at random distances, because two looks
 * at the clock would cost a short one some percent. A hook that waits counts each stretch that it runs. */
#ifndef LUADUCT_SCRIPT_TIMES_H
#define LUADUCT_SCRIPT_TIMES_H

#include "base/histogram.h"
#include "script/hook.h"

#define TIMES_ROUTES 64

struct script_times {
    struct histogram hooks[HOOK_COUNT];
    struct histogram collector; /* each step between events, and each collection that was forced in a hook */
};

/* From now on what the state's hooks and its collector take counts there, which must live as long as the state; its
 * thread is the one that records. Without it nothing does. On the state's thread. */
void script_count_times(struct script_state *state, struct script_times *times);

/* Inside of the script room: a call, a step has ended. */
void times_count(struct script_state *state, enum script_hook hook, uint64_t nanoseconds);
void times_count_collector(struct script_state *state, uint64_t nanoseconds);

#endif
