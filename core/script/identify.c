#include "script/identify.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "protocol/registration.h"
#include "script/chain.h"
#include "script/state/state.h"

const char *const script_identity_limits[4] = {"messagesPerSecond", "messageBurst", "connections", "bytesPerSecond"};

/* As in the configuration: counts, and 64 TiB. */
static const double most[4] = {1e9, 1e9, 1e9, 70368744177664.0};

/* --- The argument --- */

static void set_text(lua_State *lua, const char *name, struct slice text)
{
    if (!text.data)
        return;
    lua_pushlstring(lua, text.data, text.length);
    lua_setfield(lua, -2, name);
}

static void set_list(lua_State *lua, const char *name, const struct slice_list *list)
{
    lua_createtable(lua, (int)list->count, 0);
    for (uint32_t i = 0; i < list->count; i++) {
        lua_pushlstring(lua, list->items[i].data, list->items[i].length);
        lua_rawseti(lua, -2, (int)i + 1);
    }
    lua_setfield(lua, -2, name);
}

static void push_certificate(lua_State *lua, const struct script_certificate *certificate)
{
    char expires[CLOCK_ISO_LENGTH];
    clock_format_iso(certificate->expires_ms, expires);
    lua_createtable(lua, 0, 5);
    set_text(lua, "commonName", certificate->common_name);
    set_list(lua, "uris", &certificate->uris);
    set_list(lua, "dns", &certificate->dns);
    set_text(lua, "fingerprint", certificate->fingerprint);
    set_text(lua, "expires", slice_from(expires, sizeof expires));
}

static void push_header(lua_State *lua, const struct script_header *header)
{
    luaL_Buffer name;
    luaL_buffinit(lua, &name);
    for (size_t i = 0; i < header->name.length; i++) {
        char c = header->name.data[i];
        luaL_addchar(&name, c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c);
    }
    luaL_pushresult(&name);
    lua_pushvalue(lua, -1);
    lua_rawget(lua, -3);
    bool again = lua_isstring(lua, -1);
    if (again)
        lua_pushliteral(lua, ", ");
    else
        lua_pop(lua, 1);
    lua_pushlstring(lua, header->value.data, header->value.length);
    if (again)
        lua_concat(lua, 3);
    lua_rawset(lua, -3);
}

void identify_push(lua_State *lua, const struct identify_call *call)
{
    const struct script_credentials *credentials = call->credentials;
    if (!credentials) {
        push_certificate(lua, call->certificate);
        return;
    }
    lua_createtable(lua, 0, 5);
    set_text(lua, "token", credentials->token);
    set_text(lua, "address", credentials->address);
    set_text(lua, "path", credentials->path);
    lua_createtable(lua, 0, (int)credentials->header_count);
    for (size_t i = 0; i < credentials->header_count; i++)
        push_header(lua, &credentials->headers[i]);
    lua_setfield(lua, -2, "headers");
    if (credentials->certificate) {
        push_certificate(lua, credentials->certificate);
        lua_setfield(lua, -2, "certificate");
    }
}

/* --- The results --- */

/* The text on top of the stack, kept. */
static struct slice read_text(lua_State *lua, struct script_state *state, const char *member)
{
    struct slice text = {NULL, 0};
    if (lua_type(lua, -1) == LUA_TSTRING)
        text.data = lua_tolstring(lua, -1, &text.length);
    if (!text.data || !identifier_valid(text))
        luaL_error(lua, "expected strings of 1 to %d bytes without control characters as %s, got %s",
                   TEXT_BYTES_MAXIMUM, member, text.data ? "another string" : state_value_name(lua, -1));
    return arena_copy_string(lua, state, -1);
}

static void read_list(lua_State *lua, struct script_state *state, const char *member, struct slice *items,
                      struct slice_list *out)
{
    if (!lua_istable(lua, -1))
        luaL_error(lua, "expected a list as %s, got %s", member, state_value_name(lua, -1));
    size_t count = lua_objlen(lua, -1);
    if (count > SCRIPT_IDENTITY_LIST_MAXIMUM)
        luaL_error(lua, "expected at most %d %s, got %d", SCRIPT_IDENTITY_LIST_MAXIMUM, member, (int)count);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(lua, -1, (int)i + 1);
        items[i] = read_text(lua, state, member);
        lua_pop(lua, 1);
    }
    *out = (struct slice_list){items, (uint32_t)count};
}

static void read_limits(lua_State *lua, struct script_identity *out)
{
    if (!lua_istable(lua, -1))
        luaL_error(lua, "expected a table as limits, got %s", state_value_name(lua, -1));
    for (lua_pushnil(lua); lua_next(lua, -2); lua_pop(lua, 1)) {
        const char *name = lua_type(lua, -2) == LUA_TSTRING ? lua_tostring(lua, -2) : "";
        double number = lua_type(lua, -1) == LUA_TNUMBER ? lua_tonumber(lua, -1) : 0;
        size_t which = 0;
        while (which < 4 && strcmp(name, script_identity_limits[which]) != 0)
            which++;
        if (which == 4 || !(number >= 1 && number <= most[which]) || number != floor(number))
            luaL_error(lua, "expected whole numbers from 1 for messagesPerSecond, messageBurst, connections and "
                            "bytesPerSecond as limits");
        out->limits[which] = number;
    }
    if (out->limits[1] > 0 && out->limits[0] == 0)
        luaL_error(lua, "expected messagesPerSecond beside messageBurst in limits; without a rate it has no use");
}

/* A text of ISO 8601, or seconds since 1970, as os.time gives them. */
static void read_expires(lua_State *lua, struct script_identity *out)
{
    struct slice text;
    double seconds = lua_type(lua, -1) == LUA_TNUMBER ? lua_tonumber(lua, -1) : 0;
    if (seconds >= 0.001 && seconds < 1e12) { /* 0 ms would be never */
        out->expires_ms = (int64_t)(seconds * 1000);
        return;
    }
    text.data = lua_type(lua, -1) == LUA_TSTRING ? lua_tolstring(lua, -1, &text.length) : NULL;
    if (!text.data || !clock_parse_iso(text, &out->expires_ms) || out->expires_ms <= 0)
        luaL_error(lua, "expected a time such as \"2030-01-01T00:00:00Z\", or seconds since 1970, as expires");
}

static void read_identity(lua_State *lua, struct script_state *state, struct script_identity *out)
{
    struct slice_list *lists[] = {&out->roles, &out->client_ids, &out->agent_roles, &out->labels};
    static const char *const names[] = {"roles", "clientIds", "agentRoles", "labels"};
    out->name = slice_from(NULL, 0);
    out->expires_ms = 0;
    for (size_t i = 0; i < 4; i++) {
        *lists[i] = (struct slice_list){NULL, 0};
        out->limits[i] = 0;
    }
    for (lua_pushnil(lua); lua_next(lua, 1); lua_settop(lua, 3)) {
        const char *key = lua_type(lua, 3) == LUA_TSTRING ? lua_tostring(lua, 3) : "a list item";
        size_t list = 0;
        while (list < 4 && strcmp(key, names[list]) != 0)
            list++;
        if (list < 4)
            read_list(lua, state, key, out->items[list], lists[list]);
        else if (strcmp(key, "name") == 0)
            out->name = read_text(lua, state, key);
        else if (strcmp(key, "limits") == 0)
            read_limits(lua, out);
        else if (strcmp(key, "expires") == 0)
            read_expires(lua, out);
        else
            luaL_error(lua,
                       "there is nothing like %s in an identity: expected name, roles, clientIds, agentRoles, "
                       "labels, limits, expires",
                       key);
    }
    if (!out->name.data)
        luaL_error(lua, "expected an identity to have a name");
}

void identify_read(lua_State *lua, struct script_state *state, struct identify_call *call)
{
    if (lua_istable(lua, 1)) {
        read_identity(lua, state, call->out);
        call->identified = true;
    } else if (lua_isboolean(lua, 1) && !lua_toboolean(lua, 1)) {
        call->denied = true;
        call->reason = lua_type(lua, 2) == LUA_TSTRING ? arena_copy_string(lua, state, 2)
                                                       : SLICE("the script said no, without a reason");
    } else if (!lua_isnil(lua, 1)) {
        luaL_error(lua, "expected nil, an identity (a table), or false and a reason, got %s", state_value_name(lua, 1));
    }
}

/* --- Calling --- */

static enum script_identified ask(struct script_state *state, enum script_hook hook, struct identify_call *call,
                                  struct slice *reason)
{
    bool good = chain_identify(state, hook, call);
    *reason = call->denied ? call->reason : SLICE("the script failed");
    return !good || call->denied ? SCRIPT_DENIED : call->identified ? SCRIPT_IDENTIFIED : SCRIPT_UNKNOWN;
}

enum script_identified script_authenticate(struct script_state *state, const struct script_credentials *credentials,
                                           uint64_t origin, struct script_identity *out, struct slice *reason)
{
    struct identify_call call = {.credentials = credentials, .origin = origin, .out = out};
    return ask(state, HOOK_AUTHENTICATE, &call, reason);
}

enum script_identified script_identify(struct script_state *state, const struct script_certificate *certificate,
                                       uint64_t origin, struct script_identity *out, struct slice *reason)
{
    struct identify_call call = {.certificate = certificate, .origin = origin, .out = out};
    return ask(state, HOOK_ON_IDENTIFY, &call, reason);
}
