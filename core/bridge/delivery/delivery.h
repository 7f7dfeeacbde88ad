/* Carries out what the route decided: finds the recipients, hands each the one frame, keeps the accounts of open tasks
 * and enters what was accepted in the history. */
#ifndef LUADUCT_BRIDGE_DELIVERY_H
#define LUADUCT_BRIDGE_DELIVERY_H

#include "bridge/delivery/decision.h"
#include "bridge/delivery/lane.h"
#include "protocol/envelope.h"

/* What on_undeliverable is told of a delivery's failures; all are counted. */
enum delivery_telling {
    TELL_ALL,
    TELL_LOSSES, /* what it makes a limit take from mailboxes and slow agents, not who did not take its envelope */
    TELL_NOTHING,
};

struct delivery {
    struct lane *lane;
    struct envelope *envelope;
    const struct envelope_defaults *defaults;
    struct endpoint *sender; /* the connection it came by; NULL: HTTP, or the bridge itself, or the connection ended: */
    struct slice sender_id; /* … since, of the agent with this id, which may have another by now; data NULL: of none */
    enum delivery_telling telling;
    bool dead_letter;          /* makes its frame one; it is in no history */
    bool again;                /* on_undeliverable sends it on: what its sender said of its expiry is over */
    uint16_t share;            /* of the mailboxes, that its frame takes; 0: nobody's */
    struct frame_trace *trace; /* for its frame, which takes it over, or it is given back; NULL: none */
    struct slice answer_to;    /* without either: the id that a reply goes to; data NULL: nobody */
};

struct delivery_result {
    bool accepted;     /* somebody took it, or it was a broadcast */
    bool dropped;      /* the script said so: neither accepted nor refused */
    bool tell;         /* dropped, and the sender is to hear of it */
    enum code refusal; /* when neither: no_recipient, mailbox_full, overloaded, expired, or bad_field for its expiry */
    uint32_t taken;    /* recipients that took it, by connection or mailbox */
    struct slice reason; /* dropped: the script's words, borrowed from the decision; refused: why, where the code alone
                            does not say it, static */
    struct frame *frame; /* what was sent, a reference for the caller; NULL when nothing was built */
};

/* On the lane's thread. Failures of single recipients are counted and, where the script wants to hear of them, waiting
 * in lane_take_undeliverable; the caller decides with their help whether a refusal stands. */
void delivery_carry_out(const struct delivery *delivery, const struct decision *decision,
                        struct delivery_result *result);

/* An envelope that goes to nobody but the bridge itself, by this name: into the history, and the sender's task is
 * closed when it says so. The frame, a reference for the caller; NULL when memory is out. */
struct frame *delivery_take(const struct delivery *delivery, struct slice name);

/* Puts back what was taken out of a bridge that ran before: into the agent's mailbox or, where it is connected, to
 * it, behind what it is to get already. `owner`: who held the mailbox (agent.owner); 0: nobody. Retains the frame.
 * CODE_OK; CODE_MAILBOX_FULL, CODE_OVERLOADED; or CODE_FORBIDDEN: the id is another owner's by now. Lane's thread. */
enum code delivery_restore(struct lane *lane, struct slice id, uint64_t owner, struct frame *frame);

#endif
