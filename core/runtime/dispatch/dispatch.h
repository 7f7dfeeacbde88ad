/* The middle of a message's way: route it, carry the decision out, and settle what could not be delivered. The same for
 * envelopes that came by WebSocket and by HTTP. A hook may wait in the middle: then the rest of the way is a job. */
#ifndef LUADUCT_RUNTIME_DISPATCH_H
#define LUADUCT_RUNTIME_DISPATCH_H

#include "bridge/delivery/dedup.h"
#include "bridge/delivery/delivery.h"
#include "protocol/message.h"
#include "runtime/reactor.h"

struct hop;
struct trace_context;

struct dispatch_result {
    enum code code;      /* CODE_OK: accepted, or dropped without a word */
    bool dropped;        /* code is CODE_OK, or CODE_SCRIPT_DROPPED when the sender is to hear */
    bool overran;        /* a hook that it called was stopped: its sender is to be slowed */
    struct slice text;   /* why not, for the sender; valid until the next dispatch */
    struct frame *frame; /* what went out; a reference for the caller; NULL when nothing did */
    uint32_t taken;      /* recipients that took it, by connection or mailbox */
    struct slice id;     /* the envelope's; given to `done` only, valid while it runs; as is: */
    struct slice sender; /* the id of the agent that sent it, which may have left since; data NULL: of none */
};

struct dispatch {
    struct envelope *envelope; /* scanned */
    const struct envelope_defaults *defaults;
    struct endpoint *sender;   /* NULL over HTTP, and once its connection has ended while a hook waited: */
    struct identity *identity; /* over HTTP: who asks; NULL: nobody has said */
    uint16_t share;            /* of the mailboxes, that it takes, and of traces: bridge/queue/mailbox.h */
    struct party *payer;       /* whose limits.scriptMsPerSecond its hooks take; NULL: nobody's time is counted */
    struct slice sender_id;    /* … then the id of its agent; data NULL: it had none */
    /* To scan again what was sent, when a script failed after it had changed fields. */
    struct slice text;
    bool is_message; /* text is a whole message in the read buffer, not a bare envelope */
    /* Where a hook waits, the end comes later: this is told of it, on the reactor's thread. */
    void (*done)(void *context, struct dispatch_result *result);
    void *context;
    const struct trace_context *inherited; /* what an envelope that names no trace hangs on; NULL: nothing. Looked at
                                              before anything waits */
    struct hop *hop;                       /* dispatch_envelope's: its spans; NULL: it is not traced */
    struct dedup_entry dedup;              /* dispatch_envelope's: what remembers this envelope's id */
};

/* Reads what was sent once more, without a script's changes; its texts go to `store`. False: memory is out. */
bool dispatch_scan(const struct dispatch *dispatch, const struct config *config, struct text_store *store,
                   struct message *message);

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

/* --- For undeliverable.c --- */

/* What is needed to end a dispatch later, of which an on_undeliverable waits; NULL: no memory. */
struct dispatch_job *dispatch_keep(const struct dispatch *dispatch);

/* One more on_undeliverable waits; when it has ended, dispatch_resolved is called. */
void dispatch_await(struct dispatch_job *job);

/* As it is now: its sender's connection may have ended. */
const struct dispatch *dispatch_of(struct dispatch_job *job);

/* One has ended: somebody took the envelope, the hook was stopped. With the last of them the dispatch is over. */
void dispatch_resolved(struct reactor *reactor, struct dispatch_job *job, bool taken, bool overran);

#endif
