/* Taking new connections: counting them against the limits, and turning away those that cannot be served. */
#ifndef LUADUCT_RUNTIME_ACCEPTOR_H
#define LUADUCT_RUNTIME_ACCEPTOR_H

#include <stdbool.h>

#include "runtime/limits/limits.h"

struct reactor;

/* A listening socket for the reactor to serve, the administration socket or one for everybody; takes the descriptor.
 * Main thread, before the reactor runs. */
void acceptor_add(struct reactor *reactor, int fd, bool is_admin);

/* An accepted socket of that peer, counted among the connections of the whole bridge already: counts it among its
 * address's too, and opens it, after a TLS handshake where the ports speak TLS, or turns it away. On the reactor's
 * thread. */
void acceptor_open(struct reactor *reactor, int fd, const struct address *from, enum peer_kind kind);

/* On the reactor's thread. */
void acceptor_start(struct reactor *reactor);
void acceptor_stop(struct reactor *reactor); /* closes the listening sockets too */

#endif
