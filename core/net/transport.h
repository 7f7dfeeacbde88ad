/* The bytes of one connection: a non-blocking socket. Never raises SIGPIPE, retries EINTR. TLS will sit behind the same
 * three functions. */
#ifndef LUADUCT_NET_TRANSPORT_H
#define LUADUCT_NET_TRANSPORT_H

#include <stddef.h>
#include <sys/uio.h>

struct transport {
    int fd; /* -1: closed */
};

/* Answers below zero. */
enum { TRANSPORT_BLOCKED = -1, TRANSPORT_BROKEN = -2 };

/* Bytes read (1 or more), 0 at the peer's end of stream, or one of the answers above. */
long transport_receive(struct transport *transport, void *buffer, size_t size);

/* Bytes handed to the kernel, possibly fewer than given, or one of the answers above. */
long transport_send(struct transport *transport, const void *data, size_t length);
long transport_send_vector(struct transport *transport, const struct iovec *vector, unsigned count);

/* Closes the socket; closed already is fine. */
void transport_close(struct transport *transport);

#endif
