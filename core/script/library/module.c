#include "script/library/library.h"
#include "script/state/state.h"

/* Names are words of letters, digits, _ and - joined by dots, so that none leads out of the folder. */
static bool module_name_valid(const char *name, size_t length)
{
    bool word_open = false;
    for (size_t i = 0; i < length; i++) {
        char byte = name[i];
        bool word = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
                    byte == '_' || byte == '-';
        if (!word && (byte != '.' || !word_open))
            return false;
        word_open = word;
    }
    return word_open;
}

int library_require(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    state_check_depth(lua, state);
    const struct script *script = &state->scripts[lua_tointeger(lua, lua_upvalueindex(1))];
    size_t length;
    const char *name = luaL_checklstring(lua, 1, &length);
    lua_settop(lua, 1);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, script->modules);
    lua_getfield(lua, 2, name);
    if (lua_type(lua, 3) == LUA_TLIGHTUSERDATA)
        return luaL_error(lua, "require: \"%s\" requires itself", name);
    if (!lua_isnil(lua, 3))
        return 1;
    if (!module_name_valid(name, length))
        return luaL_error(lua, "require: \"%s\" is no module name: letters, digits, _ and -, joined by dots", name);
    if (!state->loading)
        return luaL_error(lua, "require: \"%s\" must be loaded when the script is: call require at the top of the file",
                          name);
    luaL_gsub(lua, name, ".", "/");
    lua_pushfstring(lua, "%s/%s.lua", script->folder, lua_tostring(lua, -1));
    lua_pushlightuserdata(lua, state); /* marks it as being loaded */
    lua_setfield(lua, 2, name);
    library_load_file(lua, script, lua_tostring(lua, -1));
    lua_pushvalue(lua, 1);
    lua_call(lua, 1, 1);
    if (lua_isnil(lua, -1)) {
        lua_pop(lua, 1);
        lua_pushboolean(lua, 1);
    }
    lua_pushvalue(lua, -1);
    lua_setfield(lua, 2, name);
    return 1;
}

void library_load_file(lua_State *lua, const struct script *script, const char *path)
{
    struct slice text;
    const char *problem;
    if (!sources_text(script->sources, path, &text, &problem))
        luaL_error(lua, "%s: %s", path, problem);
    lua_pushfstring(lua, "@%s", path);
    /* As text only: bytecode is not verified. */
    int status = luaL_loadbufferx(lua, text.data, text.length, lua_tostring(lua, -1), "t");
    /* The second: behind a first line that begins with #. */
    if (status != 0 &&
        (strstr(lua_tostring(lua, -1), "wrong mode") || strstr(lua_tostring(lua, -1), "malformed bytecode")))
        luaL_error(lua, "%s: this is bytecode; a script is text", path);
    if (status != 0)
        lua_error(lua);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, script->environment);
    lua_setfenv(lua, -2);
    lua_remove(lua, -2);
}
