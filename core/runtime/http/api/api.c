/* Every call into Lua goes through lua_cpcall, so that nothing that Lua raises, its memory's end included, ends the
 * process. A call's coroutine is used again for the next one; one that ended with an error is not. */
#include "runtime/http/api/api.h"

#include <luajit.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "bridge/delivery/answer.h"
#include "bridge/delivery/lane.h"
#include "bridge/state/state.h"
#include "memory/pool.h"
#include "runtime/config/bundle.h"
#include "runtime/events/events.h"
#include "runtime/http/api/api_native.h"
#include "runtime/reactor.h"
#include "script/state/new_state.h"

/* --- The state --- */

static void *allocate(void *context, void *block, size_t old_size, size_t size)
{
    struct api *api = context;
    void *moved = NULL;
    if (size == 0)
        free(block);
    else if (!(moved = realloc(block, size)))
        return NULL;
    atomic_store_explicit(&api->heap_bytes,
                          atomic_load_explicit(&api->heap_bytes, memory_order_relaxed) - (block ? old_size : 0) + size,
                          memory_order_relaxed);
    return moved;
}

static int open_native(lua_State *L)
{
    lua_newtable(L);
    luaL_register(L, NULL, api_native_functions);
    luaL_register(L, NULL, api_send_functions);
    luaL_register(L, NULL, api_figures_functions);
    luaL_register(L, NULL, api_metrics_functions);
    luaL_register(L, NULL, api_admin_functions);
    luaL_register(L, NULL, api_scripts_functions);
    luaL_register(L, NULL, api_events_functions);
    luaL_register(L, NULL, api_repl_functions);
    luaL_register(L, NULL, api_tls_functions);
    luaL_register(L, NULL, api_state_functions);
    luaL_register(L, NULL, api_figures_history_functions);
    luaL_register(L, NULL, api_log_functions);
    luaL_register(L, NULL, api_console_functions);
    lua_pushliteral(L, API_ADMINISTRATORS);
    lua_setfield(L, -2, "ADMINISTRATORS");
    return 1;
}

static int open_protected(lua_State *L)
{
    struct api *api = api_of(L);
    luaL_openlibs(L);
    /* Compiled code that malloc refuses something takes the process with it; interpreted, it is an error. After the
     * libraries: opening that of the compiler switches it on. */
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    lua_pushcfunction(L, open_native);
    lua_setfield(L, -2, "luaduct.http.native");
    lua_settop(L, 0);
    bundle_install(L);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "luaduct.http.init");
    lua_call(L, 1, 1);
    api->handler = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

struct lua_State *api_open(struct reactor *reactor)
{
    struct api *api = calloc(1, sizeof *api);
    if (!api || !sender_fragment_set(&api->fragment, SLICE("api"), SLICE("agent"))) {
        log_error(HTTP, "start_failed", "the HTTP API cannot start: out of memory");
        free(api);
        return NULL;
    }
    api->reactor = reactor;
    api->lua = new_state(allocate, api);
    const char *problem = "out of memory";
    if (!api->lua || lua_cpcall(api->lua, open_protected, NULL) != 0) {
        if (api->lua && lua_isstring(api->lua, -1))
            problem = lua_tostring(api->lua, -1);
        log_error(HTTP, "start_failed", "the HTTP API cannot start: %s", problem);
        if (api->lua)
            lua_close(api->lua);
        sender_fragment_free(&api->fragment);
        free(api);
        return NULL;
    }
    api_figures_join(api);
    return api->lua;
}

void api_close(struct lua_State *L)
{
    if (!L)
        return;
    struct api *api = api_of(L);
    api_figures_leave(api);
    lua_close(L);
    sender_fragment_free(&api->fragment);
    free(api);
}

static int publish_protected(lua_State *L)
{
    lua_getglobal(L, "require");
    lua_pushliteral(L, "luaduct.http.figures");
    lua_call(L, 1, 1);
    lua_call(L, 0, 1);
    size_t length;
    const char *json = lua_tolstring(L, -1, &length);
    events_publish(EVENT_FIGURES, slice_from(json, length), NULL);
    return 0;
}

void api_publish_figures(struct lua_State *L)
{
    if (lua_cpcall(L, publish_protected, NULL) == 0)
        return;
    log_error(HTTP, "figures_failed", "HTTP API: %s",
              lua_isstring(L, -1) ? lua_tostring(L, -1) : "an error that is no text");
    lua_settop(L, 0);
}

struct collect_step {
    uint64_t until_ns;
    bool done;
};

static int collect_protected(lua_State *L)
{
    struct collect_step *step = lua_touserdata(L, 1);
    while (!step->done && clock_steady_ns() < step->until_ns)
        step->done = lua_gc(L, LUA_GCSTEP, 32) != 0; /* KiB */
    if (step->done)
        lua_gc(L, LUA_GCRESTART, -1); /* the next cycle by the heap that is left */
    return 0;
}

bool api_collect_step(struct lua_State *L, uint64_t nanoseconds)
{
    struct collect_step step = {.until_ns = clock_steady_ns() + nanoseconds};
    if (lua_cpcall(L, collect_protected, &step) != 0) {
        lua_settop(L, 0);
        return true;
    }
    return step.done;
}

/* --- Calls --- */

struct step {
    struct api *api;
    struct api_call *call;
    bool starts;
    enum api_step result;
};

static void push_slice(lua_State *L, struct slice text)
{
    lua_pushlstring(L, text.data ? text.data : "", text.length);
}

static void log_failure(lua_State *L, lua_State *coroutine)
{
    bool is_text = lua_type(coroutine, -1) == LUA_TSTRING;
    luaL_traceback(L, coroutine, is_text ? lua_tostring(coroutine, -1) : "an error that is no text", 0);
    log_error(HTTP, "endpoint_failed", "HTTP API: %s", lua_tostring(L, -1));
    lua_pop(L, 1);
}

static lua_State *begin(lua_State *L, struct api *api, struct api_call *call)
{
    lua_State *coroutine = api->spare;
    if (coroutine) {
        call->coroutine = api->spare_reference;
        api->spare = NULL;
    } else {
        coroutine = lua_newthread(L);
        call->coroutine = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    call->status = 200;
    memcpy(call->content_type, "application/json", sizeof "application/json");
    /* Pushed here first: an error of the coroutine's own, while it does not run, has nobody to catch it. */
    lua_rawgeti(L, LUA_REGISTRYINDEX, api->handler);
    push_slice(L, call->method);
    push_slice(L, call->path);
    push_slice(L, call->query);
    push_slice(L, call->accept);
    lua_xmove(L, coroutine, 5);
    return coroutine;
}

static int step_protected(lua_State *L)
{
    struct step *step = lua_touserdata(L, 1);
    struct api *api = step->api;
    struct api_call *call = step->call;
    lua_State *coroutine;
    if (step->starts) {
        coroutine = begin(L, api, call);
    } else {
        lua_rawgeti(L, LUA_REGISTRYINDEX, call->coroutine);
        coroutine = lua_tothread(L, -1);
    }
    int arguments = step->starts ? 4 : 0;
    if (call->waits) {
        call->waits = false;
        arguments = api_push_answer(L, call);
        lua_xmove(L, coroutine, arguments);
    }
    int status = lua_resume(coroutine, arguments);
    if (status == LUA_YIELD) {
        step->result = call->waits ? API_WAITS : API_MORE;
        return 0;
    }
    if (status != 0) {
        log_failure(L, coroutine);
        luaL_unref(L, LUA_REGISTRYINDEX, call->coroutine);
        call->coroutine = 0;
        return 0;
    }
    call->status = (unsigned)lua_tointeger(coroutine, 1);
    lua_settop(coroutine, 0);
    if (api->spare) {
        luaL_unref(L, LUA_REGISTRYINDEX, call->coroutine);
    } else {
        api->spare = coroutine;
        api->spare_reference = call->coroutine;
    }
    call->coroutine = 0;
    step->result = API_DONE;
    return 0;
}

static enum api_step run(struct lua_State *L, struct api_call *call, bool starts)
{
    struct step step = {.api = api_of(L), .call = call, .starts = starts, .result = API_FAILED};
    step.api->call = call;
    call->worked = 0;
    if (lua_cpcall(L, step_protected, &step) != 0) {
        log_error(HTTP, "endpoint_failed", "HTTP API: %s",
                  lua_isstring(L, -1) ? lua_tostring(L, -1) : "an error that is no text");
        lua_settop(L, 0);
        step.result = API_FAILED;
    }
    step.api->call = NULL;
    return step.result;
}

enum api_step api_start(struct lua_State *L, struct api_call *call)
{
    enum api_step step = run(L, call, true);
    if (step == API_FAILED || call->content.failed) {
        api_end(L, call);
        struct api *api = api_of(L);
        api->call = call;
        call->status = api_refuse(api, CODE_INTERNAL, SLICE("the bridge failed to answer: see its log"));
        api->call = NULL;
        return API_DONE;
    }
    return step;
}

enum api_step api_continue(struct lua_State *L, struct api_call *call)
{
    return run(L, call, false);
}

void api_end(struct lua_State *L, struct api_call *call)
{
    if (call->coroutine)
        luaL_unref(L, LUA_REGISTRYINDEX, call->coroutine);
    call->coroutine = 0;
    api_forget(call);
    events_leave(call->subscriber);
    call->subscriber = NULL;
    state_export_free(call->state);
    call->state = NULL;
    frame_release(call->sent);
    call->sent = NULL;
    for (uint32_t i = 0; i < call->frame_count; i++)
        frame_release(call->frames[i]);
    pool_release(POOL_ARRAYS, call->frames, call->frame_capacity * sizeof(struct frame *));
    call->frames = NULL;
    call->frame_count = call->frame_capacity = 0;
    buffer_free(&call->content);
}

/* --- Refusals --- */

void api_append_error(struct buffer *out, enum code code, struct slice text)
{
    buffer_append_slice(out, SLICE("{\"error\":"));
    buffer_append_json_string(out, text);
    buffer_append_slice(out, SLICE(",\"code\":\""));
    buffer_append_slice(out, slice_from_string(code_name(code)));
    buffer_append_slice(out, SLICE("\"}"));
}

unsigned api_refuse(struct api *api, enum code code, struct slice text)
{
    struct api_call *call = api->call;
    call->content.length = 0;
    call->retry_later = code == CODE_OVERLOADED || code == CODE_RATE_LIMITED;
    memcpy(call->content_type, "application/json", sizeof "application/json");
    api_append_error(&call->content, code, text);
    api_count_refusal(api->reactor->lane, code);
    return code_http_status(code);
}

int api_push_status(lua_State *L, enum code code, struct slice text)
{
    lua_pushinteger(L, (lua_Integer)api_refuse(api_of(L), code, text));
    return 1;
}

int api_push_nil(lua_State *L, enum code code, struct slice text)
{
    lua_pushnil(L);
    return 1 + api_push_status(L, code, text);
}

int api_push_refused(lua_State *L, enum code code, struct slice text)
{
    lua_pushliteral(L, "refused");
    return 1 + api_push_status(L, code, text);
}
