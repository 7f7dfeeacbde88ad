/* The HTTP API: a Lua state per reactor that runs the endpoints of lua/luaduct/http/, each request in a coroutine, and
 * the exchange that such a request is. No user code runs in that state, so it has the JIT and no ceiling. */
#ifndef LUADUCT_RUNTIME_API_H
#define LUADUCT_RUNTIME_API_H

#include "base/slice.h"
#include "memory/buffer.h"
#include "protocol/code.h"
#include "runtime/connection/connection.h"

struct lua_State;
struct dispatch_job;
struct dispatch_result;
struct frame;
struct http_header;
struct identity;
struct order;
struct repl_line;
struct state_export;
struct subscriber;
struct work;

/* Creates the reactor's state, on its thread; NULL when that failed, which is logged. */
struct lua_State *api_open(struct reactor *reactor);

/* NULL is fine. No call may be unfinished. */
void api_close(struct lua_State *api);

/* An endpoint stops for the peer when this much of its answer waits to be written. */
#define API_PIECE_BYTES (64u << 10)

/* One run of an endpoint. All zero before api_start, but for what the caller sets. */
struct api_call {
    /* The caller's; borrowed until api_start returns. */
    struct connection *connection;
    struct slice method, path, query; /* path decoded, query not */
    struct slice accept;              /* empty: none */
    struct slice body;
    bool admin;                /* may speak for others and change things */
    struct identity *identity; /* who asks; NULL: nobody has said */

    /* The answer so far. The caller takes `content` after each step and empties it. */
    unsigned status;
    char content_type[96];             /* empty: none */
    char allow[32];                    /* for 405; empty: none */
    bool retry_later;                  /* a Retry-After header belongs to it */
    const char *cache;                 /* its Cache-Control, static; NULL: no-store */
    const struct http_header *headers; /* more of them, static */
    size_t header_count;
    struct buffer content;

    /* The API's own. */
    int coroutine; /* registry reference while unfinished */
    size_t worked; /* bytes looked at since the last stop */
    /* While it waits (API_WAITS) for one of these; the others are NULL. */
    struct dispatch_job *job;
    struct work *work;
    struct order *order;
    struct repl_line *repl;
    struct dispatch_result *dispatched; /* in api_continue: how the first came out */
    bool waits;
    struct subscriber *subscriber; /* the answer goes on with events when the endpoint has ended; NULL: it does not */
    struct state_export *state;    /* being written; NULL: none */
    struct frame *sent;            /* what POST /send or /broadcast sent */
    struct frame **frames;         /* history being shown */
    uint32_t frame_count, frame_capacity;
};

enum api_step {
    API_DONE,   /* content is the rest of the answer, or all of it */
    API_WAITS,  /* nothing yet: http_session_answered will call api_continue */
    API_MORE,   /* content is a piece: call api_continue when the peer has taken it */
    API_FAILED, /* the endpoint failed half way (logged): what went out cannot be completed */
};

/* Runs the endpoint for a whole request. A failure before anything was given out becomes a 500 answer. */
enum api_step api_start(struct lua_State *api, struct api_call *call);
enum api_step api_continue(struct lua_State *api, struct api_call *call);

/* Frees what the call holds, finished or not; the caller may not use it afterwards. */
void api_end(struct lua_State *api, struct api_call *call);

/* Appends {"error":text,"code":…}. */
void api_append_error(struct buffer *out, enum code code, struct slice text);

/* A step of a full cycle of the state's collector; true when the cycle is done. On the reactor's thread, not inside a
 * call. */
bool api_collect_step(struct lua_State *api, uint64_t nanoseconds);

/* Adds up the Lua heaps of all reactors, and what their collectors did. Without the decisions that are kept for scripts
 * (script/pure): a cache that fills is no leak, and no collection frees it. Any thread. */
struct script_collections;
void api_sum_heaps(uint64_t *scripts, uint64_t *apis, struct script_collections *collections);

/* Adds up the hook calls of all reactors that failed, and of these those that were stopped. Any thread. */
void api_sum_failures(uint64_t *errors, uint64_t *overruns);

/* Takes a sample of the figures (figures_history.h), and has a reactor tell them to who listens to them (events.h), if
 * anybody does. Main thread, now and then: at most once a second it does something. */
void api_tell_figures(uint64_t now_ms);

/* The reactor's part in it. */
void api_publish_figures(struct lua_State *api);

/* Counts a refusal of this lane, and remembers it as the last error of /api/status. */
void api_count_refusal(struct lane *lane, enum code code);

#endif
