#include "script/library/library.h"
#include "script/state/state.h"

/* Resumes the coroutine at stack index 1 with all above it. Leaves its results (or its error) above index 1 and returns
 * their number, negative when it failed. LuaJIT counts no depth here: without the count, coroutines that make
 * coroutines overflow the C stack. */
static int resume(lua_State *lua, lua_State *coroutine)
{
    state_check_depth(lua, state_of(lua));
    int arguments = lua_gettop(lua) - 1;
    const char *refusal = NULL;
    lua_Debug record;
    if (coroutine == lua)
        refusal = "cannot resume running coroutine";
    else if (lua_status(coroutine) == 0 && lua_getstack(coroutine, 0, &record) > 0)
        refusal = "cannot resume non-suspended coroutine";
    else if (lua_status(coroutine) == 0 && lua_gettop(coroutine) == 0)
        refusal = "cannot resume dead coroutine";
    else if (lua_status(coroutine) > LUA_YIELD)
        refusal = "cannot resume dead coroutine";
    else if (!lua_checkstack(coroutine, arguments + 1))
        refusal = "too many arguments to resume";
    if (refusal) {
        lua_settop(lua, 1);
        lua_pushstring(lua, refusal);
        return -1;
    }
    lua_xmove(lua, coroutine, arguments);
    int status = lua_resume(coroutine, arguments);
    if (status != 0 && status != LUA_YIELD) {
        lua_xmove(coroutine, lua, 1);
        return -1;
    }
    int results = lua_gettop(coroutine);
    if (!lua_checkstack(lua, results + 2)) {
        lua_settop(coroutine, 0);
        lua_pushliteral(lua, "too many results to resume");
        return -1;
    }
    lua_xmove(coroutine, lua, results);
    return results;
}

static int coroutine_resume(lua_State *lua)
{
    lua_State *coroutine = lua_tothread(lua, 1);
    luaL_argcheck(lua, coroutine, 1, "coroutine expected");
    int results = resume(lua, coroutine);
    lua_pushboolean(lua, results >= 0);
    lua_replace(lua, 1);
    return lua_gettop(lua);
}

static int coroutine_wrapped(lua_State *lua)
{
    lua_State *coroutine = lua_tothread(lua, lua_upvalueindex(1));
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_insert(lua, 1);
    if (resume(lua, coroutine) < 0) {
        if (lua_type(lua, -1) == LUA_TSTRING) { /* say where it was called, as the stock one does */
            luaL_where(lua, 1);
            lua_insert(lua, -2);
            lua_concat(lua, 2);
        }
        return lua_error(lua);
    }
    return lua_gettop(lua) - 1;
}

static int coroutine_create(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TFUNCTION);
    lua_State *coroutine = lua_newthread(lua);
    lua_pushvalue(lua, 1);
    lua_xmove(lua, coroutine, 1);
    return 1;
}

static int coroutine_wrap(lua_State *lua)
{
    coroutine_create(lua);
    lua_pushcclosure(lua, coroutine_wrapped, 1);
    return 1;
}

static int coroutine_yield(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    if (lua == state->coroutine || lua == state->lua)
        return luaL_error(lua, "coroutine.yield: a hook cannot yield; only a coroutine that it made itself can");
    return lua_yield(lua, lua_gettop(lua));
}

/* The hook's own coroutine is the bridge's: scripts see it as the main thread, which is nil in Lua 5.1. */
static int coroutine_running(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    if (lua == state->coroutine || lua == state->lua || lua_pushthread(lua))
        lua_pushnil(lua);
    return 1;
}

const luaL_Reg library_coroutines[] = {{"create", coroutine_create},   {"resume", coroutine_resume},
                                       {"wrap", coroutine_wrap},       {"yield", coroutine_yield},
                                       {"running", coroutine_running}, {NULL, NULL}};
