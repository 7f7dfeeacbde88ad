/* Taking new connections: counting them against the limits, and turning away those that cannot be served. */
#ifndef LUADUCT_RUNTIME_ACCEPTOR_H
#define LUADUCT_RUNTIME_ACCEPTOR_H

#include <stdbool.h>

struct reactor;

/* A listening socket for the reactor to serve, the administration socket or one for everybody; takes the descriptor.
 * Main thread, before the reactor runs. */
void acceptor_add(struct reactor *reactor, int fd, bool is_admin);

/* On the reactor's thread. */
void acceptor_start(struct reactor *reactor);
void acceptor_stop(struct reactor *reactor); /* closes the listening sockets too */

#endif
