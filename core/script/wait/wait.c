/* Setting a call aside moves its coroutine and, when it has texts, its whole arena out of the state: nothing is copied
 * but the decisions, and those go back to the very places that their slices point to. */
#include "script/wait/wait.h"

#include <math.h>
#include <stdlib.h>

#include "memory/pool.h"
#include "script/pure/declaration.h"
#include "script/wait/ask.h"
#include "workers/value_lua.h"

static size_t wait_size(unsigned items)
{
    const struct script_wait *wait = NULL;
    return sizeof *wait + items * sizeof wait->items[0];
}

struct script_wait *wait_save(struct script_state *state, const struct chain_call *call)
{
    struct script_wait *wait = pool_acquire(POOL_ARRAYS, wait_size(state->item_count));
    if (!wait)
        return NULL;
    *wait = (struct script_wait){.request = state->asked,
                                 .call = *call,
                                 .generation = state->generation,
                                 .envelope_handle = state->envelope_handle,
                                 .envelope = state->envelope,
                                 .sender = state->sender,
                                 .defaults = state->defaults,
                                 .coroutine = state->coroutine,
                                 .coroutine_reference = state->coroutine_reference,
                                 .item_count = state->item_count};
    if (state->arena->next || state->arena_at != state->arena_start) {
        wait->arena = state->arena;
        wait->arena_at = state->arena_at;
        wait->arena_end = state->arena_end;
        wait->arena_start = state->arena_start;
        if (!arena_open(state)) {
            pool_release(POOL_ARRAYS, wait, wait_size(wait->item_count));
            return NULL;
        }
    }
    for (unsigned i = 0; i < state->item_count; i++) {
        wait->items[i].item = state->made.items[i];
        wait->items[i].single_id = state->single_ids[i];
    }
    state->questions_out += state->asked.question_count;
    state->asked = (struct script_request){0};
    state->asks = false;
    state->coroutine = NULL;
    state->coroutine_reference = LUA_NOREF;
    if (state->spare_count > 0) {
        struct spare_coroutine spare = state->spares[--state->spare_count];
        state->coroutine = spare.coroutine;
        state->coroutine_reference = spare.reference;
    }
    wait->next = state->waits;
    wait->previous = &state->waits;
    if (wait->next)
        wait->next->previous = &wait->next;
    state->waits = wait;
    state->wait_count++;
    return wait;
}

static void unlink_wait(struct script_state *state, struct script_wait *wait)
{
    *wait->previous = wait->next;
    if (wait->next)
        wait->next->previous = wait->previous;
    state->wait_count--;
}

static void keep_coroutine(struct script_state *state)
{
    if (!state->coroutine)
        return;
    if (state->spare_count < SPARE_COROUTINES)
        state->spares[state->spare_count++] = (struct spare_coroutine){state->coroutine, state->coroutine_reference};
    else
        luaL_unref(state->lua, LUA_REGISTRYINDEX, state->coroutine_reference);
}

void wait_restore(struct script_state *state, struct script_wait *wait, struct chain_call *call)
{
    unlink_wait(state, wait);
    state->questions_out -= wait->request.question_count;
    wait_forget_request(&wait->request);
    keep_coroutine(state);
    state->coroutine = wait->coroutine;
    state->coroutine_reference = wait->coroutine_reference;
    if (wait->arena) {
        arena_close(state);
        state->arena = wait->arena;
        state->arena_at = wait->arena_at;
        state->arena_end = wait->arena_end;
        state->arena_start = wait->arena_start;
    }
    state->generation = wait->generation;
    state->envelope_handle = wait->envelope_handle;
    state->envelope = wait->envelope;
    state->sender = wait->sender;
    state->defaults = wait->defaults;
    state->item_count = wait->item_count;
    for (unsigned i = 0; i < wait->item_count; i++) {
        state->made.items[i] = wait->items[i].item;
        state->single_ids[i] = wait->items[i].single_id;
    }
    *call = wait->call;
    pool_release(POOL_ARRAYS, wait, wait_size(wait->item_count));
}

void wait_free_all(struct script_state *state)
{
    while (state->waits) {
        struct chain_call call;
        wait_restore(state, state->waits, &call);
        if (call.has_agent)
            agent_view_release(&call.agent);
    }
}

struct script_wait *script_take_wait(struct script_state *state)
{
    struct script_wait *wait = state->taken;
    state->taken = NULL;
    return wait;
}

void script_move_taken(struct script_state *state, struct envelope *envelope, const struct script_sender *sender,
                       const struct envelope_defaults *defaults)
{
    struct script_wait *wait = state->taken;
    wait->envelope = envelope;
    wait->sender = sender;
    wait->defaults = defaults;
}

struct script_request *script_wait_request(struct script_wait *wait)
{
    return &wait->request;
}

/* --- What scripts call ------------------------------------------------------------------------------------------- */

void wait_check_may(lua_State *lua, struct script_state *state, const char *what)
{
    if (!state->in_hook)
        luaL_error(lua, "%s: only a hook can wait", what);
    declaration_check(lua, what);
    if (state->cannot_wait)
        luaL_error(lua, "%s: %s cannot wait", what, state->cannot_wait);
    if (lua != state->coroutine)
        luaL_error(lua, "%s: a coroutine of the script's own cannot wait; call it in the hook itself", what);
    if (!lua_isyieldable(lua))
        luaL_error(lua, "%s: a hook cannot wait inside a callback, such as of table.sort or string.gsub", what);
    if (state->wait_count >= WAITS_MAXIMUM)
        luaL_error(lua, "%s: %d hooks wait already", what, WAITS_MAXIMUM);
}

uint32_t wait_check_ms(lua_State *lua, int index, double least, const char *what)
{
    double ms = lua_type(lua, index) == LUA_TNUMBER ? lua_tonumber(lua, index) : -1;
    if (!(ms >= least))
        luaL_error(lua, "%s: expected milliseconds, %d or more, got %s", what, (int)least,
                   lua_type(lua, index) == LUA_TNUMBER ? lua_tostring(lua, index) : state_value_name(lua, index));
    return ms < INT32_MAX ? (uint32_t)ceil(ms) : INT32_MAX;
}

void wait_forget_request(struct script_request *request)
{
    buffer_free(&request->data);
    script_questions_free(request->questions);
    request->questions = NULL;
}

/* An error may have kept an earlier call from waiting. */
struct script_request *wait_new_request(struct script_state *state)
{
    wait_forget_request(&state->asked);
    state->asked = (struct script_request){.priority = TASK_NORMAL};
    return &state->asked;
}

int wait_sleep(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    uint32_t ms = wait_check_ms(lua, 1, 0, "luaduct.sleep");
    wait_check_may(lua, state, "luaduct.sleep");
    wait_new_request(state)->ms = ms;
    state->asks = true;
    return lua_yield(lua, 0);
}

#define EXECUTE "luaduct.workers.execute"

static void read_operation(lua_State *lua, struct script_request *request)
{
    lua_getfield(lua, 1, "operation");
    size_t length = lua_type(lua, -1) == LUA_TSTRING ? lua_objlen(lua, -1) : 0;
    if (length == 0 || length >= sizeof request->operation)
        luaL_error(lua, EXECUTE ": operation: expected a name of 1 to %d bytes, got %s",
                   (int)sizeof request->operation - 1,
                   lua_type(lua, -1) == LUA_TSTRING ? "another string" : state_value_name(lua, -1));
    memcpy(request->operation, lua_tostring(lua, -1), length + 1);
    lua_pop(lua, 1);
}

static void read_priority(lua_State *lua, struct script_request *request)
{
    static const char *const names[TASK_PRIORITIES] = {"high", "normal", "low"};
    lua_getfield(lua, 1, "priority");
    const char *name = lua_isnil(lua, -1) ? "normal" : lua_type(lua, -1) == LUA_TSTRING ? lua_tostring(lua, -1) : "";
    unsigned priority = 0;
    while (priority < TASK_PRIORITIES && strcmp(names[priority], name) != 0)
        priority++;
    if (priority == TASK_PRIORITIES)
        luaL_error(lua, EXECUTE ": priority: expected \"high\", \"normal\" or \"low\", got %s",
                   lua_type(lua, -1) == LUA_TSTRING ? "another string" : state_value_name(lua, -1));
    request->priority = (enum task_priority)priority;
    lua_pop(lua, 1);
}

static void check_keys(lua_State *lua)
{
    lua_pushnil(lua);
    while (lua_next(lua, 1)) {
        const char *key = lua_type(lua, -2) == LUA_TSTRING ? lua_tostring(lua, -2) : state_value_name(lua, -2);
        if (strcmp(key, "operation") != 0 && strcmp(key, "data") != 0 && strcmp(key, "priority") != 0 &&
            strcmp(key, "timeoutMs") != 0)
            luaL_error(lua, EXECUTE ": expected operation, data, priority or timeoutMs as a key, got %s", key);
        lua_pop(lua, 1);
    }
}

int wait_execute(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    state_check_depth(lua, state);
    if (!lua_istable(lua, 1))
        return luaL_error(lua, EXECUTE ": expected a table with operation and data, got %s", state_value_name(lua, 1));
    lua_settop(lua, 1);
    check_keys(lua);
    state_may_act(lua, state, EXECUTE);
    wait_check_may(lua, state, EXECUTE);
    struct script_request *request = wait_new_request(state);
    read_operation(lua, request);
    read_priority(lua, request);
    lua_getfield(lua, 1, "timeoutMs");
    if (!lua_isnil(lua, -1))
        request->ms = wait_check_ms(lua, -1, 1, EXECUTE ": timeoutMs");
    lua_getfield(lua, 1, "data");
    value_from_lua(lua, lua_gettop(lua), &request->data, state->array_metatable, &state->watchdog.stop);
    state->asks = true;
    return lua_yield(lua, 0);
}
