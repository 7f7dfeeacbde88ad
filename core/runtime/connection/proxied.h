/* Sockets that a trusted proxy has opened and whose PROXY header has not come yet. */
#ifndef LUADUCT_RUNTIME_PROXIED_H
#define LUADUCT_RUNTIME_PROXIED_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>

#include "net/address.h"
#include "net/channel.h"
#include "net/poller.h"

struct proxied;
struct reactor;

/* Those of one reactor: in a set of their own, and with one timer. */
struct proxied_set {
    struct poller poller;
    ev_timer timer;                /* to the oldest's end */
    struct proxied *first, **last; /* in the order in which they came */
};

/* Before the first. False: there is no such set to be had; errno says why. On the thread that prepares the reactor. */
bool proxied_prepare(struct reactor *reactor);

/* Takes over the socket, which is counted among those of the whole bridge: when its header has come it goes to
 * acceptor_open with the address in it and no byte of what follows read; without one within http.headerTimeoutMs, or
 * with a wrong one, it is closed. On the reactor's thread. */
void proxied_begin(struct reactor *reactor, int fd, const struct address *proxy);

/* The reactor stops: closes those that still wait. */
void proxied_stop(struct reactor *reactor);

/* For another process of the bridge: each that waits into a record of its own, of that kind; they stay open here. And
 * out of it: false: the reader has failed. On the reactor's thread. */
void proxied_put(const struct reactor *reactor, uint32_t kind, struct channel_writer *channel);
bool proxied_get(struct reactor *reactor, struct channel_reader *channel);

/* After reactor_run, or in its place. */
void proxied_release(struct reactor *reactor);

#endif
