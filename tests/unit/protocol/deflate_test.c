/* RFC 7692: the offers table, the examples of its section 7.2.3, and what our own bounds add. */
#include "../../support/unit.h"

#include <pthread.h>
#include <zlib.h>

#include "base/random.h"
#include "memory/pool.h"
#include "protocol/json/utf8.h"
#include "protocol/websocket/deflate.h"
#include "protocol/websocket/websocket.h"

#define BYTES(literal) slice_from(literal, sizeof(literal) - 1)

static uint64_t held_blocks(void)
{
    struct pool_statistics statistics;
    pool_read_statistics(POOL_BUFFERS, &statistics);
    return statistics.acquired - statistics.released;
}

/* Offers. */

static const char *answer_to(const char *offer, bool takeover)
{
    static char text[DEFLATE_AGREEMENT_LENGTH + 1];
    struct slice value = slice_from_string(offer);
    struct deflate_agreement agreement;
    switch (deflate_negotiate(&value, 1, takeover, &agreement)) {
    case DEFLATE_DECLINED:
        CHECK(agreement.send_window_bits == 0);
        return "declined";
    case DEFLATE_MALFORMED:
        return "malformed";
    case DEFLATE_AGREED:
        break;
    }
    CHECK(agreement.send_window_bits >= 9 && agreement.send_window_bits <= 15);
    CHECK(agreement.receive_window_bits >= 9 && agreement.receive_window_bits <= 15);
    CHECK(takeover || !agreement.receive_takeover);
    size_t length = deflate_agreement_write(&agreement, text);
    CHECK(length < sizeof text);
    text[length] = 0;
    return text;
}

#define NAME "permessage-deflate"
#define SERVER "; server_no_context_takeover"
#define CLIENT "; client_no_context_takeover"

TEST("deflate: answers every offer as RFC 7692 7.1 asks")
{
    static const struct {
        const char *offer, *answer;
    } table[] = {
        {NAME, NAME SERVER CLIENT},
        {NAME "; server_no_context_takeover", NAME SERVER CLIENT},
        {NAME ";client_no_context_takeover ;\tserver_no_context_takeover", NAME SERVER CLIENT},
        {NAME "; client_max_window_bits", NAME SERVER CLIENT},
        {NAME "; client_max_window_bits=8", NAME SERVER CLIENT},
        {NAME "; client_max_window_bits=10", NAME SERVER CLIENT},
        {NAME "; client_max_window_bits=\"10\"", NAME SERVER CLIENT},
        {NAME "; server_max_window_bits=9", NAME SERVER "; server_max_window_bits=9" CLIENT},
        {NAME "; server_max_window_bits=15", NAME SERVER "; server_max_window_bits=15" CLIENT},
        {NAME "; server_max_window_bits = \"1\\2\"", NAME SERVER "; server_max_window_bits=12" CLIENT},
        {"", "declined"},
        {" , ,", "declined"},
        {"permessage-bzip2", "declined"},
        {"Permessage-Deflate", "declined"},
        {"x-webkit-deflate-frame; no_context_takeover", "declined"},
        {NAME "; server_max_window_bits=8", "declined"},
        {NAME "; server_max_window_bits", "declined"},
        {NAME "; server_max_window_bits=7", "declined"},
        {NAME "; server_max_window_bits=16", "declined"},
        {NAME "; server_max_window_bits=09", "declined"},
        {NAME "; server_max_window_bits=010", "declined"},
        {NAME "; server_max_window_bits=1", "declined"},
        {NAME "; server_max_window_bits=1x", "declined"},
        {NAME "; server_max_window_bits=10; server_max_window_bits=10", "declined"},
        {NAME "; client_max_window_bits=7", "declined"},
        {NAME "; client_max_window_bits=16", "declined"},
        {NAME "; client_max_window_bits=09", "declined"},
        {NAME "; client_max_window_bits=15000000000000000", "declined"},
        {NAME "; client_max_window_bits; client_max_window_bits=9", "declined"},
        {NAME "; server_no_context_takeover=1", "declined"},
        {NAME "; client_no_context_takeover=true", "declined"},
        {NAME "; server_no_context_takeover; server_no_context_takeover", "declined"},
        {NAME "; client_no_context_takeover; client_no_context_takeover", "declined"},
        {NAME "; unknown", "declined"},
        {NAME "; unknown=1, " NAME, NAME SERVER CLIENT},
        {NAME "; server_max_window_bits=8, " NAME "; server_max_window_bits=11",
         NAME SERVER "; server_max_window_bits=11" CLIENT},
        {"other; a=\"b\" , " NAME "; server_max_window_bits=10, " NAME,
         NAME SERVER "; server_max_window_bits=10" CLIENT},
        {NAME ";", "malformed"},
        {NAME "; ; server_no_context_takeover", "malformed"},
        {NAME " server_no_context_takeover", "malformed"},
        {NAME "; client_max_window_bits=", "malformed"},
        {NAME "; client_max_window_bits=\"", "malformed"},
        {NAME "; client_max_window_bits=\"\"", "malformed"},
        {NAME "; client_max_window_bits=\"1 0\"", "malformed"},
        {NAME "; client_max_window_bits=\"10\\", "malformed"},
        {NAME "; =10", "malformed"},
        {NAME "=10", "malformed"},
        {"; a", "malformed"},
        {"\"" NAME "\"", "malformed"},
        {NAME ", b\x01", "malformed"},
        {NAME ", bad/name", "malformed"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *answer = answer_to(table[i].offer, false);
        if (strcmp(answer, table[i].answer) != 0)
            fprintf(stderr, "offer: %s\n", table[i].offer);
        CHECK_TEXT(answer, strlen(answer), table[i].answer);
    }
}

TEST("deflate: lets a client keep its window only when it may, can be bounded, and wants to")
{
    static const struct {
        const char *offer, *answer;
    } table[] = {
        {NAME, NAME SERVER CLIENT},
        {NAME "; client_max_window_bits", NAME SERVER "; client_max_window_bits=13"},
        {NAME "; client_max_window_bits=15", NAME SERVER "; client_max_window_bits=13"},
        {NAME "; client_max_window_bits=13", NAME SERVER "; client_max_window_bits=13"},
        {NAME "; client_max_window_bits=9", NAME SERVER "; client_max_window_bits=9"},
        {NAME "; client_max_window_bits=8", NAME SERVER CLIENT},
        {NAME "; client_max_window_bits; client_no_context_takeover", NAME SERVER CLIENT},
        {NAME "; client_max_window_bits=10; server_max_window_bits=12",
         NAME SERVER "; server_max_window_bits=12; client_max_window_bits=10"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *answer = answer_to(table[i].offer, true);
        CHECK_TEXT(answer, strlen(answer), table[i].answer);
    }
}

TEST("deflate: reads offers from several headers in order")
{
    struct slice values[] = {SLICE("x-other"), SLICE(NAME "; unknown"), SLICE(NAME "; server_max_window_bits=9"),
                             SLICE(NAME)};
    struct deflate_agreement agreement;
    CHECK(deflate_negotiate(values, 4, false, &agreement) == DEFLATE_AGREED && agreement.send_window_bits == 9);
    CHECK(deflate_negotiate(values, 2, false, &agreement) == DEFLATE_DECLINED);
    CHECK(deflate_negotiate(values, 0, false, &agreement) == DEFLATE_DECLINED);
}

/* Inflating. */

static void expect_inflated(struct deflate_history **history, struct slice message, const char *text)
{
    struct deflate_output out;
    CHECK(deflate_inflate(history, 15, message, 1000000, &out) == DEFLATE_DONE);
    CHECK_TEXT(out.data, out.length, text);
    CHECK(out.size >= out.length + DEFLATE_SLACK);
    pool_release(POOL_BUFFERS, out.data, out.size);
}

static enum deflate_result try_inflate(struct slice message, uint32_t limit)
{
    struct deflate_output out;
    enum deflate_result result = deflate_inflate(NULL, 15, message, limit, &out);
    pool_release(POOL_BUFFERS, out.data, out.size);
    CHECK(held_blocks() == 0);
    return result;
}

TEST("deflate: inflates the examples of RFC 7692 7.2.3")
{
    expect_inflated(NULL, BYTES("\xf2\x48\xcd\xc9\xc9\x07\x00"), "Hello");                         /* 7.2.3.1 */
    expect_inflated(NULL, BYTES("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), "Hello");         /* 7.2.3.3 */
    expect_inflated(NULL, BYTES("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), "Hello");                     /* 7.2.3.4 */
    expect_inflated(NULL, BYTES("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), "Hello"); /* 7.2.3.5 */
    expect_inflated(NULL, BYTES("\x00"), "");                                                      /* 7.2.3.6 */
    struct deflate_history *history = NULL;
    expect_inflated(&history, BYTES("\xf2\x48\xcd\xc9\xc9\x07\x00"), "Hello"); /* 7.2.3.2 */
    expect_inflated(&history, BYTES("\xf2\x00\x11\x00\x00"), "Hello");
    deflate_history_free(history);
    CHECK(try_inflate(BYTES("\xf2\x00\x11\x00\x00"), 100) ==
          DEFLATE_BAD_DATA); /* without the history it means nothing */
}

TEST("deflate: a client's window lives on behind a block marked as the last")
{
    struct deflate_history *history = NULL;
    expect_inflated(&history, BYTES("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), "Hello");
    expect_inflated(&history, BYTES("\xf2\x00\x11\x00\x00"), "Hello");
    deflate_history_free(history);
}

TEST("deflate: refuses what is no deflated message, and the next message is not hurt by it")
{
    CHECK(try_inflate(BYTES("\xff\xff\xff\xff"), 100) == DEFLATE_BAD_DATA);
    CHECK(try_inflate(BYTES("\x06"), 100) == DEFLATE_BAD_DATA);
    CHECK(try_inflate(BYTES("\x00\x05\x00\xfa\xff\x48\x65"), 100) == DEFLATE_BAD_DATA); /* cut inside a block */
    CHECK(try_inflate(BYTES("\x00\x05\x00\xfb\xff\x48\x65\x6c\x6c\x6f\x00"), 100) == DEFLATE_BAD_DATA);
    CHECK(try_inflate(BYTES(""), 100) == DEFLATE_BAD_DATA); /* even an empty message is one byte */
    expect_inflated(NULL, BYTES("\xf2\x48\xcd\xc9\xc9\x07\x00"), "Hello");
}

TEST("deflate: the limit is exact")
{
    struct slice hello = BYTES("\xf2\x48\xcd\xc9\xc9\x07\x00");
    CHECK(try_inflate(hello, 5) == DEFLATE_DONE);
    CHECK(try_inflate(hello, 4) == DEFLATE_TOO_LARGE);
    CHECK(try_inflate(hello, 0) == DEFLATE_TOO_LARGE);
    CHECK(try_inflate(BYTES("\x00"), 0) == DEFLATE_DONE);
}

static char *bulk(size_t length, bool random)
{
    char *text = malloc(length + 1);
    CHECK(text);
    if (random)
        random_bytes(text, length);
    else
        for (size_t i = 0; i < length; i++)
            text[i] = "{\"agent\":\"alice\"} "[i % 18];
    return text;
}

TEST("deflate: a bomb ends at the limit and never holds more than twice that")
{
    size_t length = 32u << 20;
    char *zeros = calloc(1, length), *bomb = malloc(length / 100);
    CHECK(zeros && bomb);
    size_t compressed = deflate_compress(slice_from(zeros, length), 15, bomb, length / 100);
    CHECK(compressed > 0 && compressed < length / 200);
    struct pool_statistics before, after;
    pool_read_statistics(POOL_BUFFERS, &before);
    CHECK(try_inflate(slice_from(bomb, compressed), 1u << 20) == DEFLATE_TOO_LARGE);
    pool_read_statistics(POOL_BUFFERS, &after);
    CHECK(after.acquired - before.acquired <= 8);
    struct deflate_output out;
    CHECK(deflate_inflate(NULL, 15, slice_from(bomb, compressed), 64u << 20, &out) == DEFLATE_DONE);
    CHECK(out.length == length && memcmp(out.data, zeros, length) == 0);
    pool_release(POOL_BUFFERS, out.data, out.size);
    free(zeros);
    free(bomb);
}

/* Compressing. */

/* --- Blocks that take long to set up --- */

struct bits {
    unsigned char bytes[1 << 20];
    size_t count; /* of bits */
};

static void put(struct bits *out, unsigned value, unsigned width)
{
    for (unsigned i = 0; i < width; i++, out->count++)
        out->bytes[out->count / 8] = (unsigned char)(out->bytes[out->count / 8] | (value >> i & 1) << out->count % 8);
}

/* A block with codes of its own (RFC 1951 3.2.7) for nothing but its end, which it then is: 90 bits. */
static void put_empty_block(struct bits *out, bool last)
{
    put(out, last, 1);
    put(out, 2, 2);
    put(out, 0, 5); /* 257 lengths of literals, 1 of distances */
    put(out, 0, 5);
    put(out, 14, 4); /* 18 lengths of the lengths' code: 18 and 1 have one bit each */
    for (unsigned i = 0; i < 18; i++)
        put(out, i == 2 || i == 17, 3);
    put(out, 1, 1), put(out, 127, 7); /* 138 zeros */
    put(out, 1, 1), put(out, 107, 7); /* 118 zeros */
    put(out, 0, 1), put(out, 0, 1);   /* the end and a distance: one bit each */
    put(out, 0, 1);                   /* the end */
}

static enum deflate_result inflate_blocks(unsigned count, bool last)
{
    static struct bits bits;
    memset(&bits, 0, sizeof bits);
    for (unsigned i = 0; i < count; i++) {
        put_empty_block(&bits, last);
        if (last)
            bits.count = (bits.count + 7) / 8 * 8;
    }
    put(&bits, 0, 3); /* the stored block whose length the sender took off */
    return try_inflate(slice_from((const char *)bits.bytes, (bits.count + 7) / 8), 1u << 20);
}

TEST("deflate: blocks that cost time and hold nothing are a limited number in one message")
{
    CHECK(inflate_blocks(1, false) == DEFLATE_DONE);
    CHECK(inflate_blocks(64, false) == DEFLATE_DONE);
    CHECK(inflate_blocks(65, false) == DEFLATE_TOO_COSTLY);
    CHECK(inflate_blocks(90000, false) == DEFLATE_TOO_COSTLY);
    CHECK(inflate_blocks(64, true) == DEFLATE_DONE);
    CHECK(inflate_blocks(65, true) == DEFLATE_TOO_COSTLY);
}

TEST("deflate: text in as many blocks as zlib makes of it, and flushed every 512 bytes, is none of them")
{
    enum { LENGTH = 1 << 20 };
    char *text = malloc(LENGTH), *packed = malloc(2 * LENGTH);
    CHECK(text && packed);
    for (size_t i = 0; i < LENGTH; i++)
        text[i] = (char)(' ' + (i * i * 31 + i * 7) % 90);
    static const size_t pieces[] = {512, 4096, LENGTH};
    for (unsigned i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        z_stream stream = {0};
        CHECK(deflateInit2(&stream, 9, Z_DEFLATED, -15, 1, Z_DEFAULT_STRATEGY) == Z_OK); /* the smallest blocks */
        stream.next_out = (unsigned char *)packed;
        stream.avail_out = 2 * LENGTH;
        for (size_t at = 0; at < LENGTH; at += pieces[i]) {
            stream.next_in = (unsigned char *)text + at;
            stream.avail_in = (unsigned)pieces[i];
            CHECK(deflate(&stream, Z_SYNC_FLUSH) == Z_OK);
        }
        size_t length = 2 * LENGTH - stream.avail_out - 4;
        deflateEnd(&stream);
        CHECK(try_inflate(slice_from(packed, length), LENGTH) == DEFLATE_DONE);
    }
    free(text);
    free(packed);
}

TEST("deflate: compresses as the examples of RFC 7692 7.2.3 do")
{
    char out[64];
    size_t length = deflate_compress(SLICE("Hello"), 15, out, sizeof out);
    CHECK(length == 7 && memcmp(out, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7) == 0);
    length = deflate_compress(SLICE("Hello"), 15, out, sizeof out); /* no takeover: the same again */
    CHECK(length == 7 && memcmp(out, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7) == 0);
    length = deflate_compress(SLICE(""), 15, out, sizeof out);
    CHECK(length == 1 && out[0] == 0);
    CHECK(deflate_compress(SLICE("Hello"), 8, out, sizeof out) == 0);
    CHECK(deflate_compress(SLICE("Hello"), 16, out, sizeof out) == 0);
    for (size_t room = 0; room < 12; room++)
        CHECK(deflate_compress(SLICE("Hello"), 15, out, room) == 0);
    CHECK(deflate_compress(SLICE("Hello"), 15, out, 12) == 7);
}

TEST("deflate: what it compresses, any inflater with that window reads back, at every window and many lengths")
{
    static const size_t lengths[] = {0, 1, 511, 512, 4096, 32768, 70000, 300000};
    for (unsigned bits = 9; bits <= 15; bits++) {
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            for (int random = 0; random < 2; random++) {
                char *text = bulk(lengths[i], random), *out = malloc(lengths[i] * 2 + 100);
                size_t length = deflate_compress(slice_from(text, lengths[i]), bits, out, lengths[i] * 2 + 100);
                CHECK(length > 0);
                struct deflate_history *history = NULL;
                struct deflate_output inflated;
                CHECK(deflate_inflate(&history, bits, slice_from(out, length), (uint32_t)lengths[i], &inflated) ==
                      DEFLATE_DONE);
                CHECK(inflated.length == lengths[i] && memcmp(inflated.data, text, lengths[i]) == 0);
                pool_release(POOL_BUFFERS, inflated.data, inflated.size);
                deflate_history_free(history);
                free(text);
                free(out);
            }
        }
    }
}

static struct frame *frame_of(unsigned opcode, size_t length, bool random)
{
    char *text = bulk(length, random);
    struct frame *frame = frame_from(FRAME_ENVELOPE, opcode, slice_from(text, length));
    CHECK(frame);
    free(text);
    return frame;
}

TEST("deflate: a twin is one frame with RSV1 that inflates to the same payload")
{
    struct frame *frame = frame_of(1, 20000, false);
    struct frame *twin = deflate_twin(frame, 15);
    CHECK(twin != frame && twin->length < frame->length / 4);
    CHECK((unsigned char)twin->data[0] == 0xc1 && twin->form == 15 && twin->kind == FRAME_ENVELOPE);
    struct slice payload = frame_payload_slice(twin);
    CHECK(frame_header_length(payload.length) == twin->header_length);
    struct deflate_output out;
    CHECK(deflate_inflate(NULL, 15, payload, 20000, &out) == DEFLATE_DONE);
    CHECK(slice_equal(slice_from(out.data, out.length), frame_payload_slice(frame)));
    pool_release(POOL_BUFFERS, out.data, out.size);
    frame_release(frame);
}

TEST("deflate: a twin is built once per window, and belongs to its frame")
{
    struct pool_statistics before, after;
    pool_read_statistics(POOL_ENVELOPES, &before);
    struct frame *frame = frame_of(2, 3000, false);
    struct frame *wide = deflate_twin(frame, 15), *narrow = deflate_twin(frame, 9);
    CHECK(wide != narrow && wide != frame && narrow->form == 9);
    CHECK((unsigned char)wide->data[0] == 0xc2);
    CHECK(deflate_twin(frame, 15) == wide && deflate_twin(frame, 9) == narrow);
    frame_release(frame);
    pool_read_statistics(POOL_ENVELOPES, &after);
    CHECK(after.acquired - before.acquired == 3 && after.released - before.released == 3);
}

TEST("deflate: short messages, control frames and peers without compression get the frame itself")
{
    struct frame *frame = frame_of(1, DEFLATE_THRESHOLD - 1, false);
    CHECK(deflate_twin(frame, 15) == frame);
    frame_release(frame);
    frame = frame_of(1, DEFLATE_THRESHOLD, false);
    CHECK(deflate_twin(frame, 15) != frame);
    CHECK(deflate_twin(frame, 0) == frame);
    frame_release(frame);
    frame = frame_of(9, 4096, false);
    CHECK(deflate_twin(frame, 15) == frame);
    frame_release(frame);
}

TEST("deflate: a message that does not shrink goes out plain, and only the first recipient pays for finding out")
{
    struct frame *frame = frame_of(2, 5000, true);
    CHECK(deflate_twin(frame, 15) == frame);
    struct pool_statistics before, after;
    pool_read_statistics(POOL_BUFFERS, &before);
    CHECK(deflate_twin(frame, 15) == frame);
    pool_read_statistics(POOL_BUFFERS, &after);
    CHECK(before.acquired == after.acquired);
    frame_release(frame);
}

struct racer {
    pthread_t thread;
    pthread_barrier_t *barrier;
    struct frame **frames;
    struct frame *twins[50][7];
};

static void *race(void *argument)
{
    struct racer *racer = argument;
    pthread_barrier_wait(racer->barrier);
    for (unsigned i = 0; i < 50; i++)
        for (unsigned bits = 9; bits <= 15; bits++)
            racer->twins[i][bits - 9] = deflate_twin(racer->frames[i], bits);
    deflate_leave_thread();
    pool_leave_thread();
    return NULL;
}

TEST("deflate: threads that ask at once get the same twin")
{
    static struct racer racers[4];
    struct frame *frames[50];
    pthread_barrier_t barrier;
    CHECK(pthread_barrier_init(&barrier, NULL, 4) == 0);
    for (unsigned i = 0; i < 50; i++)
        frames[i] = frame_of(1, 1000 + i, false);
    for (unsigned i = 0; i < 4; i++) {
        racers[i].barrier = &barrier;
        racers[i].frames = frames;
        CHECK(pthread_create(&racers[i].thread, NULL, race, &racers[i]) == 0);
    }
    for (unsigned i = 0; i < 4; i++)
        pthread_join(racers[i].thread, NULL);
    for (unsigned i = 0; i < 50; i++) {
        for (unsigned j = 1; j < 4; j++)
            CHECK(memcmp(racers[0].twins[i], racers[j].twins[i], sizeof racers[0].twins[i]) == 0);
        unsigned listed = 0;
        for (struct frame *twin = frames[i]->twins; twin; twin = twin->next_twin)
            listed++;
        CHECK(listed == 7);
        frame_release(frames[i]);
    }
    pthread_barrier_destroy(&barrier);
    CHECK(deflate_state_bytes() == 0);
}

TEST("deflate: zlib's memory is there only while needed, and counted")
{
    CHECK(deflate_state_bytes() == 0);
    struct frame *frame = frame_of(1, 1000, false);
    deflate_twin(frame, 15);
    uint64_t one = deflate_state_bytes();
    CHECK(one > 100000 && one < 200000);
    deflate_twin(frame, 9);
    CHECK(deflate_state_bytes() > one);
    frame_release(frame);
    deflate_leave_thread();
    CHECK(deflate_state_bytes() == 0);

    expect_inflated(NULL, BYTES("\x00"), "");
    CHECK(deflate_state_bytes() > 0 && deflate_state_bytes() < 48 * 1024);
    deflate_leave_thread();
    deflate_leave_thread();
    CHECK(deflate_state_bytes() == 0);
    expect_inflated(NULL, BYTES("\x00"), "");
}

TEST("deflate: client takeover costs no more than its bound")
{
    struct deflate_history *history = NULL;
    char *text = bulk(50000, true), *out = malloc(60000);
    size_t length = deflate_compress(slice_from(text, 50000), DEFLATE_TAKEOVER_WINDOW_BITS, out, 60000);
    deflate_leave_thread();
    struct deflate_output inflated;
    CHECK(deflate_inflate(&history, DEFLATE_TAKEOVER_WINDOW_BITS, slice_from(out, length), 50000, &inflated) ==
          DEFLATE_DONE);
    pool_release(POOL_BUFFERS, inflated.data, inflated.size);
    CHECK(deflate_state_bytes() > 0 && deflate_state_bytes() <= DEFLATE_TAKEOVER_BYTES);
    deflate_history_free(history);
    CHECK(deflate_state_bytes() == 0);
    free(text);
    free(out);
}

/* Through the decoder. */

static struct websocket websocket;
static struct websocket_message message;

/* One masked frame (mask 0, so the payload is as written), fed in pieces of at most `piece` bytes; the last event. */
static enum websocket_event feed(unsigned first, struct slice payload, size_t piece, uint32_t limit)
{
    static char block[70100];
    char frame[70010] = {(char)first, (char)0xfe, (char)(payload.length >> 8), (char)payload.length, 0, 0, 0, 0};
    size_t header = 8;
    if (payload.length < 126) {
        frame[1] = (char)(0x80 | payload.length);
        frame[2] = frame[3] = 0;
        header = 6;
    }
    memcpy(frame + header, payload.data, payload.length);
    size_t length = header + payload.length;
    for (size_t from = 0; from < length; from += piece) {
        size_t size = length - from < piece ? length - from : piece;
        memcpy(block, frame + from, size);
        char *at = block, *end = block + size;
        enum websocket_event event = websocket_next(&websocket, &at, end, limit, &message);
        if (event != WEBSOCKET_NEED_BYTES)
            return event;
        CHECK(at == end);
    }
    return WEBSOCKET_NEED_BYTES;
}

static void start(bool takeover)
{
    websocket_start(&websocket, &(struct deflate_agreement){
                                    .send_window_bits = 15, .receive_window_bits = 13, .receive_takeover = takeover});
}

TEST("deflate: the decoder inflates a message, whole, split, fragmented, and plain ones between")
{
    struct slice hello = BYTES("\xf2\x48\xcd\xc9\xc9\x07\x00");
    for (size_t piece = 1; piece < 20; piece++) {
        start(false);
        CHECK(feed(0xc1, hello, piece, 5) == WEBSOCKET_ON_MESSAGE);
        CHECK_TEXT(message.data, message.length, "Hello");
        CHECK(message.opcode == WEBSOCKET_TEXT);
        CHECK(feed(0x81, SLICE("plain"), piece, 5) == WEBSOCKET_ON_MESSAGE);
        CHECK_TEXT(message.data, message.length, "plain");
        CHECK(feed(0x42, slice_from(hello.data, 3), piece, 5) == WEBSOCKET_NEED_BYTES); /* 7.2.3.1, fragmented */
        CHECK(feed(0x89, SLICE("ping"), piece, 5) == WEBSOCKET_ON_PING);
        CHECK_TEXT(message.data, message.length, "ping");
        CHECK(feed(0x00, slice_from(hello.data + 3, 4), piece, 5) == WEBSOCKET_NEED_BYTES);
        CHECK(feed(0x80, SLICE(""), piece, 5) == WEBSOCKET_ON_MESSAGE);
        CHECK_TEXT(message.data, message.length, "Hello");
        CHECK(message.opcode == WEBSOCKET_BINARY);
        websocket_message_done(&websocket);
        CHECK(held_blocks() == 0);
        CHECK(feed(0xc1, BYTES("\x00"), piece, 5) == WEBSOCKET_ON_MESSAGE);
        CHECK(message.length == 0);
        websocket_stop(&websocket);
        CHECK(held_blocks() == 0);
    }
}

TEST("deflate: the decoder keeps a client's window when that was agreed")
{
    start(true);
    for (int i = 0; i < 3; i++) {
        CHECK(feed(0xc1, i == 0 ? BYTES("\xf2\x48\xcd\xc9\xc9\x07\x00") : BYTES("\xf2\x00\x11\x00\x00"), 100, 100) ==
              WEBSOCKET_ON_MESSAGE);
        CHECK_TEXT(message.data, message.length, "Hello");
    }
    websocket_stop(&websocket);
    CHECK(deflate_state_bytes() == 0);
    start(false);
    CHECK(feed(0xc1, BYTES("\xf2\x48\xcd\xc9\xc9\x07\x00"), 100, 100) == WEBSOCKET_ON_MESSAGE);
    CHECK(feed(0xc1, BYTES("\xf2\x00\x11\x00\x00"), 100, 100) == WEBSOCKET_ON_FAIL && message.status == 1007);
    CHECK(held_blocks() == 0);
}

TEST("deflate: the decoder refuses RSV1 on continuations and control frames")
{
    start(false);
    CHECK(feed(0x41, BYTES("\xf2"), 100, 100) == WEBSOCKET_NEED_BYTES);
    CHECK(feed(0xc0, BYTES("\x48"), 100, 100) == WEBSOCKET_ON_FAIL && message.status == 1002);
    start(false);
    CHECK(feed(0xc9, BYTES("\x00"), 100, 100) == WEBSOCKET_ON_FAIL && message.status == 1002);
    CHECK(held_blocks() == 0);
}

TEST("deflate: the decoder checks limit, data and UTF-8 of what comes out")
{
    start(false);
    CHECK(feed(0xc1, BYTES("\xf2\x48\xcd\xc9\xc9\x07\x00"), 100, 4) == WEBSOCKET_ON_FAIL && message.status == 1009);
    start(false);
    CHECK(feed(0xc1, BYTES("\x07"), 100, 4) == WEBSOCKET_ON_FAIL && message.status == 1007);
    start(false);
    struct slice bad = BYTES("\x00\x01\x00\xfe\xff\x80\x00"); /* one stored byte, 80 */
    CHECK(feed(0xc1, bad, 1, 4) == WEBSOCKET_ON_FAIL && message.status == 1007);
    start(false);
    CHECK(feed(0xc2, bad, 1, 4) == WEBSOCKET_ON_MESSAGE && message.length == 1);
    websocket_stop(&websocket);
    CHECK(held_blocks() == 0);
}

TEST("deflate: a message of just the limit is taken although compressing made it longer")
{
    static char out[70000];
    char *text = bulk(60000, true);
    size_t length = deflate_compress(slice_from(text, 60000), 15, out, sizeof out);
    CHECK(length > 60000 && length < 65536);
    start(false);
    CHECK(feed(0xc2, slice_from(out, length), 7000, 60000) == WEBSOCKET_ON_MESSAGE);
    CHECK(message.length == 60000 && memcmp(message.data, text, 60000) == 0);
    websocket_stop(&websocket);
    free(text);
}
