/* An outgoing WebSocket message, built once and shared by reference among all its recipients, the history and the
 * mailboxes. Immutable once shared. */
#ifndef LUADUCT_PROTOCOL_FRAME_H
#define LUADUCT_PROTOCOL_FRAME_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/slice.h"
#include "protocol/traceparent.h"

enum frame_kind {
    FRAME_ENVELOPE, /* an envelope: goes back to the mailbox when it was not handed over */
    FRAME_CONTROL,  /* an answer to one connection: registered, error, pong, close … ; lost with the connection */
};

/* Of a frame that belongs to a trace: the span that delivering it hangs on, and when what it was made of came and was
 * accepted (steady clock; received 0: nobody sent it). */
struct frame_trace {
    struct trace_context context;
    uint64_t received_ns, accepted_ns;
};

struct frame {
    atomic_uint references;
    uint32_t length;               /* bytes of data in use */
    uint32_t capacity;             /* bytes of data acquired, for the pool */
    uint8_t header_length;         /* WebSocket header at the start of data: 2, 4 or 10 bytes */
    uint8_t kind : 1;              /* enum frame_kind */
    uint8_t level : 2;             /* of priority, for who orders by it; 0: normal. These three set before sharing */
    uint8_t dead_letter : 1;       /* of the bridge's own: losing it makes no other */
    uint8_t form : 4;              /* FRAME_PLAIN, FRAME_MSGPACK, or 9 to 15: deflated with that LZ77 window */
    uint16_t share;                /* whose share of the mailboxes it takes: bridge/queue/mailbox.h; 0: nobody's */
    _Atomic(struct frame *) twins; /* this frame in other forms, a list */
    union {
        struct frame *next_twin;   /* of a twin */
        struct frame_trace *trace; /* of FRAME_PLAIN, its own; NULL: none is kept. Set before it is shared */
    };
    int64_t expires_ms;  /* wall clock; past it no mailbox gives it out; 0: never. Set before it is shared */
    int64_t accepted_ms; /* wall clock: when the envelope was accepted; 0: it was not, but made here. As above */
    uint64_t task;       /* that it opens for each agent that takes it: a hash; 0: none. Set before it is shared */
    char data[];
};

/* Forms of a frame beside the windows of compression. The twin in MessagePack has compressed twins of its own. */
enum { FRAME_PLAIN = 0, FRAME_MSGPACK = 1 };

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

/* The same, without asking whether memory is short: for another form of a frame that was let in. */
struct frame *frame_new_owed(enum frame_kind kind, unsigned opcode, size_t payload_length);

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

/* The twin in that form, or NULL. Borrowed, as long as the frame. Any thread. */
static inline struct frame *frame_find_twin(const struct frame *frame, unsigned form)
{
    struct frame *twin = atomic_load_explicit(&frame->twins, memory_order_acquire);
    while (twin && twin->form != form)
        twin = twin->next_twin;
    return twin;
}

/* Takes the caller's reference to `twin` and gives the frame's twin of that form, borrowed: another thread may have
 * been first. Any thread. */
struct frame *frame_attach_twin(struct frame *frame, struct frame *twin);

#endif
