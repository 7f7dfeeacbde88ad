/* These commands are Lua (lua/luaduct/test/, lua/luaduct/migrate/): this file makes the state that they run in. Busted
 * and what it needs are the machine's, and find Lua's C interface in this binary, which exports it (see the Makefile).
 */
#include "author/commands.h"

#include <stdio.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "author/room.h"
#include "runtime/config/bundle.h"

enum { EXIT_FAILED = 1 };

struct task {
    const char *module;
    int argc;
    char **argv;
    int code;
};

static int run(lua_State *lua)
{
    struct task *task = lua_touserdata(lua, 1);
    luaL_openlibs(lua);
    bundle_install(lua);
    lua_getglobal(lua, "package");
    lua_getfield(lua, -1, "preload");
    lua_pushcfunction(lua, room_open);
    lua_setfield(lua, -2, "luaduct.test.room");
    lua_getglobal(lua, "require");
    lua_pushstring(lua, task->module);
    lua_call(lua, 1, 1);
    lua_createtable(lua, task->argc, 0);
    for (int i = 1; i < task->argc; i++) {
        lua_pushstring(lua, task->argv[i]);
        lua_rawseti(lua, -2, i);
    }
    lua_call(lua, 1, 1);
    task->code = (int)lua_tointeger(lua, -1);
    return 0;
}

static int run_module(const char *module, int argc, char **argv)
{
    struct task task = {.module = module, .argc = argc, .argv = argv, .code = EXIT_FAILED};
    lua_State *lua = luaL_newstate();
    if (!lua) {
        fprintf(stderr, "luaduct %s: not enough memory for a Lua state\n", argv[0]);
        return EXIT_FAILED;
    }
    if (lua_cpcall(lua, run, &task) != 0) {
        const char *problem = lua_tostring(lua, -1);
        fprintf(stderr, "luaduct %s: %s\n", argv[0], problem ? problem : "an error that is no text");
        task.code = EXIT_FAILED;
    }
    lua_close(lua);
    room_stop();
    agents_stop();
    return task.code;
}

int command_test(int argc, char **argv)
{
    return run_module("luaduct.test.command", argc, argv);
}

int command_new(int argc, char **argv)
{
    return run_module("luaduct.test.new", argc, argv);
}

int command_config(int argc, char **argv)
{
    return run_module("luaduct.migrate.command", argc, argv);
}

int command_replay(int argc, char **argv)
{
    return run_module("luaduct.test.replay", argc, argv);
}
