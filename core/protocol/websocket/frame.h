/* An outgoing WebSocket message, built once and shared by reference among all its recipients, the history and the
 * mailboxes. Immutable once shared. */
#ifndef LUADUCT_PROTOCOL_FRAME_H
#define LUADUCT_PROTOCOL_FRAME_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/slice.h"

enum frame_kind {
    FRAME_ENVELOPE, /* an envelope: goes back to the mailbox when it was not handed over */
    FRAME_CONTROL,  /* an answer to one connection: registered, error, pong, close … ; lost with the connection */
};

struct frame {
    atomic_uint references;
    uint32_t length;                  /* bytes of data in use */
    uint32_t capacity;                /* bytes of data acquired, for the pool */
    uint8_t header_length;            /* WebSocket header at the start of data: 2, 4 or 10 bytes */
    uint8_t kind;                     /* enum frame_kind */
    uint8_t window_bits;              /* 0: plain; 9 to 15: payload deflated with that LZ77 window */
    uint8_t level : 2;                /* of priority, for who orders by it; 0: normal. Both set before it is shared */
    uint8_t dead_letter : 1;          /* of the bridge's own: losing it makes no other */
    _Atomic(struct frame *) deflated; /* twins of this frame for peers with compression, a list by window_bits */
    struct frame *next_deflated;
    int64_t expires_ms; /* wall clock; past it no mailbox gives it out; 0: never. Set before it is shared */
    char data[];
};

#define FRAME_ENVELOPE_PREFIX "{\"type\":\"envelope\",\"envelope\":"
#define FRAME_ENVELOPE_SUFFIX "}"

/* Bytes of a server-to-client header for a payload of that length (RFC 6455 5.2, unmasked). */
static inline unsigned frame_header_length(uint64_t payload_length)
{
    return payload_length < 126 ? 2 : payload_length < 65536 ? 4 : 10;
}

/* Room for a text message of payload_length bytes, its header written, `length` set, one reference held by the caller.
 * The caller fills frame_payload(). NULL when memory is out. opcode: 1 text, 2 binary, 8 close, 9 ping, 10 pong. */
struct frame *frame_new(enum frame_kind kind, unsigned opcode, size_t payload_length);

/* frame_new + copy. */
struct frame *frame_from(enum frame_kind kind, unsigned opcode, struct slice payload);

static inline char *frame_payload(struct frame *frame)
{
    return frame->data + frame->header_length;
}

static inline struct slice frame_payload_slice(const struct frame *frame)
{
    return slice_from(frame->data + frame->header_length, frame->length - frame->header_length);
}

/* The envelope object inside a FRAME_ENVELOPE, without the message around it. Valid as long as the frame. */
static inline struct slice frame_envelope(const struct frame *frame)
{
    size_t before = sizeof(FRAME_ENVELOPE_PREFIX) - 1, after = sizeof(FRAME_ENVELOPE_SUFFIX) - 1;
    struct slice payload = frame_payload_slice(frame);
    return slice_from(payload.data + before, payload.length - before - after);
}

static inline struct frame *frame_retain(struct frame *frame)
{
    atomic_fetch_add_explicit(&frame->references, 1, memory_order_relaxed);
    return frame;
}

void frame_release(struct frame *frame);

#endif
