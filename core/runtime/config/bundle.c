/* The generated table is sorted, so a name is found by halving. A name that begins with "luaduct." is found here or not
 * at all: a file that happens to lie in the working directory must not become part of the program, and a mistyped
 * LUADUCT_LUA_PATH must not look like a change without effect. */
#include "runtime/config/bundle.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdlib.h>

static const struct bundle_entry *find_entry(const char *name)
{
    static size_t count; /* the same from whichever thread */
    size_t low = 0, high = __atomic_load_n(&count, __ATOMIC_RELAXED);
    if (high == 0) {
        while (bundle_entries[high].name)
            high++;
        __atomic_store_n(&count, high, __ATOMIC_RELAXED);
    }
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, bundle_entries[middle].name);
        if (order == 0)
            return &bundle_entries[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

struct slice bundle_file(const char *name)
{
    const struct bundle_entry *entry = find_entry(name);
    return entry && !entry->source ? entry->content : (struct slice){NULL, 0};
}

/* As package.loaders asks: gives the module's loader, or nil for a name that is not ours. The folder of
 * LUADUCT_LUA_PATH is upvalue 1, or nil. */
static int search_module(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    if (strncmp(name, "luaduct.", strlen("luaduct.")) != 0) {
        lua_pushnil(L);
        return 1;
    }
    int failed;
    if (lua_isstring(L, lua_upvalueindex(1))) {
        luaL_gsub(L, name, ".", "/");
        lua_pushfstring(L, "%s/%s.lua", lua_tostring(L, lua_upvalueindex(1)), lua_tostring(L, -1));
        failed = luaL_loadfile(L, lua_tostring(L, -1));
        if (failed == LUA_ERRFILE)
            return luaL_error(L, "%s (LUADUCT_LUA_PATH is set)", lua_tostring(L, -1));
    } else {
        const struct bundle_entry *entry = find_entry(name);
        if (!entry || !entry->source)
            return luaL_error(L, "there is no compiled-in module '%s'", name);
        failed = luaL_loadbuffer(L, entry->content.data, entry->content.length, entry->source);
    }
    if (failed)
        return lua_error(L); /* the message names file and line */
    return 1;
}

void bundle_install(lua_State *L)
{
    lua_getglobal(L, "package");
    if (!lua_istable(L, -1)) {
        lua_pop(L, 1);
        lua_pushcfunction(L, luaopen_package);
        lua_pushliteral(L, LUA_LOADLIBNAME);
        lua_call(L, 1, 0);
        lua_getglobal(L, "package");
    }
    lua_getfield(L, -1, "loaders");
    /* Second, behind package.preload and before all that looks into folders. */
    for (int at = (int)lua_objlen(L, -1); at >= 2; at--) {
        lua_rawgeti(L, -1, at);
        lua_rawseti(L, -2, at + 1);
    }
    const char *folder = getenv("LUADUCT_LUA_PATH");
    if (folder && *folder)
        lua_pushstring(L, folder);
    else
        lua_pushnil(L);
    lua_pushcclosure(L, search_module, 1);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 2);
}
