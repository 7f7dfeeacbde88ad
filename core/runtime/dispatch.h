/* The middle of a message's way: route it, carry the decision out, and settle what could not be delivered. The same for
 * envelopes that came by WebSocket and by HTTP. */
#ifndef LUADUCT_RUNTIME_DISPATCH_H
#define LUADUCT_RUNTIME_DISPATCH_H

#include "bridge/delivery.h"
#include "protocol/envelope.h"
#include "runtime/reactor.h"

struct dispatch {
    struct envelope *envelope; /* scanned */
    const struct envelope_defaults *defaults;
    struct endpoint *sender; /* NULL over HTTP */
    /* To scan again what was sent, when a script failed after it had changed fields. */
    struct slice text;
    bool is_message; /* text is a whole message in the read buffer, not a bare envelope */
};

struct dispatch_result {
    enum code code;      /* CODE_OK: accepted, or dropped without a word */
    bool dropped;        /* code is CODE_OK, or CODE_SCRIPT_DROPPED when the sender is to hear */
    struct slice text;   /* why not, for the sender; valid until the next dispatch */
    struct frame *frame; /* what went out; a reference for the caller; NULL when nothing did */
};

/* On the reactor's thread. */
void dispatch_envelope(struct reactor *reactor, const struct dispatch *dispatch, struct dispatch_result *result);

/* Tells the script about deliveries that failed apart from any dispatch: expired mailboxes, slow agents. */
void dispatch_undeliverable(struct reactor *reactor);

#endif
