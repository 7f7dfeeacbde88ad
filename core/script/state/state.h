/* What the files of the script room share: the Lua state with its memory accounts, the arena for one call's texts, and
 * the handles by which scripts hold envelopes and decisions. Others use hook.h. */
#ifndef LUADUCT_SCRIPT_STATE_H
#define LUADUCT_SCRIPT_STATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/clock.h"
#include "base/slice.h"
#include "bridge/delivery/decision.h"
#include "bridge/registry/registry.h"
#include "protocol/envelope.h"
#include "script/binding/object_pool.h"
#include "script/binding/send.h"
#include "script/binding/shared.h"
#include "script/bounds/breaker.h"
#include "script/bounds/watchdog.h"
#include "script/hook.h"
#include "script/pure/route_cache.h"
#include "script/state/collect.h"
#include "script/times.h"
#include "script/version/sources.h"
#include "script/wait/timer.h"

/* A handle is a light userdata that names a thing of one call: `generation << 8 | tag`. So making one costs no memory,
 * a handle kept after its call is always recognised, and several calls may be under way at once. 39 bits, because
 * LuaJIT keeps that many of a light userdata without a table of its own. luaduct.null is the light userdata 0. */
#define HANDLE_TAG_BITS 8
#define HANDLE_GENERATION_MASK 0x7fffffffu
#define HANDLE_TAG_ENVELOPE 255u /* tags below DECISION_ITEMS_MAXIMUM: that decision */

/* More than the memory limit that the room itself may use between calls, so that after a script has used up everything
 * there is room to make a new coroutine and to collect. */
#define STATE_RESERVE_BYTES (256u << 10)

/* How many agents bridge.agents() looks at in one go: enough to make the shard's lock cheap, few enough for the state.
 */
#define AGENT_BATCH 32

/* The cached values of one envelope: its fields and, behind them, `sender`. */
#define CACHE_SENDER FIELD_COUNT
#define CACHE_COUNT (FIELD_COUNT + 1)

/* Slots for the pointers of interned field names: four times as many as names, so that a multiplier without collisions
 * is found at once. */
#define KEY_SLOTS 64

/* Bytes of a failure's text, traceback included; more is cut. */
#define FAILURE_TEXT_BYTES 4096

/* Coroutines kept for the next hook that waits. */
#define SPARE_COROUTINES 16

/* The state of LuaJIT's generator of random numbers. */
#define SCRIPT_RANDOM_BYTES 32
struct random_mark {
    unsigned char bytes[SCRIPT_RANDOM_BYTES];
};

/* How much of the C stack a hook may use before functions of ours that call Lua refuse. LuaJIT counts no nesting of C
 * calls; what it calls by itself (string.format and __tostring) takes up to 4 MiB before Lua's own stack is full. */
#define C_STACK_BYTES (512u << 10)

struct arena_chunk {
    struct arena_chunk *next;
    size_t size; /* of data */
    char data[];
};

/* One user script, or the mode (the last one). */
struct script {
    char *path;                           /* NULL for the mode */
    char *folder;                         /* for `require`; NULL for the mode */
    struct script_sources *sources;       /* where its texts come from; the state's reference */
    int bridge;                           /* registry reference: this script's own copy of the bridge's functions */
    int environment;                      /* registry reference */
    int modules;                          /* registry reference: what `require` has loaded */
    int kept;                             /* registry reference: the table behind its `luaduct`, with `state` */
    int hooks[HOOK_COUNT];                /* registry references, LUA_NOREF where it has none */
    struct breaker *breakers[HOOK_COUNT]; /* NULL: it never overran */
    bool declares;                        /* its route has a `cache` (pure/declaration.h) … */
    uint32_t declared;                    /* … of these fields: bit per cached value */
    const void *random;                   /* what its math.random counts on by: SCRIPT_RANDOM_BYTES; NULL: unknown */
    int luaduct;                          /* registry reference: the metatable of its `luaduct` */
};

/* What collect.c knows beside the heap's sizes. */
struct collector {
    atomic_uint ordered;   /* a full cycle: not, after the one under way, or the one under way */
    bool manually;         /* … because somebody asked */
    bool inside;           /* LuaJIT collects inside hooks, and nothing between them */
    bool sentinel_dead;    /* inside: a cycle was completed */
    uint64_t cycle_before; /* the heap when the cycle under way began */
    uint64_t cycle_ns;     /* its steps so far */
    uint64_t asked_ns;     /* when luaduct.gc() last had its way */
    _Atomic uint64_t manual, automatic, cycles_ns, longest_cycle_ns, reclaimed, last_ns;
    struct pauses pauses, hook_times;
};

/* The call of a route with a declaration (pure/declaration.h). */
struct pure_call {
    const struct script *script;
    bool keeps;           /* what it answers is kept */
    bool known;           /* it should answer what it did … */
    struct buffer before; /* … as Lua would write it */
    struct random_mark random;
};

struct script_state {
    /* The hot line of a call. */
    lua_State *coroutine;      /* pooled: runs one hook after the other; NULL after one died until the next is made */
    int route_count;           /* the route functions lie in the coroutine's fixed slots */
    uint32_t generation;       /* of the call under way */
    uintptr_t envelope_handle; /* of the call under way; 0 outside */
    struct envelope *envelope;
    const struct script_sender *sender;
    const struct envelope_defaults *defaults;
    unsigned open_breakers;                   /* of scripts[].breakers */
    unsigned declaring;                       /* routes with a declaration */
    uint32_t undeclared;                      /* bit per cached value that the route under way may not read */
    const struct script *pure;                /* the script whose route with a declaration is under way; else NULL */
    uint32_t cached;                          /* bit per cached value of this call */
    unsigned item_count;                      /* decisions made in this call: made.items[0..item_count) */
    char *arena_at, *arena_end, *arena_start; /* start: of the chunk that is kept */

    /* Interned field names: pointer to index in CACHE_COUNT. */
    uint64_t key_multiplier;
    struct {
        const char *name;
        int index;
    } keys[KEY_SLOTS];

    lua_State *lua;
    uint32_t last_generation; /* the newest call's: one that waited goes on under an older one */
    struct watchdog watchdog;
    struct arena_chunk *arena; /* the newest first; the last is kept between calls */
    struct decision made;      /* what constructors fill in; returned as it is when it is one decision */
    struct slice single_ids[DECISION_ITEMS_MAXIMUM]; /* what made.items[i].ids points to when it is one id */
    struct decision listed;                          /* what a returned list of them is copied to */

    _Atomic uint64_t heap_bytes; /* Lua's heap, arena and buffers; written by this thread only */
    uint64_t memory_limit, ceiling;
    bool jit, inert, reads_only, shadows, timed;
    bool loading; /* scripts are being loaded: `require` may read files */
    bool in_hook;
    int coroutine_reference; /* of `coroutine` in the registry; LUA_NOREF without one */
    int cache_reference;
    const void *array_metatable; /* marks tables as JSON arrays; anchored in array_reference */
    int array_reference;
    const struct script *loading_script; /* while a user script's file runs */
    uintptr_t stack_base;                /* of the C stack, where Lua was entered */
    uint64_t load_deadline_ns;

    /* Hooks that wait (wait.c). */
    struct script_request asked; /* filled in by the function that yields */
    bool asks;                   /* it has yielded */
    const char *cannot_wait;     /* the hook under way, when it is one that cannot */
    struct script_wait *taken;   /* the newest, until script_take_wait */
    struct script_wait *waits;   /* all */
    unsigned wait_count;
    struct spare_coroutine {
        lua_State *coroutine;
        int reference;
    } spares[SPARE_COROUTINES]; /* of hooks that waited and have ended */
    unsigned spare_count;
    unsigned questions_out; /* of hooks that wait */

    struct timer_list timers;

    /* Envelopes that scripts make (send.c). */
    struct composition composition;
    struct script_send *sends;
    const struct trace_context *cause; /* of what is sent now; NULL: none */
    uint32_t sends_generation;         /* of the call that made the last */
    unsigned sends_made;               /* by it */

    struct shared_use shared;

    struct route_cache route_cache;
    struct pure_call pure_call;
    enum route_caching caching;
    bool asked_agents; /* the route under way did, with a declaration */
    bool from_cache;   /* the last answer of a route */

    struct object_pool_figures object_pools[OBJECT_POOLS_SHOWN];
    atomic_uint object_pool_count;

    char *buffer; /* where JSON is written before it goes to the arena */
    size_t buffer_size;

    struct agent_view views[AGENT_BATCH]; /* held by the call under way; released at its end if it raised */
    unsigned view_first, view_count;

    struct script_sources *sources;
    struct script *scripts; /* one more than there are: for trying operations in */
    size_t script_count;

    script_log *log;
    void *log_context;
    struct breaker_rules breaker_rules;
    script_switched *switched; /* NULL: it is logged */
    bool overran;              /* the last call that failed was stopped: script_take_overrun */
    uint32_t budget_ms;
    bool stop_noted; /* the watchdog's stop has been seen, and where it struck is in stop_text */
    char stop_text[FAILURE_TEXT_BYTES];
    uint64_t failure_window_ns; /* when the current second of logged failures began */
    unsigned failures_logged;   /* in it */
    uint64_t failures_unlogged;

    /* The collector. */
    bool collecting;             /* a cycle is under way */
    uint64_t collect_from_bytes; /* the heap size at which the next cycle begins */
    uint64_t collected_at_bytes; /* the heap after the last step */
    uint64_t full_collection_ns; /* when the last forced one was */
    _Atomic uint64_t full_collections, longest_collect_ns;
    struct collector collector;

    /* How long hooks take (times.h). */
    struct script_times *times; /* NULL: nobody wants to know */
    int32_t routes_untimed;     /* so many until the next one that is timed */
    uint32_t distance_seed;

    struct {
        _Atomic uint64_t calls, errors, overruns, skipped, trips;
    } counts[HOOK_COUNT];
};

/* The coroutine's fixed slots: for each route of the chain in order, its script's bridge and the function. */
#define BRIDGE_SLOT(number) (2 * (number) + 1)
#define ROUTE_SLOT(number) (2 * (number) + 2)

/* One writer, many readers: no locked instruction needed. */
static inline void count_up(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* A state with the standard libraries that our own modules need and nothing loaded. NULL when memory is out. */
struct script_state *state_open(const struct script_options *options);
void state_close(struct script_state *state);

/* The state that a Lua thread belongs to: its allocator's context, which is cheaper to reach than an upvalue. */
static inline struct script_state *state_of(lua_State *lua)
{
    void *context;
    lua_getallocf(lua, &context);
    return context;
}

/* malloc, realloc and free on the state's account: `size` 0 frees, NULL when the ceiling or the memory is reached. */
void *state_allocate(struct script_state *state, void *block, size_t old_size, size_t size);

/* Bytes that the heap may still grow by. */
uint64_t state_room(const struct script_state *state);

/* Room for a text that lives until the next call, unaligned; NULL when memory is out. */
char *arena_grow_and_take(struct script_state *state, size_t length);
static inline char *arena_take(struct script_state *state, size_t length)
{
    if ((size_t)(state->arena_end - state->arena_at) < length)
        return arena_grow_and_take(state, length);
    char *taken = state->arena_at;
    state->arena_at += length;
    return taken;
}
void arena_free_chunks(struct script_state *state);

/* A fresh arena in the place of the one there is, which the caller has put aside; false: no memory, and nothing
 * changed. And the end of one. */
bool arena_open(struct script_state *state);
void arena_close(struct script_state *state);
static inline void arena_reset(struct script_state *state)
{
    if (state->arena->next)
        arena_free_chunks(state);
    state->arena_at = state->arena_start;
}

/* As arena_take, aligned for any object, but raises Lua's memory error. */
void *arena_take_aligned(lua_State *lua, struct script_state *state, size_t size);

/* A copy in the arena; raises Lua's memory error. The second: of the string at that index. */
static inline struct slice arena_copy(lua_State *lua, struct script_state *state, struct slice text)
{
    char *copy = arena_take(state, text.length);
    if (!copy)
        luaL_error(lua, "not enough memory");
    return slice_from(memcpy(copy, text.data, text.length), text.length);
}
struct slice arena_copy_string(lua_State *lua, struct script_state *state, int index);

/* Collects everything, at most once a second: a script that lives at its ceiling must not make each call collect. False
 * when it was not time yet. `lua` is the thread that runs: inside a hook its own, else the main one. Never raises. */
bool state_collect_fully(lua_State *lua, struct script_state *state);

/* Around each call into a hook, while its time is asked for, the collector runs inside of it, or it is one of those
 * that are timed anyway (times.h): how long it took. A route that is not costs a decrement. */
static inline uint64_t state_enter_hook(struct script_state *state, enum script_hook hook)
{
    if (__builtin_expect(
            (hook == HOOK_ROUTE && --state->routes_untimed > 0) & !(state->collector.inside | state->timed), 1))
        return 0;
    return clock_steady_ns();
}
static inline void state_leave_hook(struct script_state *state, enum script_hook hook, uint64_t entered_ns)
{
    if (__builtin_expect(entered_ns != 0, 0))
        times_count(state, hook, clock_steady_ns() - entered_ns);
}

/* Raises the watchdog's error when it wants the call to end. For loops in C that a debug hook does not reach. */
static inline void state_check_stop(lua_State *lua, struct script_state *state)
{
    if (__builtin_expect(atomic_load_explicit(&state->watchdog.stop, memory_order_relaxed), 0))
        luaL_error(lua, "stopped: it ran longer than %d ms", (int)state->budget_ms);
}

/* Whether what a script asks for has its effect on the world outside of this state. Raises in one that only reads; not
 * while its scripts load, which all of them must. */
static inline bool state_may_act(lua_State *lua, const struct script_state *state, const char *what)
{
    if (__builtin_expect(!(state->inert | state->reads_only | state->shadows), 1))
        return true;
    if (state->reads_only && !state->loading)
        luaL_error(lua, "%s: the repl only reads", what);
    return false;
}

/* Raises when C functions that call Lua have nested too deep. */
static inline void state_check_depth(lua_State *lua, struct script_state *state)
{
    if (state->stack_base - (uintptr_t)__builtin_frame_address(0) > C_STACK_BYTES)
        luaL_error(lua, "C stack overflow");
}

/* "a string", "nil", "a decision" …: how error texts call the value at that index. */
const char *state_value_name(lua_State *lua, int index);

#endif
