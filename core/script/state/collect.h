/* Lua's collector as the runtime drives it: between two batches of events, in short steps. On the state's thread, but
 * for what says otherwise. The stepping itself is script_collect in hook.h. */
#ifndef LUADUCT_SCRIPT_COLLECT_H
#define LUADUCT_SCRIPT_COLLECT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct script_state;

/* One step aims at this long. */
#define COLLECT_STEP_NS 500000u

/* Asks for a full cycle that begins from now on; script_collect runs it step by step and tells when it is done. Several
 * that come before it has begun are one. manual: somebody asked, as opposed to the bridge. */
void script_order_cycle(struct script_state *state, bool manual);

/* true (the start): the collector runs between events. false: LuaJIT's own way, inside hooks whenever they allocate,
 * with LuaJIT's pause and step multiplier; for comparison, and when the engine gcOptimization is off. */
void script_step_between(struct script_state *state, bool between);

/* Lengths of time: four buckets to each power of two of microseconds, so a percentile is right to 25 % (and never too
 * low). One thread records, any reads. */
#define PAUSE_BUCKETS 104 /* up to half a minute */

struct pauses {
    _Atomic uint64_t buckets[PAUSE_BUCKETS];
    _Atomic uint64_t total_ns, longest_ns;
};

void pauses_record(struct pauses *pauses, uint64_t nanoseconds);

struct pause_sums {
    uint64_t buckets[PAUSE_BUCKETS];
    uint64_t count, total_ns, longest_ns;
};

void pauses_add(const struct pauses *pauses, struct pause_sums *sums);

/* Nanoseconds that this share (0 to 1) of them stayed within; 0 when there are none. */
uint64_t pause_percentile(const struct pause_sums *sums, double share);

/* A collection is one completed full cycle. All is added to what *out holds, so that several states make one sum; any
 * thread, while the state lives. */
struct script_collections {
    uint64_t manual, automatic;   /* collections, by who asked */
    uint64_t cycle_ns;            /* their steps together */
    uint64_t longest_cycle_ns;    /* the steps of one */
    uint64_t reclaimed;           /* bytes: heap at the start of each minus heap at its end, where that is positive */
    uint64_t last_ns;             /* steady clock: when the newest ended; 0: none yet */
    struct pause_sums pauses;     /* each step between events, and each collection that was forced in a hook */
    struct pause_sums hook_times; /* of whole hooks, collector included: recorded while it runs inside of them, or
                                     script_time_hooks */
    unsigned under_way;           /* states whose ordered cycle is not done */
};
void script_add_collections(const struct script_state *state, struct script_collections *out);

#endif
