/* A non-blocking TCP stream of a client, with TLS in it or not: what the kernel would not take is kept and sent later,
 * what was received but is not whole yet is kept until the rest comes. The buffer that bytes are received into is the
 * caller's and shared by all its streams, so a stream that waits for nothing costs nothing but this struct. One thread.
 */
#ifndef LUADUCT_CLIENT_TCP_H
#define LUADUCT_CLIENT_TCP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/slice.h"
#include "client/arguments/bridge_url.h"
#include "memory/buffer.h"

struct tcp_stream {
    int descriptor;         /* -1: closed */
    struct buffer held;     /* received, not consumed */
    struct buffer unsent;   /* given to tcp_send, not taken by the kernel */
    struct tls_stream *tls; /* NULL: plain */
};

/* Where bytes are received. Grows when a message is larger; starts as {0}. */
struct read_buffer {
    char *data;
    size_t capacity;
};

#define READ_BUFFER_START (256u << 10)   /* 64 KiB cost a tenth of the speed at 16 KiB messages */
#define READ_BUFFER_MAXIMUM (256u << 20) /* far above any answer of a bridge: a `registered` carries 10 envelopes */

/* All of these give failures as a negative errno, which this says in words. -EPROTO stands for TLS; its words are those
 * of the last failure. -EADDRNOTAVAIL of tcp_connect means that the name is unknown. */
const char *tcp_error(int error);

/* Resolves the URL's host, connects to the first address that answers within timeout_ms each, and shakes hands where
 * the URL wants TLS. Blocks. Gives 0 or a negative errno. */
int tcp_connect(struct tcp_stream *stream, const struct bridge_url *url, int timeout_ms);

/* Starts to connect without blocking; the stream is writable once connected. Gives 0 or a negative errno. */
int tcp_start(struct tcp_stream *stream, const struct sockaddr *address, socklen_t length);

/* How tcp_start ended: 0 or a negative errno. To be asked when the stream turned writable. */
int tcp_connected(const struct tcp_stream *stream);

/* Puts TLS into a connected stream when the URL wants it. The handshake goes on by itself: with what is sent and
 * received from now on. Gives 0 or a negative errno. */
int tcp_secure(struct tcp_stream *stream, const struct bridge_url *url);

/* Sends now what the kernel takes and keeps a copy of the rest. Gives 0 or a negative errno. */
int tcp_send(struct tcp_stream *stream, struct slice bytes);

/* Sends more of what was kept: to be called when the stream turned writable. Gives 0 or a negative errno. */
int tcp_flush(struct tcp_stream *stream);

/* Whether to wait for the stream to turn writable: not while a handshake waits for the server. */
bool tcp_wants_write(const struct tcp_stream *stream);

static inline bool tcp_has_unsent(const struct tcp_stream *stream)
{
    return stream->unsent.length > 0;
}

/* One recv, or with TLS all whole records that are there. `bytes` becomes what was held and what came, in the shared
 * buffer, valid until its next use. Gives 1 when something came, 0 when nothing did, -ECONNRESET at the peer's end of
 * the stream or another negative errno. */
int tcp_receive(struct tcp_stream *stream, struct read_buffer *buffer, struct slice *bytes);

/* Keeps the rest of the bytes that tcp_receive gave, those that are not a whole message yet. To be called after every
 * tcp_receive that gave 1. Gives 0 or -ENOMEM. */
int tcp_hold(struct tcp_stream *stream, struct slice rest);

void tcp_close(struct tcp_stream *stream);

#endif
