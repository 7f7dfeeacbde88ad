/* The names are the process's, the loaded functions a worker's: each worker loads a file at its first use there. The
 * state is one of the script room's without hooks; it runs its function on the main Lua thread, under the watchdog,
 * which here nobody times: the pool knows when a task's time is up, and interrupts. */
#include "script/user_operation.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "script/failure.h"
#include "script/json_value.h"
#include "script/sandbox.h"
#include "script/state.h"
#include "workers/value_lua.h"

#define OPERATIONS_MAXIMUM 256

/* A task may run as long as its timeout says. */
#define NO_BUDGET_MS UINT32_MAX

struct user_operation {
    char name[USER_OPERATION_NAME_MAXIMUM + 1];
    char *path, *folder;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* both below; entries stay as they are once counted */
static struct user_operation registered[OPERATIONS_MAXIMUM];
static unsigned registered_count;
static struct user_operation_options options;

/* --- Names ------------------------------------------------------------------------------------------------------- */

/* -1: none. The mutex is held. */
static int find(struct slice name)
{
    for (unsigned i = 0; i < registered_count; i++)
        if (slice_equal(slice_from_string(registered[i].name), name))
            return (int)i;
    return -1;
}

static int find_locked(struct slice name)
{
    pthread_mutex_lock(&mutex);
    int found = find(name);
    pthread_mutex_unlock(&mutex);
    return found;
}

bool user_operation_exists(struct slice name)
{
    return find_locked(name) >= 0;
}

void user_operation_forget_all(void)
{
    pthread_mutex_lock(&mutex);
    for (unsigned i = 0; i < registered_count; i++) {
        free(registered[i].path);
        free(registered[i].folder);
    }
    registered_count = 0;
    pthread_mutex_unlock(&mutex);
}

static bool name_valid(struct slice name)
{
    for (size_t i = 0; i < name.length; i++) {
        char byte = name.data[i];
        if (!((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
              byte == '_' || byte == '-' || byte == '.'))
            return false;
    }
    return name.length > 0 && name.length <= USER_OPERATION_NAME_MAXIMUM;
}

/* Words joined by slashes, none of which leads out of the folder. */
static bool file_valid(struct slice file)
{
    if (file.length == 0 || file.length > 255 || file.data[0] == '/' || memchr(file.data, '\0', file.length))
        return false;
    for (size_t at = 0; at < file.length;) {
        const char *slash = memchr(file.data + at, '/', file.length - at);
        size_t end = slash ? (size_t)(slash - file.data) : file.length;
        if (end == at || (end - at == 1 && file.data[at] == '.') ||
            (end - at == 2 && file.data[at] == '.' && file.data[at + 1] == '.'))
            return false;
        at = end + 1;
    }
    return file.data[file.length - 1] != '/';
}

/* NULL when that was it; else what is wrong. */
static const char *add(struct slice name, const char *path, const char *folder)
{
    const char *problem = NULL;
    pthread_mutex_lock(&mutex);
    int known = find(name);
    if (known >= 0) { /* each reactor loads the scripts, so each says the same */
        if (strcmp(registered[known].path, path) != 0)
            problem = "another file has that name already";
    } else if (registered_count == OPERATIONS_MAXIMUM) {
        problem = "too many operations";
    } else {
        struct user_operation *operation = &registered[registered_count];
        memcpy(operation->name, name.data, name.length);
        operation->name[name.length] = '\0';
        operation->path = strdup(path);
        operation->folder = strdup(folder);
        if (operation->path && operation->folder) {
            registered_count++;
        } else {
            free(operation->path);
            free(operation->folder);
            problem = "not enough memory";
        }
    }
    pthread_mutex_unlock(&mutex);
    return problem;
}

#define REGISTER "luaduct.workers.register"

int user_operation_register(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    const struct script *script = state->loading_script;
    if (!script)
        return luaL_error(lua,
                          REGISTER ": operations are registered while the script is loaded, at the top of the file");
    struct slice name = {NULL, 0}, file = {NULL, 0};
    if (lua_type(lua, 1) == LUA_TSTRING)
        name.data = lua_tolstring(lua, 1, &name.length);
    if (lua_type(lua, 2) == LUA_TSTRING)
        file.data = lua_tolstring(lua, 2, &file.length);
    if (!name_valid(name))
        return luaL_error(lua,
                          REGISTER ": expected a name of letters, digits, _, - and . as first argument, at most %d, "
                                   "got %s",
                          USER_OPERATION_NAME_MAXIMUM, name.data ? "another string" : state_value_name(lua, 1));
    if (operation_find(name))
        return luaL_error(lua, REGISTER ": \"%s\" is an operation of the bridge's own", lua_tostring(lua, 1));
    if (!file_valid(file))
        return luaL_error(lua, REGISTER ": expected a file below the script folder as second argument, got %s",
                          file.data ? "another string" : state_value_name(lua, 2));
    lua_settop(lua, 2);
    lua_pushfstring(lua, "%s/%s", script->folder, file.data);
    sandbox_load_file(lua, script, lua_tostring(lua, 3)); /* what is wrong with it is said now, not at its first task */
    const char *problem = add(name, lua_tostring(lua, 3), script->folder);
    if (problem)
        return luaL_error(lua, REGISTER ": \"%s\": %s", lua_tostring(lua, 1), problem);
    return 0;
}

/* --- A worker's state -------------------------------------------------------------------------------------------- */

void user_operation_start(const struct user_operation_options *from)
{
    options = *from;
}

static int open_protected(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    luaL_checkstack(lua, 40, NULL);
    json_value_open(lua, state);
    sandbox_open(lua, state);
    return 0;
}

void *user_operation_open(char *error, size_t size)
{
    const struct script_options made = {
        .budget_ms = NO_BUDGET_MS, .memory_limit = options.memory_limit, .log = options.log, .wake_fd = -1};
    struct script_state *state = state_open(&made);
    if (state) {
        /* A place for each operation there may be; one's functions are loaded into it at its first task. */
        state->scripts = calloc(OPERATIONS_MAXIMUM, sizeof *state->scripts);
        state->script_count = state->scripts ? OPERATIONS_MAXIMUM : 0;
        for (size_t i = 0; i < state->script_count; i++)
            state->scripts[i].hooks[0] = LUA_NOREF;
        watchdog_init(&state->watchdog, state->lua, failure_stop, NO_BUDGET_MS, -1);
    }
    if (!state || !state->scripts || lua_cpcall(state->lua, open_protected, NULL) != 0) {
        snprintf(error, size, "not enough memory for a worker's Lua state");
        state_close(state);
        return NULL;
    }
    return state;
}

void user_operation_close(void *state)
{
    state_close(state);
}

void user_operation_interrupt(void *context)
{
    struct script_state *state = context;
    watchdog_stop_now(&state->watchdog);
}

struct run {
    struct script_state *state;
    struct script *script;
    struct operation_call *call;
    const char *path;
};

/* The file's function: what the chunk returns, kept in the place of the first hook. */
static void load_operation(lua_State *lua, struct run *run)
{
    struct script *script = run->script;
    if (!script->environment)
        sandbox_make_environment(lua, run->state, script);
    run->state->loading = true; /* `require` may read files now */
    sandbox_load_file(lua, script, run->path);
    lua_call(lua, 0, 1);
    run->state->loading = false;
    if (!lua_isfunction(lua, -1))
        luaL_error(lua, "%s: expected the file to return a function, got %s", run->path, state_value_name(lua, -1));
    script->hooks[0] = luaL_ref(lua, LUA_REGISTRYINDEX);
}

static int run_protected(lua_State *lua)
{
    struct run *run = lua_touserdata(lua, 1);
    struct script_state *state = run->state;
    luaL_checkstack(lua, 40, NULL);
    if (run->script->hooks[0] == LUA_NOREF)
        load_operation(lua, run);
    lua_settop(lua, 0);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, state->array_reference);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, run->script->hooks[0]);
    value_to_lua(lua, run->call->data, 1);
    lua_call(lua, 1, 1);
    value_from_lua(lua, lua_gettop(lua), run->call->result, state->array_metatable, &state->watchdog.stop);
    return 0;
}

/* True: the place of that operation in *run. */
static bool prepare(struct run *run, struct slice name)
{
    int number = find_locked(name);
    if (number < 0)
        return false;
    run->script = &run->state->scripts[number];
    run->path = registered[number].path;
    if (!run->script->folder)
        run->script->folder = strdup(registered[number].folder);
    return run->script->folder != NULL;
}

enum operation_status user_operation_run(void *context, struct slice name, struct operation_call *call)
{
    struct run run = {.state = context, .call = call};
    struct script_state *state = run.state;
    if (!prepare(&run, name)) {
        snprintf(call->error, sizeof call->error, "%.*s: out of memory", (int)name.length, name.data);
        return OPERATION_FAILED;
    }
    state->ceiling = state->memory_limit;
    state->stack_base = (uintptr_t)__builtin_frame_address(0);
    watchdog_enter(&state->watchdog);
    int status = operation_stopped(call) ? 0 : lua_cpcall(state->lua, run_protected, &run);
    bool stopped = watchdog_leave(&state->watchdog) || operation_stopped(call);
    state->ceiling = state->memory_limit + STATE_RESERVE_BYTES;
    state->loading = state->stop_noted = false;
    if (status != 0 && !stopped) {
        const char *message = lua_type(state->lua, -1) == LUA_TSTRING ? lua_tostring(state->lua, -1) : NULL;
        snprintf(call->error, sizeof call->error, "%.*s: %s", (int)name.length, name.data,
                 message                ? message
                 : status == LUA_ERRMEM ? "not enough memory"
                                        : "it raised an error that is no text");
    }
    lua_settop(state->lua, 0);
    if (status == LUA_ERRMEM)
        state_collect_fully(state->lua, state);
    script_collect(state);
    return stopped ? OPERATION_STOPPED : status == 0 ? OPERATION_DONE : OPERATION_FAILED;
}
