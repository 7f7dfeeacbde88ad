#include "script/call.h"

#include "script/binding/bridge.h"
#include "script/bounds/guard.h"
#include "script/failure.h"
#include "script/state/load.h"

void call_recover(struct script_state *state, bool out_of_memory)
{
    state->stop_noted = false;
    state->asks = false;
    wait_forget_request(&state->asked);
    bridge_release_views(state);
    luaL_unref(state->lua, LUA_REGISTRYINDEX, state->coroutine_reference);
    state->coroutine_reference = LUA_NOREF;
    state->coroutine = NULL;
    if (out_of_memory) {
        route_cache_clear(state);
        state_collect_fully(state->lua, state);
    }
    load_coroutine(state); /* on failure the next call tries again */
}

void call_fail_function(struct script_state *state, enum script_hook hook, int reference, int status, bool stopped)
{
    lua_State *coroutine = state->coroutine;
    bool out_of_memory = status == LUA_ERRMEM;
    if (status == LUA_YIELD) {
        lua_settop(coroutine, 0);
        lua_pushliteral(coroutine, "not enough memory"); /* to wait; a stop is told by itself */
        out_of_memory = true;
    }
    if (lua_gettop(coroutine) > 0 && lua_type(coroutine, -1) == LUA_TSTRING)
        out_of_memory = out_of_memory || strstr(lua_tostring(coroutine, -1), "not enough memory") != NULL;
    failure_report(state, hook, reference, coroutine, stopped);
    call_recover(state, out_of_memory);
}

void call_fail(struct script_state *state, const struct script *script, enum script_hook hook, uint64_t sender,
               int status, bool stopped)
{
    call_fail_function(state, hook, script->hooks[hook], status, stopped);
    if (stopped)
        guard_overran(state, script, hook, sender);
}

bool call_put_aside(struct script_state *state, const struct chain_call *call, int status, bool stopped)
{
    if (status != LUA_YIELD || stopped || !state->asks)
        return false;
    state->taken = wait_save(state, call);
    return state->taken != NULL;
}

bool call_has_coroutine(struct script_state *state, enum script_hook hook)
{
    if (state->coroutine || load_coroutine(state))
        return true;
    lua_settop(state->lua, 0);
    state_collect_fully(state->lua, state);
    if (load_coroutine(state))
        return true;
    lua_pushnil(state->lua);
    failure_report(state, hook, LUA_NOREF, state->lua, false);
    lua_settop(state->lua, 0);
    return false;
}
