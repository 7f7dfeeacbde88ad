/* Envelopes of `bridge.any{…, wait = true}` that wait for an agent with room for one more task: one queue for the whole
 * bridge, in order of arrival, bounded by number, by time and, together with the mailboxes, by bytes. */
#ifndef LUADUCT_BRIDGE_PENDING_H
#define LUADUCT_BRIDGE_PENDING_H

#include "bridge/delivery/lane.h"
#include "bridge/registry/agent.h"

struct pending_limits {
    uint32_t envelopes;
    uint32_t ttl_ms; /* an envelope that has waited this long is given up */
};

/* Main thread: before any lane runs. */
void pending_start(const struct pending_limits *limits);

/* Forgets all that wait. Any thread. */
void pending_stop(void);

struct pending_request {
    const struct selector *selector; /* copied */
    struct frame *frame;             /* retained */
    uint64_t except;                 /* hash of the sender's id; 0: nobody */
};

/* Takes an envelope to wait, and gives it on at once where an agent is free after all. CODE_OK, or CODE_OVERLOADED: the
 * queue is full or memory is out. Lane's thread. */
enum code pending_add(struct lane *lane, const struct pending_request *request);

/* This agent may have room: it registered, changed, or closed a task. Gives it what waits for one like it, oldest
 * first, until it is full. Lane's thread, no lock held. Costs one load while nothing waits. */
void pending_offer(struct lane *lane, struct agent *agent);

/* Gives up what has waited too long, and tries again what found its agent overloaded or leaving. Lane's thread, no lock
 * held; now and then, when an agent has left, and when lane.room is set. */
void pending_tend(struct lane *lane);

/* All that wait, in a record each, and one out of such a record, which joins behind the others and is offered to nobody
 * yet. False: no memory. See carry.h. */
struct frame_writer;
struct frame_reader;
void pending_put(uint32_t kind, struct frame_writer *writer);
bool pending_get(struct lane *lane, struct frame_reader *reader);

struct pending_figures {
    uint64_t waiting, queued_in_all, refused, expired;
};

/* Any thread. */
void pending_read(struct pending_figures *out);

/* Whether something waits; then whoever comes later joins behind it. Any thread. */
bool pending_any(void);

#endif
