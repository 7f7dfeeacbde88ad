/* Who would get an envelope by a decision, without giving it to anybody: for people who look. It says what holds in the
 * moment in which it looks; what delivery would refuse for its size or its age, it does not know. */
#ifndef LUADUCT_BRIDGE_PREVIEW_H
#define LUADUCT_BRIDGE_PREVIEW_H

#include <stdbool.h>

#include "bridge/delivery/decision.h"

struct preview {
    const struct decision *decision;
    struct slice to;     /* the field, as the envelope goes out; data NULL: null */
    struct slice sender; /* the agent that it is from; data NULL: none */
    /* Called for each recipient, perhaps twice for one that two decisions name: a connected one, or an absent one whose
     * mailbox would keep it. No lock is held. */
    void (*found)(void *context, struct slice id, bool connected);
    void *context;

    /* What it says. */
    bool waits;   /* an agent that is not full is waited for */
    bool refused; /* nobody would get it: no_recipient */
};

/* Any thread. */
void preview_recipients(struct preview *preview);

#endif
