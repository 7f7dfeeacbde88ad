/* One accepted connection, from its first byte to its last:
 *
 *   http ──upgrade──► websocket ──register──► agent (its endpoint is attached to the registry)
 *     │                   │                     │
 *     └───────────────────┴──── closing ────────┘     a close frame or a last response is on its way out
 *                               │
 *                             gone                    the socket is closed; freed once the endpoint is detached
 *
 * A connection belongs to one reactor for life. */
#ifndef LUADUCT_RUNTIME_CONNECTION_H
#define LUADUCT_RUNTIME_CONNECTION_H

#include <netinet/in.h>

#include "bridge/delivery/lane.h"
#include "net/poller.h"
#include "net/transport.h"
#include "protocol/envelope.h"
#include "protocol/websocket/websocket.h"
#include "runtime/limits/limits.h"

struct reactor;
struct backlog;
struct http_exchange;
struct grant;
struct identity;
struct pause;
struct trace_context;
struct verification;

enum connection_phase { CONNECTION_HTTP, CONNECTION_WEBSOCKET, CONNECTION_CLOSING, CONNECTION_GONE };

/* What a connection is waiting for; each kind has one duration, so each has one list in order of due time. */
enum deadline {
    DEADLINE_HEADER,   /* a request's head; the taking of an answer; the next request */
    DEADLINE_BODY,     /* a request's body */
    DEADLINE_REGISTER, /* a register message */
    DEADLINE_GRACE,    /* deliveries to a fresh agent */
    DEADLINE_IDLE,     /* a ping, or the end of an agent that answers none */
    DEADLINE_LINGER,   /* the peer's side of closing */
    DEADLINE_COUNT,
    DEADLINE_NONE = DEADLINE_COUNT,
};

struct connection {
    struct endpoint endpoint;                              /* first: an endpoint's address is its connection's */
    struct connection *next, **previous;                   /* all of the reactor */
    struct connection *deadline_next, **deadline_previous; /* of its kind; once gone, of the gone */
    uint64_t due_ms;                                       /* steady clock */
    uint64_t opened_ms;                                    /* steady clock */
    uint64_t last_byte_ms;                                 /* steady clock: the peer's last sign of life */
    struct transport transport;
    uint8_t phase;         /* enum connection_phase */
    uint8_t deadline;      /* enum deadline */
    bool is_websocket;     /* also while closing */
    bool reads;            /* the poller tells of bytes */
    bool known_at_upgrade; /* who it is: no register needs to show a credential again */
    bool close_sent : 1, close_received : 1;
    bool holds : 1;          /* bytes of it wait on the reactor's list: none are read before those */
    bool sends_large : 1;    /* its last bytes had a message of REACTOR_SHARE_BYTES or more */
    bool hook_waits : 1;     /* a hook that one of its messages called: the next ones join the backlog */
    bool backlog_full : 1;   /* no more is read until the backlog is empty */
    uint32_t executing;      /* tasks of bridge.execute that are with the workers: it is not freed before */
    bool is_admin : 1;       /* came by the administration socket, which only the bridge's own user can open */
    bool counted : 1;        /* among the connections of the whole bridge and of `party` */
    bool counted_sender : 1; /* among the connections of `sender`, an identity */
    bool counted_agent : 1;
    bool by_proxy : 1;         /* of a trusted proxy: each request says for whom */
    bool forwarded : 1;        /* `address` is what a trusted proxy said */
    bool has_asked : 1;        /* to be registered */
    bool goes_along : 1;       /* another process has it, or is about to: see runtime/handover/ */
    bool paused : 1;           /* not read while memory is short: see runtime/pressure/shed.h */
    uint16_t share;            /* of the mailboxes, that it takes: its identity's, else its address's */
    uint32_t message_began_ms; /* steady clock, not 0, while a message has begun and is not complete; else 0 */
    uint32_t answer_bytes;     /* of answers queued since the outbox was last empty */
    uint32_t held_bytes;       /* while it holds: what that takes */
    uint32_t recent_second, recent_bytes; /* what came lately, halved each second: shed_count_received */
    struct peer_address address;
    union {
        struct websocket websocket;
        struct http_exchange *http; /* NULL between requests */
    };
    struct sender_fragment fragment;   /* once registered */
    struct backlog *backlog;           /* while a hook waits, and until what came meanwhile is handled; else NULL */
    struct pause *pause;               /* it is slowed (agent_slow.c): hook_waits is set; else NULL */
    struct identity *identity;         /* who is behind it, a reference; NULL: nobody has said yet */
    struct grant *grant;               /* what its agent may send; NULL before it registered */
    struct trace_context *trace;       /* what the request that opened it said, until it registered; NULL: nothing */
    struct verification *verification; /* a token of it is with the verifier, or has just come back; else NULL */
    struct party *party;               /* of its address; NULL: it needs none (runtime/limits/party.h) */
    struct party *sender;              /* of its identity or, once registered, its clientId; NULL: not known yet */
    struct poller_entry polled;        /* in its reactor's set */
};

static inline struct connection *connection_of(struct endpoint *endpoint)
{
    return (struct connection *)(void *)endpoint;
}

static inline struct reactor *connection_reactor(const struct connection *connection)
{
    return connection->endpoint.lane->owner;
}

/* Whom limits count it by; NULL: nobody, it came by the administration socket. */
static inline const struct peer_address *connection_from(const struct connection *connection)
{
    return connection->is_admin ? NULL : &connection->address;
}

/* The clock of connection.recent_second. */
static inline uint32_t connection_second(uint64_t now_ms)
{
    return (uint32_t)(now_ms >> 10);
}

/* The socket was full: the poller tells when it is not. */
static inline bool connection_blocked(const struct connection *connection)
{
    return connection->endpoint.blocked;
}

static inline bool connection_registered(const struct connection *connection)
{
    return connection->endpoint.state == ENDPOINT_HOLDING || connection->endpoint.state == ENDPOINT_LIVE;
}

/* All on the reactor's thread. */

/* Takes over an accepted socket and its place among the counted. False: no memory, and both (the socket with its TLS)
 * stay the caller's. */
bool connection_open(struct reactor *reactor, struct transport transport, const struct arrival *arrival);

/* Bytes from the socket, or its end, are there. */
void connection_readable(struct connection *connection);

/* The socket takes bytes again. */
void connection_writable(struct connection *connection);

/* Writes what waits; starts or stops waiting for the socket as needed. */
void connection_flush(struct connection *connection);

/* Its identity is known, or another than before: from now on it is one of that sender's connections, and its messages
 * count as that sender's. LIMIT_NONE: fine, or it has nothing of its own by which to count. */
enum limit connection_count_identity(struct connection *connection);

/* The same where another process of this bridge has counted it before: no limit is in its way. */
void connection_restore_identity(struct connection *connection);
/* A request of that identity listens on it for as long as both like: until connection_end_listening it is one of that
 * sender's connections. LIMIT_NONE: fine. */
enum limit connection_count_listening(struct connection *connection, const struct identity *identity);
void connection_end_listening(struct connection *connection);

/* Its identity's limits may be others now, or there are some for the first time: it is open, and not refused. */
void connection_follow_limits(struct connection *connection);

/* It is closing: whoever was behind it may come back before its socket is closed. */
void connection_leave_sender(struct connection *connection);

/* What is told from all others by the connection's identity, or without one by its address. */
uint16_t connection_share(const struct connection *connection);

/* Tells the poller whether bytes are wanted: a peer that does not read its answers is not read either. */
void connection_read_on(struct connection *connection, bool on);

/* Sets the one deadline; DEADLINE_NONE clears it. */
void connection_wait_for(struct connection *connection, enum deadline deadline);
void connection_deadline_passed(struct connection *connection);

/* Closes the socket at once. Unsent envelopes return to the mailbox; memory is freed when the registry is done. */
void connection_kill(struct connection *connection);

/* At the end of a pass: frees those that are gone and that the registry is done with. */
void connection_reap(struct reactor *reactor);

#endif
