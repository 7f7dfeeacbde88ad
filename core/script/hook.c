/* A hook runs in a pooled coroutine whose first slots hold the chain's route functions, so that a call is three pushes
 * and a resume. The coroutine of a call that failed is thrown away: its stack shows where it died, and what it held on
 * to goes with it.
 *
 * Nothing outside of a protected call may raise: LuaJIT would abort the process. Pushing a value that exists, resuming,
 * and reading a light userdata never do; all else here (making an agent's table, reading a changed one) runs in
 * lua_cpcall. */
#include "script/hook.h"

#include <stdio.h>
#include <stdlib.h>

#include "script/binding/bridge.h"
#include "script/bounds/guard.h"
#include "script/call.h"
#include "script/chain.h"
#include "script/failure.h"
#include "script/pure/declaration.h"
#include "script/state/load.h"
#include "script/wait/ask.h"
#include "workers/value_lua.h"

struct script_state *script_state_new(const struct script_options *options, char *error, size_t error_size)
{
    struct script_state *state = state_open(options);
    if (!state) {
        snprintf(error, error_size, "not enough memory for a Lua state (script.memoryLimit is %llu bytes)",
                 (unsigned long long)options->memory_limit);
        return NULL;
    }
    watchdog_init(&state->watchdog, state->lua, failure_stop, options->budget_ms, options->wake_fd);
    if (!load_scripts(state, options, error, error_size)) {
        state_close(state);
        return NULL;
    }
    state_collect_fully(state->lua, state); /* what loading left */
    state->full_collection_ns = 0;
    atomic_store_explicit(&state->full_collections, 0, memory_order_relaxed);
    return state;
}

void script_adopt(struct script_state *state)
{
    watchdog_move_here(&state->watchdog);
}

void script_time_hooks(struct script_state *state, bool on)
{
    state->timed = on;
}

void script_shadows(struct script_state *state, bool on)
{
    state->shadows = on;
}

unsigned script_wait_count(const struct script_state *state)
{
    return state->wait_count;
}

void script_state_free(struct script_state *state)
{
    if (state)
        guard_close(state);
    state_close(state);
}

bool script_take_overrun(struct script_state *state)
{
    bool overran = state->overran;
    state->overran = false;
    return overran;
}

struct watchdog *script_watchdog(struct script_state *state)
{
    return &state->watchdog;
}

bool script_has_hook(const struct script_state *state, enum script_hook hook)
{
    for (size_t i = 0; i < state->script_count; i++)
        if (state->scripts[i].hooks[hook] != LUA_NOREF)
            return true;
    return false;
}

/* --- route ------------------------------------------------------------------------------------------------------ */

static __attribute__((noinline)) void report_nonsense(struct script_state *state, enum script_hook hook, lua_State *lua,
                                                      int function, const char *mistake)
{
    char text[256];
    snprintf(text, sizeof text, "%s: expected a decision, a list of them or nil, %s", script_hook_name(hook), mistake);
    failure_report_mistake(state, hook, lua, function, text);
}

/* --- Routes with a declaration (pure/declaration.h) --- */

static void write_answer(struct buffer *out, const struct decision *decision)
{
    if (decision)
        decision_write(out, decision);
    else
        buffer_append_slice(out, SLICE("nil"));
}

/* Whether the route need not be asked, because what it answers is known: *decision, NULL for nil. */
static __attribute__((noinline)) bool begin_pure(struct script_state *state, const struct script *script,
                                                 struct decision **decision)
{
    struct pure_call *call = &state->pure_call;
    *decision = NULL;
    *call = (struct pure_call){.script = script};
    /* While a hook is switched off, each answer tells whether it may come back. */
    if (state->caching != ROUTE_CACHING_OFF && state->open_breakers == 0) {
        enum route_found found = route_cache_find(state, script, decision);
        if (found != ROUTE_UNKNOWN && state->caching == ROUTE_CACHING_ON)
            return true;
        call->known = found != ROUTE_UNKNOWN;
        call->keeps = !call->known;
        if (call->known)
            write_answer(&call->before, *decision);
    }
    declaration_mark_random(script, &call->random);
    declaration_enter(state, script);
    return false;
}

/* Sets *mistake where it answers something else than before. */
static void check_again(const struct pure_call *call, const struct decision *decision, char *mistake,
                        size_t mistake_size)
{
    struct buffer now = {0};
    write_answer(&now, decision);
    bool same = now.failed || call->before.failed ||
                slice_equal(slice_from(now.data, now.length), slice_from(call->before.data, call->before.length));
    if (!same)
        snprintf(mistake, mistake_size,
                 "for the same values of the fields that it declares as its cache it decided %.*s before, and %.*s now",
                 (int)call->before.length, call->before.data, (int)now.length, now.data);
    buffer_free(&now);
}

/* What it returned lies in its coroutine: *decision, NULL for nil. False: it was nonsense, or the declared fields do
 * not give it, which is counted and logged. */
static __attribute__((noinline)) bool end_pure(struct script_state *state, int number, struct decision **decision)
{
    struct pure_call *call = &state->pure_call;
    lua_State *coroutine = state->coroutine;
    char nonsense[192], mistake[512] = "";
    *decision = bridge_read_decision(coroutine, state, 2 * state->route_count + 1, nonsense, sizeof nonsense);
    lua_settop(coroutine, 2 * state->route_count);
    if (nonsense[0] != '\0')
        snprintf(mistake, sizeof mistake, "expected a decision, a list of them or nil, %s", nonsense);
    else if (declaration_random_used(call->script, &call->random))
        snprintf(mistake, sizeof mistake, "math.random: not in a route that declares a cache: its decisions are kept");
    else if (call->known)
        check_again(call, *decision, mistake, sizeof mistake);
    else if (call->keeps)
        route_cache_keep(state, *decision);
    buffer_free(&call->before);
    if (mistake[0] == '\0')
        return true;
    char text[sizeof mistake + 16];
    snprintf(text, sizeof text, "%s: %s", script_hook_name(HOOK_ROUTE), mistake);
    failure_report_mistake(state, HOOK_ROUTE, coroutine, ROUTE_SLOT(number), text);
    return false;
}

bool script_from_cache(const struct script_state *state)
{
    return state->from_cache;
}

/* Whose route lies in ROUTE_SLOT(number). */
static const struct script *route_script(const struct script_state *state, int number)
{
    const struct script *script = state->scripts;
    while (script->hooks[HOOK_ROUTE] == LUA_NOREF || number-- > 0)
        script++;
    return script;
}

/* From the route function of that number on. `answers`: how many values it waited for lie in its coroutine; negative:
 * it has not begun. */
static inline enum script_result route_by_chain(struct script_state *state, int number, int answers,
                                                struct decision **out)
{
    for (int i = number; i < state->route_count; i++, answers = -1) {
        if (__builtin_expect(!state->coroutine, 0) && !call_has_coroutine(state, HOOK_ROUTE))
            return SCRIPT_FAILED;
        if (__builtin_expect((state->open_breakers | state->declaring) != 0, 0) && answers < 0) {
            const struct script *script = route_script(state, i);
            struct decision *known;
            if (state->open_breakers > 0 && !guard_admits(state, script, HOOK_ROUTE))
                return SCRIPT_FAILED;
            state->from_cache = script->declares && begin_pure(state, script, &known);
            if (state->from_cache && known) {
                *out = known;
                return SCRIPT_DECIDED;
            }
            if (state->from_cache)
                continue;
        }
        lua_State *coroutine = state->coroutine;
        int base = 2 * state->route_count;
        if (__builtin_expect(answers < 0, 1)) {
            count_up(&state->counts[HOOK_ROUTE].calls);
            state->envelope_handle = call_next_generation(state) | HANDLE_TAG_ENVELOPE;
            lua_pushvalue(coroutine, ROUTE_SLOT(i));
            lua_pushlightuserdata(coroutine, (void *)state->envelope_handle);
            lua_pushvalue(coroutine, BRIDGE_SLOT(i));
        }
        bool stopped;
        int status = call_run(state, HOOK_ROUTE, answers < 0 ? 2 : answers, &stopped);
        /* One branch for all that is rare: a call that did not end well, any while some hook is switched off, and
         * those with a declaration. */
        bool pure = state->pure != NULL;
        if (__builtin_expect(((unsigned)status | stopped | state->open_breakers | pure) != 0, 0)) {
            declaration_leave(state);
            struct chain_call call = {.hook = HOOK_ROUTE, .index = i};
            if (call_put_aside(state, &call, status, stopped))
                return SCRIPT_WAITS;
            if (status != 0 || stopped) {
                if (pure)
                    buffer_free(&state->pure_call.before);
                call_fail(state, route_script(state, i), HOOK_ROUTE, guard_sender(state), status, stopped);
                return SCRIPT_FAILED;
            }
            if (state->open_breakers > 0)
                guard_went_well(state, route_script(state, i), HOOK_ROUTE);
            if (pure) {
                if (!end_pure(state, i, out))
                    return SCRIPT_FAILED;
                if (*out)
                    return SCRIPT_DECIDED;
                continue;
            }
        }
        /* One decision and that returned is what nearly every route does. */
        uintptr_t first = state->envelope_handle & ~(uintptr_t)HANDLE_TAG_ENVELOPE;
        if (__builtin_expect((uintptr_t)lua_touserdata(coroutine, base + 1) == first && state->item_count > 0, 1)) {
            lua_settop(coroutine, base);
            state->made.count = 1;
            *out = &state->made;
            return SCRIPT_DECIDED;
        }
        char mistake[192];
        struct decision *decision = bridge_read_decision(coroutine, state, base + 1, mistake, sizeof mistake);
        lua_settop(coroutine, base);
        if (__builtin_expect(mistake[0] != '\0', 0)) {
            report_nonsense(state, HOOK_ROUTE, coroutine, ROUTE_SLOT(i), mistake);
            return SCRIPT_FAILED;
        }
        if (decision) {
            *out = decision;
            return SCRIPT_DECIDED;
        }
    }
    state->made.count = 1;
    memset(&state->made.items[0], 0, sizeof state->made.items[0]);
    state->made.items[0].kind = DECISION_DEFAULT;
    *out = &state->made;
    return SCRIPT_DECIDED;
}

enum script_result script_route(struct script_state *state, struct envelope *envelope,
                                const struct script_sender *sender, const struct envelope_defaults *defaults,
                                struct decision **out)
{
    call_begin(state);
    state->envelope = envelope;
    state->sender = sender;
    state->defaults = defaults;
    enum script_result result = route_by_chain(state, 0, -1, out);
    state->envelope_handle = 0;
    return result;
}

/* --- Going on ----------------------------------------------------------------------------------------------------- */

static void push_text(lua_State *lua, struct slice text)
{
    lua_pushlstring(lua, text.data ? text.data : "", text.length);
}

struct answering {
    struct script_state *state;
    const struct script_answer *answer;
    int count;
};

/* On the main stack, protected: what the waiting call returns, moved to the coroutine. */
static int push_answer(lua_State *lua)
{
    struct answering *answering = lua_touserdata(lua, 1);
    struct script_state *state = answering->state;
    const struct script_answer *answer = answering->answer;
    lua_settop(lua, 0);
    luaL_checkstack(lua, 20, NULL);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, state->array_reference);
    if (answer->code != CODE_OK) {
        lua_pushnil(lua);
        push_text(lua, answer->text);
        lua_pushstring(lua, code_name(answer->code));
    } else if (answer->replies) {
        ask_push_replies(lua, state, answer->replies);
    } else if (answer->value) {
        value_to_lua(lua, answer->value, 1);
    }
    answering->count = lua_gettop(lua) - 1;
    if (!lua_checkstack(state->coroutine, answering->count + LUA_MINSTACK))
        luaL_error(lua, "not enough memory");
    lua_xmove(lua, state->coroutine, answering->count);
    return 0;
}

static int hook_reference(const struct script_state *state, const struct chain_call *call)
{
    return call->hook == HOOK_ROUTE   ? route_script(state, call->index)->hooks[HOOK_ROUTE]
           : call->hook == HOOK_TIMER ? timer_reference(state, call)
                                      : state->scripts[call->index].hooks[call->hook];
}

enum script_result script_resume(struct script_state *state, struct script_wait *wait,
                                 const struct script_answer *answer, struct script_outcome *outcome)
{
    struct chain_call call;
    *outcome = (struct script_outcome){0};
    call_begin(state);
    wait_restore(state, wait, &call);
    struct answering answering = {.state = state, .answer = answer};
    enum script_result result = SCRIPT_FAILED;
    if (lua_cpcall(state->lua, push_answer, &answering) != 0) {
        failure_report(state, call.hook, hook_reference(state, &call), state->lua, false);
        lua_settop(state->lua, 0);
        call_recover(state, true);
    } else if (call.hook == HOOK_ROUTE) {
        state->from_cache = false;
        result = route_by_chain(state, call.index, answering.count, &outcome->decision);
    } else if (call.hook == HOOK_TIMER) {
        result = timer_continue(state, &call, answering.count);
    } else {
        result = chain_run(state, &call, answering.count, &outcome->decision);
    }
    result = chain_finish(state, &call, result);
    outcome->reason = chain_refusal_reason(&call);
    return result;
}

void script_abandon(struct script_state *state, struct script_wait *wait, const char *why)
{
    struct chain_call call;
    call_begin(state);
    wait_restore(state, wait, &call);
    if (why)
        failure_report_waiting(state, call.hook, hook_reference(state, &call), state->coroutine, why);
    call_recover(state, false);
    chain_finish(state, &call, SCRIPT_FAILED);
}

/* --- Counting ----------------------------------------------------------------------------------------------------- */

void script_read_statistics(const struct script_state *state, struct script_statistics *out)
{
    for (int i = 0; i < HOOK_COUNT; i++) {
        out->hooks[i].calls = atomic_load_explicit(&state->counts[i].calls, memory_order_relaxed);
        out->hooks[i].errors = atomic_load_explicit(&state->counts[i].errors, memory_order_relaxed);
        out->hooks[i].overruns = atomic_load_explicit(&state->counts[i].overruns, memory_order_relaxed);
        out->hooks[i].skipped = atomic_load_explicit(&state->counts[i].skipped, memory_order_relaxed);
        out->hooks[i].trips = atomic_load_explicit(&state->counts[i].trips, memory_order_relaxed);
    }
    const struct route_cache *cache = &state->route_cache;
    out->route_cache =
        (struct route_cache_statistics){.hits = atomic_load_explicit(&cache->hits, memory_order_relaxed),
                                        .misses = atomic_load_explicit(&cache->misses, memory_order_relaxed),
                                        .uncached = atomic_load_explicit(&cache->uncached, memory_order_relaxed),
                                        .evicted = atomic_load_explicit(&cache->evicted, memory_order_relaxed),
                                        .outdated = atomic_load_explicit(&cache->outdated, memory_order_relaxed),
                                        .entries = atomic_load_explicit(&cache->shown_entries, memory_order_relaxed),
                                        .bytes = atomic_load_explicit(&cache->shown_bytes, memory_order_relaxed)};
    out->heap_bytes = atomic_load_explicit(&state->heap_bytes, memory_order_relaxed);
    out->heap_limit = state->memory_limit;
    out->full_collections = atomic_load_explicit(&state->full_collections, memory_order_relaxed);
    out->longest_collect_ns = atomic_load_explicit(&state->longest_collect_ns, memory_order_relaxed);
}
