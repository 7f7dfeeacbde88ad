/* Accepted envelopes that a limit lost, put into the mailbox of one agent (agents.deadLetters): each wrapped in a new
 * envelope from the bridge that says why and for whom it was. A dead letter that is lost itself makes no other. */
#ifndef LUADUCT_BRIDGE_DEAD_LETTER_H
#define LUADUCT_BRIDGE_DEAD_LETTER_H

#include "bridge/delivery/lane.h"

/* Main thread, before any lane runs: whose mailbox it is, borrowed; NULL: nobody's. */
void dead_letter_start(const char *id);

/* Whether what this recipient lost makes one. Any thread. */
bool dead_letter_wanted(const struct frame *frame, struct slice recipient);

/* Sends it, within the limits of mailboxes. What is lost on the way is counted, not told. Lane's thread. */
void dead_letter_send(struct lane *lane, const struct undeliverable *failure);

/* One that is not even tried, because too many failures wait. Any thread. */
void dead_letter_count_lost(void);

struct dead_letter_figures {
    uint64_t sent, lost;
};

void dead_letter_read(struct dead_letter_figures *out);

#endif
