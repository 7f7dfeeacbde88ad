/* The Lua that comes with the program: every file of lua/luaduct as bytecode and the default configuration as text,
 * compiled into the binary, so that it runs from any directory. scripts/bundle.lua generates the C behind this page.
 *
 * For work on the Lua itself, the environment variable LUADUCT_LUA_PATH names a folder (`lua` in the checkout) whose
 * files are loaded instead. */
#ifndef LUADUCT_RUNTIME_BUNDLE_H
#define LUADUCT_RUNTIME_BUNDLE_H

#include "base/slice.h"

struct lua_State;

/* Makes require("luaduct.…") work in the state, from the compiled-in copy or from LUADUCT_LUA_PATH; opens the package
 * library when the state has none. Other names are left to the searchers that are there. Raises a Lua error when memory
 * is out, as any function of Lua's API. The state's thread. */
void bundle_install(struct lua_State *L);

/* A text file of the bundle by its path in the sources ("config/luaduct.lua"); {NULL, 0} when there is none. Valid for
 * ever. Any thread. */
struct slice bundle_file(const char *name);

/* One compiled-in file; the generated table, sorted by name (strcmp), ends with a NULL name. */
struct bundle_entry {
    const char *name;   /* a module ("luaduct.config.load") or a path ("config/luaduct.lua") */
    const char *source; /* what errors call it ("@lua/luaduct/config/load.lua"); NULL for text */
    struct slice content;
};
extern const struct bundle_entry bundle_entries[];

#endif
