/* Opening a Lua state with an allocator that may fail. */
#ifndef LUADUCT_SCRIPT_NEW_STATE_H
#define LUADUCT_SCRIPT_NEW_STATE_H

#include <lua.h>

/* As lua_newstate, but NULL where that would crash: LuaJIT's cleans up a state that is half made as if it were whole
 * (lj_state.c: close_state sweeps a string table that is not there yet). Any thread. */
lua_State *new_state(lua_Alloc allocate, void *context);

#endif
