/* Functions of the libraries that scripts get from us in the place of LuaJIT's; what for stands at each. */
#ifndef LUADUCT_SCRIPT_LIBRARY_H
#define LUADUCT_SCRIPT_LIBRARY_H

#include <lauxlib.h>
#include <lua.h>

struct script;

/* print, into the log. */
int library_print(lua_State *lua);

/* luaduct.log.<level>; upvalue 1: the level, an enum script_log_level. */
int library_log(lua_State *lua);

/* table.sort */
int library_sort(lua_State *lua);

/* create, resume, wrap, yield and running of the library coroutine. */
extern const luaL_Reg library_coroutines[];

/* require; upvalue 1: the script's number. Files are read only while scripts are loaded, because a hook must not wait
 * for a disk; what is loaded then is there later. */
int library_require(lua_State *lua);

/* Pushes a file's chunk, as text only, with the script's environment. Raises `file:line: message`. */
void library_load_file(lua_State *lua, const struct script *script, const char *path);

#endif
