/* What the analysers are told of libraries (-include, `make lint-tidy lint-analyzer`): LuaJIT's headers do not say that
 * these functions never return. */
#ifndef TESTS_ANALYSIS_H
#define TESTS_ANALYSIS_H

#include <lauxlib.h>
#include <lua.h>

__attribute__((noreturn)) int luaL_error(lua_State *, const char *, ...);
__attribute__((noreturn)) int luaL_argerror(lua_State *, int, const char *);
__attribute__((noreturn)) int luaL_typerror(lua_State *, int, const char *);
__attribute__((noreturn)) int lua_error(lua_State *);

#endif
