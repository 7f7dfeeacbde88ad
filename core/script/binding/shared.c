/* Each function reads its arguments, then does one thing with the dictionary, then pushes: no error of Lua's strikes
 * while a lock is held. In a state that is only tried nothing is changed, and what a change would give is given. */
#include "script/binding/shared.h"

#include <math.h>

#include "script/pure/declaration.h"
#include "script/shared.h"
#include "script/state/state.h"
#include "workers/value_lua.h"

#define NAME "luaduct.shared"

/* Of keys(): more is a mistake, or a reason to keep a list of one's own. */
#define KEYS_DEFAULT 1000
#define KEYS_MAXIMUM 100000

/* The longest time to live: 285,000 years, exact in a number. */
#define TTL_MAXIMUM 9007199254740992.0

void shared_binding_close(struct shared_use *use)
{
    buffer_free(&use->written);
    shared_release(use->held);
    use->held = NULL;
}

static struct script_state *begin(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    declaration_check(lua, NAME);
    shared_binding_close(&state->shared);
    return state;
}

static struct slice check_key(lua_State *lua, const char *what)
{
    struct slice key = {NULL, 0};
    declaration_check(lua, NAME);
    if (lua_type(lua, 1) == LUA_TSTRING)
        key.data = lua_tolstring(lua, 1, &key.length);
    if (key.length == 0 || key.length > SHARED_KEY_BYTES_MAXIMUM)
        luaL_error(lua, NAME ".%s: expected a key (a string of 1 to %d bytes), got %s", what, SHARED_KEY_BYTES_MAXIMUM,
                   key.data ? "another string" : state_value_name(lua, 1));
    return key;
}

/* `absent`: what nil stands for; negative: it must be there. */
static double check_number(lua_State *lua, int index, const char *what, const char *name, double absent)
{
    if (absent >= 0 && lua_isnoneornil(lua, index))
        return absent;
    if (lua_type(lua, index) != LUA_TNUMBER)
        luaL_error(lua, NAME ".%s: expected %s (number), got %s", what, name, state_value_name(lua, index));
    return lua_tonumber(lua, index);
}

/* 0: for ever, which only nil says. */
static uint64_t check_ttl(lua_State *lua, int index, const char *what, bool needed)
{
    double ms = check_number(lua, index, what, "ttlMs", needed ? -1 : 0);
    if (!lua_isnoneornil(lua, index) && !(ms >= 1 && ms <= TTL_MAXIMUM))
        luaL_error(lua, NAME ".%s: expected ttlMs of 1 or more, got %s", what, lua_tostring(lua, index));
    return (uint64_t)ceil(ms);
}

static void check_result(lua_State *lua, enum shared_result result)
{
    if (result == SHARED_NO_MEMORY)
        luaL_error(lua, "not enough memory");
}

/* get(key): the value, or nil */
static int get(lua_State *lua)
{
    struct script_state *state = begin(lua);
    struct slice key = check_key(lua, "get");
    struct shared_found found;
    if (!shared_get(key, &found)) {
        lua_pushnil(lua);
        return 1;
    }
    state->shared.held = found.held;
    lua_settop(lua, 1);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, state->array_reference);
    value_to_lua(lua, found.value, 2);
    shared_binding_close(&state->shared);
    return 1;
}

/* Whether it is to be done; raises in a state that only reads. */
static bool may_act(lua_State *lua, const char *what)
{
    char name[32];
    snprintf(name, sizeof name, NAME ".%s", what);
    return state_may_act(lua, state_of(lua), name);
}

static enum shared_result put(lua_State *lua, const char *what, bool only_absent)
{
    struct script_state *state = begin(lua);
    struct slice key = check_key(lua, what);
    uint64_t ttl_ms = check_ttl(lua, 3, what, false);
    bool acts = may_act(lua, what);
    struct buffer *written = &state->shared.written;
    value_from_lua_for(lua, 2, written, state->array_metatable, &state->watchdog.stop, NAME, shared_value_maximum());
    enum shared_result result =
        acts ? shared_set(key, slice_from(written->data, written->length), ttl_ms, only_absent) : SHARED_DONE;
    shared_binding_close(&state->shared);
    check_result(lua, result);
    return result;
}

static bool forget(lua_State *lua, const char *what)
{
    struct slice key = check_key(lua, what);
    return !may_act(lua, what) || shared_delete(key);
}

/* set(key, value, ttlMs?): nil deletes */
static int set(lua_State *lua)
{
    if (lua_isnoneornil(lua, 2))
        forget(lua, "set");
    else
        put(lua, "set", false);
    return 0;
}

/* add(key, value, ttlMs?): whether there was none, and it is in now */
static int add(lua_State *lua)
{
    if (lua_isnoneornil(lua, 2))
        return luaL_error(lua, NAME ".add: expected a value, got nil");
    lua_pushboolean(lua, put(lua, "add", true) == SHARED_DONE);
    return 1;
}

/* incr(key, by = 1, initial = 0, ttlMs?): the sum */
static int increase(lua_State *lua)
{
    struct slice key = check_key(lua, "incr");
    double by = check_number(lua, 2, "incr", "by", 1), initial = check_number(lua, 3, "incr", "initial", 0);
    double sum = initial + by;
    uint64_t ttl_ms = check_ttl(lua, 4, "incr", false);
    enum shared_result result = may_act(lua, "incr") ? shared_increase(key, by, initial, ttl_ms, &sum) : SHARED_DONE;
    if (result == SHARED_NOT_A_NUMBER)
        return luaL_error(lua, NAME ".incr: the value of \"%s\" is not a number", key.data);
    check_result(lua, result);
    lua_pushnumber(lua, sum);
    return 1;
}

/* expire(key, ttlMs): whether there is one, which goes then */
static int expire(lua_State *lua)
{
    struct slice key = check_key(lua, "expire");
    uint64_t ttl_ms = check_ttl(lua, 2, "expire", true);
    lua_pushboolean(lua, !may_act(lua, "expire") || shared_expire(key, ttl_ms));
    return 1;
}

/* delete(key): whether there was one */
static int delete_key(lua_State *lua)
{
    lua_pushboolean(lua, forget(lua, "delete"));
    return 1;
}

/* keys(prefix = "", limit = 1000): a list, in no order */
static int list_keys(lua_State *lua)
{
    struct script_state *state = begin(lua);
    struct slice prefix = {"", 0};
    if (lua_type(lua, 1) == LUA_TSTRING)
        prefix.data = lua_tolstring(lua, 1, &prefix.length);
    else if (!lua_isnoneornil(lua, 1))
        return luaL_error(lua, NAME ".keys: expected a prefix (string), got %s", state_value_name(lua, 1));
    double limit = check_number(lua, 2, "keys", "limit", KEYS_DEFAULT);
    if (!(limit >= 1 && limit <= KEYS_MAXIMUM))
        return luaL_error(lua, NAME ".keys: expected a limit from 1 to %d, got %s", KEYS_MAXIMUM, lua_tostring(lua, 2));
    lua_settop(lua, 1);
    lua_newtable(lua);
    struct shared_keys keys;
    int count = 0;
    for (uint64_t cursor = 0; count < (int)limit && shared_list(&cursor, prefix, &keys);) {
        state_check_stop(lua, state);
        for (size_t at = 0; at < keys.length && count < (int)limit;) {
            size_t length = (size_t)(unsigned char)keys.texts[at] + 1;
            lua_pushlstring(lua, keys.texts + at + 1, length);
            lua_rawseti(lua, 2, ++count);
            at += 1 + length;
        }
    }
    return 1;
}

void shared_binding_push(lua_State *lua)
{
    static const luaL_Reg functions[] = {
        {"get", get},       {"set", set},           {"add", add},        {"incr", increase},
        {"expire", expire}, {"delete", delete_key}, {"keys", list_keys},
    };
    lua_createtable(lua, 0, sizeof functions / sizeof *functions);
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        lua_pushcfunction(lua, functions[i].func);
        lua_setfield(lua, -2, functions[i].name);
    }
}
