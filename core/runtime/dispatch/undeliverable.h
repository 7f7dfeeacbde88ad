/* Deliveries that failed: the script decides about each once more (on_undeliverable), and what nobody takes then may
 * become a dead letter. The reactor's thread only. */
#ifndef LUADUCT_RUNTIME_UNDELIVERABLE_H
#define LUADUCT_RUNTIME_UNDELIVERABLE_H

#include "runtime/dispatch/dispatch.h"

/* The dispatch whose failures are being asked about; all zero: none. */
struct resolving {
    const struct dispatch *dispatch;
    struct frame *frame;      /* what it sent */
    struct dispatch_job *job; /* once one of its hooks waits */
    bool taken;               /* one of its failures found a taker after all */
    bool overran;             /* the hook was stopped at one of its failures */
};

/* Of all failures that the lane remembers, those of that dispatch among them. */
void undeliverable_resolve(struct reactor *reactor, struct resolving *of);

#endif
