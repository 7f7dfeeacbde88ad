#include "runtime/config/setting.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

void setting_push(lua_State *L, const char *path)
{
    lua_pushvalue(L, SETTINGS_INDEX);
    while (*path) {
        size_t length = strcspn(path, ".");
        if (!lua_istable(L, -1))
            luaL_error(L, "no section above config key %s", path);
        lua_pushlstring(L, path, length);
        lua_gettable(L, -2);
        lua_remove(L, -2);
        path += length;
        path += *path == '.';
    }
}

void *config_checked(lua_State *L, void *block)
{
    if (!block)
        luaL_error(L, "not enough memory");
    return block;
}

double setting_number(lua_State *L, const char *path)
{
    setting_push(L, path);
    if (lua_type(L, -1) != LUA_TNUMBER)
        luaL_error(L, "config key %s is not a number", path);
    double value = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return value;
}

uint64_t setting_size(lua_State *L, const char *path)
{
    return (uint64_t)setting_number(L, path);
}

uint32_t setting_count(lua_State *L, const char *path)
{
    return (uint32_t)setting_number(L, path);
}

bool setting_is_auto(lua_State *L, const char *path)
{
    setting_push(L, path);
    bool found = lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), "auto") == 0;
    lua_pop(L, 1);
    return found;
}

bool setting_boolean(lua_State *L, const char *path)
{
    setting_push(L, path);
    if (!lua_isboolean(L, -1))
        luaL_error(L, "config key %s is not a boolean", path);
    bool value = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

char *setting_text(lua_State *L, const char *path)
{
    char *copy = NULL;
    setting_push(L, path);
    if (!lua_isnil(L, -1))
        copy = config_checked(L, strdup(luaL_checkstring(L, -1)));
    lua_pop(L, 1);
    return copy;
}

bool setting_is_set(lua_State *L, const char *path)
{
    setting_push(L, path);
    bool has = !lua_isnil(L, -1);
    lua_pop(L, 1);
    return has;
}

int setting_choice(lua_State *L, const char *path, const char *const *names)
{
    setting_push(L, path);
    const char *value = luaL_checkstring(L, -1);
    int choice = 0;
    while (names[choice] && strcmp(names[choice], value) != 0)
        choice++;
    if (!names[choice])
        luaL_error(L, "config key %s has an unknown choice", path);
    lua_pop(L, 1);
    return choice;
}

void setting_items(lua_State *L, struct config_list *list)
{
    size_t count = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;
    if (count)
        list->items = config_checked(L, calloc(count, sizeof(*list->items)));
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        list->items[i] = config_checked(L, strdup(luaL_checkstring(L, -1)));
        list->count = i + 1;
        lua_pop(L, 1);
    }
}

void setting_list(lua_State *L, const char *path, struct config_list *list)
{
    setting_push(L, path);
    setting_items(L, list);
    lua_pop(L, 1);
}
