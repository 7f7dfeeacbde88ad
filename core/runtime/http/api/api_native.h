/* What the files of the HTTP API share. Endpoints reach the bridge through the module luaduct.http.native, whose
 * functions work on the call that is being run. */
#ifndef LUADUCT_RUNTIME_API_NATIVE_H
#define LUADUCT_RUNTIME_API_NATIVE_H

#include <lauxlib.h>
#include <lua.h>
#include <stdatomic.h>
#include <time.h>

#include "protocol/envelope.h"
#include "runtime/http/api/api.h"

struct reactor;

struct api {
    lua_State *lua;
    struct reactor *reactor;
    struct api_call *call; /* being run; NULL outside */
    int handler;           /* registry reference */
    lua_State *spare;      /* a coroutine whose last call has ended: the next one runs in it; NULL: none */
    int spare_reference;
    struct sender_fragment fragment; /* who sends over HTTP, unless the envelope says otherwise */
    atomic_ullong heap_bytes;        /* written by its thread, read by all */
    clockid_t processor_clock;       /* of its thread: readable from any, also after its end */
    bool has_processor_clock;
};

/* The API that a Lua thread belongs to. */
static inline struct api *api_of(lua_State *L)
{
    void *api;
    lua_getallocf(L, &api);
    return api;
}

/* An argument's text, valid while it is on the stack; raises when it is none. */
static inline struct slice check_slice(lua_State *L, int index)
{
    size_t length;
    const char *data = luaL_checklstring(L, index, &length);
    return slice_from(data, length);
}

/* Each sets a field of the table on top of the stack. */
static inline void set_number(lua_State *L, const char *name, double value)
{
    lua_pushnumber(L, value);
    lua_setfield(L, -2, name);
}
static inline void set_text(lua_State *L, const char *name, const char *text) /* NULL: it stays nil */
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}
static inline void set_boolean(lua_State *L, const char *name, bool value)
{
    lua_pushboolean(L, value);
    lua_setfield(L, -2, name);
}
static inline void set_time(lua_State *L, const char *name, int64_t wall_ms)
{
    char iso[CLOCK_ISO_LENGTH];
    clock_format_iso(wall_ms, iso);
    lua_pushlstring(L, iso, sizeof iso);
    lua_setfield(L, -2, name);
}

/* How to become one, behind "only an administrator may …". For Lua: ADMINISTRATORS of the module. */
#define API_ADMINISTRATORS                                                                                             \
    ": show a credential with the role admin (`luaduct token new NAME --role admin` for auth.tokens, or auth.token "   \
    "with auth.tokenIsAdmin), come by the socket listen.admin (--url unix:PATH), or, where no credential is "          \
    "configured, from the bridge's own machine and not through a proxy"

/* Makes the call's answer a refusal and gives its status. */
unsigned api_refuse(struct api *api, enum code code, struct slice text);

/* The same for functions of the module, which return what these push: the status; nil and the status where a table
 * would have been given; "refused" and the status where a word says what became of something. */
int api_push_status(lua_State *L, enum code code, struct slice text);
int api_push_nil(lua_State *L, enum code code, struct slice text);
int api_push_refused(lua_State *L, enum code code, struct slice text);

/* What a native function that yielded with call->waits set returns: pushes the values and gives their number. And what
 * the call still waits for is not to be told any more. */
int api_push_answer(lua_State *L, struct api_call *call);
void api_forget(struct api_call *call);

/* The functions of luaduct.http.native, ended by NULLs: each of the file of that name. */
extern const luaL_Reg api_native_functions[], api_send_functions[], api_figures_functions[], api_metrics_functions[],
    api_admin_functions[], api_scripts_functions[], api_events_functions[], api_repl_functions[], api_tls_functions[],
    api_log_functions[], api_console_functions[], api_state_functions[], api_figures_history_functions[];

/* What api_push_answer does for an envelope whose hook waited. */
int api_send_push_answer(lua_State *L, struct api_call *call, const struct dispatch_result *result);

/* The share of mailboxes that what the caller sends counts in (mailbox_share). */
uint16_t api_mailbox_share(const struct api_call *call);

/* What api_push_answer and api_forget do for an order to the loader. */
int api_scripts_push_answer(lua_State *L, struct api_call *call);
void api_scripts_forget(struct api_call *call);

/* The same for a line of the repl. */
int api_repl_push_answer(lua_State *L, struct api_call *call);
void api_repl_forget(struct api_call *call);

/* The difference of two figures that are read while they change: at least 0. */
static inline uint64_t figure_minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* Sets "memory", "pools", "object_pools" and "shared" of the table on top. */
void api_memory_push(lua_State *L, const struct config *config);

/* Enters the API's reactor among those whose figures are shown, and takes it out again. */
void api_figures_join(struct api *api);
void api_figures_leave(struct api *api);

/* Calls `visit` for each of them, which may not call back. Any thread. */
void api_each(void (*visit)(void *context, const struct api *api), void *context);

#endif
