/* The bytes of one connection: a non-blocking socket, with TLS or without. Never raises SIGPIPE, retries EINTR. */
#ifndef LUADUCT_NET_TRANSPORT_H
#define LUADUCT_NET_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

struct tls_context;
struct tls_peer;
struct tls_session;

struct transport {
    int fd;                  /* -1: closed */
    struct tls_session *tls; /* NULL: plain */
};

/* Answers below zero. */
enum { TRANSPORT_BLOCKED = -1, TRANSPORT_BROKEN = -2 };

/* With TLS a receive needs a buffer of at least this: half of it takes what comes, half what it means. */
#define TRANSPORT_RECEIVE_LEAST (64u << 10)

/* Bytes read (1 or more), 0 at the peer's end of stream, or one of the answers above. */
long transport_receive(struct transport *transport, void *buffer, size_t size);

/* Bytes handed to the kernel, possibly fewer than given, or one of the answers above. With TLS only whole records
 * count; where transport_in_flight, the next send must begin with the same bytes. */
long transport_send(struct transport *transport, const void *data, size_t length);
long transport_send_vector(struct transport *transport, const struct iovec *vector, unsigned count); /* plain only */

/* --- TLS: records --- */

/* The most bytes that one record carries; 0: plain. */
size_t transport_record_bytes(const struct transport *transport);

/* Whether the kernel has a part of a record whose bytes were not counted. */
bool transport_in_flight(const struct transport *transport);

/* Sends the rest of that record: its bytes of content, or one of the answers above; 0: there is none. */
long transport_send_rest(struct transport *transport);

/* What the peer's verified certificate says; NULL: none was shown, or plain. Valid until the transport is closed. */
const struct tls_peer *transport_peer_certificate(const struct transport *transport);

/* Whether it would still be let in: see tls_session_stands. Who showed none is. */
bool transport_peer_stands(const struct transport *transport, const struct tls_context *now);

/* --- The end --- */

/* The peer learns that nothing more comes; it may go on sending. False: the connection is gone. */
bool transport_end_sending(struct transport *transport);

/* Closes the socket; closed already is fine. */
void transport_close(struct transport *transport);

#endif
