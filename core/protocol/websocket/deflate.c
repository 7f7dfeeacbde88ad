/* zlib states are large (inflate 10 KiB and a window, deflate up to 170 KiB), so they belong to threads and not to
 * connections: one inflater and at most one deflater per window size, each made when first needed and reset for every
 * message. Only a client with takeover has a state of its own. All of zlib's memory goes through a pair of functions
 * that count it. A twin is compressed into a scratch block no larger than the message, so that text that does not
 * shrink is given up early, and then copied into a frame of exactly its size, because frames live long in histories
 * and queues. That a message does not shrink is noted by an empty twin, so that only the first recipient pays for it.
 * Negotiation is in deflate_offer.c. */
#include "protocol/websocket/deflate.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <zlib.h>

#include "memory/admission.h"
#include "memory/pool.h"

#define WINDOW_BITS_LEAST 9 /* zlib has no raw window of 8 bits */
#define WINDOW_BITS_MOST 15
#define WINDOWS (WINDOW_BITS_MOST - WINDOW_BITS_LEAST + 1)

/* On JSON of 1, 4 and 16 KiB level 1 takes 80, 50 and 33 % of the time of zlib's default 6 and gives 5 to 18 % more
 * bytes. The time is the reactor's. */
#define LEVEL 1
/* 2^(6+9) bytes of tables beside the window: on such messages neither slower nor larger than zlib's default 8, with a
 * quarter of its tables. */
#define MEMORY_LEVEL 6

/* What a first guess may take without more proof than the message's length times this: JSON shrinks to a fifth. */
#define INFLATE_GUESS 4
#define INFLATE_FIRST_LEAST 512u
#define INFLATE_FIRST_MOST (64u << 10)

/* A block with Huffman codes of its own costs some microseconds to set up, whatever it holds, and as few as 12 bytes to
 * send. Real ones hold thousands of bytes: so many of them may hold little, and more only by what they give. */
#define DYNAMIC_BLOCKS_FREE 64u
#define DYNAMIC_BLOCK_BYTES 512u

struct deflate_history {
    z_stream stream;
};

static atomic_ullong state_bytes;

static _Thread_local struct {
    struct deflate_history *inflater;
    z_stream *deflaters[WINDOWS];
} mine;

/* Sizes are kept in front of each block, in a prefix that keeps malloc's alignment. */
union prefix {
    size_t size;
    max_align_t alignment;
};

static void *counted_alloc(void *opaque, unsigned items, unsigned size)
{
    (void)opaque;
    size_t bytes = sizeof(union prefix) + (size_t)items * size;
    union prefix *block = malloc(bytes);
    if (!block)
        return NULL;
    block->size = bytes;
    atomic_fetch_add_explicit(&state_bytes, bytes, memory_order_relaxed);
    return block + 1;
}

static void counted_free(void *opaque, void *address)
{
    (void)opaque;
    if (!address)
        return;
    union prefix *block = (union prefix *)address - 1;
    atomic_fetch_sub_explicit(&state_bytes, block->size, memory_order_relaxed);
    free(block);
}

uint64_t deflate_state_bytes(void)
{
    return atomic_load_explicit(&state_bytes, memory_order_relaxed);
}

static struct deflate_history *history_new(unsigned window_bits)
{
    if (!admission_take(sizeof(struct deflate_history) + ((size_t)1 << window_bits)))
        return NULL;
    struct deflate_history *history = counted_alloc(NULL, 1, sizeof *history);
    if (!history)
        return NULL;
    history->stream = (z_stream){.zalloc = counted_alloc, .zfree = counted_free};
    if (inflateInit2(&history->stream, -(int)window_bits) != Z_OK) {
        counted_free(NULL, history);
        return NULL;
    }
    return history;
}

void deflate_history_free(struct deflate_history *history)
{
    if (!history)
        return;
    inflateEnd(&history->stream);
    counted_free(NULL, history);
}

void deflate_history_put(const struct deflate_history *history, struct channel_writer *channel)
{
    unsigned char window[1u << WINDOW_BITS_MOST];
    unsigned length = 0;
    channel_put(channel, history != NULL);
    /* It only reads, whatever its type says. */
    if (history && inflateGetDictionary((z_stream *)(uintptr_t)&history->stream, window, &length) != Z_OK)
        channel->out.failed = true;
    channel_put_bytes(channel, slice_from((const char *)window, length));
}

bool deflate_history_get(struct deflate_history **history, unsigned window_bits, struct channel_reader *channel)
{
    bool there = channel_get(channel) != 0;
    struct slice window = channel_get_bytes(channel);
    if (channel->failed || !there)
        return !channel->failed;
    if (window_bits < WINDOW_BITS_LEAST || window_bits > WINDOW_BITS_MOST || window.length > 1u << window_bits) {
        channel_reject(channel, "a window of compression is too large");
        return false;
    }
    *history = history_new(window_bits);
    return *history && inflateSetDictionary(&(*history)->stream, (const unsigned char *)window.data,
                                            (unsigned)window.length) == Z_OK;
}

static z_stream *deflater_new(unsigned window_bits)
{
    z_stream *stream = counted_alloc(NULL, 1, sizeof *stream);
    if (!stream)
        return NULL;
    *stream = (z_stream){.zalloc = counted_alloc, .zfree = counted_free};
    if (deflateInit2(stream, LEVEL, Z_DEFLATED, -(int)window_bits, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK) {
        counted_free(NULL, stream);
        return NULL;
    }
    return stream;
}

void deflate_leave_thread(void)
{
    deflate_history_free(mine.inflater);
    mine.inflater = NULL;
    for (unsigned i = 0; i < WINDOWS; i++) {
        if (!mine.deflaters[i])
            continue;
        deflateEnd(mine.deflaters[i]);
        counted_free(NULL, mine.deflaters[i]);
        mine.deflaters[i] = NULL;
    }
}

/* Makes room for at least one byte more, up to `most` bytes. */
static bool output_grow(struct deflate_output *out, uint64_t *room, uint64_t most)
{
    uint64_t wanted = *room * 2 < most ? *room * 2 : most;
    size_t size = pool_usable_size(wanted + DEFLATE_SLACK);
    char *data = admission_take(size) ? pool_acquire(POOL_BUFFERS, size) : NULL;
    if (!data)
        return false;
    if (out->data) {
        memcpy(data, out->data, out->length);
        pool_release(POOL_BUFFERS, out->data, out->size);
    }
    out->data = data;
    out->size = (uint32_t)size;
    *room = size - DEFLATE_SLACK < most ? size - DEFLATE_SLACK : most;
    return true;
}

/* Whether the block that begins with these three bits has Huffman codes of its own (RFC 1951 3.2.3). */
static bool is_dynamic(unsigned bits)
{
    return (bits >> 1 & 3) == 2;
}

/* After inflate(Z_BLOCK): data_type says that it stands between two blocks, and how many bits of the last byte it took
 * are left. Where the three bits are not all in hand the block is not counted: that is the case at the end of a message
 * only. */
static bool next_is_dynamic(const z_stream *stream)
{
    unsigned left = (unsigned)stream->data_type & 7;
    if (!(stream->data_type & 128) || (left < 3 && stream->avail_in == 0))
        return false;
    unsigned bits = left ? (unsigned)stream->next_in[-1] >> (8 - left) : 0;
    if (left < 3)
        bits |= (unsigned)stream->next_in[0] << left;
    return is_dynamic(bits);
}

static enum deflate_result inflate_all(z_stream *stream, struct slice message, uint32_t limit,
                                       struct deflate_output *out)
{
    static const unsigned char tail[4] = {0x00, 0x00, 0xff, 0xff}; /* what the sender took off, RFC 7692 7.2.2 */
    /* One byte more than allowed, to tell "exactly full" from "too much". */
    uint64_t most = (uint64_t)limit + 1;
    uint64_t room = message.length * INFLATE_GUESS / 2; /* doubled by the first output_grow */
    if (room < INFLATE_FIRST_LEAST / 2)
        room = INFLATE_FIRST_LEAST / 2;
    if (room > INFLATE_FIRST_MOST / 2)
        room = INFLATE_FIRST_MOST / 2;
    if (!output_grow(out, &room, most))
        return DEFLATE_OUT_OF_MEMORY;

    bool in_tail = false;
    /* The message before ended on a byte's border. */
    uint32_t dynamic_blocks = message.length > 0 && is_dynamic((unsigned char)message.data[0]);
    stream->next_in = (unsigned char *)(uintptr_t)message.data;
    stream->avail_in = (unsigned)message.length;
    for (;;) {
        if (stream->avail_in == 0 && !in_tail) {
            in_tail = true;
            stream->next_in = (unsigned char *)(uintptr_t)tail;
            stream->avail_in = sizeof tail;
        }
        stream->next_out = (unsigned char *)out->data + out->length;
        stream->avail_out = (unsigned)(room - out->length);
        int result = inflate(stream, Z_BLOCK); /* as far as the end of a block */
        out->length = (uint32_t)(room - stream->avail_out);
        if (out->length > limit)
            return DEFLATE_TOO_LARGE;
        if (result == Z_MEM_ERROR)
            return DEFLATE_OUT_OF_MEMORY;
        if (result == Z_STREAM_END) {
            /* A block marked as the last (7.2.3.4) ends the block, not the message; the window stays. */
            if (inflateResetKeep(stream) != Z_OK)
                return DEFLATE_BAD_DATA;
            if (stream->avail_in == 0 && in_tail)
                return DEFLATE_DONE;
            dynamic_blocks += stream->avail_in > 0 && is_dynamic(stream->next_in[0]);
        } else if (result == Z_OK || result == Z_BUF_ERROR) {
            dynamic_blocks += next_is_dynamic(stream);
        } else {
            return DEFLATE_BAD_DATA;
        }
        if (dynamic_blocks > DYNAMIC_BLOCKS_FREE + out->length / DYNAMIC_BLOCK_BYTES)
            return DEFLATE_TOO_COSTLY;
        if (result == Z_STREAM_END)
            continue;
        if (stream->avail_out == 0) {
            if (!output_grow(out, &room, most))
                return DEFLATE_OUT_OF_MEMORY;
        } else if (stream->avail_in == 0 && in_tail) {
            break;
        }
    }
    /* 128: between two blocks; the low bits: how many bits of a byte are left over. Anything else is a message that
     * was cut off inside a block. */
    return (stream->data_type & 0xff) == 128 ? DEFLATE_DONE : DEFLATE_BAD_DATA;
}

enum deflate_result deflate_inflate(struct deflate_history **history, unsigned window_bits, struct slice message,
                                    uint32_t limit, struct deflate_output *out)
{
    *out = (struct deflate_output){0};
    if (limit > UINT32_MAX - 1024) /* so that sizes with slack and rounding stay in 32 bits */
        limit = UINT32_MAX - 1024;
    if (message.length > UINT32_MAX - 1024)
        return DEFLATE_TOO_LARGE;
    struct deflate_history **kept = history ? history : &mine.inflater;
    if (!*kept)
        *kept = history_new(history ? window_bits : WINDOW_BITS_MOST); /* the largest window reads all smaller ones */
    else if (!history && inflateReset(&(*kept)->stream) != Z_OK)
        return DEFLATE_BAD_DATA;
    if (!*kept)
        return DEFLATE_OUT_OF_MEMORY;

    enum deflate_result result = inflate_all(&(*kept)->stream, message, limit, out);
    if (result != DEFLATE_DONE) {
        pool_release(POOL_BUFFERS, out->data, out->size);
        *out = (struct deflate_output){0};
    }
    return result;
}

size_t deflate_compress(struct slice message, unsigned window_bits, char *out, size_t room)
{
    if (window_bits < WINDOW_BITS_LEAST || window_bits > WINDOW_BITS_MOST || message.length > UINT32_MAX)
        return 0;
    z_stream **slot = &mine.deflaters[window_bits - WINDOW_BITS_LEAST];
    if (!*slot)
        *slot = deflater_new(window_bits);
    else if (deflateReset(*slot) != Z_OK)
        return 0;
    z_stream *stream = *slot;
    if (!stream)
        return 0;
    if (room > UINT32_MAX)
        room = UINT32_MAX;
    stream->next_in = (unsigned char *)(uintptr_t)message.data;
    stream->avail_in = (unsigned)message.length;
    stream->next_out = (unsigned char *)out;
    stream->avail_out = (unsigned)room;
    int result = deflate(stream, Z_SYNC_FLUSH);
    size_t length = room - stream->avail_out;
    /* A full buffer may hide bytes that did not fit. */
    if (result != Z_OK || stream->avail_in > 0 || stream->avail_out == 0 || length < 5)
        return 0;
    return length - 4; /* 00 00 ff ff, which the receiver puts back */
}

/* The twin, or the empty frame that says there is none worth having; NULL when memory is out. */
static struct frame *build_twin(const struct frame *frame, unsigned window_bits)
{
    struct slice payload = frame_payload_slice(frame);
    unsigned opcode = (unsigned char)frame->data[0] & 0x0f;
    char *scratch = pool_acquire(POOL_BUFFERS, payload.length);
    if (!scratch)
        return NULL;
    size_t length = deflate_compress(payload, window_bits, scratch, payload.length);
    struct frame *twin = frame_from((enum frame_kind)frame->kind, opcode, slice_from(scratch, length));
    pool_release(POOL_BUFFERS, scratch, payload.length);
    if (!twin)
        return NULL;
    twin->form = (uint8_t)window_bits;
    if (length == 0)
        twin->length = 0;
    else
        twin->data[0] = (char)(twin->data[0] | 0x40); /* RSV1: compressed, RFC 7692 6 */
    return twin;
}

struct frame *deflate_twin(struct frame *frame, unsigned window_bits)
{
    bool control = frame->data[0] & 0x08;
    if (window_bits == 0 || control || frame->length - frame->header_length < DEFLATE_THRESHOLD)
        return frame;
    struct frame *twin = frame_find_twin(frame, window_bits);
    if (!twin) {
        struct frame *fresh = build_twin(frame, window_bits);
        if (!fresh)
            return frame;
        twin = frame_attach_twin(frame, fresh);
    }
    return twin->length > 0 ? twin : frame;
}
