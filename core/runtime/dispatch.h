/* The middle of a message's way: route it, carry the decision out, and settle what could not be delivered. The same for
 * envelopes that came by WebSocket and by HTTP. A hook may wait in the middle: then the rest of the way is a job. */
#ifndef LUADUCT_RUNTIME_DISPATCH_H
#define LUADUCT_RUNTIME_DISPATCH_H

#include "bridge/delivery.h"
#include "protocol/envelope.h"
#include "runtime/reactor.h"

struct dispatch_result {
    enum code code;      /* CODE_OK: accepted, or dropped without a word */
    bool dropped;        /* code is CODE_OK, or CODE_SCRIPT_DROPPED when the sender is to hear */
    bool overran;        /* a hook that it called was stopped: its sender is to be slowed */
    struct slice text;   /* why not, for the sender; valid until the next dispatch */
    struct frame *frame; /* what went out; a reference for the caller; NULL when nothing did */
    uint32_t taken;      /* recipients that took it, by connection or mailbox */
    struct slice id;     /* the envelope's; given to `done` only, valid while it runs */
};

struct dispatch {
    struct envelope *envelope; /* scanned */
    const struct envelope_defaults *defaults;
    struct endpoint *sender;   /* NULL over HTTP */
    struct identity *identity; /* over HTTP: who asks; NULL: nobody has said */
    uint16_t share;            /* of the mailboxes, that it takes: bridge/mailbox.h */
    struct slice answer_to;    /* without a sender: the id that a reply goes to; data NULL: nobody */
    /* To scan again what was sent, when a script failed after it had changed fields. */
    struct slice text;
    bool is_message; /* text is a whole message in the read buffer, not a bare envelope */
    /* Where a hook waits, the end comes later: this is told of it, on the reactor's thread. */
    void (*done)(void *context, struct dispatch_result *result);
    void *context;
    uint64_t dedup; /* dispatch_envelope's: what remembers this envelope's id; 0: nothing does */
};

struct dispatch_job;
struct identity;

/* Above zero: a version of the scripts is on trial somewhere. Envelopes then take a slower way, as when somebody
 * traces.
 */
extern atomic_uint dispatch_observers;

/* On the reactor's thread. NULL: it is over, and *result says how. Else a hook waits: what is needed of the dispatch
 * has been copied but for the sender and the defaults' sender, which must stay; `done` will be called once, never from
 * in here. */
struct dispatch_job *dispatch_envelope(struct reactor *reactor, struct dispatch *dispatch,
                                       struct dispatch_result *result);

/* Its end is not to be told any more. */
void dispatch_forget(struct dispatch_job *job);

/* Tells the script about deliveries that failed apart from any dispatch: expired mailboxes, slow agents. */
void dispatch_undeliverable(struct reactor *reactor);

/* Delivers what the reactor's hooks have sent (bridge.send). */
void dispatch_sends(struct reactor *reactor);

#endif
