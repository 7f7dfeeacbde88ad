/* The script's `luaduct` is a face like those of the libraries (state/sandbox.c): a userdata that reads from a hidden
 * table, here one with `state` in it, which finds everything else in the shared face. What is kept is one value, an
 * object of the files' paths and what each has in its state. */
#include "script/version/kept_state.h"

#include <stdio.h>

#include "script/chain.h"
#include "script/pure/declaration.h"
#include "script/state/state.h"
#include "workers/value_lua.h"

/* --- luaduct ------------------------------------------------------------------------------------------------------ */

/* luaduct.state = table; upvalue 1: the hidden table. */
static int assign(lua_State *lua)
{
    if (lua_type(lua, 2) != LUA_TSTRING || strcmp(lua_tostring(lua, 2), "state") != 0)
        return luaL_error(lua, "luaduct is read-only but for luaduct.state");
    declaration_check(lua, "luaduct.state");
    if (!lua_istable(lua, 3))
        return luaL_error(lua, "luaduct.state: expected a table, got %s", state_value_name(lua, 3));
    lua_settop(lua, 3);
    lua_rawset(lua, lua_upvalueindex(1));
    return 0;
}

void kept_state_open(lua_State *lua, struct script *script)
{
    lua_rawgeti(lua, LUA_REGISTRYINDEX, script->environment);
    lua_newtable(lua);
    int hidden = lua_gettop(lua);
    lua_newtable(lua);
    lua_setfield(lua, hidden, "state");
    lua_createtable(lua, 0, 1);
    lua_getfield(lua, hidden - 1, "luaduct");
    lua_setfield(lua, -2, "__index");
    lua_setmetatable(lua, hidden);
    lua_newuserdata(lua, 0);
    lua_createtable(lua, 0, 3);
    lua_pushvalue(lua, hidden);
    lua_setfield(lua, -2, "__index");
    lua_pushvalue(lua, hidden);
    lua_pushcclosure(lua, assign, 1);
    lua_setfield(lua, -2, "__newindex");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_pushvalue(lua, -1);
    script->luaduct = luaL_ref(lua, LUA_REGISTRYINDEX);
    lua_setmetatable(lua, -2);
    lua_setfield(lua, hidden - 1, "luaduct");
    script->kept = luaL_ref(lua, LUA_REGISTRYINDEX);
    lua_pop(lua, 1);
}

/* luaduct, name; upvalue 1: the hidden table. */
static int read_guarded(lua_State *lua)
{
    if (lua_type(lua, 2) == LUA_TSTRING && strcmp(lua_tostring(lua, 2), "state") == 0)
        declaration_check(lua, "luaduct.state");
    lua_settop(lua, 2);
    lua_gettable(lua, lua_upvalueindex(1));
    return 1;
}

void kept_state_guard(lua_State *lua, const struct script *script)
{
    lua_rawgeti(lua, LUA_REGISTRYINDEX, script->luaduct);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, script->kept);
    lua_pushcclosure(lua, read_guarded, 1);
    lua_setfield(lua, -2, "__index");
    lua_pop(lua, 1);
}

void kept_state_push(lua_State *lua, const struct script *script)
{
    lua_rawgeti(lua, LUA_REGISTRYINDEX, script->kept);
    lua_pushliteral(lua, "state");
    lua_rawget(lua, -2);
    lua_remove(lua, -2);
}

/* --- Saving ------------------------------------------------------------------------------------------------------- */

/* A state that cannot be saved is looked through on a reactor, so not all of it. */
#define KEYS_LOOKED_AT 1000

struct saving {
    struct script_state *state;
    const struct script *script;
    struct buffer *out;
    size_t most;
    /* Of the look at single keys. */
    bool wants_largest; /* else the first that cannot be passed */
    size_t largest;     /* bytes */
    char name[64];      /* of that key */
};

static void note_name(lua_State *lua, int index, char name[64])
{
    if (lua_type(lua, index) == LUA_TSTRING)
        snprintf(name, 64, "luaduct.state.%s", lua_tostring(lua, index));
    else if (lua_type(lua, index) == LUA_TNUMBER)
        snprintf(name, 64, "luaduct.state[%g]", lua_tonumber(lua, index));
    else
        snprintf(name, 64, "luaduct.state[%s]", lua_typename(lua, lua_type(lua, index)));
}

static void save_value(lua_State *lua, const struct saving *saving, int index)
{
    value_from_lua_for(lua, index, saving->out, saving->state->array_metatable, NULL, "the next version", saving->most);
}

/* On the main stack, protected. */
static int save_protected(lua_State *lua)
{
    const struct saving *saving = lua_touserdata(lua, 1);
    luaL_checkstack(lua, 20, NULL);
    kept_state_push(lua, saving->script);
    save_value(lua, saving, lua_gettop(lua));
    return 0;
}

/* (saving, value) */
static int try_value(lua_State *lua)
{
    save_value(lua, lua_touserdata(lua, 1), 2);
    return 0;
}

/* On the main stack, protected: raises with the first key that cannot be passed, or finds the largest. */
static int look_at_keys(lua_State *lua)
{
    struct saving *saving = lua_touserdata(lua, 1);
    luaL_checkstack(lua, 20, NULL);
    kept_state_push(lua, saving->script);
    int state = lua_gettop(lua), left = KEYS_LOOKED_AT;
    size_t bytes = 0;
    for (lua_pushnil(lua); left-- > 0 && bytes <= saving->most && lua_next(lua, state); lua_settop(lua, state + 1)) {
        saving->out->length = 0;
        lua_pushcfunction(lua, try_value);
        lua_pushlightuserdata(lua, saving);
        lua_pushvalue(lua, state + 2);
        if (lua_pcall(lua, 2, 0, 0) != 0 && !saving->wants_largest) {
            note_name(lua, state + 1, saving->name);
            return lua_error(lua);
        }
        if (saving->out->length > saving->largest) {
            saving->largest = saving->out->length;
            note_name(lua, state + 1, saving->name);
        }
        bytes += saving->out->length;
    }
    return 0;
}

/* Says why the whole could not be saved. */
static void explain(const struct saving *failed, bool too_large, size_t most, char *error, size_t error_size)
{
    lua_State *lua = failed->state->lua;
    struct buffer scratch = {0};
    struct saving saving = *failed;
    saving.out = &scratch;
    saving.most = too_large ? most * 16 : VALUE_BYTES_MAXIMUM; /* far enough to see which it is */
    saving.wants_largest = too_large;
    snprintf(saving.name, sizeof saving.name, "luaduct.state");
    int status = lua_cpcall(lua, look_at_keys, &saving);
    if (too_large)
        snprintf(error, error_size,
                 "%s: luaduct.state takes more than %zu bytes (script.stateBytes); the most, %zu, is in %s",
                 saving.script->path, most, saving.largest, saving.name);
    else
        snprintf(error, error_size, "%s: %s: %s", saving.script->path, saving.name,
                 status != 0 && lua_type(lua, -1) == LUA_TSTRING ? lua_tostring(lua, -1)
                                                                 : "it cannot be passed to the next version");
    lua_settop(lua, 0);
    buffer_free(&scratch);
}

/* Each script may keep `most`. */
bool script_save_kept(struct script_state *state, size_t most, struct buffer *out, char *error, size_t error_size)
{
    uint32_t count = 0;
    size_t place = value_begin(out, VALUE_OBJECT);
    for (size_t i = 0; i + 1 < state->script_count; i++, count++) {
        struct saving saving = {.state = state, .script = &state->scripts[i], .out = out, .most = most};
        value_write_string(out, slice_from_string(saving.script->path));
        int status = lua_cpcall(state->lua, save_protected, &saving);
        bool too_large = status != 0 && lua_type(state->lua, -1) == LUA_TSTRING &&
                         strstr(lua_tostring(state->lua, -1), "cannot pass more than") != NULL;
        lua_settop(state->lua, 0);
        if (status != 0) {
            explain(&saving, too_large, most, error, error_size);
            return false;
        }
    }
    value_end(out, place, count);
    if (out->failed)
        snprintf(error, error_size, "not enough memory to keep luaduct.state");
    return !out->failed;
}

/* --- Restoring ---------------------------------------------------------------------------------------------------- */

struct restoring {
    struct script_state *state;
    const struct script *script;
    const struct value *kept;
};

/* On the main stack, protected. What the new version has put into its state and the old one did not know stays. */
static int restore_protected(lua_State *lua)
{
    const struct restoring *restoring = lua_touserdata(lua, 1);
    luaL_checkstack(lua, 20, NULL);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, restoring->state->array_reference);
    int metatable = lua_gettop(lua);
    kept_state_push(lua, restoring->script);
    int state = lua_gettop(lua);
    value_to_lua(lua, restoring->kept, metatable);
    lua_pushnil(lua);
    while (lua_next(lua, state + 1)) {
        lua_pushvalue(lua, -2);
        lua_insert(lua, -2);
        lua_rawset(lua, state);
    }
    return 0;
}

bool script_restore_kept(struct script_state *state, const struct value *kept, unsigned previous_version)
{
    for (size_t i = 0; kept && i + 1 < state->script_count; i++) {
        const struct script *script = &state->scripts[i];
        struct restoring restoring = {state, script, value_member(kept, slice_from_string(script->path))};
        if (!restoring.kept)
            continue;
        if (lua_cpcall(state->lua, restore_protected, &restoring) == 0)
            continue;
        char line[512];
        snprintf(line, sizeof line, "%s: luaduct.state cannot be restored: %s", script->path,
                 lua_type(state->lua, -1) == LUA_TSTRING ? lua_tostring(state->lua, -1) : "not enough memory");
        lua_settop(state->lua, 0);
        state->log(state->log_context, SCRIPT_LOG_ERROR, slice_from_string(line));
        return false;
    }
    return chain_on_reload(state, previous_version);
}
