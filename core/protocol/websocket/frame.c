#include "protocol/websocket/frame.h"

#include "memory/admission.h"
#include "memory/pool.h"

static size_t block_size(size_t payload_length)
{
    return pool_usable_size(sizeof(struct frame) + frame_header_length(payload_length) + payload_length);
}

static inline struct frame *make(enum frame_kind kind, unsigned opcode, size_t payload_length, size_t size)
{
    unsigned header = frame_header_length(payload_length);
    struct frame *frame = pool_acquire(POOL_ENVELOPES, size);
    if (!frame)
        return NULL;
    atomic_init(&frame->references, 1);
    frame->length = (uint32_t)(header + payload_length);
    frame->capacity = (uint32_t)(size - sizeof(struct frame));
    frame->header_length = (uint8_t)header;
    frame->kind = (uint8_t)kind;
    frame->form = FRAME_PLAIN;
    frame->level = 0;
    frame->dead_letter = 0;
    frame->share = 0;
    atomic_init(&frame->twins, NULL);
    frame->next_twin = NULL; /* and no trace */
    frame->expires_ms = 0;
    frame->accepted_ms = 0;
    frame->task = 0;

    unsigned char *at = (unsigned char *)frame->data;
    at[0] = (unsigned char)(0x80 | opcode);
    if (header == 2) {
        at[1] = (unsigned char)payload_length;
    } else if (header == 4) {
        at[1] = 126;
        at[2] = (unsigned char)(payload_length >> 8);
        at[3] = (unsigned char)payload_length;
    } else {
        at[1] = 127;
        for (int i = 0; i < 8; i++)
            at[2 + i] = (unsigned char)((uint64_t)payload_length >> (56 - 8 * i));
    }
    return frame;
}

struct frame *frame_new(enum frame_kind kind, unsigned opcode, size_t payload_length)
{
    if (payload_length > UINT32_MAX - 64)
        return NULL;
    size_t size = block_size(payload_length);
    /* An answer to a peer's own doing may always be given while it is short. */
    if ((kind == FRAME_ENVELOPE || size > ADMISSION_SMALL_BYTES) && !admission_take(size))
        return NULL;
    return make(kind, opcode, payload_length, size);
}

struct frame *frame_new_owed(enum frame_kind kind, unsigned opcode, size_t payload_length)
{
    if (payload_length > UINT32_MAX - 64)
        return NULL;
    size_t size = block_size(payload_length);
    admission_charge(size);
    return make(kind, opcode, payload_length, size);
}

struct frame *frame_from(enum frame_kind kind, unsigned opcode, struct slice payload)
{
    struct frame *frame = frame_new(kind, opcode, payload.length);
    if (frame && payload.length > 0)
        memcpy(frame_payload(frame), payload.data, payload.length);
    return frame;
}

void frame_release(struct frame *frame)
{
    if (!frame || atomic_fetch_sub_explicit(&frame->references, 1, memory_order_acq_rel) != 1)
        return;
    for (struct frame *twin = atomic_load_explicit(&frame->twins, memory_order_relaxed), *next; twin; twin = next) {
        next = twin->next_twin;
        frame_release(twin);
    }
    if (__builtin_expect(frame->form == FRAME_PLAIN && frame->trace, 0))
        pool_release(POOL_ARRAYS, frame->trace, sizeof *frame->trace);
    pool_release(POOL_ENVELOPES, frame, sizeof(struct frame) + frame->capacity);
}

struct frame *frame_attach_twin(struct frame *frame, struct frame *twin)
{
    struct frame *head = atomic_load_explicit(&frame->twins, memory_order_acquire);
    do {
        struct frame *other = frame_find_twin(frame, twin->form);
        if (other) {
            frame_release(twin);
            return other;
        }
        twin->next_twin = head;
    } while (
        !atomic_compare_exchange_weak_explicit(&frame->twins, &head, twin, memory_order_acq_rel, memory_order_acquire));
    return twin;
}
