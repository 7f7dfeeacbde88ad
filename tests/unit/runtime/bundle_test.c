/* The compiled-in Lua and text. */
#include "../../support/unit.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/config/bundle.h"

static void check_lua(lua_State *L, const char *code)
{
    if (luaL_dostring(L, code)) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        exit(1);
    }
}

TEST("the bundle is sorted, for a name is found by halving")
{
    CHECK(bundle_entries[0].name);
    for (size_t i = 1; bundle_entries[i].name; i++)
        CHECK(strcmp(bundle_entries[i - 1].name, bundle_entries[i].name) < 0);
}

TEST("require finds each compiled-in module from any directory")
{
    CHECK(chdir("/") == 0);
    unsetenv("LUADUCT_LUA_PATH");
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    bundle_install(L);
    for (size_t i = 0; bundle_entries[i].name; i++) {
        if (!bundle_entries[i].source)
            continue;
        lua_getfield(L, LUA_GLOBALSINDEX, "package");
        lua_getfield(L, -1, "loaders");
        lua_rawgeti(L, -1, 2);
        lua_pushstring(L, bundle_entries[i].name);
        CHECK(lua_pcall(L, 1, 1, 0) == 0);
        CHECK(lua_isfunction(L, -1));
        lua_settop(L, 0);
    }
    check_lua(L, "assert(type(require('luaduct.config.load')) == 'table')");
    lua_close(L);
}

TEST("a function of the bundle names its source file and line")
{
    unsetenv("LUADUCT_LUA_PATH");
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    bundle_install(L);
    check_lua(L, "local info = debug.getinfo(require('luaduct.config.load').load, 'S')\n"
                 "assert(info.source == '@lua/luaduct/config/load.lua', info.source)\n"
                 "assert(info.linedefined > 0)");
    lua_close(L);
}

TEST("the bundle works in a state without the package library")
{
    unsetenv("LUADUCT_LUA_PATH");
    lua_State *L = luaL_newstate();
    lua_pushcfunction(L, luaopen_base);
    lua_call(L, 0, 0);
    lua_pushcfunction(L, luaopen_string);
    lua_call(L, 0, 0);
    bundle_install(L);
    lua_settop(L, 0);
    check_lua(L, "local ok, problem = pcall(require, 'luaduct.nowhere')\n"
                 "assert(not ok and problem:find(\"no compiled-in module 'luaduct.nowhere'\", 1, true), problem)");
    lua_close(L);
}

TEST("a module that does not exist is an error that says so, and other names go to the other searchers")
{
    unsetenv("LUADUCT_LUA_PATH");
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    bundle_install(L);
    check_lua(L, "local ok, problem = pcall(require, 'luaduct.nowhere')\n"
                 "assert(not ok and problem:find(\"no compiled-in module 'luaduct.nowhere'\", 1, true), problem)\n"
                 "package.preload.other = function() return 'found' end\n"
                 "assert(require('other') == 'found')\n"
                 "ok, problem = pcall(require, 'luaducts')\n"
                 "assert(not ok and not problem:find('compiled-in', 1, true), problem)");
    lua_close(L);
}

TEST("LUADUCT_LUA_PATH takes modules from its folder only, and errors there name the file")
{
    char folder[] = "/tmp/luaduct-bundle-XXXXXX", path[128];
    CHECK(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/luaduct", folder);
    CHECK(mkdir(path, 0700) == 0);
    snprintf(path, sizeof path, "%s/luaduct/fresh.lua", folder);
    FILE *file = fopen(path, "w");
    CHECK(file && fputs("return 'from a file'", file) >= 0 && fclose(file) == 0);
    setenv("LUADUCT_LUA_PATH", folder, 1);

    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    bundle_install(L);
    check_lua(L, "assert(require('luaduct.fresh') == 'from a file')\n"
                 "local ok, problem = pcall(require, 'luaduct.config.load')\n"
                 "assert(not ok and problem:find('LUADUCT_LUA_PATH is set', 1, true), problem)");
    file = fopen(path, "w");
    CHECK(file && fputs("return\n)", file) >= 0 && fclose(file) == 0);
    check_lua(L, "package.loaded['luaduct.fresh'] = nil\n"
                 "local ok, problem = pcall(require, 'luaduct.fresh')\n"
                 "assert(not ok and problem:find('luaduct/fresh.lua:2:', 1, true), problem)");
    lua_close(L);

    CHECK(unlink(path) == 0);
    snprintf(path, sizeof path, "%s/luaduct", folder);
    CHECK(rmdir(path) == 0 && rmdir(folder) == 0);
}

TEST("the default configuration is in the bundle as it stands in the sources")
{
    struct slice text = bundle_file("config/luaduct.lua");
    CHECK(text.data);
    char *expected = malloc(text.length + 2);
    FILE *file = fopen("config/luaduct.lua", "rb"); /* the tests run in the project's folder */
    CHECK(expected && file);
    size_t length = fread(expected, 1, text.length + 1, file);
    fclose(file);
    CHECK(length == text.length && memcmp(expected, text.data, length) == 0);
    free(expected);
}

TEST("bundle_file gives no bytecode, and nothing for a name that is not there")
{
    CHECK(!bundle_file("luaduct.config.load").data);
    CHECK(!bundle_file("config/nowhere.lua").data);
    CHECK(!bundle_file("").data);
}
