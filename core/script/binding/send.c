/* The frame is built in the call, from the table as it is then; it waits in the state's list until the runtime takes
 * it. */
#include "script/binding/send.h"

#include <stdio.h>

#include "memory/pool.h"
#include "protocol/registration.h"
#include "script/binding/envelope.h"
#include "script/pure/declaration.h"
#include "script/state/state.h"

/* --- Tables ------------------------------------------------------------------------------------------------------- */

static bool is_listed(const char *const *names, const char *name)
{
    for (; names && *names; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

static void set_text(lua_State *lua, struct composition *made, enum field field, struct slice text)
{
    char error[ERROR_TEXT_BYTES];
    if (envelope_set_text(&made->envelope, field, text, error) != CODE_OK)
        luaL_error(lua, "not enough memory");
}

struct composition *send_compose(lua_State *lua, struct script_state *state, int index, const char *what,
                                 const char *const *also)
{
    struct composition *made = &state->composition;
    char prefix[32];
    snprintf(prefix, sizeof prefix, "%s: ", what);
    envelope_clear(&made->envelope, &made->store);
    made->defaults = (struct envelope_defaults){.timestamp = made->timestamp};
    clock_format_iso(clock_wall_ms(), made->timestamp);
    luaL_checkstack(lua, 8, NULL);
    lua_pushnil(lua);
    while (lua_next(lua, index)) {
        const char *key = lua_type(lua, -2) == LUA_TSTRING ? lua_tostring(lua, -2) : "";
        enum field field = field_from_name(slice_from_string(key));
        if (field == FIELD_UNKNOWN && !is_listed(also, key))
            luaL_error(lua, "%s: expected fields of an envelope as keys, got %s", what,
                       *key ? key : state_value_name(lua, -2));
        if (field != FIELD_UNKNOWN && field != FIELD_TO)
            envelope_binding_set(lua, state, &made->envelope, field, lua_gettop(lua), prefix);
        lua_pop(lua, 1);
    }
    if (!envelope_has(&made->envelope, FIELD_FROM))
        set_text(lua, made, FIELD_FROM, SLICE("bridge"));
    if (!envelope_has(&made->envelope, FIELD_ROLE))
        set_text(lua, made, FIELD_ROLE, SLICE("bridge"));
    return made;
}

/* The id on top of the stack. */
static struct slice take_id(lua_State *lua, struct script_state *state, const char *what, const char *expected)
{
    struct slice id = {NULL, 0};
    if (lua_type(lua, -1) == LUA_TSTRING)
        id.data = lua_tolstring(lua, -1, &id.length);
    if (!id.data || !identifier_valid(id))
        luaL_error(lua, "%s: to: expected %s, got %s", what, expected,
                   id.data ? "another string" : state_value_name(lua, -1));
    return arena_copy(lua, state, id);
}

const struct slice *send_read_agents(lua_State *lua, struct script_state *state, int index, const char *what,
                                     unsigned most, unsigned *count)
{
    lua_getfield(lua, index, "to");
    size_t listed = lua_istable(lua, -1) ? lua_objlen(lua, -1) : 1;
    if (listed == 0 || listed > most)
        luaL_error(lua, "%s: to: expected 1 to %d agent ids in the list, got %d", what, (int)most, (int)listed);
    struct slice *ids = arena_take_aligned(lua, state, listed * sizeof *ids);
    if (lua_istable(lua, -1)) {
        for (size_t i = 0; i < listed; i++) {
            lua_rawgeti(lua, -1, (int)i + 1);
            ids[i] = take_id(lua, state, what, "a list of agent ids");
            lua_pop(lua, 1);
        }
    } else {
        ids[0] = take_id(lua, state, what, "an agent id (string) or a list of them");
    }
    lua_pop(lua, 1);
    *count = (unsigned)listed;
    return ids;
}

void send_set_to(lua_State *lua, struct composition *made, struct slice id)
{
    char error[ERROR_TEXT_BYTES];
    if (id.data)
        set_text(lua, made, FIELD_TO, id);
    else
        envelope_set_json(&made->envelope, FIELD_TO, id, error);
}

/* --- bridge.send -------------------------------------------------------------------------------------------------- */

#define SEND "bridge.send"

static void check_may_send(lua_State *lua, struct script_state *state)
{
    if (!state->in_hook)
        luaL_error(lua, SEND ": only a hook can send");
    state_may_act(lua, state, SEND); /* in one that is only tried, what is sent is never taken */
    if (state->envelope_handle != 0)
        luaL_error(lua, SEND ": a hook that decides about an envelope returns its decision, and sends nothing itself");
    if (state->sends_generation != state->generation) {
        state->sends_generation = state->generation;
        state->sends_made = 0;
    }
    if (state->sends_made == SENDS_MAXIMUM)
        luaL_error(lua, SEND ": more than %d envelopes in one call", SENDS_MAXIMUM);
}

static struct script_send *new_send(const struct slice *agents, unsigned count, struct frame *frame,
                                    const struct trace_context *cause)
{
    size_t size = sizeof(struct script_send) + count * sizeof *agents;
    for (unsigned i = 0; i < count; i++)
        size += agents[i].length;
    struct script_send *send = frame ? pool_acquire(POOL_ARRAYS, size) : NULL;
    if (!send)
        return NULL;
    *send = (struct script_send){.frame = frame, .size = size, .agent_count = count, .caused = cause != NULL};
    if (cause)
        send->cause = *cause;
    char *at = (char *)&send->agents[count];
    for (unsigned i = 0; i < count; i++) {
        send->agents[i] = slice_from(memcpy(at, agents[i].data, agents[i].length), agents[i].length);
        at += agents[i].length;
    }
    return send;
}

int send_envelope(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    state_check_depth(lua, state);
    declaration_check(lua, SEND);
    if (!lua_istable(lua, 1))
        return luaL_error(lua, SEND ": expected a table with the fields of an envelope, got %s",
                          state_value_name(lua, 1));
    lua_settop(lua, 1);
    check_may_send(lua, state);
    unsigned count;
    const struct slice *agents = send_read_agents(lua, state, 1, SEND, SEND_AGENTS_MAXIMUM, &count);
    struct composition *made = send_compose(lua, state, 1, SEND, NULL);
    send_set_to(lua, made, count == 1 ? agents[0] : slice_from(NULL, 0));
    struct slice id = envelope_text(&made->envelope, FIELD_ID, &made->defaults);
    lua_pushlstring(lua, id.data, id.length);
    struct frame *frame = envelope_build(&made->envelope, &made->defaults, FRAME_ENVELOPE);
    struct script_send *send = new_send(agents, count, frame, state->cause);
    if (!send) {
        frame_release(frame);
        return luaL_error(lua, "not enough memory");
    }
    struct script_send **last = &state->sends;
    while (*last)
        last = &(*last)->next;
    *last = send;
    state->sends_made++;
    return 1;
}

struct script_send *script_take_send(struct script_state *state)
{
    struct script_send *send = state->sends;
    if (send)
        state->sends = send->next;
    return send;
}

void script_set_cause(struct script_state *state, const struct trace_context *cause)
{
    state->cause = cause;
}

bool script_has_sends(const struct script_state *state)
{
    return state->sends != NULL;
}

void script_send_free(struct script_send *send)
{
    frame_release(send->frame);
    pool_release(POOL_ARRAYS, send, send->size);
}

void send_close(struct script_state *state)
{
    struct script_send *send;
    while ((send = script_take_send(state)))
        script_send_free(send);
    text_store_free(&state->composition.store);
}
