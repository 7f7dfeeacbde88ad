/* When Lua's garbage is collected. LuaJIT's own collector stays armed, but its threshold is set so high that it begins
 * inside a hook only when the heap has reached half the ceiling; before that, script_collect runs it step by step
 * between two batches of events. One thing no step can bound: a table is traversed in one go.
 *
 * With the engine off LuaJIT's collector has its usual threshold. What it has completed cannot be asked for, so a
 * userdata that nothing holds tells by its finalizer: it dies once in each cycle. */
#include "script/state/collect.h"

#include "base/clock.h"
#include "script/state/state.h"

/* A forced full collection at most this often: it takes some 20 ms for a heap of 64 MiB. */
#define FULL_COLLECTION_DISTANCE_NS 1000000000u

/* Collecting is cheap for a small heap, so a cycle does not begin below this. */
#define COLLECT_FLOOR_BYTES (512u << 10)

/* Percent. A multiple of a heap of 4 GiB / 100 still fits LuaJIT's arithmetic with it. */
#define PAUSE_MAXIMUM 100000

/* LuaJIT's own, in percent. */
#define DEFAULT_PAUSE 200
#define DEFAULT_STEP_MULTIPLIER 200

/* A step aims at this while the collector keeps up, and at COLLECT_STEP_NS when the heap has doubled meanwhile. */
#define COLLECT_SHORT_NS 200000u

/* The clock is looked at after each piece of so many KiB. */
#define COLLECT_PIECE_KIB 8

enum { NOT_ORDERED, ORDERED_NEXT /* the cycle under way is too old */, ORDERED_THIS };

/* --- Figures --- */

static unsigned bucket_of(uint64_t nanoseconds)
{
    uint64_t microseconds = nanoseconds / 1000;
    if (microseconds < 4)
        return (unsigned)microseconds;
    unsigned exponent = 63u - (unsigned)__builtin_clzll(microseconds);
    unsigned bucket = (exponent - 1) * 4 + (unsigned)((microseconds >> (exponent - 2)) & 3);
    return bucket < PAUSE_BUCKETS ? bucket : PAUSE_BUCKETS - 1;
}

/* The first microsecond above a bucket. */
static uint64_t bucket_end(unsigned bucket)
{
    if (bucket < 4)
        return bucket + 1;
    unsigned exponent = bucket / 4 + 1;
    return ((uint64_t)1 << exponent) + ((uint64_t)(bucket % 4 + 1) << (exponent - 2));
}

static void add_to(_Atomic uint64_t *figure, uint64_t by)
{
    atomic_store_explicit(figure, atomic_load_explicit(figure, memory_order_relaxed) + by, memory_order_relaxed);
}

static void raise_to(_Atomic uint64_t *figure, uint64_t value)
{
    if (value > atomic_load_explicit(figure, memory_order_relaxed))
        atomic_store_explicit(figure, value, memory_order_relaxed);
}

void pauses_record(struct pauses *pauses, uint64_t nanoseconds)
{
    count_up(&pauses->buckets[bucket_of(nanoseconds)]);
    add_to(&pauses->total_ns, nanoseconds);
    raise_to(&pauses->longest_ns, nanoseconds);
}

void pauses_add(const struct pauses *pauses, struct pause_sums *sums)
{
    for (unsigned i = 0; i < PAUSE_BUCKETS; i++) {
        uint64_t count = atomic_load_explicit(&pauses->buckets[i], memory_order_relaxed);
        sums->buckets[i] += count;
        sums->count += count;
    }
    sums->total_ns += atomic_load_explicit(&pauses->total_ns, memory_order_relaxed);
    uint64_t longest = atomic_load_explicit(&pauses->longest_ns, memory_order_relaxed);
    sums->longest_ns = longest > sums->longest_ns ? longest : sums->longest_ns;
}

uint64_t pause_percentile(const struct pause_sums *sums, double share)
{
    uint64_t seen = 0;
    for (unsigned i = 0; i < PAUSE_BUCKETS; i++) {
        seen += sums->buckets[i];
        if (seen > 0 && (double)seen >= share * (double)sums->count) {
            uint64_t end = bucket_end(i) * 1000;
            return end < sums->longest_ns ? end : sums->longest_ns;
        }
    }
    return 0;
}

void script_add_collections(const struct script_state *state, struct script_collections *out)
{
    const struct collector *collector = &state->collector;
    out->manual += atomic_load_explicit(&collector->manual, memory_order_relaxed);
    out->automatic += atomic_load_explicit(&collector->automatic, memory_order_relaxed);
    out->cycle_ns += atomic_load_explicit(&collector->cycles_ns, memory_order_relaxed);
    out->reclaimed += atomic_load_explicit(&collector->reclaimed, memory_order_relaxed);
    uint64_t longest = atomic_load_explicit(&collector->longest_cycle_ns, memory_order_relaxed);
    uint64_t last = atomic_load_explicit(&collector->last_ns, memory_order_relaxed);
    out->longest_cycle_ns = longest > out->longest_cycle_ns ? longest : out->longest_cycle_ns;
    out->last_ns = last > out->last_ns ? last : out->last_ns;
    out->under_way += atomic_load_explicit(&collector->ordered, memory_order_relaxed) != NOT_ORDERED;
    pauses_add(&collector->pauses, &out->pauses);
    pauses_add(&collector->hook_times, &out->hook_times);
}

/* --- Cycles --- */

static uint64_t heap_of(const struct script_state *state)
{
    return atomic_load_explicit(&state->heap_bytes, memory_order_relaxed);
}

/* A cycle is over: counts it. */
static void count_cycle(struct script_state *state, uint64_t before, uint64_t took_ns, bool manual)
{
    struct collector *collector = &state->collector;
    uint64_t after = heap_of(state);
    count_up(manual ? &collector->manual : &collector->automatic);
    add_to(&collector->cycles_ns, took_ns);
    raise_to(&collector->longest_cycle_ns, took_ns);
    add_to(&collector->reclaimed, before > after ? before - after : 0);
    atomic_store_explicit(&collector->last_ns, clock_steady_ns(), memory_order_relaxed);
}

/* The next cycle begins between two events when the heap has doubled (never below COLLECT_FLOOR_BYTES); inside a hook,
 * where Lua starts it, only at half the ceiling. A heap that is beyond half already gets an eighth more before. */
static void end_cycle(struct script_state *state)
{
    uint64_t heap = state->collected_at_bytes, half = state->memory_limit / 2, least = heap + heap / 8;
    state->collect_from_bytes = 2 * heap > COLLECT_FLOOR_BYTES ? 2 * heap : COLLECT_FLOOR_BYTES;
    if (state->collect_from_bytes > half)
        state->collect_from_bytes = half > least ? half : least;
    uint64_t backstop = half > least ? half : least, used = (uint64_t)lua_gc(state->lua, LUA_GCCOUNT, 0) + 1;
    uint64_t pause = (backstop >> 10) * 100 / used; /* in percent of what is in use */
    if (state->collector.inside)
        pause = DEFAULT_PAUSE;
    lua_gc(state->lua, LUA_GCSETPAUSE, pause < PAUSE_MAXIMUM ? (int)pause : PAUSE_MAXIMUM);
    lua_gc(state->lua, LUA_GCRESTART, -1); /* only sets the threshold, by the pause */
}

static int collect_everything(lua_State *lua)
{
    lua_gc(lua, LUA_GCCOLLECT, 0);
    return 0;
}

bool state_collect_fully(lua_State *lua, struct script_state *state)
{
    uint64_t now = clock_steady_ns(), before = heap_of(state);
    if (state->full_collection_ns != 0 && now - state->full_collection_ns < FULL_COLLECTION_DISTANCE_NS)
        return false;
    uint64_t ceiling = state->ceiling;
    state->ceiling = state->memory_limit + STATE_RESERVE_BYTES;
    /* A collection may resize the table of strings, so it may raise; one that does has swept all the same. */
    if (lua_cpcall(lua, collect_everything, NULL) != 0)
        lua_pop(lua, 1);
    state->ceiling = ceiling;
    state->full_collection_ns = clock_steady_ns();
    state->collecting = false;
    state->collected_at_bytes = heap_of(state);
    end_cycle(state);
    count_up(&state->full_collections);
    if (state->generation != 0) { /* what loading took is nobody's pause */
        count_cycle(state, before, state->full_collection_ns - now, false);
        times_count_collector(state, state->full_collection_ns - now);
    }
    return true;
}

struct collect_step {
    struct script_state *state;
    uint64_t until_ns;
    uint64_t debt; /* bytes to free or traverse */
};

static int step_collector(lua_State *lua)
{
    struct collect_step *step = lua_touserdata(lua, 1);
    struct script_state *state = step->state;
    state->collecting = true;
    for (uint64_t paid = 0; state->collecting && paid < step->debt; paid += COLLECT_PIECE_KIB << 10) {
        state->collecting = lua_gc(lua, LUA_GCSTEP, COLLECT_PIECE_KIB) == 0;
        if (clock_steady_ns() >= step->until_ns)
            break;
    }
    return 0;
}

static void order(struct script_state *state, unsigned ordered)
{
    atomic_store_explicit(&state->collector.ordered, ordered, memory_order_relaxed);
}

static unsigned ordered(const struct script_state *state)
{
    return atomic_load_explicit(&state->collector.ordered, memory_order_relaxed);
}

static __attribute__((noinline)) void collect_some(struct script_state *state, uint64_t heap)
{
    struct collector *collector = &state->collector;
    uint64_t start = clock_steady_ns();
    uint64_t grown = heap > state->collected_at_bytes ? heap - state->collected_at_bytes : 0;
    /* Twice what was allocated, so that the collector gains on the script; at least a piece, so that it ends. */
    uint64_t aim = heap > 2 * state->collect_from_bytes ? COLLECT_STEP_NS : COLLECT_SHORT_NS;
    struct collect_step step = {state, start + aim, 2 * grown + (COLLECT_PIECE_KIB << 10)};
    if (ordered(state) != NOT_ORDERED)
        step.debt = UINT64_MAX;
    if (!state->collecting) {
        collector->cycle_before = heap;
        collector->cycle_ns = 0;
    }
    bool raised = lua_cpcall(state->lua, step_collector, &step) != 0;
    if (raised) {
        lua_settop(state->lua, 0);
        state->collecting = false;
    }
    state->collected_at_bytes = heap_of(state);
    if (!state->collecting)
        end_cycle(state);
    uint64_t took = clock_steady_ns() - start;
    times_count_collector(state, took);
    raise_to(&state->longest_collect_ns, took);
    collector->cycle_ns += took;
    if (state->collecting)
        return;
    if (!raised)
        count_cycle(state, collector->cycle_before, collector->cycle_ns,
                    ordered(state) == ORDERED_THIS && collector->manually);
    order(state, ordered(state) == ORDERED_NEXT ? ORDERED_THIS : NOT_ORDERED);
}

void script_order_cycle(struct script_state *state, bool manual)
{
    if (ordered(state) == NOT_ORDERED || (ordered(state) == ORDERED_THIS && state->collecting)) {
        state->collector.manually = manual;
        order(state, state->collecting ? ORDERED_NEXT : ORDERED_THIS);
    }
    state->collector.manually = state->collector.manually || manual;
}

/* --- LuaJIT's own way --- */

static int sentinel_dies(lua_State *lua)
{
    state_of(lua)->collector.sentinel_dead = true;
    return 0;
}

static int make_sentinel(lua_State *lua)
{
    lua_newuserdata(lua, 1);
    lua_createtable(lua, 0, 1);
    lua_pushcfunction(lua, sentinel_dies);
    lua_setfield(lua, -2, "__gc");
    lua_setmetatable(lua, -2);
    return 0;
}

static __attribute__((noinline)) void watch_inside(struct script_state *state)
{
    if (!state->collector.sentinel_dead)
        return;
    /* Its times and bytes lie within hooks and are not known. */
    count_cycle(state, 0, 0, false);
    state->collector.sentinel_dead = false;
    if (lua_cpcall(state->lua, make_sentinel, NULL) != 0)
        lua_settop(state->lua, 0);
}

void script_step_between(struct script_state *state, bool between)
{
    if (state->collector.inside == !between)
        return;
    state->collector.inside = !between;
    state->collected_at_bytes = heap_of(state);
    state->collecting = false;
    lua_gc(state->lua, LUA_GCSETSTEPMUL, DEFAULT_STEP_MULTIPLIER);
    end_cycle(state);
    state->collector.sentinel_dead = false;
    if (!between && lua_cpcall(state->lua, make_sentinel, NULL) != 0)
        lua_settop(state->lua, 0);
}

bool script_collect(struct script_state *state)
{
    uint64_t heap = heap_of(state);
    if (__builtin_expect(ordered(state) != NOT_ORDERED, 0)) {
        collect_some(state, heap);
        return ordered(state) != NOT_ORDERED;
    }
    if (__builtin_expect(state->collector.inside, 0))
        watch_inside(state);
    else if (state->collecting ? heap > state->collected_at_bytes : heap >= state->collect_from_bytes)
        collect_some(state, heap);
    return false;
}
