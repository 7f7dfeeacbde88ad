/* Hooks called by a spec: methods of a room. */
#ifndef LUADUCT_AUTHOR_CALL_H
#define LUADUCT_AUTHOR_CALL_H

#include <lua.h>

/* To the table of methods on top of the stack: route, on_undeliverable, on_register, on_disconnect, resume, abandon,
 * next_timer, run_timer, take_sends. */
void call_add_methods(lua_State *lua);

#endif
