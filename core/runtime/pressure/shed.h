/* A reactor's part in memory pressure: it collects step by step, stops reading from those who send most, and closes who
 * holds most. Main asks by setting bits; the reactor looks at them at the end of a pass. */
#ifndef LUADUCT_RUNTIME_SHED_H
#define LUADUCT_RUNTIME_SHED_H

#include <stdatomic.h>

#include <ev.h>

#include "memory/admission.h"
#include "runtime/connection/connection.h"

struct reactor;

/* What main asks a reactor for. */
enum {
    SHED_COLLECT = 1,  /* a full cycle of its script's and its API's state */
    SHED_MANUALLY = 2, /* … because somebody asked */
    SHED_MODE = 4,     /* the engine was switched on or off */
    SHED_PAUSE = 8,    /* stop reading from more of those who send most, and say who holds most */
    SHED_RESUME = 16,  /* read again from half of them */
    SHED_CLOSE = 32,   /* the connection that holds most */
    SHED_HISTORY = 64, /* bring the history to the limit that shed_history_bytes says (one reactor for all) */
};

/* One who sent less than this lately is never paused and counts as light: bytes, halved each second. */
#define SHED_LIGHT_BYTES (64u << 10)

/* A connection that holds less than this is never closed for it. */
#define SHED_CLOSE_BYTES (64u << 10)

/* In struct reactor. */
struct shed {
    atomic_uint asked;       /* bits of the above, set by main */
    ev_timer timer;          /* of no time: another step of the collectors */
    bool api_collecting;     /* a cycle of the API's state is under way */
    bool manually;           /* … because somebody asked */
    atomic_uint paused_now;  /* connections; written by the reactor */
    atomic_ullong most_held; /* bytes of the connection that holds most, by the last SHED_PAUSE */
    atomic_ullong paused, resumed, closed, refused_connections, refused_requests;
};

/* The limit for SHED_HISTORY: set by main before it asks. */
extern atomic_ullong shed_history_bytes, shed_history_released;

/* The reactor's thread. */
void shed_start(struct reactor *reactor);
void shed_stop(struct reactor *reactor);

/* Main: sets the bits and wakes the reactor. */
void shed_ask(struct reactor *reactor, unsigned bits);

/* At the end of a pass, before what is due is written. */
void shed_serve(struct reactor *reactor);
static inline bool shed_asked(const struct shed *shed)
{
    return __builtin_expect(atomic_load_explicit(&shed->asked, memory_order_relaxed) != 0, 0);
}

/* After script_collect said that there is more to do: soon, but after everybody's turn. */
void shed_collect_soon(struct reactor *reactor);

/* Bytes came from the peer: what is made of them counts as from one who sends much, or little. */
static inline void shed_count_received(struct connection *connection, uint32_t now_second, size_t bytes)
{
    if (connection->recent_second != now_second) {
        connection->recent_bytes = now_second - connection->recent_second == 1 ? connection->recent_bytes / 2 : 0;
        connection->recent_second = now_second;
    }
    connection->recent_bytes += (uint32_t)bytes;
    admission_heavy = connection->recent_bytes > SHED_LIGHT_BYTES;
}

/* A connection is gone. */
void shed_forget(struct connection *connection);

#endif
