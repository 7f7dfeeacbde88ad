/* Frames up to SMALL bytes are copied side by side into the scratch buffer and leave in one send, larger ones as
 * vectors of the shared frame: copying a small frame costs less than a vector entry costs the kernel. */
#include "protocol/websocket/outbox.h"

#include <limits.h>

#include "protocol/msgpack/msgpack_frame.h"
#include "protocol/websocket/deflate.h"

#define SMALL 2048u
#define VECTORS 64u
/* One batch message holds at most this many bytes of envelopes, so that a receiver's buffer stays modest. */
#define BATCH_BYTES (256u << 10)
#define BATCH_ENVELOPES 1024u

void (*outbox_written)(struct outbox *outbox, const struct frame_trace *trace);

static const char batch_start[] = "{\"type\":\"batch\",\"envelopes\":[";
static const char batch_end[] = "]}";

static struct frame *twin_of(const struct outbox *outbox, struct frame *frame) __attribute__((noinline));
static struct frame *twin_of(const struct outbox *outbox, struct frame *frame)
{
    if (outbox->form & OUTBOX_BINARY)
        frame = msgpack_twin(frame);
    return frame ? deflate_twin(frame, outbox->form & OUTBOX_WINDOW) : NULL;
}

/* The bytes that go to this peer for a queued frame: itself, or its twin in MessagePack, compressed, or both. NULL: no
 * memory for the former, without which the peer can read nothing. */
static inline struct frame *wire_form(const struct outbox *outbox, struct frame *frame)
{
    return outbox->form ? twin_of(outbox, frame) : frame;
}

static void drop_first(struct outbox *outbox, unsigned count, uint64_t *sent_frames)
{
    for (; count > 0; count--) {
        struct frame *done = frame_queue_pop_front(&outbox->queue);
        if (done->kind == FRAME_ENVELOPE) {
            ++*sent_frames;
            if (__builtin_expect(done->trace != NULL, 0))
                outbox_written(outbox, done->trace);
        }
        frame_release(done);
    }
}

static void start_partial(struct outbox *outbox, struct frame *wire, uint32_t sent, unsigned covered)
{
    outbox->partial = wire;
    outbox->partial_sent = sent;
    outbox->covered = (uint16_t)covered;
}

/* Whether a batch message may start at this place of the queue. */
static bool batch_starts_at(const struct outbox *outbox, uint32_t index)
{
    return outbox->batches && index + 1 < outbox->queue.count &&
           frame_queue_at(&outbox->queue, index)->kind == FRAME_ENVELOPE &&
           frame_queue_at(&outbox->queue, index + 1)->kind == FRAME_ENVELOPE;
}

static void write_batch(const struct outbox *outbox, unsigned count, char *at)
{
    at = mempcpy(at, batch_start, sizeof batch_start - 1);
    for (unsigned i = 0; i < count; i++) {
        struct slice envelope = frame_envelope(frame_queue_at(&outbox->queue, i));
        if (i > 0)
            *at++ = ',';
        at = mempcpy(at, envelope.data, envelope.length);
    }
    memcpy(at, batch_end, sizeof batch_end - 1);
}

static struct frame *packed_batch(const struct outbox *outbox, unsigned count)
{
    struct frame *frames[BATCH_ENVELOPES];
    for (unsigned i = 0; i < count; i++)
        frames[i] = frame_queue_at(&outbox->queue, i);
    return msgpack_list(msgpack_batch_head, frames, count);
}

/* One batch message for the envelopes at the head of the queue; false when there are fewer than two or no memory. */
static bool start_batch(struct outbox *outbox)
{
    if (!batch_starts_at(outbox, 0))
        return false;
    unsigned count = 0;
    size_t length = sizeof batch_start - 1 + sizeof batch_end - 1;
    while (count < outbox->queue.count && count < BATCH_ENVELOPES) {
        struct frame *frame = frame_queue_at(&outbox->queue, count);
        size_t envelope = frame_envelope(frame).length + 1;
        if (frame->kind != FRAME_ENVELOPE || (count > 0 && length + envelope > BATCH_BYTES))
            break;
        length += envelope;
        count++;
    }
    if (count < 2)
        return false;
    struct frame *batch =
        outbox->form & OUTBOX_BINARY ? packed_batch(outbox, count) : frame_new(FRAME_CONTROL, 1, length - 1);
    if (!batch)
        return false;
    if (batch->form == FRAME_PLAIN)
        write_batch(outbox, count, frame_payload(batch));
    struct frame *wire = wire_form(outbox, batch);
    if (wire != batch) {
        frame_retain(wire);
        frame_release(batch);
    }
    start_partial(outbox, wire, 0, count);
    return true;
}

static enum outbox_result flush_partial(struct outbox *outbox, struct transport *transport, uint64_t *sent_bytes,
                                        uint64_t *sent_frames)
{
    struct frame *wire = outbox->partial;
    while (outbox->partial_sent < wire->length) {
        long n = transport_send(transport, wire->data + outbox->partial_sent, wire->length - outbox->partial_sent);
        outbox->in_flight = transport_in_flight(transport);
        if (n < 0)
            return n == TRANSPORT_BLOCKED ? OUTBOX_BLOCKED : OUTBOX_BROKEN;
        outbox->partial_sent += (uint32_t)n;
        *sent_bytes += (uint64_t)n;
    }
    drop_first(outbox, outbox->covered, sent_frames);
    frame_release(wire);
    outbox->partial = NULL;
    outbox->covered = 0;
    return OUTBOX_EMPTY;
}

/* Seeing the bound on the length, gcc would inline a `rep movs`, which takes longer to start than the copy takes. */
static inline void copy_small(char *to, const char *from, size_t length)
{
    __asm__("" : "+r"(length));
    memcpy(to, from, length);
}

/* Gathers what fits into one call to the kernel; gives the number of bytes in it. */
static size_t gather(struct outbox *outbox, struct outbox_scratch *scratch, struct iovec vectors[VECTORS],
                     unsigned *vector_count)
{
    size_t total = 0, in_scratch = 0;
    unsigned used = 0;
    bool open = false; /* the last vector is a run of the scratch buffer that may grow */
    for (uint32_t i = 0; i < outbox->queue.count && i < OUTBOX_GATHER; i++) {
        if (i > 0 && batch_starts_at(outbox, i))
            break;
        struct frame *wire = wire_form(outbox, frame_queue_at(&outbox->queue, i));
        if (__builtin_expect(!wire, 0))
            break;
        scratch->wires[i] = wire;
        if (wire->length <= SMALL) {
            if (in_scratch + wire->length > sizeof scratch->bytes || (!open && used == VECTORS))
                break;
            if (!open) {
                vectors[used++] = (struct iovec){scratch->bytes + in_scratch, 0};
                open = true;
            }
            copy_small(scratch->bytes + in_scratch, wire->data, wire->length);
            vectors[used - 1].iov_len += wire->length;
            in_scratch += wire->length;
        } else {
            if (used == VECTORS)
                break;
            vectors[used++] = (struct iovec){wire->data, wire->length};
            open = false;
        }
        total += wire->length;
    }
    *vector_count = used;
    return total;
}

/* --- TLS --- */

/* As many whole frames as one record carries, side by side in the scratch buffer; 0: not even the first. */
static unsigned gather_record(const struct outbox *outbox, struct outbox_scratch *scratch, size_t most, size_t *length)
{
    unsigned count = 0;
    *length = 0;
    for (uint32_t i = 0; i < outbox->queue.count && i < OUTBOX_GATHER; i++) {
        struct frame *wire =
            i > 0 && batch_starts_at(outbox, i) ? NULL : wire_form(outbox, frame_queue_at(&outbox->queue, i));
        if (!wire || wire->length > most - *length)
            break;
        memcpy(scratch->bytes + *length, wire->data, wire->length);
        *length += wire->length;
        count++;
    }
    return count;
}

/* `covered` frames are in a record that the transport has. */
static enum outbox_result settle_record(struct outbox *outbox, const struct transport *transport, long sent,
                                        uint64_t *sent_bytes, uint64_t *sent_frames)
{
    outbox->in_flight = transport_in_flight(transport);
    if (sent < 0)
        return sent == TRANSPORT_BLOCKED ? OUTBOX_BLOCKED : OUTBOX_BROKEN;
    *sent_bytes += (uint64_t)sent;
    drop_first(outbox, outbox->covered, sent_frames);
    outbox->covered = 0;
    return OUTBOX_EMPTY;
}

/* Frames that fit share a record, whole, so that it counts for all of them or for none; a larger one goes piece by
 * piece. */
static enum outbox_result flush_record(struct outbox *outbox, struct transport *transport,
                                       struct outbox_scratch *scratch, uint64_t *sent_bytes, uint64_t *sent_frames)
{
    if (outbox->covered > 0)
        return settle_record(outbox, transport, transport_send_rest(transport), sent_bytes, sent_frames);
    size_t length, most = transport_record_bytes(transport);
    unsigned count =
        gather_record(outbox, scratch, most < sizeof scratch->bytes ? most : sizeof scratch->bytes, &length);
    if (count == 0) {
        struct frame *large = wire_form(outbox, frame_queue_at(&outbox->queue, 0));
        if (!large)
            return OUTBOX_BROKEN;
        start_partial(outbox, frame_retain(large), 0, 1);
        return OUTBOX_EMPTY;
    }
    outbox->covered = (uint16_t)count;
    long sent = transport_send(transport, scratch->bytes, length);
    if (sent == TRANSPORT_BLOCKED && !transport_in_flight(transport))
        outbox->covered = 0;
    return settle_record(outbox, transport, sent, sent_bytes, sent_frames);
}

static enum outbox_result flush_records(struct outbox *outbox, struct transport *transport,
                                        struct outbox_scratch *scratch, uint64_t *sent_bytes, uint64_t *sent_frames)
{
    enum outbox_result result = OUTBOX_EMPTY;
    while (result == OUTBOX_EMPTY && outbox->queue.count > 0)
        if (outbox->partial || (outbox->batches && outbox->covered == 0 && start_batch(outbox)))
            result = flush_partial(outbox, transport, sent_bytes, sent_frames);
        else
            result = flush_record(outbox, transport, scratch, sent_bytes, sent_frames);
    return result;
}

enum outbox_result outbox_flush(struct outbox *outbox, struct transport *transport, struct outbox_scratch *scratch,
                                uint64_t *sent_bytes, uint64_t *sent_frames)
{
    if (__builtin_expect(transport->tls != NULL, 0))
        return flush_records(outbox, transport, scratch, sent_bytes, sent_frames);
    for (;;) {
        if (outbox->partial || (outbox->batches && start_batch(outbox))) {
            enum outbox_result result = flush_partial(outbox, transport, sent_bytes, sent_frames);
            if (result != OUTBOX_EMPTY)
                return result;
            continue;
        }
        if (outbox->queue.count == 0)
            return OUTBOX_EMPTY;

        long sent;
        size_t wanted;
        if (outbox->queue.count == 1) {
            struct frame *only = wire_form(outbox, frame_queue_at(&outbox->queue, 0));
            if (__builtin_expect(!only, 0))
                return OUTBOX_BROKEN;
            scratch->wires[0] = only;
            wanted = only->length;
            sent = transport_send(transport, only->data, wanted);
        } else {
            struct iovec vectors[VECTORS];
            unsigned count;
            wanted = gather(outbox, scratch, vectors, &count);
            if (__builtin_expect(count == 0, 0))
                return OUTBOX_BROKEN;
            sent = count == 1 ? transport_send(transport, vectors[0].iov_base, vectors[0].iov_len)
                              : transport_send_vector(transport, vectors, count);
        }
        if (sent < 0)
            return sent == TRANSPORT_BLOCKED ? OUTBOX_BLOCKED : OUTBOX_BROKEN;
        *sent_bytes += (uint64_t)sent;
        bool short_write = (size_t)sent < wanted;
        size_t left = (size_t)sent;
        for (unsigned i = 0; left > 0; i++) {
            struct frame *wire = scratch->wires[i];
            if (left < wire->length) {
                start_partial(outbox, frame_retain(wire), (uint32_t)left, 1);
                break;
            }
            left -= wire->length;
            drop_first(outbox, 1, sent_frames);
        }
        if (short_write)
            return OUTBOX_BLOCKED;
    }
}

struct frame *outbox_take_oldest(struct outbox *outbox)
{
    for (uint32_t i = outbox->covered; i < outbox->queue.count; i++)
        if (frame_queue_at(&outbox->queue, i)->kind == FRAME_ENVELOPE)
            return frame_queue_remove(&outbox->queue, i);
    return NULL;
}

uint32_t outbox_take_unsent(struct outbox *outbox, struct frame_queue *unsent)
{
    uint32_t lost = 0;
    outbox->cut = outbox->cut || outbox->in_flight || (outbox->partial && outbox->partial_sent > 0);
    frame_release(outbox->partial);
    outbox->partial = NULL;
    outbox->covered = 0;
    struct frame *frame;
    while ((frame = frame_queue_pop_front(&outbox->queue))) {
        if (frame->kind != FRAME_ENVELOPE) {
            frame_release(frame);
        } else if (!frame_queue_push_back(unsent, frame)) {
            frame_release(frame);
            lost++;
        }
    }
    return lost;
}
