/* permessage-deflate (RFC 7692): agreeing on it, inflating what clients send, and the compressed twin of an outgoing
 * frame. The server side always says server_no_context_takeover, so one compression serves every recipient with the
 * same window. */
#ifndef LUADUCT_PROTOCOL_DEFLATE_H
#define LUADUCT_PROTOCOL_DEFLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "net/channel.h"
#include "protocol/websocket/frame.h"

/* What a connection and its client agreed on. All zero: no compression. */
struct deflate_agreement {
    uint8_t send_window_bits;    /* of our messages: 9 to 15; 0: the extension is not in use */
    uint8_t receive_window_bits; /* of the client's messages: 15, or less when the connection keeps its window */
    bool say_send_window_bits;   /* the offer had server_max_window_bits, so the answer must (RFC 7692 7.1.2.1) */
    bool receive_takeover;       /* the client may refer back to its earlier messages: the connection keeps a window */
};

enum deflate_offer {
    DEFLATE_DECLINED,  /* nothing that we can accept: go on without the extension */
    DEFLATE_AGREED,    /* *out is set; the answer must carry deflate_agreement_write's text */
    DEFLATE_MALFORMED, /* not an extension list at all: the handshake fails (RFC 6455 9.1) */
};

/* The most that one connection may hold for client takeover: a window of 2^13 bytes and zlib's 7 KiB beside it. Clients
 * that cannot be held to such a window (no client_max_window_bits in the offer) get client_no_context_takeover. */
#define DEFLATE_TAKEOVER_BYTES (16u << 10)
#define DEFLATE_TAKEOVER_WINDOW_BITS 13

/* Reads the values of all Sec-WebSocket-Extensions headers in order and takes the first acceptable offer (RFC 7692 5,
 * 7.1). Without allow_takeover every answer has client_no_context_takeover. Any thread. */
enum deflate_offer deflate_negotiate(const struct slice *values, size_t count, bool allow_takeover,
                                     struct deflate_agreement *out);

/* Enough for every answer: the name and four parameters. */
#define DEFLATE_AGREEMENT_LENGTH 144

/* Writes the value of the answer's Sec-WebSocket-Extensions header, no NUL, and gives its length. */
size_t deflate_agreement_write(const struct deflate_agreement *agreement, char out[DEFLATE_AGREEMENT_LENGTH]);

/* Bytes behind the data of every block that deflate_inflate gives, for readers that load past the end. */
#define DEFLATE_SLACK 64

enum deflate_result {
    DEFLATE_DONE,
    DEFLATE_TOO_LARGE,     /* more than limit bytes would come out: close with 1009 */
    DEFLATE_BAD_DATA,      /* not a deflated message: close with 1007 */
    DEFLATE_TOO_COSTLY,    /* many blocks that take long to begin and hold next to nothing: close with 1008 */
    DEFLATE_OUT_OF_MEMORY, /* close with 1013 */
};

struct deflate_output {
    char *data; /* from pool_acquire(POOL_BUFFERS, size), the receiver's to release; DEFLATE_SLACK bytes are behind */
    uint32_t size;
    uint32_t length;
};

/* A client's history between messages. Opaque; owned by its connection, which must use it on one thread at a time. */
struct deflate_history;

/* Inflates one whole message (RFC 7692 7.2.2) of at most limit bytes; memory grows with what comes out, so a small
 * message that would fill gigabytes is found out at the limit. history: NULL when the client resets its window with
 * every message; else where the connection keeps it: made at the first message, freed with deflate_history_free. After
 * anything but DEFLATE_DONE nothing is to be released and the history is of no more use. Any thread. */
enum deflate_result deflate_inflate(struct deflate_history **history, unsigned window_bits, struct slice message,
                                    uint32_t limit, struct deflate_output *out);

/* Into a record for another process of the bridge, and out of it: the window is all that there is of a history between
 * messages. NULL is allowed. False: no memory. */
void deflate_history_put(const struct deflate_history *history, struct channel_writer *channel);
bool deflate_history_get(struct deflate_history **history, unsigned window_bits, struct channel_reader *channel);

/* NULL is allowed. Any thread. */
void deflate_history_free(struct deflate_history *history);

/* Shorter messages stay plain: they fit one packet either way, and compressing takes longer than sending them. */
#define DEFLATE_THRESHOLD 512

/* The frame to send to a peer whose agreement says send_window_bits: the compressed twin, built by whoever asks first
 * and kept with the frame, or the frame itself when it is short, a control frame, did not shrink, or memory is out (or
 * window_bits is 0). Borrowed: lives as long as `frame`. Any number of threads at once. */
struct frame *deflate_twin(struct frame *frame, unsigned window_bits);

/* Compresses one message on its own (RFC 7692 7.2.1) into out; gives its length, or 0 when it does not fit into room
 * bytes, 5 of which are scratch, or memory is out. window_bits: 9 to 15. Any thread. */
size_t deflate_compress(struct slice message, unsigned window_bits, char *out, size_t room);

/* Bytes that zlib holds in this process. Any thread. */
uint64_t deflate_state_bytes(void);

/* Frees the calling thread's zlib state; it comes back when next needed. Call before a thread ends, or to give memory
 * back. */
void deflate_leave_thread(void);

#endif
