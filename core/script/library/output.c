#include <stdio.h>

#include "script/library/library.h"
#include "script/state/state.h"

/* One log line of a script; the rest is cut. */
#define LOG_TEXT_BYTES 4096

/* Apart from what converts, so that a __tostring that logs does not pile up such buffers on the C stack. */
static __attribute__((noinline)) void write_log(lua_State *lua, struct script_state *state, enum script_log_level level,
                                                int count, char separator)
{
    char text[LOG_TEXT_BYTES];
    size_t length = 0;
    for (int i = 1; i <= count && length < sizeof text; i++) {
        size_t piece_length;
        const char *piece = lua_tolstring(lua, i, &piece_length);
        if (i > 1)
            text[length++] = separator;
        if (piece_length > sizeof text - length)
            piece_length = sizeof text - length;
        memcpy(text + length, piece, piece_length);
        length += piece_length;
    }
    state->log(state->log_context, level, slice_from(text, length));
}

/* tostring of every argument, joined. The values are converted first: a __tostring may call log functions itself. */
static void log_arguments(lua_State *lua, enum script_log_level level, char separator)
{
    struct script_state *state = state_of(lua);
    state_check_depth(lua, state);
    if (state->inert && (state->loading || !state->reads_only))
        return;
    int count = lua_gettop(lua);
    luaL_checkstack(lua, count + 4, "too many arguments");
    for (int i = 1; i <= count; i++) {
        if (lua_type(lua, i) == LUA_TSTRING)
            continue;
        lua_getfield(lua, LUA_REGISTRYINDEX, "luaduct.tostring");
        lua_pushvalue(lua, i);
        lua_call(lua, 1, 1);
        if (lua_type(lua, -1) != LUA_TSTRING)
            luaL_error(lua, "tostring must give a string");
        lua_replace(lua, i);
    }
    write_log(lua, state, level, count, separator);
}

int library_print(lua_State *lua)
{
    log_arguments(lua, SCRIPT_LOG_INFO, '\t');
    return 0;
}

int library_log(lua_State *lua)
{
    log_arguments(lua, (enum script_log_level)lua_tointeger(lua, lua_upvalueindex(1)), ' ');
    return 0;
}
