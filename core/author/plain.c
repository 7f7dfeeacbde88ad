#include "author/plain.h"

#include <lauxlib.h>

#include "workers/value_lua.h"

#define ARRAY "luaduct.test.array" /* the registry's key of the metatable that marks arrays */

void plain_push(lua_State *lua, const struct value *value)
{
    lua_getfield(lua, LUA_REGISTRYINDEX, ARRAY);
    value_to_lua(lua, value, lua_gettop(lua));
    lua_remove(lua, -2);
}

void plain_push_json(lua_State *lua, struct slice json)
{
    struct buffer buffer = {0};
    char error[ERROR_TEXT_BYTES];
    if (value_from_json(&buffer, json, VALUE_DEPTH_MAXIMUM, NULL, error) != CODE_OK) {
        buffer_free(&buffer);
        luaL_error(lua, "no JSON: %s", error);
    }
    plain_push(lua, (const struct value *)(const void *)buffer.data);
    buffer_free(&buffer);
}

static int decode(lua_State *lua)
{
    struct slice text;
    text.data = luaL_checklstring(lua, 1, &text.length);
    plain_push_json(lua, text);
    return 1;
}

static int read_protected(lua_State *lua)
{
    lua_getfield(lua, LUA_REGISTRYINDEX, ARRAY);
    const void *mark = lua_topointer(lua, -1);
    lua_pop(lua, 1);
    value_from_lua(lua, 1, lua_touserdata(lua, 2), mark, NULL);
    return 0;
}

void plain_read(lua_State *lua, int index, struct buffer *out)
{
    lua_pushcfunction(lua, read_protected);
    lua_pushvalue(lua, index);
    lua_pushlightuserdata(lua, out);
    if (lua_pcall(lua, 2, 0, 0) == 0)
        return;
    buffer_free(out);
    lua_error(lua);
}

static int encode(lua_State *lua)
{
    struct buffer value = {0}, json = {0};
    char error[ERROR_TEXT_BYTES] = "not enough memory";
    luaL_checkany(lua, 1);
    plain_read(lua, 1, &value);
    enum code code = value_write_json(&json, (const struct value *)(const void *)value.data, NULL, error);
    buffer_free(&value);
    if (code != CODE_OK) {
        buffer_free(&json);
        return luaL_error(lua, "%s", error);
    }
    lua_pushlstring(lua, json.data, json.length);
    buffer_free(&json);
    return 1;
}

/* array(table?): marks it, as luaduct.array does for scripts */
static int mark_array(lua_State *lua)
{
    if (lua_isnoneornil(lua, 1))
        lua_newtable(lua);
    else
        luaL_checktype(lua, 1, LUA_TTABLE);
    lua_getfield(lua, LUA_REGISTRYINDEX, ARRAY);
    lua_setmetatable(lua, -2);
    return 1;
}

void plain_push_text(lua_State *lua, struct slice text)
{
    lua_pushlstring(lua, text.data ? text.data : "", text.length);
}

void plain_set_text(lua_State *lua, const char *name, struct slice text)
{
    if (!text.data)
        return;
    plain_push_text(lua, text);
    lua_setfield(lua, -2, name);
}

struct slice plain_text(lua_State *lua, int index, const char *name)
{
    struct slice text = {NULL, 0};
    lua_getfield(lua, index, name);
    if (lua_type(lua, -1) == LUA_TSTRING)
        text.data = lua_tolstring(lua, -1, &text.length);
    else if (!lua_isnil(lua, -1))
        luaL_error(lua, "%s: expected a string, got a %s", name, luaL_typename(lua, -1));
    lua_pop(lua, 1);
    return text;
}

double plain_number(lua_State *lua, int index, const char *name, double absent)
{
    lua_getfield(lua, index, name);
    double number = luaL_optnumber(lua, -1, absent);
    lua_pop(lua, 1);
    return number;
}

void plain_add_functions(lua_State *lua)
{
    static const luaL_Reg functions[] = {{"encode", encode}, {"decode", decode}, {"array", mark_array}, {NULL, NULL}};
    lua_newtable(lua);
    lua_setfield(lua, LUA_REGISTRYINDEX, ARRAY);
    luaL_register(lua, NULL, functions);
    lua_pushlightuserdata(lua, NULL);
    lua_setfield(lua, -2, "null");
}
