/* Our own modules load with the whole standard library in reach; then the sandbox takes the string metatable over, and
 * user scripts only ever see environments that it made. */
#include "script/state/load.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "script/binding/bridge.h"
#include "script/binding/envelope.h"
#include "script/json_value.h"
#include "script/library/library.h"
#include "script/pattern/pattern.h"
#include "script/pure/declaration.h"
#include "script/state/sandbox.h"
#include "script/state/state.h"
#include "script/version/kept_state.h"

/* Running the files' top level: nobody supervises it, so a count hook looks at the clock. Long enough for a script that
 * builds large tables, short enough for a person who waits at `luaduct check`. */
#define LOAD_LIMIT_MS 5000
#define LOAD_CHECK_INSTRUCTIONS 10000

static const char *const hook_names[HOOK_COUNT] = {"route",     "on_register",  "on_undeliverable", "on_disconnect",
                                                   "on_reload", "authenticate", "on_identify",      "timer"};

const char *script_hook_name(enum script_hook hook)
{
    return hook_names[hook];
}

static void check_load_time(lua_State *lua, lua_Debug *record)
{
    if (clock_steady_ns() <= state_of(lua)->load_deadline_ns)
        return;
    lua_sethook(lua, check_load_time, LUA_MASKCOUNT, 1); /* the file's own pcall must not swallow it */
    lua_getinfo(lua, "Sl", record);
    luaL_error(lua, "%s:%d: stopped: loading took longer than %d ms", record->short_src, record->currentline,
               LOAD_LIMIT_MS);
}

/* Takes the hooks out of the table on top of the stack, and pops it. */
static void take_hooks(lua_State *lua, struct script_state *state, struct script *script, const char *name)
{
    if (!lua_istable(lua, -1))
        luaL_error(lua, "%s: expected the script to return a table of hooks, got %s", name, state_value_name(lua, -1));
    lua_pushnil(lua);
    while (lua_next(lua, -2)) {
        const char *key = lua_type(lua, -2) == LUA_TSTRING ? lua_tostring(lua, -2) : "";
        int hook = 0;
        while (hook < HOOK_TABLE_COUNT && strcmp(key, hook_names[hook]) != 0)
            hook++;
        if (hook < HOOK_TABLE_COUNT && !lua_isfunction(lua, -1))
            luaL_error(lua, "%s: expected a function as %s, got %s", name, key, state_value_name(lua, -1));
        if (hook == HOOK_TABLE_COUNT && strncmp(key, "on_", 3) == 0)
            luaL_error(lua, "%s: there is no hook %s", name, key);
        if (hook < HOOK_TABLE_COUNT)
            script->hooks[hook] = luaL_ref(lua, LUA_REGISTRYINDEX);
        else
            lua_pop(lua, 1);
    }
    declaration_read(lua, state, script);
    lua_pop(lua, 1);
}

struct load {
    struct script_state *state;
    const struct script_options *options;
};

static int load_all(lua_State *lua)
{
    const struct load *load = lua_touserdata(lua, 1);
    struct script_state *state = load->state;
    const struct script_options *options = load->options;
    luaL_checkstack(lua, 40, NULL);
    json_value_open(lua, state);

    struct script *mode = &state->scripts[state->script_count - 1];
    options->open_bundle(lua);
    lua_getglobal(lua, "require");
    lua_pushfstring(lua, "luaduct.bridge.%s", options->mode);
    lua_call(lua, 1, 1);
    take_hooks(lua, state, mode, options->mode);

    envelope_binding_open(lua, state);
    sandbox_open(lua, state);
    for (size_t i = 0; i + 1 < state->script_count; i++) {
        struct script *script = &state->scripts[i];
        sandbox_make_environment(lua, state, script);
        kept_state_open(lua, script);
        library_load_file(lua, script, script->path);
        state->loading_script = script;
        lua_call(lua, 0, 1);
        state->loading_script = NULL;
        take_hooks(lua, state, script, script->path);
    }
    for (size_t i = 0; i < state->script_count; i++) { /* a copy each: as cheap to read as a table is, and its own */
        bridge_binding_push(lua);
        state->scripts[i].bridge = luaL_ref(lua, LUA_REGISTRYINDEX);
    }
    for (size_t i = 0; i < state->script_count; i++)
        state->route_count += state->scripts[i].hooks[HOOK_ROUTE] != LUA_NOREF;
    return 0;
}

char *load_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

/* The chain with its texts; what is there when memory ends state_close frees. */
static bool list_scripts(struct script_state *state, const struct script_options *options)
{
    state->scripts = calloc(options->path_count + 2, sizeof *state->scripts);
    state->sources = options->sources ? sources_retain(options->sources) : sources_new();
    if (!state->scripts || !state->sources)
        return false;
    state->script_count = options->path_count + 1;
    for (size_t i = 0; i < state->script_count; i++)
        for (int hook = 0; hook < HOOK_COUNT; hook++)
            state->scripts[i].hooks[hook] = LUA_NOREF;
    for (size_t i = 0; i < options->path_count; i++) {
        struct script *script = &state->scripts[i];
        script->sources = state->sources;
        script->path = strdup(options->paths[i]);
        script->folder = options->folder ? strdup(options->folder) : load_folder_of(options->paths[i]);
        if (!script->path || !script->folder)
            return false;
    }
    return true;
}

void load_join_lines(char *error)
{
    for (; *error; error++)
        if (*error == '\n' || *error == '\r')
            *error = ' ';
}

void load_begin(struct script_state *state)
{
    state->loading = true;
    state->ceiling = state->memory_limit;
    state->load_deadline_ns = clock_steady_ns() + LOAD_LIMIT_MS * UINT64_C(1000000);
    lua_sethook(state->lua, check_load_time, LUA_MASKCOUNT, LOAD_CHECK_INSTRUCTIONS);
    pattern_stop_at(state->load_deadline_ns);
}

void load_end(struct script_state *state)
{
    lua_sethook(state->lua, NULL, 0, 0);
    pattern_stop_at(0);
    state->loading = false;
    state->ceiling = state->memory_limit + STATE_RESERVE_BYTES;
}

static bool is_out_of_memory(lua_State *lua)
{
    return lua_type(lua, -1) == LUA_TSTRING && strcmp(lua_tostring(lua, -1), "not enough memory") == 0;
}

bool load_scripts(struct script_state *state, const struct script_options *options, char *error, size_t error_size)
{
    if (!list_scripts(state, options)) {
        snprintf(error, error_size, "not enough memory");
        return false;
    }
    state->timers.allowed = true;
    state->stack_base = (uintptr_t)__builtin_frame_address(0);
    load_begin(state);
    struct load load = {state, options};
    int status = lua_cpcall(state->lua, load_all, &load);
    load_end(state);
    const char *path = state->loading_script ? state->loading_script->path : NULL;
    state->loading_script = NULL;
    if (status == LUA_ERRMEM || (status != 0 && is_out_of_memory(state->lua))) {
        snprintf(error, error_size, "%s%snot enough memory (script.memoryLimit)", path ? path : "", path ? ": " : "");
        return false;
    }
    if (status != 0) {
        const char *message = lua_type(state->lua, -1) == LUA_TSTRING ? lua_tostring(state->lua, -1) : NULL;
        if (message)
            snprintf(error, error_size, "%s", message);
        else
            snprintf(error, error_size, "the script raised an error that is %s", state_value_name(state->lua, -1));
        load_join_lines(error);
        return false;
    }
    if (!load_coroutine(state)) {
        snprintf(error, error_size, "not enough memory");
        return false;
    }
    return true;
}

static int make_coroutine(lua_State *lua)
{
    struct script_state *state = lua_touserdata(lua, 1);
    lua_State *coroutine = lua_newthread(lua);
    /* Enough for an ordinary route, so that one needs no more memory even when there is none. */
    if (!lua_checkstack(coroutine, 2 * state->route_count + 4 * LUA_MINSTACK))
        luaL_error(lua, "not enough memory"); /* not raised in the coroutine: nothing catches there */
    for (size_t i = 0; i < state->script_count; i++) {
        if (state->scripts[i].hooks[HOOK_ROUTE] == LUA_NOREF)
            continue;
        lua_rawgeti(coroutine, LUA_REGISTRYINDEX, state->scripts[i].bridge);
        lua_rawgeti(coroutine, LUA_REGISTRYINDEX, state->scripts[i].hooks[HOOK_ROUTE]);
    }
    state->coroutine_reference = luaL_ref(lua, LUA_REGISTRYINDEX);
    state->coroutine = coroutine;
    return 0;
}

bool load_coroutine(struct script_state *state)
{
    if (lua_cpcall(state->lua, make_coroutine, state) == 0)
        return true;
    lua_pop(state->lua, 1);
    return false;
}
