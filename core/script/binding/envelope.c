/* A field's name arrives as an interned string, so its address tells which field it is: one multiplication and one
 * compare. The multiplier is searched for once so that no two names share a slot.
 *
 * Decoded values are kept in one table (the metamethods' upvalue), which of them count is a bit mask in C: starting
 * a call clears the mask, and the table only when it holds something. */
#include "script/binding/envelope.h"

#include <math.h>
#include <stdio.h>

#include "script/json_value.h"
#include "script/pure/declaration.h"
#include "script/state/state.h"

static inline unsigned key_slot(uint64_t multiplier, const char *name)
{
    return (unsigned)(((uint64_t)(uintptr_t)name * multiplier) >> 58); /* the top 6 bits: KEY_SLOTS */
}

static inline int find_key(const struct script_state *state, const char *name)
{
    unsigned slot = key_slot(state->key_multiplier, name);
    return state->keys[slot].name == name ? state->keys[slot].index : -1;
}

static const char *key_name(int index)
{
    return index == CACHE_SENDER ? "sender" : field_name((enum field)index).data;
}

/* The metamethods' upvalue. */
#define CACHE_UPVALUE lua_upvalueindex(1)

static int refuse_handle(lua_State *lua, const char *act)
{
    uintptr_t handle = (uintptr_t)lua_touserdata(lua, 1);
    if (handle == 0)
        return luaL_error(lua, "attempt to %s luaduct.null", act);
    if ((handle & 0xff) == HANDLE_TAG_ENVELOPE)
        return luaL_error(lua, "attempt to %s an envelope after its call has ended", act);
    return luaL_error(lua, "attempt to %s a decision", act);
}

static void keep_value(lua_State *lua, struct script_state *state, int index)
{
    lua_pushvalue(lua, -1);
    lua_rawseti(lua, CACHE_UPVALUE, index + 1);
    state->cached |= 1u << index;
}

static void push_slice(lua_State *lua, struct slice text)
{
    if (text.data)
        lua_pushlstring(lua, text.data, text.length);
    else
        lua_pushnil(lua);
}

static void push_sender(lua_State *lua, struct script_state *state)
{
    const struct script_sender *sender = state->sender;
    lua_createtable(lua, 0, 4);
    push_slice(lua, sender->id);
    lua_setfield(lua, -2, "id");
    push_slice(lua, sender->role);
    lua_setfield(lua, -2, "role");
    json_value_push(lua, state, sender->labels.length ? sender->labels : SLICE("[]"));
    lua_setfield(lua, -2, "labels");
    push_slice(lua, sender->identity);
    lua_setfield(lua, -2, "identity");
}

/* What is not a plain string in the text as it came: defaults, escapes, numbers, opaque fields, the sender. */
static __attribute__((noinline)) int read_value(lua_State *lua, struct script_state *state, int index)
{
    if (state->cached >> index & 1) {
        lua_rawgeti(lua, CACHE_UPVALUE, index + 1);
        return 1;
    }
    if (index == CACHE_SENDER) {
        if (!state->sender) {
            lua_pushnil(lua);
            return 1;
        }
        push_sender(lua, state);
        keep_value(lua, state, index);
        return 1;
    }
    enum field field = (enum field)index;
    if (field < FIELD_TEXT_COUNT) {
        struct slice text = envelope_text(state->envelope, field, state->defaults);
        push_slice(lua, text);
        if (field == FIELD_TIMESTAMP && json_kind(state->envelope->json[field]) == JSON_NUMBER) {
            lua_pushnumber(lua, lua_tonumber(lua, -1));
            lua_remove(lua, -2);
        }
        return 1;
    }
    struct slice json = envelope_json(state->envelope, field, state->defaults);
    if (json.length == 0)
        return luaL_error(lua, "not enough memory");
    json_value_push(lua, state, json);
    keep_value(lua, state, index);
    return 1;
}

static int index_handle(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    if ((uintptr_t)lua_touserdata(lua, 1) != state->envelope_handle)
        return refuse_handle(lua, "read a field of");
    int index = find_key(state, lua_tolstring(lua, 2, NULL));
    if (index < 0) {
        lua_pushnil(lua);
        return 1;
    }
    if (__builtin_expect(state->undeclared >> index & 1, 0))
        return declaration_refuse_field(lua, state, key_name(index), false);
    if (index < FIELD_TEXT_COUNT) {
        const struct envelope *envelope = state->envelope;
        struct slice json = envelope->json[index];
        if (json.length >= 2 && json.data[0] == '"' && !(envelope->escaped >> index & 1)) {
            lua_pushlstring(lua, json.data + 1, json.length - 2);
            return 1;
        }
    }
    return read_value(lua, state, index);
}

static void check_set(lua_State *lua, const char *what, enum field field, enum code code, const char *error)
{
    if (code == CODE_INTERNAL)
        luaL_error(lua, "not enough memory");
    if (code != CODE_OK)
        luaL_error(lua, "%s%s: %s", what, key_name((int)field), error);
}

bool envelope_binding_set(lua_State *lua, struct script_state *state, struct envelope *envelope, enum field field,
                          int index, const char *what)
{
    enum field_class class = field_class(field);
    char error[ERROR_TEXT_BYTES] = "";
    int type = lua_type(lua, index);
    if (type == LUA_TNIL || (type == LUA_TLIGHTUSERDATA && lua_touserdata(lua, index) == NULL)) {
        check_set(lua, what, field, envelope_set_json(envelope, field, slice_from(NULL, 0), error), error);
        return false;
    }
    if (field < FIELD_TEXT_COUNT && type == LUA_TSTRING) {
        struct slice text;
        text.data = lua_tolstring(lua, index, &text.length);
        check_set(lua, what, field, envelope_set_text(envelope, field, text, error), error);
        return true;
    }
    if (field < FIELD_TEXT_COUNT && !(class == FIELD_CLASS_STRING_OR_NUMBER && type == LUA_TNUMBER))
        luaL_error(lua, "%s%s: expected a string%s, got %s", what, key_name((int)field),
                   class == FIELD_CLASS_STRING_OR_NUMBER ? " or a number"
                   : class == FIELD_CLASS_STRING_OR_NULL ? " or nil"
                                                         : "",
                   state_value_name(lua, index));
    char name[48];
    snprintf(name, sizeof name, "%s%s", what, key_name((int)field));
    struct slice json =
        json_value_encode(lua, state, index, class == FIELD_CLASS_ARRAY ? JSON_WANT_ARRAY : JSON_WANT_ANY, name);
    check_set(lua, what, field, envelope_set_json(envelope, field, json, error), error);
    return true;
}

/* handle, name, value */
static int assign_handle(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    if ((uintptr_t)lua_touserdata(lua, 1) != state->envelope_handle)
        return refuse_handle(lua, "assign a field of");
    int index = lua_type(lua, 2) == LUA_TSTRING ? find_key(state, lua_tolstring(lua, 2, NULL)) : -1;
    if (index < 0)
        return luaL_error(lua, "an envelope has no field \"%s\"",
                          lua_type(lua, 2) == LUA_TSTRING ? lua_tostring(lua, 2) : state_value_name(lua, 2));
    if (index == CACHE_SENDER)
        return luaL_error(lua, "envelope.sender is what the bridge knows of the sender: it cannot be assigned");
    if (state->pure)
        return declaration_refuse_field(lua, state, key_name(index), true);
    enum field field = (enum field)index;
    if (!envelope_binding_set(lua, state, state->envelope, field, 3, "envelope.")) {
        state->cached &= ~(1u << index);
    } else if (field >= FIELD_TEXT_COUNT) {
        lua_settop(lua, 3);
        keep_value(lua, state, index);
    }
    return 0;
}

static int describe_handle(lua_State *lua)
{
    uintptr_t handle = (uintptr_t)lua_touserdata(lua, 1);
    lua_pushstring(lua, handle == 0 ? "null" : (handle & 0xff) == HANDLE_TAG_ENVELOPE ? "envelope" : "decision");
    return 1;
}

/* The names, interned by being keys of a table that stays in the registry. */
static void intern_keys(lua_State *lua, struct script_state *state)
{
    lua_createtable(lua, 0, CACHE_COUNT);
    const char *names[CACHE_COUNT];
    for (int i = 0; i < CACHE_COUNT; i++) {
        lua_pushstring(lua, key_name(i));
        names[i] = lua_tostring(lua, -1);
        lua_pushboolean(lua, 1);
        lua_rawset(lua, -3);
    }
    luaL_ref(lua, LUA_REGISTRYINDEX);
    bool collision = true;
    while (collision) {
        collision = false;
        state->key_multiplier = random_u64() | 1;
        memset(state->keys, 0, sizeof state->keys);
        for (int i = 0; i < CACHE_COUNT && !collision; i++) {
            unsigned slot = key_slot(state->key_multiplier, names[i]);
            collision = state->keys[slot].name != NULL;
            state->keys[slot].name = names[i];
            state->keys[slot].index = i;
        }
    }
}

void envelope_binding_open(lua_State *lua, struct script_state *state)
{
    intern_keys(lua, state);
    lua_createtable(lua, CACHE_COUNT, 0);
    lua_pushvalue(lua, -1);
    state->cache_reference = luaL_ref(lua, LUA_REGISTRYINDEX);
    int cache = lua_gettop(lua);
    for (int i = 1; i <= CACHE_COUNT; i++) { /* so that clearing a slot never allocates */
        lua_pushboolean(lua, 0);
        lua_rawseti(lua, cache, i);
    }
    lua_pushlightuserdata(lua, NULL);
    lua_createtable(lua, 0, 4);
    static const luaL_Reg methods[] = {
        {"__index", index_handle}, {"__newindex", assign_handle}, {"__tostring", describe_handle}};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        lua_pushvalue(lua, cache);
        lua_pushcclosure(lua, methods[i].func, 1);
        lua_setfield(lua, -2, methods[i].name);
    }
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_setmetatable(lua, -2);
    lua_settop(lua, cache - 1);
}

void envelope_binding_forget(struct script_state *state)
{
    lua_rawgeti(state->lua, LUA_REGISTRYINDEX, state->cache_reference);
    for (int i = 0; i < CACHE_COUNT; i++) {
        if (state->cached >> i & 1) {
            lua_pushboolean(state->lua, 0);
            lua_rawseti(state->lua, -2, i + 1);
        }
    }
    lua_pop(state->lua, 1);
    state->cached = 0;
}
