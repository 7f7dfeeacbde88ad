/* Taking new connections: counting them against the limits, and turning away those that cannot be served. */
#ifndef LUADUCT_RUNTIME_ACCEPTOR_H
#define LUADUCT_RUNTIME_ACCEPTOR_H

struct reactor;

/* A listening socket for the reactor to serve; takes the descriptor. Main thread, before the reactor runs. */
void acceptor_add(struct reactor *reactor, int fd);

/* On the reactor's thread. */
void acceptor_start(struct reactor *reactor);
void acceptor_stop(struct reactor *reactor); /* closes the listening sockets too */

#endif
