#include "author/manual.h"

#include <stdio.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "base/version.h"
#include "runtime/config/bundle.h"

struct task {
    const char *page;
    const struct manual_command *commands;
    size_t count;
};

static int print(lua_State *lua)
{
    struct task *task = lua_touserdata(lua, 1);
    luaL_openlibs(lua);
    bundle_install(lua);
    lua_getglobal(lua, "require");
    lua_pushliteral(lua, "luaduct.manual.page");
    lua_call(lua, 1, 1);
    lua_pushstring(lua, task->page);
    lua_createtable(lua, (int)task->count, 0);
    for (size_t i = 0; i < task->count; i++) {
        const struct manual_command *command = &task->commands[i];
        const char *texts[3] = {command->name, command->summary, command->help};
        lua_createtable(lua, 3, 0);
        for (int j = 0; j < 3; j++) {
            lua_pushstring(lua, texts[j]);
            lua_rawseti(lua, -2, j + 1);
        }
        lua_rawseti(lua, -2, (int)i + 1);
    }
    lua_pushliteral(lua, LUADUCT_VERSION);
    lua_call(lua, 3, 1);
    fputs(luaL_checkstring(lua, -1), stdout);
    return 0;
}

int manual_print(const char *page, const struct manual_command *commands, size_t count)
{
    struct task task = {page, commands, count};
    lua_State *lua = luaL_newstate();
    if (!lua) {
        fprintf(stderr, "luaduct: not enough memory for a Lua state\n");
        return 1;
    }
    int failed = lua_cpcall(lua, print, &task);
    if (failed)
        fprintf(stderr, "luaduct: %s\n", lua_tostring(lua, -1) ? lua_tostring(lua, -1) : "an error that is no text");
    lua_close(lua);
    return failed ? 1 : 0;
}
