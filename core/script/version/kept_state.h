/* luaduct.state: what a script wants to keep when a newer version takes its place. The functions that others call
 * (script_save_kept, script_restore_kept) are in hook.h. Inside of the script room. */
#ifndef LUADUCT_SCRIPT_VERSION_KEPT_STATE_H
#define LUADUCT_SCRIPT_VERSION_KEPT_STATE_H

#include <lua.h>

struct script;

/* Gives the script a `luaduct` of its own: all that the shared one has, and `state`, which takes a table. Its
 * environment has been made. Raises. */
void kept_state_open(lua_State *lua, struct script *script);

/* The script's route has a declaration (pure/declaration.h): from now on it may not touch luaduct.state. Raises. */
void kept_state_guard(lua_State *lua, const struct script *script);

/* Pushes the script's luaduct.state, a table. */
void kept_state_push(lua_State *lua, const struct script *script);

#endif
