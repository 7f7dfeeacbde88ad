/* The names are the version's, the loaded functions a worker's: each worker loads a file at its first use there. The
 * state is one of the script room's without hooks; it runs its function on the main Lua thread, under the watchdog,
 * which here nobody times: the pool knows when a task's time is up, and interrupts. When the versions in use change, a
 * worker makes a fresh state at its next task. */
#include "script/user_operation.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "script/failure.h"
#include "script/json_value.h"
#include "script/library/library.h"
#include "script/state/sandbox.h"
#include "script/state/state.h"
#include "workers/value_lua.h"

/* A task may run as long as its timeout says. */
#define NO_BUDGET_MS UINT32_MAX

/* The versions that operations come from. */
#define VERSIONS ((size_t)2)

struct versions {
    struct script_sources *sources[VERSIONS]; /* a reference each; the first that knows a name counts */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* `in_use` */
static struct versions in_use;
static struct user_operation_options options;

/* --- Names ------------------------------------------------------------------------------------------------------- */

static struct script_sources *retain(struct script_sources *sources)
{
    return sources ? sources_retain(sources) : NULL;
}

static void release_versions(struct versions *versions)
{
    for (unsigned i = 0; i < VERSIONS; i++)
        sources_release(versions->sources[i]);
}

void user_operation_use(struct script_sources *current, struct script_sources *trial)
{
    struct versions next = {{retain(current), retain(trial)}};
    pthread_mutex_lock(&mutex);
    struct versions before = in_use;
    in_use = next;
    pthread_mutex_unlock(&mutex);
    release_versions(&before);
}

/* The caller's references. */
static struct versions versions_in_use(void)
{
    pthread_mutex_lock(&mutex);
    struct versions versions = {{retain(in_use.sources[0]), retain(in_use.sources[1])}};
    pthread_mutex_unlock(&mutex);
    return versions;
}

/* -1: none; else its place among all of both versions. */
static int find(const struct versions *versions, struct slice name)
{
    for (unsigned i = 0; i < VERSIONS; i++) {
        int number = versions->sources[i] ? sources_find_operation(versions->sources[i], name) : -1;
        if (number >= 0)
            return (int)(i * SOURCES_OPERATIONS_MAXIMUM) + number;
    }
    return -1;
}

bool user_operation_exists(struct slice name)
{
    struct versions versions = versions_in_use();
    bool exists = find(&versions, name) >= 0;
    release_versions(&versions);
    return exists;
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

#define REGISTER "luaduct.workers.register"

/* Pushes what the file's chunk returns, a function. */
static void push_function(lua_State *lua, const struct script *script, const char *path)
{
    library_load_file(lua, script, path);
    lua_call(lua, 0, 1);
    if (!lua_isfunction(lua, -1))
        luaL_error(lua, "%s: expected the file to return a function, got %s", path, state_value_name(lua, -1));
}

/* Loads it as a worker will, in a place of its own: what is wrong with it is said now, not at its first task, and what
 * it requires is among the sources. */
static void try_operation(lua_State *lua, struct script_state *state, const struct script *owner, const char *path)
{
    struct script *trial = &state->scripts[state->script_count];
    trial->folder = owner->folder;
    trial->sources = owner->sources;
    sandbox_make_environment(lua, state, trial);
    state->loading_script = NULL; /* it may not register others */
    push_function(lua, trial, path);
    state->loading_script = owner;
    lua_pop(lua, 1);
    luaL_unref(lua, LUA_REGISTRYINDEX, trial->environment);
    luaL_unref(lua, LUA_REGISTRYINDEX, trial->modules);
}

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
    if (!sources_sealed(script->sources))
        try_operation(lua, state, script, lua_tostring(lua, 3));
    const char *problem = sources_add_operation(script->sources, name, lua_tostring(lua, 3), script->folder);
    if (problem)
        return luaL_error(lua, REGISTER ": \"%s\": %s", lua_tostring(lua, 1), problem);
    return 0;
}

/* --- A worker's state -------------------------------------------------------------------------------------------- */

struct worker_script {
    pthread_mutex_t mutex; /* `state` as a pointer: it is exchanged while others may interrupt */
    struct script_state *state;
    struct versions versions; /* that it loads from */
};

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

static struct script_state *open_state(void)
{
    const struct script_options made = {
        .budget_ms = NO_BUDGET_MS, .memory_limit = options.memory_limit, .log = options.log, .wake_fd = -1};
    struct script_state *state = state_open(&made);
    if (state) {
        /* A place for each operation there may be; one's functions are loaded into it at its first task. */
        state->scripts = calloc(VERSIONS * SOURCES_OPERATIONS_MAXIMUM, sizeof *state->scripts);
        state->script_count = state->scripts ? VERSIONS * SOURCES_OPERATIONS_MAXIMUM : 0;
        for (size_t i = 0; i < state->script_count; i++)
            state->scripts[i].hooks[0] = LUA_NOREF;
        watchdog_init(&state->watchdog, state->lua, failure_stop, NO_BUDGET_MS, -1);
    }
    if (!state || !state->scripts || lua_cpcall(state->lua, open_protected, NULL) != 0) {
        state_close(state);
        return NULL;
    }
    return state;
}

/* A fresh state when the versions in use are not those that it loads from. False: no memory, and all is as it was. */
static bool follow_versions(struct worker_script *worker)
{
    struct versions versions = versions_in_use();
    if (worker->state && memcmp(&versions, &worker->versions, sizeof versions) == 0) {
        release_versions(&versions);
        return true;
    }
    struct script_state *state = open_state(), *before = worker->state;
    if (!state) {
        release_versions(&versions);
        return false;
    }
    pthread_mutex_lock(&worker->mutex);
    worker->state = state;
    pthread_mutex_unlock(&worker->mutex);
    state_close(before);
    release_versions(&worker->versions);
    worker->versions = versions;
    return true;
}

void *user_operation_open(char *error, size_t size)
{
    struct worker_script *worker = calloc(1, sizeof *worker);
    if (worker)
        pthread_mutex_init(&worker->mutex, NULL);
    if (!worker || !follow_versions(worker)) {
        snprintf(error, size, "not enough memory for a worker's Lua state");
        free(worker);
        return NULL;
    }
    return worker;
}

void user_operation_close(void *context)
{
    struct worker_script *worker = context;
    if (!worker)
        return;
    state_close(worker->state);
    release_versions(&worker->versions);
    pthread_mutex_destroy(&worker->mutex);
    free(worker);
}

void user_operation_interrupt(void *context)
{
    struct worker_script *worker = context;
    pthread_mutex_lock(&worker->mutex);
    watchdog_stop_now(&worker->state->watchdog);
    pthread_mutex_unlock(&worker->mutex);
}

struct run {
    struct script_state *state;
    struct script *script;
    struct operation_call *call;
    const char *path;
};

/* Kept in the place of the first hook. */
static void load_operation(lua_State *lua, struct run *run)
{
    struct script *script = run->script;
    if (!script->environment)
        sandbox_make_environment(lua, run->state, script);
    run->state->loading = true; /* `require` may load now */
    push_function(lua, script, run->path);
    run->state->loading = false;
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
static bool prepare(struct run *run, const struct worker_script *worker, struct slice name)
{
    int number = find(&worker->versions, name);
    if (number < 0)
        return false;
    run->state = worker->state;
    run->script = &run->state->scripts[number];
    run->script->sources = worker->versions.sources[(unsigned)number / SOURCES_OPERATIONS_MAXIMUM];
    const struct sources_operation *operation =
        sources_operation(run->script->sources, (unsigned)number % SOURCES_OPERATIONS_MAXIMUM);
    run->path = operation->path;
    if (!run->script->folder)
        run->script->folder = strdup(operation->folder);
    return run->script->folder != NULL;
}

enum operation_status user_operation_run(void *context, struct slice name, struct operation_call *call)
{
    struct worker_script *worker = context;
    struct run run = {.call = call};
    if (!follow_versions(worker) || !prepare(&run, worker, name)) {
        bool known = find(&worker->versions, name) >= 0;
        snprintf(call->error, sizeof call->error, "%.*s: %s", (int)name.length, name.data,
                 known ? "out of memory" : "the scripts in use have no such operation any more");
        return OPERATION_FAILED;
    }
    struct script_state *state = run.state;
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
