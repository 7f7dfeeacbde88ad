/* What is kept for an agent that cannot be written to, within the bounds of the configuration. */
#ifndef LUADUCT_BRIDGE_MAILBOX_H
#define LUADUCT_BRIDGE_MAILBOX_H

#include "bridge/registry/agent.h"

struct mailbox_limits {
    uint32_t envelopes;   /* in one mailbox; past it the oldest go, of the lowest priority where that counts */
    uint32_t mailboxes;   /* of absent agents */
    uint64_t bytes;       /* in one mailbox; past it the oldest go */
    uint64_t total_bytes; /* in all; past it nothing is taken */
    uint64_t share_bytes; /* in all, from one sender; past it nothing of that sender is taken; 0: no limit */
    uint32_t ttl_ms;      /* since the last envelope was stored */
};

/* Senders are known to the mailboxes by a part of a keyed hash, which each frame carries: whom it concerns need not be
 * found again when the frame goes. Two senders in 65,536 share a share. Never 0. */
static inline uint16_t mailbox_share(uint64_t hash)
{
    uint16_t share = (uint16_t)(hash >> 48);
    return share ? share : 1;
}

/* Main thread, before any lane runs. */
void mailbox_start(const struct mailbox_limits *limits);

uint32_t mailbox_ttl_ms(void);

enum mailbox_result { MAILBOX_STORED, MAILBOX_FULL, MAILBOX_NO_MEMORY };

/* Stores at the tail; retains the frame. Shard locked. What has to go for it is reported through the lane. */
enum mailbox_result mailbox_push(struct lane *lane, struct agent *agent, struct frame *frame);

/* Puts frames that came back before all others, whatever the limits; then the oldest go, as far as the limits of one
 * mailbox and of all demand. Leaves `frames` empty. */
void mailbox_return(struct lane *lane, struct agent *agent, struct levels *frames);

/* Puts frames into it that were in one before, behind what it has or in front of it; limits as above. Leaves `frames`
 * empty. Shard locked. */
void mailbox_restore(struct lane *lane, struct agent *agent, struct levels *frames, bool in_front);

/* For envelopes that wait elsewhere under the limit of all mailboxes together, and of their sender's share. False:
 * there is no room. Any thread. */
bool mailbox_reserve(const struct frame *frame);
void mailbox_reserve_owed(const struct frame *frame); /* one that was let in before: no limit is in its way */
void mailbox_unreserve(const struct frame *frame);

/* Takes the whole mailbox. Shard locked. */
void mailbox_take(struct agent *agent, struct levels *into);

/* Takes the oldest of that level, which is not empty; the caller owns it. Shard locked. */
struct frame *mailbox_pop(struct agent *agent, enum level level);

/* Gives up what has expired. Shard locked. */
void mailbox_drop_expired(struct lane *lane, struct agent *agent);

/* The agent got or lost its connection: an absent one's mailbox counts among `mailboxes`. Shard locked. */
void mailbox_count_absent(struct agent *agent, bool absent);

/* Gives up this absent agent's mailbox, and the agent, if it has not grown for ttl_ms. Shard locked. */
void mailbox_expire_one(struct lane *lane, struct agent *agent, int64_t now_ms);

uint64_t mailbox_envelopes_in_all(void);
uint64_t mailbox_bytes_in_all(void);
uint64_t mailbox_share_refusals(void);

#endif
