/* How connections come to agents and leave them: register, replace, go live, hold, detach. Each on the thread of the
 * endpoint's lane. */
#ifndef LUADUCT_BRIDGE_ATTACHMENT_H
#define LUADUCT_BRIDGE_ATTACHMENT_H

#include "bridge/delivery/lane.h"
#include "bridge/registry/profile.h"
#include "protocol/code.h"

/* Whose the agents of that profile are: a number that means the same to every bridge; 0: nobody's. */
uint64_t attachment_owner(const struct profile *profile);

/* The endpoint of this lane that serves the agent, if it is that owner's; NULL: there is none. */
struct endpoint *attachment_find(const struct lane *lane, struct slice id, uint64_t owner);

/* Makes the endpoint the one of profile->id, in state HOLDING with grace_over as it is set. A connection that served
 * the agent before is told to close (4001). Takes the reference on the profile when it gives CODE_OK; else
 * CODE_FORBIDDEN: the agent, connected or with a mailbox, is another owner's; or CODE_OVERLOADED: out of memory. */
enum code attachment_attach(struct endpoint *endpoint, struct profile *profile);

/* Another profile of the same id for an attached endpoint. Takes the reference when it gives true. */
bool attachment_change_profile(struct endpoint *endpoint, struct profile *profile);

/* Moves what the mailbox holds to the outbox, as far as the outbox's limit goes, and goes live when that was all. Call
 * when the grace period is over and when the outbox has drained; does nothing where it is too early. */
void attachment_go_live(struct endpoint *endpoint);

/* A frame that stood in a line-up before joins this one's, behind the others; retains it. False: no memory. */
bool attachment_line_up(struct endpoint *endpoint, struct frame *frame, uint8_t turn);

/* Gives the connection up: unsent envelopes return to the mailbox. The endpoint is LEAVING until the next lane_drain
 * has finished it (then DETACHED, and it may be freed). Harmless when it is not attached. */
void attachment_detach(struct endpoint *endpoint);

/* Before attachment_detach: what the outbox holds is still to be written, and returns to the mailbox only when
 * attachment_linger_end says that the writing is over. */
void attachment_linger(struct endpoint *endpoint);
void attachment_linger_end(struct endpoint *endpoint);

/* After attachment_detach: takes home at once what the outbox holds, because the peer said that it listens no more. */
void attachment_withdraw(struct endpoint *endpoint);

/* For lane_drain: the last step of leaving, when nothing more can come in for this endpoint. */
void attachment_finish(struct endpoint *endpoint);

/* Asks the cache for what a message from this endpoint will need. */
static inline void attachment_prefetch(const struct endpoint *endpoint)
{
    __builtin_prefetch(endpoint->profile);
    __builtin_prefetch((const char *)endpoint->profile + 64);
    __builtin_prefetch((const char *)endpoint->agent + 64);
    __builtin_prefetch((const char *)endpoint->agent + 128);
}

/* Marks life from this agent; counts a message or an error of it. */
void attachment_touch(struct endpoint *endpoint, unsigned messages, unsigned errors);

/* What /agents and `registered` show of this endpoint's agent. The view holds a reference. */
struct agent_view;
void attachment_view(const struct endpoint *endpoint, struct agent_view *out);

#endif
