/* What a user script can reach: a whitelist. Each script has globals of its own; the libraries are shared and refuse
 * writes. Nothing in it loads code, opens files, reaches the debug library or makes finalizers (design notes and the
 * whole list are in docs/lua-api.md). */
#ifndef LUADUCT_SCRIPT_SANDBOX_H
#define LUADUCT_SCRIPT_SANDBOX_H

#include <lua.h>

struct script;
struct script_state;

/* Builds the shared libraries and takes the string library's metatable away from scripts. After our own modules are
 * loaded and before any user script is. Raises. */
void sandbox_open(lua_State *lua, struct script_state *state);

/* Makes a script's environment and its table of modules and keeps both in the script. Raises. */
void sandbox_make_environment(lua_State *lua, struct script_state *state, struct script *script);

#endif
