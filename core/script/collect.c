/* When Lua's garbage is collected. LuaJIT's own collector stays armed, but its threshold is set so high that it begins
 * inside a hook only when the heap has reached half the ceiling; before that, script_collect runs it step by step
 * between two batches of events. One thing no step can bound: a table is traversed in one go. */
#include "base/clock.h"
#include "script/state.h"

/* A forced full collection at most this often: it takes some 20 ms for a heap of 64 MiB. */
#define FULL_COLLECTION_DISTANCE_NS 1000000000u

/* Collecting is cheap for a small heap, so a cycle does not begin below this. */
#define COLLECT_FLOOR_BYTES (512u << 10)

/* Percent. A multiple of a heap of 4 GiB / 100 still fits LuaJIT's arithmetic with it. */
#define PAUSE_MAXIMUM 100000

/* script_collect aims at this long, and looks at the clock after each piece of so many KiB. */
#define COLLECT_NS 500000u
#define COLLECT_PIECE_KIB 32

static int collect_everything(lua_State *lua)
{
    lua_gc(lua, LUA_GCCOLLECT, 0);
    return 0;
}

bool state_collect_fully(lua_State *lua, struct script_state *state)
{
    uint64_t now = clock_steady_ns();
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
    state->collected_at_bytes = atomic_load_explicit(&state->heap_bytes, memory_order_relaxed);
    state_end_cycle(state);
    count_up(&state->full_collections);
    return true;
}

/* The next cycle begins between two events when the heap has doubled (never below COLLECT_FLOOR_BYTES); inside a hook,
 * where Lua starts it, only at half the ceiling. A heap that is beyond half already gets an eighth more before. */
void state_end_cycle(struct script_state *state)
{
    uint64_t heap = state->collected_at_bytes, half = state->memory_limit / 2, least = heap + heap / 8;
    state->collect_from_bytes = 2 * heap > COLLECT_FLOOR_BYTES ? 2 * heap : COLLECT_FLOOR_BYTES;
    if (state->collect_from_bytes > half)
        state->collect_from_bytes = half > least ? half : least;
    uint64_t backstop = half > least ? half : least, used = (uint64_t)lua_gc(state->lua, LUA_GCCOUNT, 0) + 1;
    uint64_t pause = (backstop >> 10) * 100 / used; /* in percent of what is in use */
    lua_gc(state->lua, LUA_GCSETPAUSE, pause < PAUSE_MAXIMUM ? (int)pause : PAUSE_MAXIMUM);
    lua_gc(state->lua, LUA_GCRESTART, -1); /* only sets the threshold, by the pause */
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

static __attribute__((noinline)) void collect_some(struct script_state *state, uint64_t heap)
{
    uint64_t start = clock_steady_ns();
    uint64_t grown = heap > state->collected_at_bytes ? heap - state->collected_at_bytes : 0;
    /* Twice what was allocated, so that the collector gains on the script; at least a piece, so that it ends. */
    struct collect_step step = {state, start + COLLECT_NS, 2 * grown + (COLLECT_PIECE_KIB << 10)};
    if (lua_cpcall(state->lua, step_collector, &step) != 0) {
        lua_settop(state->lua, 0);
        state->collecting = false;
    }
    state->collected_at_bytes = atomic_load_explicit(&state->heap_bytes, memory_order_relaxed);
    if (!state->collecting)
        state_end_cycle(state);
    uint64_t took = clock_steady_ns() - start;
    if (took > atomic_load_explicit(&state->longest_collect_ns, memory_order_relaxed))
        atomic_store_explicit(&state->longest_collect_ns, took, memory_order_relaxed);
}

void script_collect(struct script_state *state)
{
    uint64_t heap = atomic_load_explicit(&state->heap_bytes, memory_order_relaxed);
    if (state->collecting ? heap > state->collected_at_bytes : heap >= state->collect_from_bytes)
        collect_some(state, heap);
}
