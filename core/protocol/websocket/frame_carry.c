#include "protocol/websocket/frame_carry.h"

#include <stdlib.h>

#include "memory/pool.h"

#define TABLE_FIRST 1024u

static uint32_t place_of(const struct frame_writer *writer, const struct frame *frame)
{
    /* The upper half: frames lie at multiples of their size, so that the product's lower bits are few. */
    uint32_t at = (uint32_t)((uint64_t)(uintptr_t)frame * 0x9e3779b97f4a7c15u >> 32);
    for (at &= writer->capacity - 1; writer->seen[at] && writer->seen[at] != frame;)
        at = (at + 1) & (writer->capacity - 1);
    return at;
}

/* At most half full. */
static bool grow(struct frame_writer *writer)
{
    struct frame_writer larger = *writer;
    larger.capacity = writer->capacity ? writer->capacity * 2 : TABLE_FIRST;
    larger.seen = calloc(larger.capacity, sizeof *larger.seen);
    larger.numbers = calloc(larger.capacity, sizeof *larger.numbers);
    if (!larger.seen || !larger.numbers) {
        free((void *)larger.seen);
        free(larger.numbers);
        return false;
    }
    for (uint32_t i = 0; i < writer->capacity; i++) {
        if (!writer->seen[i])
            continue;
        uint32_t at = place_of(&larger, writer->seen[i]);
        larger.seen[at] = writer->seen[i];
        larger.numbers[at] = writer->numbers[i];
    }
    free((void *)writer->seen);
    free(writer->numbers);
    *writer = larger;
    return true;
}

static void put_content(struct channel_writer *channel, const struct frame *frame)
{
    const struct frame *twin = frame->form == FRAME_PLAIN ? frame_find_twin(frame, FRAME_MSGPACK) : NULL;
    const struct frame_trace *trace = frame->form == FRAME_PLAIN ? frame->trace : NULL;
    channel_put(channel, frame->kind | (uint64_t)frame->level << 1 | (uint64_t)frame->dead_letter << 3 |
                             (uint64_t)frame->form << 4 | (uint64_t)(trace != NULL) << 8 |
                             (uint64_t)frame->share << 16);
    if (trace) /* the steady clock is the machine's */
        channel_put_bytes(channel, slice_from((const char *)trace, sizeof *trace));
    channel_put(channel, (uint64_t)frame->expires_ms);
    channel_put(channel, (uint64_t)frame->accepted_ms);
    channel_put(channel, frame->task);
    channel_put_bytes(channel, slice_from(frame->data, frame->length));
    channel_put_bytes(channel, twin ? slice_from(twin->data, twin->length) : slice_from("", 0));
}

bool frame_writer_knows(const struct frame_writer *writer, const struct frame *frame)
{
    return writer->capacity > 0 && writer->seen[place_of(writer, frame)] != NULL;
}

void frame_put(struct frame_writer *writer, struct frame *frame)
{
    if ((writer->count + 1) * 2 > writer->capacity && !grow(writer)) {
        writer->channel->out.failed = true;
        return;
    }
    uint32_t at = place_of(writer, frame);
    if (!writer->seen[at]) {
        writer->seen[at] = frame_retain(frame);
        writer->numbers[at] = writer->count++;
        channel_put(writer->channel, writer->numbers[at]);
        put_content(writer->channel, frame);
    } else {
        channel_put(writer->channel, writer->numbers[at]);
    }
}

void frame_writer_free(struct frame_writer *writer)
{
    for (uint32_t i = 0; i < writer->capacity; i++)
        if (writer->seen[i])
            frame_release(writer->seen[i]);
    free((void *)writer->seen);
    free(writer->numbers);
    writer->seen = NULL;
    writer->numbers = NULL;
    writer->capacity = writer->count = 0;
}

/* --- Reading --- */

/* The frame of these bytes, a WebSocket message of ours with its header. */
static struct frame *make(struct channel_reader *channel, enum frame_kind kind, struct slice bytes)
{
    unsigned second = bytes.length >= 2 ? (unsigned char)bytes.data[1] : 128;
    unsigned header = second < 126 ? 2 : second == 126 ? 4 : 10;
    if (second >= 128 || bytes.length < header || frame_header_length(bytes.length - header) != header) {
        channel_reject(channel, "a frame has another length than it says");
        return NULL;
    }
    struct frame *frame = frame_new_owed(kind, (unsigned char)bytes.data[0] & 0x0f, bytes.length - header);
    if (!frame) {
        channel_reject(channel, "out of memory");
        return NULL;
    }
    memcpy(frame->data, bytes.data, bytes.length);
    return frame;
}

/* Without memory it has none. */
static struct frame_trace *copy_trace(struct slice bytes)
{
    struct frame_trace *trace = bytes.length == sizeof *trace ? pool_acquire(POOL_ARRAYS, sizeof *trace) : NULL;
    if (trace)
        memcpy(trace, bytes.data, sizeof *trace);
    return trace;
}

static struct frame *get_content(struct channel_reader *channel)
{
    uint64_t bits = channel_get(channel);
    struct slice trace = bits >> 8 & 1 ? channel_get_bytes(channel) : slice_from("", 0);
    int64_t expires_ms = (int64_t)channel_get(channel);
    int64_t accepted_ms = (int64_t)channel_get(channel);
    uint64_t task = channel_get(channel);
    struct slice bytes = channel_get_bytes(channel), packed = channel_get_bytes(channel);
    if (channel->failed)
        return NULL;
    struct frame *frame = make(channel, (enum frame_kind)(bits & 1), bytes);
    if (!frame)
        return NULL;
    frame->level = bits >> 1 & 3;
    frame->dead_letter = bits >> 3 & 1;
    frame->form = bits >> 4 & 15;
    frame->share = (uint16_t)(bits >> 16);
    frame->expires_ms = expires_ms;
    frame->accepted_ms = accepted_ms;
    frame->task = task;
    if (frame->form == FRAME_PLAIN)
        frame->trace = copy_trace(trace);
    struct frame *twin = packed.length > 0 ? make(channel, (enum frame_kind)(bits & 1), packed) : NULL;
    if (twin) {
        twin->form = FRAME_MSGPACK;
        frame_attach_twin(frame, twin);
    }
    return frame;
}

struct frame *frame_get(struct frame_reader *reader)
{
    uint64_t number = channel_get(reader->channel);
    if (reader->channel->failed)
        return NULL;
    if (number < reader->count)
        return frame_retain(reader->frames[number]);
    if (number > reader->count) {
        channel_reject(reader->channel, "a frame is named that did not come");
        return NULL;
    }
    if (reader->count == reader->capacity) {
        uint32_t capacity = reader->capacity ? reader->capacity * 2 : TABLE_FIRST;
        struct frame **grown = realloc((void *)reader->frames, capacity * sizeof *grown);
        if (!grown) {
            channel_reject(reader->channel, "out of memory");
            return NULL;
        }
        reader->frames = grown;
        reader->capacity = capacity;
    }
    struct frame *frame = get_content(reader->channel);
    if (!frame)
        return NULL;
    reader->frames[reader->count++] = frame;
    return frame_retain(frame);
}

void frame_reader_free(struct frame_reader *reader)
{
    for (uint32_t i = 0; i < reader->count; i++)
        frame_release(reader->frames[i]);
    free((void *)reader->frames);
    reader->frames = NULL;
    reader->count = reader->capacity = 0;
}
