#include "script/rules/rule_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script/failure.h"
#include "script/json_value.h"
#include "script/library/library.h"
#include "script/state/load.h"
#include "script/state/sandbox.h"
#include "script/state/state.h"

static bool prepare(struct script_state *state, const struct script_options *options)
{
    const char *path = options->paths[0];
    struct script *script = state->scripts = calloc(1, sizeof *state->scripts);
    if (!script)
        return false;
    state->script_count = 1;
    for (int hook = 0; hook < HOOK_COUNT; hook++)
        script->hooks[hook] = LUA_NOREF;
    script->path = strdup(path);
    script->folder = load_folder_of(path);
    state->sources = script->sources = sources_new();
    watchdog_init(&state->watchdog, state->lua, failure_stop, options->budget_ms, options->wake_fd);
    return script->path && script->folder && state->sources;
}

struct script_state *rule_file_open(const struct script_options *options)
{
    struct script_state *state = state_open(options);
    if (state && !prepare(state, options)) {
        state_close(state);
        return NULL;
    }
    return state;
}

void rule_file_close(struct script_state *state)
{
    state_close(state);
}

void rule_file_prepare(lua_State *lua, struct script_state *state)
{
    luaL_checkstack(lua, 40, NULL);
    json_value_open(lua, state);
    sandbox_open(lua, state);
    sandbox_make_environment(lua, state, state->scripts);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, state->scripts->environment);
}

void rule_file_push(lua_State *lua, struct script_state *state)
{
    library_load_file(lua, state->scripts, state->scripts->path);
}

void rule_file_error(struct script_state *state, int status, bool stopped, char *error, size_t size)
{
    const char *message = status != 0 && lua_type(state->lua, -1) == LUA_TSTRING ? lua_tostring(state->lua, -1) : NULL;
    if (stopped)
        snprintf(error, size, "%s", state->stop_noted ? state->stop_text : "stopped: it ran over its budget");
    else if (message && status != LUA_ERRMEM)
        snprintf(error, size, "%s", message);
    else
        snprintf(error, size, "%s: %s", state->scripts->path,
                 status == LUA_ERRMEM ? "not enough memory" : "it raised an error that is no text");
    load_join_lines(error);
}

bool rule_file_read(struct script_state *state, lua_CFunction read, void *context, char *error, size_t error_size)
{
    state->stack_base = (uintptr_t)__builtin_frame_address(0);
    load_begin(state);
    int status = lua_cpcall(state->lua, read, context);
    load_end(state);
    if (status != 0)
        rule_file_error(state, status, false, error, error_size);
    lua_settop(state->lua, 0);
    return status == 0;
}
