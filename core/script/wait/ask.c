/* Each question's frame is built in the call, with the first agent in `to`; the others' are made from it when their
 * turn comes. All tries of a question have one id, so that an agent can tell a repeated one, and a late reply still
 * counts.
 */
#include "script/wait/ask.h"

#include <math.h>
#include <stdio.h>

#include "base/hash.h"
#include "memory/pool.h"
#include "script/binding/send.h"
#include "script/json_value.h"
#include "script/state/state.h"
#include "script/wait/wait.h"

/* Long enough for an agent that thinks, well below script.suspendMs. */
#define TIMEOUT_DEFAULT_MS 10000u
#define BACKOFF_DEFAULT_MS 100u

static const char *const request_keys[] = {"timeoutMs", "retries", "backoffMs", NULL};
static const char *const shared_keys[] = {"timeoutMs", "count", NULL};

static uint32_t read_number(lua_State *lua, int index, const char *what, const char *name, double least, double most,
                            uint32_t absent)
{
    lua_getfield(lua, index, name);
    double number = absent;
    if (!lua_isnil(lua, -1)) {
        number = lua_type(lua, -1) == LUA_TNUMBER ? ceil(lua_tonumber(lua, -1)) : -1;
        if (!(number >= least && number <= most))
            luaL_error(lua, "%s: %s: expected a number from %d to %d, got %s", what, name, (int)least, (int)most,
                       lua_type(lua, -1) == LUA_TNUMBER ? lua_tostring(lua, -1) : state_value_name(lua, -1));
    }
    lua_pop(lua, 1);
    return (uint32_t)number;
}

static struct script_question *new_question(const struct slice *agents, unsigned count)
{
    size_t size = sizeof(struct script_question) + count * sizeof *agents;
    for (unsigned i = 0; i < count; i++)
        size += agents[i].length;
    struct script_question *question = pool_acquire(POOL_ARRAYS, size);
    if (!question)
        return NULL;
    *question = (struct script_question){.size = size, .agent_count = count};
    char *at = (char *)&question->agents[count];
    for (unsigned i = 0; i < count; i++) {
        question->agents[i] = slice_from(memcpy(at, agents[i].data, agents[i].length), agents[i].length);
        at += agents[i].length;
    }
    return question;
}

void script_questions_free(struct script_question *first)
{
    while (first) {
        struct script_question *next = first->next;
        frame_release(first->frame);
        pool_release(POOL_ARRAYS, first, first->size);
        first = next;
    }
}

/* Appends the composed envelope as a question to these agents. */
static struct script_question *add_question(lua_State *lua, struct script_state *state, struct composition *made,
                                            const struct slice *agents, unsigned count)
{
    struct script_request *request = &state->asked;
    send_set_to(lua, made, agents[0]);
    struct script_question *question = new_question(agents, count), **last = &request->questions;
    if (!question)
        luaL_error(lua, "not enough memory");
    while (*last)
        last = &(*last)->next;
    *last = question; /* from here on it is the state's, whatever is raised */
    question->index = ++request->question_count;
    question->id = hash_slice(envelope_text(&made->envelope, FIELD_ID, &made->defaults));
    if (envelope_has(&made->envelope, FIELD_TASK_ID))
        question->task = hash_slice(envelope_sent_text(&made->envelope, FIELD_TASK_ID));
    question->frame = envelope_build(&made->envelope, &made->defaults, FRAME_ENVELOPE);
    if (!question->frame)
        luaL_error(lua, "not enough memory");
    return question;
}

/* The request in the table at `index`. */
static void read_request(lua_State *lua, struct script_state *state, int index, const char *what, uint32_t timeout_ms)
{
    unsigned count;
    const struct slice *agents = send_read_agents(lua, state, index, what, QUESTION_AGENTS_MAXIMUM, &count);
    uint32_t retries = read_number(lua, index, what, "retries", 0, QUESTION_RETRIES_MAXIMUM, 0);
    uint32_t backoff_ms = read_number(lua, index, what, "backoffMs", 0, INT32_MAX, BACKOFF_DEFAULT_MS);
    timeout_ms = read_number(lua, index, what, "timeoutMs", 1, INT32_MAX, timeout_ms);
    struct composition *made = send_compose(lua, state, index, what, request_keys);
    struct script_question *question = add_question(lua, state, made, agents, count);
    question->timeout_ms = timeout_ms;
    question->retries = retries;
    question->backoff_ms = backoff_ms;
}

static void check_count(lua_State *lua, const struct script_state *state, const char *what, size_t more)
{
    if (more > QUESTIONS_MAXIMUM)
        luaL_error(lua, "%s: expected at most %d requests, got %d", what, (int)QUESTIONS_MAXIMUM, (int)more);
    if (state->questions_out + more > QUESTIONS_OUT_MAXIMUM)
        luaL_error(lua, "%s: hooks wait for %d replies already", what, (int)state->questions_out);
}

static struct script_state *begin(lua_State *lua, const char *what, const char *expected)
{
    struct script_state *state = state_of(lua);
    state_check_depth(lua, state);
    if (!lua_istable(lua, 1))
        luaL_error(lua, "%s: expected %s, got %s", what, expected, state_value_name(lua, 1));
    lua_settop(lua, 1);
    state_may_act(lua, state, what);
    wait_check_may(lua, state, what);
    wait_new_request(state);
    return state;
}

#define REQUEST "bridge.request"

int ask_request(lua_State *lua)
{
    struct script_state *state = begin(lua, REQUEST, "a table with the fields of an envelope");
    check_count(lua, state, REQUEST, 1);
    read_request(lua, state, 1, REQUEST, TIMEOUT_DEFAULT_MS);
    state->asked.needed = 1;
    state->asks = true;
    return lua_yield(lua, 0);
}

#define GATHER "bridge.gather"

/* One table for all: the same to each of `to`. */
static unsigned read_shared(lua_State *lua, struct script_state *state, uint32_t timeout_ms)
{
    unsigned count;
    const struct slice *agents = send_read_agents(lua, state, 1, GATHER, QUESTIONS_MAXIMUM, &count);
    check_count(lua, state, GATHER, count);
    struct composition *made = send_compose(lua, state, 1, GATHER, shared_keys);
    bool named = envelope_has(&made->envelope, FIELD_ID);
    for (unsigned i = 0; i < count; i++) {
        made->envelope.has_made_id = false; /* each has an id of its own */
        struct script_question *question = add_question(lua, state, made, &agents[i], 1);
        question->timeout_ms = timeout_ms;
    }
    if (named && count > 1)
        luaL_error(lua, GATHER ": id: several envelopes cannot have the same id");
    return count;
}

static unsigned read_requests(lua_State *lua, struct script_state *state, uint32_t timeout_ms)
{
    int list = lua_gettop(lua);
    if (!lua_istable(lua, list))
        luaL_error(lua, GATHER ": requests: expected a list of tables, got %s", state_value_name(lua, list));
    size_t count = lua_objlen(lua, list);
    check_count(lua, state, GATHER, count);
    lua_pushnil(lua);
    while (lua_next(lua, 1)) {
        const char *key = lua_type(lua, -2) == LUA_TSTRING ? lua_tostring(lua, -2) : state_value_name(lua, -2);
        if (strcmp(key, "requests") != 0 && strcmp(key, "count") != 0 && strcmp(key, "timeoutMs") != 0)
            luaL_error(lua, GATHER ": expected requests, count or timeoutMs as a key, got %s", key);
        lua_pop(lua, 1);
    }
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(lua, list, (int)i);
        if (!lua_istable(lua, -1))
            luaL_error(lua, GATHER ": requests: expected a list of tables, element %d is %s", (int)i,
                       state_value_name(lua, -1));
        read_request(lua, state, lua_gettop(lua), GATHER, timeout_ms);
        lua_pop(lua, 1);
    }
    return (unsigned)count;
}

int ask_gather(lua_State *lua)
{
    struct script_state *state = begin(lua, GATHER, "a table with requests, or with to and the fields of an envelope");
    uint32_t timeout_ms = read_number(lua, 1, GATHER, "timeoutMs", 1, INT32_MAX, TIMEOUT_DEFAULT_MS);
    lua_getfield(lua, 1, "requests");
    unsigned count = lua_isnil(lua, 2) ? read_shared(lua, state, timeout_ms) : read_requests(lua, state, timeout_ms);
    if (count == 0)
        return luaL_error(lua, GATHER ": requests: expected at least one");
    state->asked.needed = read_number(lua, 1, GATHER, "count", 1, count, count);
    state->asked.ms = timeout_ms;
    state->asked.gathers = true;
    state->asks = true;
    return lua_yield(lua, 0);
}

/* --- Replies ------------------------------------------------------------------------------------------------------ */

/* The whole envelope as a table; what is null at its top is absent. */
static void push_reply(lua_State *lua, struct script_state *state, const struct frame *frame)
{
    json_value_push(lua, state, frame_envelope(frame));
    for (unsigned field = 0; field < FIELD_COUNT; field++) {
        struct slice name = field_name((enum field)field);
        lua_pushlstring(lua, name.data, name.length);
        lua_rawget(lua, -2);
        bool is_null = lua_type(lua, -1) == LUA_TLIGHTUSERDATA && lua_touserdata(lua, -1) == NULL;
        lua_pop(lua, 1);
        if (is_null) {
            lua_pushlstring(lua, name.data, name.length);
            lua_pushnil(lua);
            lua_rawset(lua, -3);
        }
    }
}

static void push_missing(lua_State *lua, const struct script_missing *missing)
{
    lua_createtable(lua, 0, 4);
    lua_pushlstring(lua, missing->agent.data, missing->agent.length);
    lua_setfield(lua, -2, "to");
    lua_pushnumber(lua, missing->index);
    lua_setfield(lua, -2, "index");
    if (missing->code == CODE_OK)
        return;
    lua_pushstring(lua, code_name(missing->code));
    lua_setfield(lua, -2, "code");
    lua_pushlstring(lua, missing->text.data, missing->text.length);
    lua_setfield(lua, -2, "text");
}

void ask_push_replies(lua_State *lua, struct script_state *state, const struct script_replies *replies)
{
    if (!replies->gathered) {
        push_reply(lua, state, replies->frames[0]);
        return;
    }
    lua_createtable(lua, (int)replies->count, 0);
    for (unsigned i = 0; i < replies->count; i++) {
        push_reply(lua, state, replies->frames[i]);
        lua_rawseti(lua, -2, (int)i + 1);
    }
    lua_createtable(lua, (int)replies->missing_count, 0);
    for (unsigned i = 0; i < replies->missing_count; i++) {
        push_missing(lua, &replies->missing[i]);
        lua_rawseti(lua, -2, (int)i + 1);
    }
}
