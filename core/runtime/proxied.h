/* A socket that a trusted proxy has opened and whose PROXY header has not come yet. */
#ifndef LUADUCT_RUNTIME_PROXIED_H
#define LUADUCT_RUNTIME_PROXIED_H

#include "net/address.h"

struct reactor;

/* Takes over the socket, which is counted among those of the whole bridge: when its header has come it goes to
 * acceptor_open with the address in it and no byte of what follows read; without one within http.headerTimeoutMs, or
 * with a wrong one, it is closed. On the reactor's thread. */
void proxied_begin(struct reactor *reactor, int fd, const struct address *proxy);

/* The reactor stops: closes those that still wait. */
void proxied_stop(struct reactor *reactor);

#endif
