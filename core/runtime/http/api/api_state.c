/* Mailboxes and history as lines of JSON, out of the bridge and into it. */
#include "bridge/state/state.h"
#include "runtime/http/api/api_native.h"
#include "runtime/reactor.h"

/* export_next(): writes a piece of it; whether there is more. */
static int native_export_next(lua_State *L)
{
    struct api_call *call = api_of(L)->call;
    if (!call->state)
        call->state = state_export_new();
    if (!call->state)
        return luaL_error(L, "out of memory");
    lua_pushboolean(L, state_export_next(call->state, &call->content));
    return 1;
}

/* import(line): takes the lines of the body, the first of which has that number. A table of counts, or nil and the
 * status of the refusal. */
static int native_import(lua_State *L)
{
    struct api *api = api_of(L);
    if (api->reactor->draining) /* to be kept it would have to be known to whoever takes over */
        return api_push_nil(L, CODE_DRAINING, SLICE("the bridge is going away"));
    const struct config *config = api->reactor->config;
    struct state_import state = {.line = (uint64_t)luaL_checknumber(L, 1),
                                 .json_depth = config->limits.json_depth,
                                 .lenient = config->mode == CONFIG_MODE_ORIGINAL};
    if (!state_import_lines(&state, api->reactor->lane, api->call->body)) {
        lua_pushfstring(L, "line %d: %s", (int)state.line, state.error);
        size_t length;
        const char *text = lua_tolstring(L, -1, &length);
        return api_push_nil(L, CODE_BAD_FIELD, slice_from(text, length));
    }
    lua_newtable(L);
    set_number(L, "history", (double)state.history);
    set_number(L, "envelopes", (double)state.envelopes);
    set_number(L, "mailbox_full", (double)state.mailbox_full);
    set_number(L, "overloaded", (double)state.overloaded);
    set_number(L, "expired", (double)state.expired);
    set_number(L, "forbidden", (double)state.foreign);
    set_boolean(L, "ended", state.ended);
    return 1;
}

const luaL_Reg api_state_functions[] = {{"export_next", native_export_next}, {"import", native_import}, {NULL, NULL}};
