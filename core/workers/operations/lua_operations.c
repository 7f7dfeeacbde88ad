/* The operations that are written in Lua: lua/luaduct/operations/NAME.lua gives a function of (data, stop, array):
 * the input, a pointer to the stop flag to read through the FFI, and the metatable that marks empty arrays. It returns
 * the result, or raises a string: what is wrong with the input. The state keeps the functions in its registry. */
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>

#include "workers/operations/inputs.h"
#include "workers/operations/operations.h"
#include "workers/value_lua.h"

#define REGISTRY_KEY "luaduct.operations"

/* A state that holds more than this after an operation is cleaned at once: the next one may be long in coming. */
#define KEEP_KIB (16 << 10)

static const char *const modules[] = {"text_analysis", "aggregate"};

void operations_open_lua(lua_State *lua)
{
    lua_newtable(lua);
    for (size_t i = 0; i < sizeof modules / sizeof modules[0]; i++) {
        lua_getglobal(lua, "require");
        lua_pushfstring(lua, "luaduct.operations.%s", modules[i]);
        lua_call(lua, 1, 1);
        lua_setfield(lua, -2, modules[i]);
    }
    lua_newtable(lua);
    lua_setfield(lua, -2, "array");
    lua_setfield(lua, LUA_REGISTRYINDEX, REGISTRY_KEY);
}

struct run {
    struct operation_call *call;
    const char *name;
};

static int run_protected(lua_State *lua)
{
    struct run *run = lua_touserdata(lua, 1);
    lua_getfield(lua, LUA_REGISTRYINDEX, REGISTRY_KEY);
    lua_getfield(lua, 2, "array");
    lua_getfield(lua, 2, run->name);
    value_to_lua(lua, run->call->data, 3);
    lua_pushlightuserdata(lua, (void *)(uintptr_t)run->call->stop);
    lua_pushvalue(lua, 3);
    lua_call(lua, 3, 1);
    value_from_lua(lua, -1, run->call->result, lua_topointer(lua, 3), run->call->stop);
    return 0;
}

static enum operation_status run_lua(struct operation_call *call, const char *name)
{
    lua_State *lua = call->lua;
    struct run run = {call, name};
    if (!input_is_object(call, name))
        return OPERATION_FAILED;
    int top = lua_gettop(lua), failed = lua_cpcall(lua, run_protected, &run);
    enum operation_status status = OPERATION_DONE;
    if (operation_stopped(call))
        status = OPERATION_STOPPED;
    else if (failed == LUA_ERRMEM || call->result->failed)
        status = inputs_refuse(call, "%s: out of memory", name);
    else if (failed)
        status =
            inputs_refuse(call, "%s: %s", name, lua_isstring(lua, -1) ? lua_tostring(lua, -1) : "failed without words");
    lua_settop(lua, top);
    if (lua_gc(lua, LUA_GCCOUNT, 0) > KEEP_KIB)
        lua_gc(lua, LUA_GCCOLLECT, 0);
    return status == OPERATION_DONE ? inputs_finish(call, name) : status;
}

enum operation_status operation_text_analysis(struct operation_call *call)
{
    return run_lua(call, "text_analysis");
}

enum operation_status operation_aggregate(struct operation_call *call)
{
    return run_lua(call, "aggregate");
}
