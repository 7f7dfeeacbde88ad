/* The bridge's part of a reactor: what one thread delivers to, and how other threads reach it. Everything in a lane
 * belongs to its thread but the inbox, which any lane may push to. */
#ifndef LUADUCT_BRIDGE_LANE_H
#define LUADUCT_BRIDGE_LANE_H

#include "base/threads/lock.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/histogram.h"
#include "base/slice.h"
#include "bridge/queue/levels.h"
#include "protocol/code.h"
#include "protocol/websocket/frame.h"
#include "protocol/websocket/outbox.h"

#define LANES_MAXIMUM 64

struct agent;
struct lane;
struct profile;

/* Where a registered connection stands with the registry (drawing in registry.h). */
enum endpoint_state {
    ENDPOINT_DETACHED, /* not registered, or done: may be freed */
    ENDPOINT_HOLDING,  /* what arrives joins the mailbox */
    ENDPOINT_LIVE,     /* what arrives joins the outbox */
    ENDPOINT_LEAVING,  /* given up; what other lanes sent before is still coming in */
};

/* What other lanes have to tell an endpoint; written with its lane's inbox locked. */
enum { NOTICE_REPLACED = 1, NOTICE_FLUSH = 2 };

/* Unsent frames on their way back to the mailbox of an agent that lost a connection. The agent keeps a list of them in
 * the order of their connections; when all have come home they are put before what the mailbox gathered meanwhile. */
struct detachment {
    struct detachment *next;
    struct levels frames;
    uint64_t until_broadcast; /* see endpoint.from_broadcast; set before endpoint.replaced */
    bool home;
};

/* A connection as the bridge sees it. Embedded in the connection; its lane's thread only, but for the inbox's fields.
 */
struct endpoint {
    /* What a delivery from elsewhere touches: one cache line. */
    struct outbox outbox;
    struct endpoint *next_dirty;
    uint8_t state;         /* enum endpoint_state */
    bool dirty : 1;        /* on the lane's list of those to flush */
    bool grace_over : 1;   /* deliveries may start */
    bool blocked : 1;      /* the socket took less than there was: only then is the agent slow */
    bool lined_up : 1;     /* has a line-up */
    bool lingers : 1;      /* leaving, but its outbox is still being written: see attachment_linger */
    uint8_t notices;       /* inbox */
    atomic_bool replaced;  /* by a newer connection of the agent; set by that one's lane */
    uint16_t close_status; /* the runtime should close the connection with this; 0: no */

    struct lane *lane;
    atomic_ullong received_count, waiting_bytes; /* for /agents: envelopes that the kernel took … */
    atomic_uint waiting_count;                   /* … and those that the socket holds up */
    struct agent *agent;                         /* while not detached; a reference is held */
    struct profile *profile;                     /* while not detached; a reference is held */
    struct detachment *detachment;               /* reserved at attach, so that leaving never needs memory */
    /* Ordered by priority, and the socket is full: what waits stands here, and joins the outbox a little at a time. */
    struct levels *line_up;
    struct endpoint *next_notice; /* inbox */
    struct endpoint *next_leaving;
    struct endpoint *next, **previous; /* all attached endpoints of the lane: who a broadcast reaches */
    /* The broadcasts that are this connection's: those numbered from when it attached to when it was replaced
     * (detachment.until_broadcast), so that a takeover neither repeats nor loses one that is on its way between lanes.
     */
    uint64_t from_broadcast;
    uint64_t mailbox_ns; /* steady clock: when it was last given something out of the mailbox; 0: never */
};

/* So many more envelopes were handed to the kernel, and what still waits is what waits now. */
static inline void endpoint_count(struct endpoint *endpoint, uint64_t received)
{
    const struct levels *line_up = endpoint->line_up;
    uint64_t before = atomic_load_explicit(&endpoint->received_count, memory_order_relaxed);
    atomic_store_explicit(&endpoint->received_count, before + received, memory_order_relaxed);
    atomic_store_explicit(&endpoint->waiting_count, endpoint->outbox.queue.count + (line_up ? line_up->count : 0),
                          memory_order_relaxed);
    atomic_store_explicit(&endpoint->waiting_bytes, endpoint->outbox.queue.bytes + (line_up ? line_up->bytes : 0),
                          memory_order_relaxed);
}

/* Something that could not be delivered, waiting for the script to hear of it. */
enum undeliverable_reason {
    UNDELIVERABLE_NO_RECIPIENT,
    UNDELIVERABLE_MAILBOX_FULL,
    UNDELIVERABLE_EVICTED,
    UNDELIVERABLE_EXPIRED,
    UNDELIVERABLE_SLOW_AGENT,
    UNDELIVERABLE_REASONS,
};

const char *undeliverable_reason_name(enum undeliverable_reason reason); /* "no_recipient" … */

struct undeliverable {
    struct undeliverable *next;
    struct frame *frame; /* a reference */
    enum undeliverable_reason reason;
    bool tell;                 /* the script */
    bool letter;               /* a dead letter, unless the script finds it another way */
    uint32_t recipient_length; /* 0: the decision named none */
    char recipient[];
};

struct inbox_entry {
    struct endpoint *endpoint; /* of the lane; for a broadcast whom it leaves out, of any lane, or NULL */
    struct frame *frame;       /* a reference */
    uint64_t broadcast;        /* its number; 0: to one endpoint */
};

/* Written by its lane alone, read by all. */
struct lane_counters {
    atomic_ullong messages_in, messages_out; /* envelopes accepted; deliveries handed to the kernel */
    atomic_ullong bytes_in, bytes_out;
    atomic_ullong refused[CODE_COUNT]; /* by code */
    atomic_ullong undeliverable[UNDELIVERABLE_REASONS];
    atomic_ullong dropped_by_script;
    atomic_ullong lost_without_memory; /* accepted deliveries that found no memory: none unless the process ran out */
};

static inline void counter_add(atomic_ullong *counter, unsigned long long by)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by, memory_order_relaxed);
}

struct lane {
    unsigned index;
    void *owner;                      /* the runtime's: the reactor that drives this lane */
    int64_t wall_ms;                  /* of this pass; the runtime sets it */
    char timestamp[CLOCK_ISO_LENGTH]; /* the same as text */
    uint64_t pass_bytes;              /* of frames built in this pass, each counted once */
    uint64_t stamp;                   /* of the envelope being delivered: see agent.last_stamp */
    struct endpoint *dirty;
    struct endpoint *attached;
    struct endpoint *leaving;
    struct undeliverable *undeliverable_first, **undeliverable_last;
    uint32_t undeliverable_count;
    bool report_undeliverable; /* the script has a hook for it: else only counted */
    bool given_away;           /* another process has all that it knew: what it loses is not lost, and not counted */
    bool room;                 /* a lost envelope left an agent with room for a task: pending_tend is due */
    bool woke[LANES_MAXIMUM];  /* lanes that got something in this pass */
    bool woke_any;
    atomic_uint attached_count; /* written by the lane, read by all */
    struct lane_counters counters;
    struct histogram mailbox_waits; /* of envelopes that left a mailbox for a connection: since they were accepted */

    struct inbox {
        struct lock lock;
        struct inbox_entry *entries;
        uint32_t count, capacity;
        struct endpoint *notices;
        struct inbox_entry *spare; /* the other half of the double buffer */
        uint32_t spare_capacity;
    } inbox;
    struct inbox_batch { /* what lane_drain took out of the inbox and is working through */
        struct inbox_entry *entries;
        uint32_t count, capacity, at;
        struct endpoint *notices, *leaving;
        bool busy;
    } batch;
    void (*wake)(struct lane *lane); /* any thread: makes the lane call lane_drain soon; set by the runtime */
};

enum slow_agent_rule {
    SLOW_AGENT_QUEUE, /* what is past the limit waits in the agent's mailbox */
    SLOW_AGENT_DROP,  /* the oldest waiting envelope goes */
    SLOW_AGENT_CLOSE, /* the connection is closed (1013); what waits returns to the mailbox */
};

struct lane_options {
    unsigned count;
    uint64_t send_queue_bytes; /* waiting for one agent; past it the rule */
    enum slow_agent_rule slow_agent;
    void (*wake)(struct lane *lane);
};

/* --- Start and stop: main thread, no reactor running --- */
bool lanes_start(const struct lane_options *options);
void lanes_stop(void);
unsigned lanes_count(void);
struct lane *lanes_get(unsigned index);

/* --- The lane's own thread --- */

/* Handles what other lanes sent, up to LANE_DRAIN_BYTES of it. Endpoints that need the runtime (to flush, to close) are
 * on the dirty list after. True: there is more: flush, then call again. */
#define LANE_DRAIN_BYTES (128u << 10)
bool lane_drain(struct lane *lane);

/* Whether nothing waits to be handled: in the inbox, or of endpoints that leave but those whose outbox is still being
 * written. */
bool lane_idle(struct lane *lane);

/* The number that the next broadcast of any lane will have. */
uint64_t lane_next_broadcast(void);

/* Wakes the lanes that this one has pushed to since the last call: once per pass, not per message. */
void lane_wake_others(struct lane *lane);

/* Puts the endpoint on the list of those that have something to write or to hear from the runtime. */
static inline void lane_mark_dirty(struct lane *lane, struct endpoint *endpoint)
{
    if (endpoint->dirty)
        return;
    endpoint->dirty = true;
    endpoint->next_dirty = lane->dirty;
    lane->dirty = endpoint;
}

/* How much may wait for one agent now (less while memory is tight: memory/admission.h); attachment_go_live keeps to it.
 */
uint64_t lane_send_queue_bytes(void);

/* Hands an envelope's frame to an endpoint of this lane: outbox, mailbox, or the slow agent's rule. Retains the frame.
 * CODE_OK, or CODE_MAILBOX_FULL or CODE_OVERLOADED (no memory) and nothing was taken. */
enum code lane_deliver(struct lane *lane, struct endpoint *endpoint, struct frame *frame);

/* It waits for the endpoint's full socket, in its turn; retains the frame. CODE_OK or CODE_OVERLOADED. */
enum code lane_line_up(struct endpoint *endpoint, struct frame *frame);

/* Hands it to every attached endpoint of every lane but `except`, which is compared only; gives how many that was. */
unsigned lane_broadcast(struct lane *lane, struct frame *frame, struct endpoint *except);

/* Any lane, for another: retains the frame. Call with the agent's shard locked, so that nothing follows a detach.
 * False: the inbox is full or memory is out. With a `broadcast`, its number, to all of the lane but the endpoint. */
bool inbox_push(struct lane *from, struct lane *to, struct endpoint *endpoint, struct frame *frame, uint64_t broadcast);

/* Tells an endpoint of another (or this) lane; never fails. Shard locked, as above. */
void inbox_notify(struct lane *from, struct endpoint *endpoint, unsigned notice);

/* Remembers a failure for the script, if it wants to hear, and counts it. Retains the frame. */
void lane_report_undeliverable(struct lane *lane, struct frame *frame, struct slice recipient,
                               enum undeliverable_reason reason);

/* The same of an envelope that was accepted and that a limit now loses: it may make a dead letter. */
void lane_report_lost(struct lane *lane, struct frame *frame, struct slice recipient, enum undeliverable_reason reason);

/* The oldest failure, NULL when there is none; free it with undeliverable_free. */
struct undeliverable *lane_take_undeliverable(struct lane *lane);
void undeliverable_free(struct undeliverable *undeliverable);

#endif
