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
#include "script/wait.h"
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
    state->last_generation = (state->last_generation + 1) & HANDLE_GENERATION_MASK;
    if (state->last_generation == 0)
        state->last_generation = 1;
    state->generation = state->last_generation;
    state->item_count = 0;
    return (uintptr_t)state->generation << HANDLE_TAG_BITS;
}

/* Runs the function that lies in the coroutine below its arguments, or lets it go on with these as what it waited for.
 * On status 0 its results lie there instead. */
static inline int run_coroutine(struct script_state *state, int arguments, bool *stopped)
{
    state->ceiling = state->memory_limit;
    state->in_hook = true;
    state->stack_base = (uintptr_t)__builtin_frame_address(0);
    watchdog_enter(&state->watchdog);
    uint64_t entered_ns = state_enter_hook(state);
    int status = lua_resume(state->coroutine, arguments);
    state_leave_hook(state, entered_ns);
    *stopped = watchdog_leave(&state->watchdog);
    state->in_hook = false;
    state->ceiling = state->memory_limit + STATE_RESERVE_BYTES;
    return status;
}

/* Leaves the state as a call should find it. */
static void recover(struct script_state *state, bool out_of_memory)
{
    state->stop_noted = false;
    state->asks = false;
    buffer_free(&state->asked.data);
    bridge_release_views(state);
    luaL_unref(state->lua, LUA_REGISTRYINDEX, state->coroutine_reference);
    state->coroutine_reference = LUA_NOREF;
    state->coroutine = NULL;
    if (out_of_memory)
        state_collect_fully(state->lua, state);
    load_coroutine(state); /* on failure the next call tries again */
}

/* After a run that did not end well. Pushes on the stack of a coroutine that waits or has died. */
static __attribute__((noinline)) void fail_call(struct script_state *state, enum script_hook hook, int hook_reference,
                                                int status, bool stopped)
{
    lua_State *coroutine = state->coroutine;
    bool out_of_memory = status == LUA_ERRMEM;
    if (status == LUA_YIELD) {
        lua_settop(coroutine, 0);
        lua_pushliteral(coroutine, "not enough memory"); /* to wait; a stop is told by itself */
        out_of_memory = true;
    }
    if (lua_gettop(coroutine) > 0 && lua_type(coroutine, -1) == LUA_TSTRING)
        out_of_memory = out_of_memory || strstr(lua_tostring(coroutine, -1), "not enough memory") != NULL;
    failure_report(state, hook, hook_reference, coroutine, stopped);
    recover(state, out_of_memory);
}

/* A run has ended without results. True: the hook waits, and is put aside. */
static __attribute__((noinline)) bool put_aside(struct script_state *state, const struct chain_call *call, int status,
                                                bool stopped)
{
    if (status != LUA_YIELD || stopped || !state->asks)
        return false;
    state->taken = wait_save(state, call);
    return state->taken != NULL;
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

/* From the route function of that number on. `answers`: how many values it waited for lie in its coroutine; negative:
 * it has not begun. */
static inline enum script_result route_by_chain(struct script_state *state, int number, int answers,
                                                struct decision **out)
{
    for (int i = number; i < state->route_count; i++, answers = -1) {
        if (__builtin_expect(!state->coroutine, 0) && !has_coroutine(state, HOOK_ROUTE))
            return SCRIPT_FAILED;
        lua_State *coroutine = state->coroutine;
        int base = 2 * state->route_count;
        if (__builtin_expect(answers < 0, 1)) {
            count_up(&state->counts[HOOK_ROUTE].calls);
            state->envelope_handle = next_generation(state) | HANDLE_TAG_ENVELOPE;
            lua_pushvalue(coroutine, ROUTE_SLOT(i));
            lua_pushlightuserdata(coroutine, (void *)state->envelope_handle);
            lua_pushvalue(coroutine, BRIDGE_SLOT(i));
        }
        bool stopped;
        int status = run_coroutine(state, answers < 0 ? 2 : answers, &stopped);
        if (__builtin_expect(status != 0 || stopped, 0)) {
            struct chain_call call = {.hook = HOOK_ROUTE, .index = i};
            if (put_aside(state, &call, status, stopped))
                return SCRIPT_WAITS;
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
    enum script_result result = route_by_chain(state, 0, -1, out);
    state->envelope_handle = 0;
    return result;
}

/* --- The other hooks -------------------------------------------------------------------------------------------- */

/* A step of such a call: one script's function. Its arguments have to be made first, and its results may be more than a
 * decision. */
struct step {
    struct script_state *state;
    struct chain_call *call;
    const struct script *script;
};

static int push_arguments(lua_State *lua, const struct step *step);

/* On the main stack, protected: the function and its arguments, moved to the coroutine when all are there. */
static int prepare_step(lua_State *lua)
{
    struct step *step = lua_touserdata(lua, 1);
    lua_State *coroutine = step->state->coroutine;
    luaL_checkstack(lua, 20, NULL);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, step->script->hooks[step->call->hook]);
    step->call->arguments = push_arguments(lua, step);
    if (!lua_checkstack(coroutine, step->call->arguments + LUA_MINSTACK))
        luaL_error(lua, "not enough memory");
    lua_xmove(lua, coroutine, step->call->arguments + 1);
    return 0;
}

static bool begin_step(const struct step *step)
{
    struct script_state *state = step->state;
    enum script_hook hook = step->call->hook;
    if (!has_coroutine(state, hook))
        return false;
    uintptr_t generation = next_generation(state);
    state->envelope_handle = state->envelope ? generation | HANDLE_TAG_ENVELOPE : 0;
    step->call->first = lua_gettop(state->coroutine) + 1;
    if (lua_cpcall(state->lua, prepare_step, (void *)step) == 0)
        return true;
    failure_report(state, hook, step->script->hooks[hook], state->lua, false);
    lua_settop(state->lua, 0);
    recover(state, true);
    return false;
}

static void end_step(const struct step *step)
{
    lua_settop(step->state->coroutine, step->call->first - 1);
}

static void report_mistake(const struct step *step, const char *mistake)
{
    lua_State *lua = step->state->lua;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, step->script->hooks[step->call->hook]);
    failure_report_mistake(step->state, step->call->hook, lua, lua_gettop(lua), mistake);
    lua_settop(lua, 0);
}

static void push_slice(lua_State *lua, struct slice text)
{
    if (text.data)
        lua_pushlstring(lua, text.data, text.length);
    else
        lua_pushnil(lua);
}

static void push_bridge(lua_State *lua, const struct step *step)
{
    lua_rawgeti(lua, LUA_REGISTRYINDEX, step->script->bridge);
}

static int push_undeliverable(lua_State *lua, const struct step *step)
{
    lua_pushlightuserdata(lua, (void *)step->state->envelope_handle);
    push_slice(lua, step->call->reason);
    push_slice(lua, step->call->recipient);
    push_bridge(lua, step);
    return 4;
}

static int push_disconnected(lua_State *lua, const struct step *step)
{
    bridge_push_agent(lua, step->state, &step->call->agent);
    push_slice(lua, step->call->reason);
    push_bridge(lua, step);
    return 3;
}

/* NULL: it decided nothing, or (*failed) nonsense. */
static struct decision *read_undeliverable(const struct step *step, bool *failed)
{
    char mistake[192];
    struct decision *decision =
        bridge_read_decision(step->state->coroutine, step->state, step->call->first, mistake, sizeof mistake);
    end_step(step);
    *failed = mistake[0] != '\0';
    if (*failed) {
        char text[256];
        snprintf(text, sizeof text, "on_undeliverable: expected a decision, a list of them or nil, %s", mistake);
        report_mistake(step, text);
    }
    return decision;
}

/* --- on_register ------------------------------------------------------------------------------------------------ */

static int push_registering(lua_State *lua, const struct step *step)
{
    const struct script_registration *registration = step->call->registration;
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
        json_value_push(lua, step->state, lists[i].text.length ? lists[i].text : SLICE("[]"));
        lua_setfield(lua, -2, lists[i].name);
    }
    lua_pushnumber(lua, registration->max_concurrent_tasks);
    lua_setfield(lua, -2, "maxConcurrentTasks");
    push_bridge(lua, step);
    return 2;
}

static int push_arguments(lua_State *lua, const struct step *step)
{
    switch (step->call->hook) {
    case HOOK_ON_REGISTER:
        return push_registering(lua, step);
    case HOOK_ON_DISCONNECT:
        return push_disconnected(lua, step);
    default:
        return push_undeliverable(lua, step);
    }
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
static void read_list(lua_State *lua, const struct step *step, const char *name, bool objects, struct slice *out)
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
    *out = json_value_encode(lua, step->state, -1, JSON_WANT_ARRAY, name);
    lua_pop(lua, 1);
}

/* Stack: the changed agent. Fills a copy, so that a mistake changes nothing. */
static void read_changed_agent(lua_State *lua, const struct step *step)
{
    struct script_registration changed = *step->call->registration;
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
        changed.role = arena_copy_string(lua, step->state, -1);
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
    read_list(lua, step, "labels", false, &changed.labels);
    read_list(lua, step, "tools", true, &changed.tools);
    read_list(lua, step, "intents", false, &changed.intents);
    *step->call->registration = changed;
}

/* On the main stack, protected. Moves the first two results here and reads them; a mistake raises its text. */
static int read_answer(lua_State *lua)
{
    const struct step *step = lua_touserdata(lua, 1);
    struct chain_call *call = step->call;
    lua_State *coroutine = step->state->coroutine;
    lua_settop(lua, 0);
    luaL_checkstack(lua, 20, NULL);
    lua_xmove(coroutine, lua, 2);
    if (lua_istable(lua, 1)) {
        read_changed_agent(lua, step);
    } else if (lua_isboolean(lua, 1) && !lua_toboolean(lua, 1)) {
        if (lua_isnil(lua, 2))
            call->reason = SLICE("refused by the script");
        else if (lua_type(lua, 2) == LUA_TSTRING)
            call->reason = arena_copy_string(lua, step->state, 2);
        else
            luaL_error(lua, "expected a reason (string) beside false, got %s", state_value_name(lua, 2));
        call->refused = true;
    } else if (!lua_isnil(lua, 1) && !lua_isboolean(lua, 1)) {
        luaL_error(lua, "expected nil, true, a changed agent, or false and a reason, got %s", state_value_name(lua, 1));
    }
    return 0;
}

/* True: this script lets the agent in. */
static bool read_registered(const struct step *step)
{
    struct script_state *state = step->state;
    lua_settop(state->coroutine, step->call->first + 1); /* two results, nil where there are fewer */
    int status = lua_cpcall(state->lua, read_answer, (void *)step);
    if (status != 0) {
        char text[256];
        bool has_text = lua_type(state->lua, -1) == LUA_TSTRING;
        snprintf(text, sizeof text, "on_register: %s", has_text ? lua_tostring(state->lua, -1) : "not enough memory");
        lua_settop(state->lua, 0);
        report_mistake(step, text);
        if (status == LUA_ERRMEM)
            state_collect_fully(state->lua, state);
    }
    end_step(step);
    return status == 0 && !step->call->refused;
}

/* --- The chain ---------------------------------------------------------------------------------------------------- */

/* From the script that call->index names on. `answers` as for route_by_chain. */
static enum script_result run_chain(struct script_state *state, struct chain_call *call, int answers,
                                    struct decision **decision)
{
    for (; call->index < (int)state->script_count; call->index++, answers = -1) {
        struct step step = {state, call, &state->scripts[call->index]};
        int reference = step.script->hooks[call->hook];
        bool told = call->hook == HOOK_ON_DISCONNECT; /* the others are told whatever this one does */
        if (reference == LUA_NOREF)
            continue;
        if (answers < 0) {
            count_up(&state->counts[call->hook].calls);
            if (!begin_step(&step)) {
                if (told)
                    continue;
                return SCRIPT_FAILED;
            }
        }
        bool stopped, failed = false;
        int status = run_coroutine(state, answers < 0 ? call->arguments : answers, &stopped);
        if (status != 0 || stopped) {
            if (put_aside(state, call, status, stopped))
                return SCRIPT_WAITS;
            fail_call(state, call->hook, reference, status, stopped);
            if (told)
                continue;
            return SCRIPT_FAILED;
        }
        if (call->hook == HOOK_ON_REGISTER)
            failed = !read_registered(&step);
        else if (call->hook == HOOK_ON_UNDELIVERABLE)
            *decision = read_undeliverable(&step, &failed);
        else
            end_step(&step);
        if (failed)
            return SCRIPT_FAILED;
        if (*decision)
            break;
    }
    return SCRIPT_DECIDED;
}

/* What holds for the end of every chain that does not wait on. */
static enum script_result finish_chain(struct script_state *state, struct chain_call *call, enum script_result result)
{
    state->envelope_handle = 0;
    if (result == SCRIPT_WAITS)
        return result;
    state->envelope = NULL;
    if (call->has_agent)
        agent_view_release(&call->agent);
    return result;
}

static struct slice refusal_reason(const struct chain_call *call)
{
    return call->refused ? call->reason : SLICE("the bridge's script failed");
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
    struct chain_call call = {.hook = HOOK_ON_UNDELIVERABLE, .reason = reason, .recipient = recipient};
    return finish_chain(state, &call, run_chain(state, &call, -1, out));
}

/* A copy that lasts as long as the call, waiting included; empty when memory is out. */
static struct slice keep_text(struct script_state *state, struct slice text)
{
    char *copy = arena_take(state, text.length);
    return copy ? slice_from(memcpy(copy, text.data, text.length), text.length) : slice_from("", 0);
}

enum script_result script_on_disconnect(struct script_state *state, struct agent_view *agent, struct slice reason)
{
    begin_call(state);
    state->envelope = NULL;
    struct chain_call call = {
        .hook = HOOK_ON_DISCONNECT, .reason = keep_text(state, reason), .agent = *agent, .has_agent = true};
    struct decision *none = NULL;
    return finish_chain(state, &call, run_chain(state, &call, -1, &none));
}

enum script_result script_on_register(struct script_state *state, struct script_registration *registration,
                                      struct slice *reason)
{
    begin_call(state);
    state->envelope = NULL;
    struct chain_call call = {.hook = HOOK_ON_REGISTER, .registration = registration};
    struct decision *none = NULL;
    enum script_result result = finish_chain(state, &call, run_chain(state, &call, -1, &none));
    *reason = refusal_reason(&call);
    return result;
}

/* --- Going on ----------------------------------------------------------------------------------------------------- */

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
        push_slice(lua, answer->text);
        lua_pushstring(lua, code_name(answer->code));
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
    return call->hook == HOOK_ROUTE ? route_reference(state, call->index)
                                    : state->scripts[call->index].hooks[call->hook];
}

enum script_result script_resume(struct script_state *state, struct script_wait *wait,
                                 const struct script_answer *answer, struct script_outcome *outcome)
{
    struct chain_call call;
    *outcome = (struct script_outcome){0};
    begin_call(state);
    wait_restore(state, wait, &call);
    struct answering answering = {.state = state, .answer = answer};
    enum script_result result = SCRIPT_FAILED;
    if (lua_cpcall(state->lua, push_answer, &answering) != 0) {
        failure_report(state, call.hook, hook_reference(state, &call), state->lua, false);
        lua_settop(state->lua, 0);
        recover(state, true);
    } else if (call.hook == HOOK_ROUTE) {
        result = route_by_chain(state, call.index, answering.count, &outcome->decision);
    } else {
        result = run_chain(state, &call, answering.count, &outcome->decision);
    }
    result = finish_chain(state, &call, result);
    outcome->reason = refusal_reason(&call);
    return result;
}

void script_abandon(struct script_state *state, struct script_wait *wait, const char *why)
{
    struct chain_call call;
    begin_call(state);
    wait_restore(state, wait, &call);
    if (why)
        failure_report_waiting(state, call.hook, hook_reference(state, &call), state->coroutine, why);
    recover(state, false);
    finish_chain(state, &call, SCRIPT_FAILED);
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
