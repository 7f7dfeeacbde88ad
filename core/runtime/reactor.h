/* One reactor thread: a libev loop, its connections, its Lua states, its listeners. A pass is: take what is readable,
 * carry each message through, write what became due. */
#ifndef LUADUCT_RUNTIME_REACTOR_H
#define LUADUCT_RUNTIME_REACTOR_H

#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/histogram.h"
#include "bridge/delivery/lane.h"
#include "protocol/message.h"
#include "runtime/config/config.h"
#include "runtime/connection/connection.h"
#include "runtime/connection/proxied.h"
#include "runtime/events/events.h"
#include "runtime/identity/lifetime.h"
#include "runtime/identity/standing.h"
#include "runtime/latency.h"
#include "runtime/pressure/shed.h"
#include "runtime/reload/scripts.h"
#include "runtime/work/work.h"
#include "script/hook.h"
#include "script/times.h"

struct lua_State;
struct script_slot;

/* One read takes at most this much; 64 KiB would cost 10 % on messages of 16 KiB. */
#define REACTOR_READ_BYTES (256u << 10)

/* What one pass may build before it writes: past this the frames would fall out of the second-level cache before the
 * kernel copies them (64 to 256 KiB measure alike). */
#define REACTOR_PASS_BYTES (128u << 10)

/* While the bridge stops, hooks may take this long in all, and those that wait may wait as long. */
#define REACTOR_DRAIN_HOOKS_MS 5000u

/* WebSocket and HTTP listener, each on up to two addresses, and the administration socket. */
#define REACTOR_LISTENERS_MAXIMUM 5

/* Once a pass has lasted so long, a connection with more to do has to wait for its next turn, which comes when those
 * have been served who ask for little … */
#define REACTOR_TURN_NS 1000000u
/* … but not before it had this much of it: in a busy pass those at the end want as little as those at the front. A
 * message of so many bytes takes it, whenever it comes. */
#define REACTOR_SHARE_NS 50000u
#define REACTOR_SHARE_BYTES (32u << 10)

/* Bytes that a connection's turn had no time for. None: its session knows how to go on. */
struct held_bytes {
    struct held_bytes *next;
    struct connection *connection;
    size_t length, at; /* used up to `at` */
    char bytes[];
};

/* Something that another thread has this reactor do between two envelopes. */
struct errand {
    struct errand *next;
    void (*run)(struct reactor *reactor, struct errand *errand); /* inside a pass; the errand is its own from here on */
};

struct reactor_listener {
    ev_io watcher;
    struct reactor *reactor;
    int fd;
    bool is_admin; /* the administration socket */
};

struct reactor {
    const struct config *config; /* of the version of the scripts that is in use */
    struct lane *lane;
    pthread_t thread;
    unsigned index;

    struct ev_loop *loop;
    struct poller poller; /* the connections */
    ev_async wake_watcher;
    ev_timer deadline_timer, accept_timer, cleanup_timer, held_timer;
    uint64_t deadline_timer_ms; /* when it will fire; 0: not running */
    unsigned pauses;            /* agents that are slowed, each with a timer: agent/agent_slow.c */
    ev_timer script_timer;
    uint64_t script_timer_ms; /* when it will fire; UINT64_MAX: not running */
    struct reactor_listener listeners[REACTOR_LISTENERS_MAXIMUM];
    unsigned listener_count;
    int reserve_fd; /* given up for a moment when descriptors run out, to answer 503 */

    struct connection *connections;
    struct proxied_set proxied;
    struct held_bytes *held, **held_last; /* first in, first out */
    struct held_bytes *turn;              /* the one whose turn it is */
    struct connection *gone;              /* closed ones, to be freed at the end of a pass */
    struct {
        struct connection *first, **last;
        uint64_t after_ms;
    } deadlines[DEADLINE_COUNT];

    uint64_t now_ms;        /* steady clock, of this pass */
    uint64_t pass_start_ns; /* steady clock */
    uint64_t turn_start_ns; /* steady clock; 0: not looked at since reactor_begin_turn */
    unsigned turn_events;
    uint32_t pass_messages;
    bool draining; /* it stops */
    uint64_t drain_started_ms;
    struct {
        ev_timer timer;
        bool emptied, is_cut;
    } drain; /* see drain.h */

    char *read_buffer; /* REACTOR_READ_BYTES and WEBSOCKET_SLACK behind */
    struct message message;
    struct text_store store;
    struct buffer unpacked; /* the message in hand as JSON, when it came as MessagePack */
    struct outbox_scratch outbox_scratch;

    struct script_state *script; /* of scripts.current */
    struct reactor_scripts scripts;
    struct standing standing; /* what this thread asks about who may what */
    struct waiting *waiting;  /* hooks that wait */
    struct work_inbox work;
    struct execute_job *executing; /* what agents asked of the workers */
    struct lua_State *http;        /* the HTTP endpoints' own state: no script can starve it */

    struct shed shed;
    struct lifetime lifetime;
    struct pace trace_pace;  /* of the envelopes that it traces */
    atomic_bool events_wait; /* for a connection of this reactor that listens: see runtime/events/ */
    struct latency latency;
    struct histogram message_times; /* the same for scrapers, with their edges and an exact sum */
    struct script_times script_times;
    struct {
        pthread_mutex_t mutex;
        struct errand *first, **last; /* with the mutex */
    } errands;
    atomic_uint connection_count;
    atomic_bool stop_requested;
};

/* Any thread, until the reactor stops: `run` is called once, soon. */
void reactor_post(struct reactor *reactor, struct errand *errand);

/* Everything a reactor needs but its scripts; on the main thread, before reactor_run. False: *error says why (static or
 * owned by the reactor). */
bool reactor_prepare(struct reactor *reactor, unsigned index, const struct config *config, char *error, size_t size);

/* The thread's function. Creates the Lua states on this thread; `started` is called when that worked or failed. */
void *reactor_run(void *reactor);

/* Any thread: it looks at what others want of it. */
void reactor_wake(struct reactor *reactor);

/* Any thread: agents get 1001, requests are finished, then reactor_run returns. */
void reactor_request_stop(struct reactor *reactor);

/* The same at once, on its thread, in a pass; main asks too. */
void reactor_begin_stop(struct reactor *reactor);

/* After reactor_run returned. */
void reactor_release(struct reactor *reactor);

/* Around everything that a callback of the loop does with connections: takes the time, and at the end writes what
 * became due, frees what is gone, pays Lua's collector and sets the timer for the next deadline. */
void reactor_begin_pass(struct reactor *reactor);
void reactor_end_pass(struct reactor *reactor);

/* In the middle of a pass: writes everything that is due. */
void reactor_flush(struct reactor *reactor);

/* Around what one connection sent: whether the rest of it is for its next turn. Asked after each thing done for it,
 * with the bytes of that. */
void reactor_begin_turn(struct reactor *reactor);
bool reactor_turn_over(struct reactor *reactor, size_t bytes);

/* Keeps the rest of what a connection sent for its next turn, which comes after one of everybody else's; it is not read
 * meanwhile, and must not hold already. Length 0: its session knows how to go on. False: no memory, or the bridge may
 * not grow now. */
bool reactor_hold(struct connection *connection, const char *bytes, size_t length);

/* A turn for each that waits for one now, in order. Inside a pass. */
void reactor_take_turns(struct reactor *reactor);
void reactor_forget_held(struct connection *connection);

/* A frame from the bridge itself to this connection (an answer): queued and marked for the next flush. Takes the
 * reference; NULL (no memory) closes the connection. */
void reactor_answer(struct connection *connection, struct frame *frame);

#endif
