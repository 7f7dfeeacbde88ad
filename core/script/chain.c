/* The hooks whose arguments have to be made first, or whose results are not a decision alone: all but route, which has
 * its own, shorter way in hook.c. */
#include "script/chain.h"

#include <stdio.h>

#include "base/hash.h"
#include "protocol/registration.h"
#include "script/binding/bridge.h"
#include "script/bounds/guard.h"
#include "script/call.h"
#include "script/failure.h"
#include "script/identify.h"
#include "script/json_value.h"
#include "script/version/kept_state.h"

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
    if (!call_has_coroutine(state, hook))
        return false;
    uintptr_t generation = call_next_generation(state);
    state->envelope_handle = state->envelope ? generation | HANDLE_TAG_ENVELOPE : 0;
    step->call->first = lua_gettop(state->coroutine) + 1;
    if (lua_cpcall(state->lua, prepare_step, (void *)step) == 0)
        return true;
    failure_report(state, hook, step->script->hooks[hook], state->lua, false);
    lua_settop(state->lua, 0);
    call_recover(state, true);
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

static int push_reloading(lua_State *lua, const struct step *step)
{
    lua_pushnumber(lua, step->call->previous_version);
    if (step->script->kept)
        kept_state_push(lua, step->script);
    else
        lua_newtable(lua);
    return 2;
}

static int push_arguments(lua_State *lua, const struct step *step)
{
    switch (step->call->hook) {
    case HOOK_ON_RELOAD:
        return push_reloading(lua, step);
    case HOOK_ON_REGISTER:
        return push_registering(lua, step);
    case HOOK_ON_DISCONNECT:
        return push_disconnected(lua, step);
    case HOOK_AUTHENTICATE:
    case HOOK_ON_IDENTIFY:
        identify_push(lua, step->call->identify);
        return 1;
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
    if (call->identify) {
        identify_read(lua, step->state, call->identify);
    } else if (lua_istable(lua, 1)) {
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

/* Of a hook that may refuse. True: this script lets the agent in, or has said who it is, or nothing. */
static bool read_answered(const struct step *step)
{
    struct script_state *state = step->state;
    lua_settop(state->coroutine, step->call->first + 1); /* two results, nil where there are fewer */
    int status = lua_cpcall(state->lua, read_answer, (void *)step);
    if (status != 0) {
        char text[256];
        bool has_text = lua_type(state->lua, -1) == LUA_TSTRING;
        snprintf(text, sizeof text, "%s: %s", script_hook_name(step->call->hook),
                 has_text ? lua_tostring(state->lua, -1) : "not enough memory");
        lua_settop(state->lua, 0);
        report_mistake(step, text);
        if (status == LUA_ERRMEM)
            state_collect_fully(state->lua, state);
    }
    end_step(step);
    return status == 0 && !step->call->refused;
}

/* Who is to blame when it overruns: who registers, by where it comes from; who left; who sent the envelope. */
static uint64_t caller(const struct script_state *state, const struct chain_call *call)
{
    if (call->registration)
        return call->registration->origin;
    if (call->identify)
        return call->identify->origin;
    if (call->has_agent)
        return hash_slice(call->agent.profile->id);
    if (!state->envelope) /* on_reload */
        return 0;
    return hash_slice(envelope_text(state->envelope, FIELD_FROM, state->defaults));
}

/* --- The chain ---------------------------------------------------------------------------------------------------- */

enum script_result chain_run(struct script_state *state, struct chain_call *call, int answers,
                             struct decision **decision)
{
    for (; call->index < (int)state->script_count; call->index++, answers = -1) {
        struct step step = {state, call, &state->scripts[call->index]};
        int reference = step.script->hooks[call->hook];
        bool told = call->hook == HOOK_ON_DISCONNECT; /* the others are told whatever this one does */
        if (reference == LUA_NOREF)
            continue;
        if (state->open_breakers > 0 && answers < 0 && !guard_admits(state, step.script, call->hook)) {
            if (told)
                continue;
            return SCRIPT_FAILED;
        }
        if (answers < 0) {
            count_up(&state->counts[call->hook].calls);
            if (!begin_step(&step)) {
                if (told)
                    continue;
                return SCRIPT_FAILED;
            }
        }
        bool stopped, failed = false;
        int status = call_run(state, call->hook, answers < 0 ? call->arguments : answers, &stopped);
        if (status != 0 || stopped) {
            if (call_put_aside(state, call, status, stopped))
                return SCRIPT_WAITS;
            call_fail(state, step.script, call->hook, caller(state, call), status, stopped);
            if (told)
                continue;
            return SCRIPT_FAILED;
        }
        if (state->open_breakers > 0)
            guard_went_well(state, step.script, call->hook);
        if (call->hook == HOOK_ON_REGISTER || call->identify)
            failed = !read_answered(&step);
        else if (call->hook == HOOK_ON_UNDELIVERABLE)
            *decision = read_undeliverable(&step, &failed);
        else
            end_step(&step);
        if (failed)
            return SCRIPT_FAILED;
        if (*decision || (call->identify && (call->identify->identified || call->identify->denied)))
            break;
    }
    return SCRIPT_DECIDED;
}

enum script_result chain_finish(struct script_state *state, struct chain_call *call, enum script_result result)
{
    state->envelope_handle = 0;
    if (result == SCRIPT_WAITS)
        return result;
    state->envelope = NULL;
    if (call->has_agent)
        agent_view_release(&call->agent);
    if (call->hook == HOOK_TIMER)
        timer_ended(state, call);
    return result;
}

struct slice chain_refusal_reason(const struct chain_call *call)
{
    return call->refused ? call->reason : SLICE("the bridge's script failed");
}

enum script_result script_on_undeliverable(struct script_state *state, struct envelope *envelope,
                                           const struct script_sender *sender, const struct envelope_defaults *defaults,
                                           struct slice reason, struct slice recipient, struct decision **out)
{
    call_begin(state);
    state->envelope = envelope;
    state->sender = sender;
    state->defaults = defaults;
    *out = NULL;
    struct chain_call call = {.hook = HOOK_ON_UNDELIVERABLE, .reason = reason, .recipient = recipient};
    return chain_finish(state, &call, chain_run(state, &call, -1, out));
}

/* A copy that lasts as long as the call, waiting included; empty when memory is out. */
static struct slice keep_text(struct script_state *state, struct slice text)
{
    char *copy = arena_take(state, text.length);
    return copy ? slice_from(memcpy(copy, text.data, text.length), text.length) : slice_from("", 0);
}

enum script_result script_on_disconnect(struct script_state *state, struct agent_view *agent, struct slice reason)
{
    call_begin(state);
    state->envelope = NULL;
    struct chain_call call = {
        .hook = HOOK_ON_DISCONNECT, .reason = keep_text(state, reason), .agent = *agent, .has_agent = true};
    struct decision *none = NULL;
    enum script_result result = chain_finish(state, &call, chain_run(state, &call, -1, &none));
    state->overran = false; /* nobody is there to be slowed */
    return result;
}

bool chain_on_reload(struct script_state *state, unsigned previous_version)
{
    call_begin(state);
    state->envelope = NULL;
    struct chain_call call = {.hook = HOOK_ON_RELOAD, .previous_version = previous_version};
    struct decision *none = NULL;
    state->cannot_wait = "on_reload";
    enum script_result result = chain_finish(state, &call, chain_run(state, &call, -1, &none));
    state->cannot_wait = NULL;
    return result == SCRIPT_DECIDED;
}

bool chain_identify(struct script_state *state, enum script_hook hook, struct identify_call *identify)
{
    call_begin(state);
    state->envelope = NULL;
    struct chain_call call = {.hook = hook, .identify = identify};
    struct decision *none = NULL;
    state->cannot_wait = script_hook_name(hook);
    enum script_result result = chain_finish(state, &call, chain_run(state, &call, -1, &none));
    state->cannot_wait = NULL;
    state->overran = false; /* nobody is known to be slowed */
    return result == SCRIPT_DECIDED;
}

enum script_result script_on_register(struct script_state *state, struct script_registration *registration,
                                      struct slice *reason)
{
    call_begin(state);
    state->envelope = NULL;
    struct chain_call call = {.hook = HOOK_ON_REGISTER, .registration = registration};
    struct decision *none = NULL;
    enum script_result result = chain_finish(state, &call, chain_run(state, &call, -1, &none));
    *reason = chain_refusal_reason(&call);
    return result;
}
