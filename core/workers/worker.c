#include "workers/worker.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>

#include "memory/pool.h"

struct task_run *task_run_new(struct task *task, const struct operation *operation)
{
    struct task_run *run = pool_acquire(POOL_ARRAYS, sizeof *run);
    if (!run)
        return NULL;
    *run = (struct task_run){
        .references = 1, .task = task, .operation = operation, .format = task->format, .json = task->json};
    memcpy(run->name, task->operation.data,
           task->operation.length < sizeof run->name ? task->operation.length : sizeof run->name - 1);
    run->data = task->data;
    task->data = (struct buffer){0};
    return run;
}

void task_run_release(struct task_run *run)
{
    if (atomic_fetch_sub_explicit(&run->references, 1, memory_order_acq_rel) > 1)
        return;
    buffer_free(&run->data);
    buffer_free(&run->result);
    pool_release(POOL_ARRAYS, run, sizeof *run);
}

static __attribute__((format(printf, 2, 3))) void fail(struct task_run *run, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(run->error, sizeof run->error, format, arguments);
    va_end(arguments);
    run->status = OPERATION_FAILED;
}

/* --- States ------------------------------------------------------------------------------------------------------ */

static int open_lua(lua_State *lua)
{
    const struct worker *worker = lua_touserdata(lua, 1);
    luaL_openlibs(lua);
    if (worker->host->open_bundle)
        worker->host->open_bundle(lua);
    operations_open_lua(lua);
    return 0;
}

/* For the operations that are written in Lua: our own, so with the JIT compiler on. */
static bool has_lua(struct worker *worker, struct task_run *run)
{
    if (worker->lua)
        return true;
    lua_State *lua = luaL_newstate();
    if (lua && lua_cpcall(lua, open_lua, worker) == 0) {
        worker->lua = lua;
        return true;
    }
    fail(run, "%s: cannot open a Lua state: %s", run->name,
         lua && lua_isstring(lua, -1) ? lua_tostring(lua, -1) : "out of memory");
    if (lua)
        lua_close(lua);
    return false;
}

static bool has_user_state(struct worker *worker, struct task_run *run, pthread_mutex_t *mutex)
{
    if (worker->user_state)
        return true;
    char error[OPERATION_ERROR_BYTES] = "out of memory";
    void *state = worker->host->open ? worker->host->open(error, sizeof error) : NULL;
    pthread_mutex_lock(mutex);
    worker->user_state = state;
    pthread_mutex_unlock(mutex);
    if (!state)
        fail(run, "%s: %.200s", run->name, error);
    return state != NULL;
}

void worker_close(struct worker *worker, pthread_mutex_t *mutex)
{
    pthread_mutex_lock(mutex);
    void *state = worker->user_state;
    worker->user_state = NULL; /* nobody interrupts it from here on */
    pthread_mutex_unlock(mutex);
    if (state)
        worker->host->close(state);
    if (worker->lua)
        lua_close(worker->lua);
    worker->lua = NULL;
}

/* --- A run ------------------------------------------------------------------------------------------------------- */

/* False: the status says what happened. */
static bool read_json(struct task_run *run)
{
    struct buffer value = {0};
    struct slice text = run->json.length > 0 ? run->json : slice_from(run->data.data, run->data.length);
    char error[ERROR_TEXT_BYTES] = "";
    enum code code = value_from_json(&value, text, VALUE_DEPTH_MAXIMUM, &run->stop, error);
    if (code == CODE_OK) {
        buffer_free(&run->data);
        run->data = value;
        return true;
    }
    buffer_free(&value);
    if (code == CODE_TASK_TIMEOUT)
        run->status = OPERATION_STOPPED;
    else
        fail(run, "%s: data: %s", run->name, error[0] ? error : "out of memory");
    return false;
}

static void write_json(struct task_run *run)
{
    struct buffer text = {0};
    char error[ERROR_TEXT_BYTES] = "";
    enum code code = value_write_json(&text, (const struct value *)(const void *)run->result.data, &run->stop, error);
    buffer_free(&run->result);
    run->result = text;
    if (code == CODE_TASK_TIMEOUT)
        run->status = OPERATION_STOPPED;
    else if (code != CODE_OK)
        fail(run, "%s: the result: %s", run->name, error[0] ? error : "out of memory");
}

static void call_operation(struct worker *worker, struct task_run *run, pthread_mutex_t *mutex)
{
    struct operation_call call = {
        .data = (const struct value *)(const void *)run->data.data, .result = &run->result, .stop = &run->stop};
    if (run->operation) {
        if (run->operation->needs_lua && !has_lua(worker, run))
            return;
        call.lua = worker->lua;
        run->status = run->operation->run(&call);
    } else {
        if (!has_user_state(worker, run, mutex))
            return;
        run->status = worker->host->run(worker->user_state, slice_from_string(run->name), &call);
    }
    if (run->status == OPERATION_FAILED)
        memcpy(run->error, call.error, sizeof run->error);
    else if (run->status == OPERATION_DONE && run->result.failed)
        fail(run, "%s: out of memory", run->name);
}

void worker_run(struct worker *worker, struct task_run *run, pthread_mutex_t *mutex)
{
    run->status = OPERATION_FAILED;
    if (run->data.length == 0 && run->format == TASK_VALUE)
        value_write_null(&run->data);
    if (run->data.failed) {
        fail(run, "%s: out of memory", run->name);
        return;
    }
    if (run->format == TASK_JSON && !read_json(run))
        return;
    call_operation(worker, run, mutex);
    if (run->status == OPERATION_DONE && run->format == TASK_JSON)
        write_json(run);
}
