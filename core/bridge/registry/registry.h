/* Who is known: every connected agent, and every absent one whose mailbox holds something. Sharded by a keyed hash of
 * the id, one lock a shard, never held over a call into Lua or the kernel.
 *
 * An agent's life:
 *
 *            attach                    grace over, or outbox drained
 *   absent ─────────► holding ───────────────────────────────► live
 *     ▲   mailbox fills,  │  ▲ what arrives joins the mailbox    │ what arrives joins the outbox
 *     │   no connection   │  └───────────── outbox over its limit┘
 *     └────── detach ─────┴──────── detach (its unsent frames return to the head of the mailbox)
 *
 * While an agent has an endpoint, everything for it passes through that endpoint's lane, so there is one queue and one
 * order. A lane that gives up an endpoint does so under the shard's lock: what other lanes sent before that is already
 * in its inbox and is returned with the rest (see `detachment`). */
#ifndef LUADUCT_BRIDGE_REGISTRY_H
#define LUADUCT_BRIDGE_REGISTRY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "bridge/registry/profile.h"
#include "protocol/code.h"

struct agent;
struct endpoint;

/* A snapshot of one agent, holding a reference on the profile. */
struct agent_view {
    struct profile *profile;
    int64_t connected_at_ms; /* wall clock */
    int64_t last_seen_ms;    /* wall clock */
    uint64_t message_count;
    uint64_t error_count;
    uint32_t open_tasks;
    uint64_t received_count; /* envelopes that the kernel took for it since it connected */
    uint32_t waiting_count;  /* in its mailbox, and for a full socket as it was last written to or delivered to */
    uint64_t waiting_bytes;
};

void agent_view_release(struct agent_view *view);

/* Asks the cache for what a lookup of that id will need, while there is other work to do. Any thread. */
void registry_prefetch(struct slice id);

/* A connected agent of that id; false when there is none. Any thread. */
bool registry_find(struct slice id, struct agent_view *out);

/* The lane of the connection that serves that agent; NULL: none does. It may be another one by now. Any thread. */
struct lane;
struct lane *registry_lane(struct slice id);

/* That connection if it is of this lane, whose thread asks; else NULL. */
struct endpoint *registry_endpoint(const struct lane *lane, struct slice id);

/* Connected agents, piece by piece: gives up to `capacity` views and moves *cursor on (start at 0); 0 views at the end.
 * Each call is consistent in itself; agents that come and go between calls may or may not be seen, none twice unless it
 * reconnected. Any thread. */
unsigned registry_list(uint64_t *cursor, struct agent_view *out, unsigned capacity);

/* Gives up the mailboxes that nobody filled for their time to live, in this lane's share of the shards. Lane's thread.
 */
void registry_expire_mailboxes(struct lane *lane, int64_t now_ms);

/* Empties those of the same share without a word: another process has them. */
void registry_clear_mailboxes(const struct lane *lane);

/* Counts up each time that an agent has come, gone or changed what it registered as, from 1: what was worked out from
 * who is there holds while it stays the same. Any thread. */
extern _Atomic uint64_t registry_change_count;
static inline uint64_t registry_changes(void)
{
    return atomic_load_explicit(&registry_change_count, memory_order_acquire);
}

uint64_t registry_connected_count(void);
uint64_t registry_queued_count(void); /* envelopes in all mailboxes */

/* Forgets everybody, mailboxes included. Main thread, when no lane runs any more. */
void registry_stop(void);

#endif
