/* Listening sockets: what a host name in the configuration means, and binding to it. */
#ifndef LUADUCT_NET_LISTENER_H
#define LUADUCT_NET_LISTENER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define LISTENER_ADDRESSES_MAXIMUM 8

struct listener_address {
    struct sockaddr_storage storage;
    socklen_t length;
};

/* "localhost": both loopbacks, ::1 only where the machine has IPv6; else an IP literal or a name to look up. Gives how
 * many addresses there are, 0 with *error set when there is none. Blocks on name lookup: start only. */
unsigned listener_resolve(const char *host, struct listener_address out[LISTENER_ADDRESSES_MAXIMUM], char *error,
                          size_t error_size);

/* Gives the address that port. */
void listener_set_port(struct listener_address *address, uint16_t port);

/* Binds every address to *port; with *port 0 the kernel picks one that is free on all of them, and *port is set. A port
 * that somebody listens on already is an error ("port 4567 is in use"), errno says it too: the sockets here do not
 * share it. The descriptors (one per address) stay bound and unlistened until the caller closes them. */
bool listener_reserve(struct listener_address *addresses, unsigned count, uint16_t *port, int *descriptors, char *error,
                      size_t error_size);

/* A non-blocking listening Unix socket of mode 0600 at `path`, in the place of one that nobody listens on any more; -1
 * with *error set. Start only: it changes the umask for a moment. */
int listener_open_unix(const char *path, char *error, size_t error_size);

/* A non-blocking listening socket that shares its port with others of this process; -1 with errno set. */
int listener_open(const struct listener_address *address);

#endif
