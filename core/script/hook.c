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

#include "protocol/registration.h"
#include "script/bridge_binding.h"
#include "script/envelope_binding.h"
#include "script/failure.h"
#include "script/json_value.h"
#include "script/load.h"
#include "script/state.h"

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
    return state;
}

void script_state_free(struct script_state *state)
{
    state_close(state);
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

/* --- One call into Lua ------------------------------------------------------------------------------------------ */

/* Starts what the header calls the state's next call: texts of the last one end here. */
static inline void begin_call(struct script_state *state)
{
    arena_reset(state);
    if (__builtin_expect(state->cached != 0, 0))
        envelope_binding_forget(state);
}

/* Handles of earlier calls into Lua end here. */
static inline uintptr_t next_generation(struct script_state *state)
{
    state->generation = (state->generation + 1) & HANDLE_GENERATION_MASK;
    if (state->generation == 0)
        state->generation = 1;
    state->item_count = 0;
    return (uintptr_t)state->generation << HANDLE_TAG_BITS;
}

/* Runs the function that lies in the coroutine below its arguments. True: its results lie there instead. */
static inline int resume_hook(struct script_state *state, enum script_hook hook, int arguments, bool *stopped)
{
    count_up(&state->counts[hook].calls);
    state->ceiling = state->memory_limit;
    state->in_hook = true;
    state->stack_base = (uintptr_t)__builtin_frame_address(0);
    watchdog_enter(&state->watchdog);
    int status = lua_resume(state->coroutine, arguments);
    *stopped = watchdog_leave(&state->watchdog);
    state->in_hook = false;
    state->ceiling = state->memory_limit + STATE_RESERVE_BYTES;
    return status;
}

/* Leaves the state as a call should find it. */
static void recover(struct script_state *state, bool out_of_memory)
{
    state->stop_noted = false;
    bridge_release_views(state);
    state->coroutine = NULL;
    if (out_of_memory)
        state_collect_fully(state->lua, state);
    load_coroutine(state); /* on failure the next call tries again */
}

/* After a resume that did not end well. */
static __attribute__((noinline)) void fail_call(struct script_state *state, enum script_hook hook, int hook_reference,
                                                int status, bool stopped)
{
    lua_State *coroutine = state->coroutine;
    bool out_of_memory = status == LUA_ERRMEM;
    if (status == LUA_YIELD) {
        lua_settop(coroutine, 0);
        lua_pushnil(coroutine); /* coroutine.yield of the sandbox refuses before this */
    }
    if (lua_gettop(coroutine) > 0 && lua_type(coroutine, -1) == LUA_TSTRING)
        out_of_memory = out_of_memory || strstr(lua_tostring(coroutine, -1), "not enough memory") != NULL;
    failure_report(state, hook, hook_reference, coroutine, stopped);
    recover(state, out_of_memory);
}

static bool has_coroutine(struct script_state *state, enum script_hook hook)
{
    if (state->coroutine || load_coroutine(state))
        return true;
    lua_settop(state->lua, 0);
    state_collect_fully(state->lua, state);
    if (load_coroutine(state))
        return true;
    lua_pushnil(state->lua);
    failure_report(state, hook, LUA_NOREF, state->lua, false);
    lua_settop(state->lua, 0);
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

/* The registry's reference to the route in ROUTE_SLOT(number). */
static int route_reference(const struct script_state *state, int number)
{
    const struct script *script = state->scripts;
    while (script->hooks[HOOK_ROUTE] == LUA_NOREF || number-- > 0)
        script++;
    return script->hooks[HOOK_ROUTE];
}

static enum script_result route_by_chain(struct script_state *state, struct decision **out)
{
    for (int i = 0; i < state->route_count; i++) {
        if (__builtin_expect(!state->coroutine, 0) && !has_coroutine(state, HOOK_ROUTE))
            return SCRIPT_FAILED;
        lua_State *coroutine = state->coroutine;
        int base = 2 * state->route_count;
        state->envelope_handle = next_generation(state) | HANDLE_TAG_ENVELOPE;
        lua_pushvalue(coroutine, ROUTE_SLOT(i));
        lua_pushlightuserdata(coroutine, (void *)state->envelope_handle);
        lua_pushvalue(coroutine, BRIDGE_SLOT(i));
        bool stopped;
        int status = resume_hook(state, HOOK_ROUTE, 2, &stopped);
        if (__builtin_expect(status != 0 || stopped, 0)) {
            fail_call(state, HOOK_ROUTE, route_reference(state, i), status, stopped);
            return SCRIPT_FAILED;
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
    begin_call(state);
    state->envelope = envelope;
    state->sender = sender;
    state->defaults = defaults;
    enum script_result result = route_by_chain(state, out);
    state->envelope_handle = 0;
    return result;
}

/* --- The other hooks -------------------------------------------------------------------------------------------- */

/* A call whose arguments have to be made first, or whose results are more than a decision. */
struct slow_call {
    struct script_state *state;
    enum script_hook hook;
    const struct script *script;
    int (*push_arguments)(lua_State *lua, struct slow_call *call); /* returns their number; may raise */
    int arguments;

    struct slice reason, recipient;
    const struct agent_view *agent;
    struct script_registration *registration;
    bool refused;
};

/* On the main stack, protected: the function and its arguments, moved to the coroutine when all are there. */
static int prepare_call(lua_State *lua)
{
    struct slow_call *call = lua_touserdata(lua, 1);
    lua_State *coroutine = call->state->coroutine;
    luaL_checkstack(lua, 20, NULL);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, call->script->hooks[call->hook]);
    call->arguments = call->push_arguments(lua, call);
    if (!lua_checkstack(coroutine, call->arguments + LUA_MINSTACK))
        luaL_error(lua, "not enough memory");
    lua_xmove(lua, coroutine, call->arguments + 1);
    return 0;
}

/* True: the results lie in the coroutine from *first on, and end_slow_call must follow. */
static bool run_slow_call(struct slow_call *call, int *first)
{
    struct script_state *state = call->state;
    if (!has_coroutine(state, call->hook))
        return false;
    state->envelope_handle = next_generation(state) | (state->envelope ? HANDLE_TAG_ENVELOPE : 0);
    if (!state->envelope)
        state->envelope_handle = 0;
    *first = lua_gettop(state->coroutine) + 1;
    if (lua_cpcall(state->lua, prepare_call, call) != 0) {
        failure_report(state, call->hook, call->script->hooks[call->hook], state->lua, false);
        lua_settop(state->lua, 0);
        recover(state, true);
        return false;
    }
    bool stopped;
    int status = resume_hook(state, call->hook, call->arguments, &stopped);
    if (status != 0 || stopped) {
        fail_call(state, call->hook, call->script->hooks[call->hook], status, stopped);
        return false;
    }
    return true;
}

static void end_slow_call(struct slow_call *call, int first)
{
    lua_settop(call->state->coroutine, first - 1);
}

static void report_slow_mistake(struct slow_call *call, const char *mistake)
{
    lua_State *lua = call->state->lua;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, call->script->hooks[call->hook]);
    failure_report_mistake(call->state, call->hook, lua, lua_gettop(lua), mistake);
    lua_settop(lua, 0);
}

static void push_slice(lua_State *lua, struct slice text)
{
    if (text.data)
        lua_pushlstring(lua, text.data, text.length);
    else
        lua_pushnil(lua);
}

static void push_bridge(lua_State *lua, const struct slow_call *call)
{
    lua_rawgeti(lua, LUA_REGISTRYINDEX, call->script->bridge);
}

static int push_undeliverable(lua_State *lua, struct slow_call *call)
{
    lua_pushlightuserdata(lua, (void *)call->state->envelope_handle);
    push_slice(lua, call->reason);
    push_slice(lua, call->recipient);
    push_bridge(lua, call);
    return 4;
}

enum script_result script_on_undeliverable(struct script_state *state, struct envelope *envelope,
                                           const struct script_sender *sender, const struct envelope_defaults *defaults,
                                           struct slice reason, struct slice recipient, struct decision **out)
{
    begin_call(state);
    state->envelope = envelope;
    state->sender = sender;
    state->defaults = defaults;
    *out = NULL;
    enum script_result result = SCRIPT_DECIDED;
    for (size_t i = 0; i < state->script_count && !*out && result == SCRIPT_DECIDED; i++) {
        struct slow_call call = {.state = state,
                                 .hook = HOOK_ON_UNDELIVERABLE,
                                 .script = &state->scripts[i],
                                 .push_arguments = push_undeliverable,
                                 .reason = reason,
                                 .recipient = recipient};
        if (call.script->hooks[HOOK_ON_UNDELIVERABLE] == LUA_NOREF)
            continue;
        int first;
        if (!run_slow_call(&call, &first)) {
            result = SCRIPT_FAILED;
            break;
        }
        char mistake[192];
        *out = bridge_read_decision(state->coroutine, state, first, mistake, sizeof mistake);
        end_slow_call(&call, first);
        if (mistake[0] != '\0') {
            char text[256];
            snprintf(text, sizeof text, "on_undeliverable: expected a decision, a list of them or nil, %s", mistake);
            report_slow_mistake(&call, text);
            result = SCRIPT_FAILED;
        }
    }
    state->envelope = NULL;
    state->envelope_handle = 0;
    return result;
}

static int push_disconnected(lua_State *lua, struct slow_call *call)
{
    bridge_push_agent(lua, call->state, call->agent);
    push_slice(lua, call->reason);
    push_bridge(lua, call);
    return 3;
}

void script_on_disconnect(struct script_state *state, const struct agent_view *agent, struct slice reason)
{
    begin_call(state);
    state->envelope = NULL;
    for (size_t i = 0; i < state->script_count; i++) {
        struct slow_call call = {.state = state,
                                 .hook = HOOK_ON_DISCONNECT,
                                 .script = &state->scripts[i],
                                 .push_arguments = push_disconnected,
                                 .agent = agent,
                                 .reason = reason};
        int first;
        if (call.script->hooks[HOOK_ON_DISCONNECT] != LUA_NOREF && run_slow_call(&call, &first))
            end_slow_call(&call, first);
    }
}

/* --- on_register ------------------------------------------------------------------------------------------------ */

static int push_registering(lua_State *lua, struct slow_call *call)
{
    const struct script_registration *registration = call->registration;
    const struct {
        const char *name;
        struct slice text;
    } texts[] = {{"id", registration->id}, {"role", registration->role}, {"identity", registration->identity}},
      lists[] = {{"labels", registration->labels}, {"tools", registration->tools}, {"intents", registration->intents}};
    lua_createtable(lua, 0, 7);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        push_slice(lua, texts[i].text);
        lua_setfield(lua, -2, texts[i].name);
    }
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        json_value_push(lua, call->state, lists[i].text.length ? lists[i].text : SLICE("[]"));
        lua_setfield(lua, -2, lists[i].name);
    }
    lua_pushnumber(lua, registration->max_concurrent_tasks);
    lua_setfield(lua, -2, "maxConcurrentTasks");
    push_bridge(lua, call);
    return 2;
}

static bool is_identifier(lua_State *lua, int index)
{
    if (lua_type(lua, index) != LUA_TSTRING)
        return false;
    struct slice text;
    text.data = lua_tolstring(lua, index, &text.length);
    return identifier_valid(text);
}

/* A list of names in a changed agent (tools may be tables with a name), as JSON; absent: as it was. Raises. */
static void read_list(lua_State *lua, struct slow_call *call, const char *name, bool objects, struct slice *out)
{
    lua_pushstring(lua, name);
    lua_rawget(lua, 1);
    if (lua_isnil(lua, -1)) {
        lua_pop(lua, 1);
        return;
    }
    if (!lua_istable(lua, -1))
        luaL_error(lua, "expected a list as %s of the changed agent, got %s", name, state_value_name(lua, -1));
    size_t count = lua_objlen(lua, -1);
    if (count > REGISTRATION_LIST_MAXIMUM)
        luaL_error(lua, "expected at most %d %s in the changed agent, got %d", REGISTRATION_LIST_MAXIMUM, name,
                   (int)count);
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(lua, -1, (int)i);
        if (objects && lua_istable(lua, -1)) {
            lua_pushliteral(lua, "name");
            lua_rawget(lua, -2);
            lua_replace(lua, -2);
        }
        if (!is_identifier(lua, -1))
            luaL_error(lua,
                       "expected strings of 1 to %d bytes without control characters in %s of the changed agent, "
                       "element %d is %s",
                       TEXT_BYTES_MAXIMUM, name, (int)i,
                       lua_type(lua, -1) == LUA_TSTRING ? "another string" : state_value_name(lua, -1));
        lua_pop(lua, 1);
    }
    *out = json_value_encode(lua, call->state, -1, JSON_WANT_ARRAY, name);
    lua_pop(lua, 1);
}

/* Stack: the changed agent. Fills a copy, so that a mistake changes nothing. */
static void read_changed_agent(lua_State *lua, struct slow_call *call)
{
    struct script_registration changed = *call->registration;
    lua_pushliteral(lua, "id");
    lua_rawget(lua, 1);
    if (!lua_isnil(lua, -1)) {
        struct slice id = {NULL, 0};
        if (lua_type(lua, -1) == LUA_TSTRING)
            id.data = lua_tolstring(lua, -1, &id.length);
        if (!slice_equal(id, changed.id))
            luaL_error(lua, "the id of an agent cannot be changed");
    }
    lua_pushliteral(lua, "role");
    lua_rawget(lua, 1);
    if (!lua_isnil(lua, -1)) {
        if (!is_identifier(lua, -1))
            luaL_error(lua, "expected a string of 1 to %d bytes without control characters as role, got %s",
                       TEXT_BYTES_MAXIMUM,
                       lua_type(lua, -1) == LUA_TSTRING ? "another string" : state_value_name(lua, -1));
        changed.role = arena_copy_string(lua, call->state, -1);
    }
    lua_pushliteral(lua, "maxConcurrentTasks");
    lua_rawget(lua, 1);
    if (!lua_isnil(lua, -1)) {
        double tasks = lua_type(lua, -1) == LUA_TNUMBER ? lua_tonumber(lua, -1) : 0;
        if (!(tasks >= 1 && tasks <= REGISTRATION_TASKS_MAXIMUM) || tasks != (double)(uint32_t)tasks)
            luaL_error(lua, "expected a whole number from 1 to %d as maxConcurrentTasks, got %s",
                       REGISTRATION_TASKS_MAXIMUM,
                       lua_type(lua, -1) == LUA_TNUMBER ? "another number" : state_value_name(lua, -1));
        changed.max_concurrent_tasks = (uint32_t)tasks;
    }
    read_list(lua, call, "labels", false, &changed.labels);
    read_list(lua, call, "tools", true, &changed.tools);
    read_list(lua, call, "intents", false, &changed.intents);
    *call->registration = changed;
}

/* On the main stack, protected. Moves the first two results here and reads them; a mistake raises its text. */
static int read_answer(lua_State *lua)
{
    struct slow_call *call = lua_touserdata(lua, 1);
    lua_State *coroutine = call->state->coroutine;
    lua_settop(lua, 0);
    luaL_checkstack(lua, 20, NULL);
    lua_xmove(coroutine, lua, 2);
    if (lua_istable(lua, 1)) {
        read_changed_agent(lua, call);
    } else if (lua_isboolean(lua, 1) && !lua_toboolean(lua, 1)) {
        call->refused = true;
        if (lua_isnil(lua, 2))
            call->reason = SLICE("refused by the script");
        else if (lua_type(lua, 2) == LUA_TSTRING)
            call->reason = arena_copy_string(lua, call->state, 2);
        else
            luaL_error(lua, "expected a reason (string) beside false, got %s", state_value_name(lua, 2));
    } else if (!lua_isnil(lua, 1) && !lua_isboolean(lua, 1)) {
        luaL_error(lua, "expected nil, true, a changed agent, or false and a reason, got %s", state_value_name(lua, 1));
    }
    return 0;
}

static bool ask_to_register(struct slow_call *call, struct slice *reason)
{
    struct script_state *state = call->state;
    *reason = SLICE("the bridge's script failed");
    int first;
    if (!run_slow_call(call, &first))
        return false;
    lua_settop(state->coroutine, first + 1); /* two results, nil where there are fewer */
    int status = lua_cpcall(state->lua, read_answer, call);
    if (status != 0) {
        char text[256];
        bool has_text = lua_type(state->lua, -1) == LUA_TSTRING;
        snprintf(text, sizeof text, "on_register: %s", has_text ? lua_tostring(state->lua, -1) : "not enough memory");
        lua_settop(state->lua, 0);
        report_slow_mistake(call, text);
        if (status == LUA_ERRMEM)
            state_collect_fully(state->lua, state);
        end_slow_call(call, first);
        return false;
    }
    end_slow_call(call, first);
    if (call->refused)
        *reason = call->reason;
    return !call->refused;
}

bool script_on_register(struct script_state *state, struct script_registration *registration, struct slice *reason)
{
    begin_call(state);
    state->envelope = NULL;
    for (size_t i = 0; i < state->script_count; i++) {
        struct slow_call call = {.state = state,
                                 .hook = HOOK_ON_REGISTER,
                                 .script = &state->scripts[i],
                                 .push_arguments = push_registering,
                                 .registration = registration};
        if (call.script->hooks[HOOK_ON_REGISTER] != LUA_NOREF && !ask_to_register(&call, reason))
            return false;
    }
    return true;
}

/* --- Counting ----------------------------------------------------------------------------------------------------- */

void script_read_statistics(const struct script_state *state, struct script_statistics *out)
{
    for (int i = 0; i < HOOK_COUNT; i++) {
        out->hooks[i].calls = atomic_load_explicit(&state->counts[i].calls, memory_order_relaxed);
        out->hooks[i].errors = atomic_load_explicit(&state->counts[i].errors, memory_order_relaxed);
        out->hooks[i].overruns = atomic_load_explicit(&state->counts[i].overruns, memory_order_relaxed);
    }
    out->heap_bytes = atomic_load_explicit(&state->heap_bytes, memory_order_relaxed);
    out->heap_limit = state->memory_limit;
    out->full_collections = atomic_load_explicit(&state->full_collections, memory_order_relaxed);
    out->longest_collect_ns = atomic_load_explicit(&state->longest_collect_ns, memory_order_relaxed);
}
