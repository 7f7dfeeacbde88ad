/* Ends the connections whose credential has run out. */
#ifndef LUADUCT_RUNTIME_LIFETIME_H
#define LUADUCT_RUNTIME_LIFETIME_H

#include <ev.h>
#include <stdint.h>

struct reactor;

/* A reactor's. */
struct lifetime {
    ev_timer timer;
    int64_t due_ms; /* wall clock: when the first of its credentials runs out, as far as known; INT64_MAX: none does */
    uint64_t walked_ms; /* steady clock: when its connections were last looked at */
};

/* Before the reactor runs. */
void lifetime_prepare(struct reactor *reactor);

/* A credential that runs out then (wall clock; 0: never) came into use on one of its connections. It ends within a
 * second of that time, and within a minute when the wall clock is set forward. On the reactor's thread. */
void lifetime_watch(struct reactor *reactor, int64_t expires_ms);

#endif
