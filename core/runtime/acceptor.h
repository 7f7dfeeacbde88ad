/* Taking new connections: counting them against the limits, and turning away those that cannot be served. */
#ifndef LUADUCT_RUNTIME_ACCEPTOR_H
#define LUADUCT_RUNTIME_ACCEPTOR_H

#include <stdbool.h>

#include "net/address.h"

struct reactor;

/* Who is at the other end. */
enum acceptor_peer {
    PEER_DIRECT,
    PEER_PROXY,     /* one of limits.trustedProxies: who is behind it, its requests say */
    PEER_FORWARDED, /* a proxy's header has said who */
    PEER_ADMIN,     /* the administration socket */
};

/* A listening socket for the reactor to serve, the administration socket or one for everybody; takes the descriptor.
 * Main thread, before the reactor runs. */
void acceptor_add(struct reactor *reactor, int fd, bool is_admin);

/* The way of an accepted socket, on the reactor's thread: it is counted against the limits of the whole bridge (false:
 * it was turned away and closed), and then opened as a connection of that peer, or turned away after all. What comes
 * between (a proxy's header) keeps the count. */
bool acceptor_count(struct reactor *reactor, int fd);
void acceptor_open(struct reactor *reactor, int fd, const struct address *from, enum acceptor_peer peer);

/* On the reactor's thread. */
void acceptor_start(struct reactor *reactor);
void acceptor_stop(struct reactor *reactor); /* closes the listening sockets too */

#endif
