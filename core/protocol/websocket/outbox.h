/* What waits to be written to one WebSocket connection. Frames stay in the queue until the kernel has taken them whole,
 * so that what was not handed over can go back to the agent's mailbox. */
#ifndef LUADUCT_PROTOCOL_OUTBOX_H
#define LUADUCT_PROTOCOL_OUTBOX_H

#include <stdbool.h>

#include "net/transport.h"
#include "protocol/websocket/frame_queue.h"

/* In outbox.form, beside the permessage-deflate window agreed on (9 to 15; 0: none): the peer speaks MessagePack. */
#define OUTBOX_BINARY 0x80u
#define OUTBOX_WINDOW 0x0fu

struct outbox;

/* Told of each frame with a trace that the kernel has whole; set before any outbox is used, by whoever traces. */
extern void (*outbox_written)(struct outbox *outbox, const struct frame_trace *trace);

struct outbox {
    struct frame_queue queue;
    struct frame *partial; /* the wire form of the first `covered` frames, some of its bytes written; else NULL */
    uint32_t partial_sent; /* bytes of it that the kernel has */
    uint16_t covered;      /* without `partial`: frames that one record of TLS carries, which the kernel has in part */
    uint8_t form;       /* what this peer takes: 0 frames as they are, else OUTBOX_BINARY and the window of deflate */
    bool batches : 1;   /* several envelopes may share one `batch` message */
    bool in_flight : 1; /* the kernel has a part of a record of TLS: what is in it can neither be changed nor counted */
    bool cut : 1;       /* a message was taken back half written: nothing more may follow on this connection */
};

/* The most frames that one call to the kernel carries. */
#define OUTBOX_GATHER 1024

/* Where one send is put together; one per reactor thread. */
struct outbox_scratch {
    char bytes[64 * 1024];              /* small frames, side by side */
    struct frame *wires[OUTBOX_GATHER]; /* the wire form of each frame in it */
};

enum outbox_result {
    OUTBOX_EMPTY,   /* all written */
    OUTBOX_BLOCKED, /* the socket is full: call again when it is writable */
    OUTBOX_BROKEN,  /* the peer is gone, or memory for what it can read */
};

/* Takes over the caller's reference when it gives true; false: out of memory. */
static inline bool outbox_push(struct outbox *outbox, struct frame *frame)
{
    return frame_queue_push_back(&outbox->queue, frame);
}

/* Writes as much as the socket takes. `sent_bytes` and `sent_frames` are added to. */
enum outbox_result outbox_flush(struct outbox *outbox, struct transport *transport, struct outbox_scratch *scratch,
                                uint64_t *sent_bytes, uint64_t *sent_frames);

/* Drops and gives the oldest envelope of which nothing was written yet; NULL when there is none. The caller owns it. */
struct frame *outbox_take_oldest(struct outbox *outbox);

/* Empties the outbox: envelopes that were not handed over whole are appended to `unsent`, oldest first, the rest is
 * released; `cut` tells whether one of them was half written. Gives how many envelopes found no memory and were lost.
 */
uint32_t outbox_take_unsent(struct outbox *outbox, struct frame_queue *unsent);

#endif
