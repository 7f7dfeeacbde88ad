/* Frames and deflate: the first byte chooses what the others are. A client's stream must give the same events whole and
 * in two other splits; an offer must be answered within its bounds; what is compressed must inflate to itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "memory/pool.h"
#include "protocol/json/utf8.h"
#include "protocol/websocket/websocket.h"
#include "require.h"

#define LIMIT_SMALL 200u
#define LIMIT_LARGE 70000u
/* Longer inputs find nothing that these do not. */
#define INPUT_MOST 8192

enum choice {
    CHOOSE_COMPRESSION = 0x01,
    CHOOSE_TAKEOVER = 0x02,
    CHOOSE_SMALL_LIMIT = 0x04,
    CHOOSE_FAILURE = 0x20, /* once more, and an allocation fails */
    CHOOSE_OFFER = 0x40,
    CHOOSE_ROUND_TRIP = 0x80,
};

static bool scarce; /* memory fails in this run */

/* The events so far, folded (FNV-1a), and how many. */
struct events {
    uint64_t hash;
    unsigned count;
};

static void fold(struct events *events, const void *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        events->hash = (events->hash ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
}

static void note(struct events *events, enum websocket_event event, const struct websocket_message *message,
                 uint32_t limit)
{
    unsigned head[4] = {event, message->opcode, message->status, (unsigned)message->length};
    fold(events, head, sizeof head);
    events->count++;
    if (event == WEBSOCKET_ON_FAIL) {
        REQUIRE(message->status == 1002 || message->status == 1007 || message->status == 1009 ||
                message->status == 1008 || (scarce && message->status == 1013));
        fold(events, message->reason, strlen(message->reason));
        return;
    }
    fold(events, message->data, message->length);
    REQUIRE(message->length <= (event == WEBSOCKET_ON_MESSAGE ? limit : 125));
    if ((event == WEBSOCKET_ON_MESSAGE && message->opcode == WEBSOCKET_TEXT) || event == WEBSOCKET_ON_CLOSE)
        REQUIRE(utf8_valid(message->data, message->length));
    if (event != WEBSOCKET_ON_MESSAGE) {
        struct slice said = slice_from(message->data, message->length);
        struct frame *answer = event == WEBSOCKET_ON_CLOSE  ? websocket_close(message->status, said)
                               : event == WEBSOCKET_ON_PING ? websocket_pong(said)
                                                            : websocket_ping(said);
        REQUIRE(answer || scarce);
        REQUIRE(!answer || (answer->length >= 2 && answer->length <= 2 + 125));
        if (answer)
            frame_release(answer);
    }
    char kept[WEBSOCKET_SLACK]; /* readers may write there and put it back */
    memcpy(kept, message->data + message->length, sizeof kept);
    memset(message->data, 'x', message->length + sizeof kept);
    memcpy(message->data + message->length, kept, sizeof kept);
}

static void feed(struct websocket *websocket, const uint8_t *bytes, size_t length, uint32_t limit,
                 struct events *events)
{
    char *block = aligned_alloc(1, length + WEBSOCKET_SLACK); /* which memory_fail does not see */
    REQUIRE(block);
    if (length > 0)
        memcpy(block, bytes, length);
    memset(block + length, 0xee, WEBSOCKET_SLACK);
    char *at = block, *end = block + length;
    struct websocket_message message;
    enum websocket_event event;
    while ((event = websocket_next(websocket, &at, end, limit, &message)) != WEBSOCKET_NEED_BYTES) {
        note(events, event, &message, limit);
        REQUIRE(at <= end);
    }
    REQUIRE(at == end);
    free(block);
}

/* seed 0: all at once; else pieces whose sizes follow from it. */
static struct events run(unsigned choice, const uint8_t *bytes, size_t length, uint32_t seed)
{
    struct deflate_agreement agreement = {0};
    if (choice & CHOOSE_COMPRESSION)
        agreement = (struct deflate_agreement){.send_window_bits = 15,
                                               .receive_window_bits = choice & CHOOSE_TAKEOVER ? 9 : 15,
                                               .receive_takeover = choice & CHOOSE_TAKEOVER};
    uint32_t limit = choice & CHOOSE_SMALL_LIMIT ? LIMIT_SMALL : LIMIT_LARGE;
    struct websocket websocket;
    struct events events = {.hash = 0xcbf29ce484222325u};
    websocket_start(&websocket, &agreement);
    for (size_t at = 0; at < length;) {
        size_t piece = length - at;
        if (seed != 0) {
            seed = seed * 1664525u + 1013904223u;
            size_t wanted = seed >> 31 ? 1 + (seed >> 24) % 8 : 1 + (seed >> 16) % 500;
            piece = wanted < piece ? wanted : piece;
        }
        feed(&websocket, bytes + at, piece, limit, &events);
        at += piece;
        if (seed & 1)
            websocket_message_done(&websocket);
    }
    websocket_stop(&websocket);
    struct pool_statistics statistics;
    pool_read_statistics(POOL_BUFFERS, &statistics);
    REQUIRE(statistics.acquired == statistics.released);
    return events;
}

static void offer(unsigned choice, const uint8_t *bytes, size_t length)
{
    struct slice value = slice_from((const char *)bytes, length);
    struct deflate_agreement agreement;
    if (deflate_negotiate(&value, 1, choice & CHOOSE_TAKEOVER, &agreement) != DEFLATE_AGREED)
        return;
    REQUIRE(agreement.send_window_bits >= 9 && agreement.send_window_bits <= 15);
    REQUIRE(agreement.receive_window_bits >= 9 && agreement.receive_window_bits <= 15);
    REQUIRE(!agreement.receive_takeover || (choice & CHOOSE_TAKEOVER));
    char text[DEFLATE_AGREEMENT_LENGTH];
    REQUIRE(deflate_agreement_write(&agreement, text) < sizeof text);
}

static void round_trip(unsigned choice, const uint8_t *bytes, size_t length)
{
    unsigned window_bits = 9 + choice % 7;
    struct slice message = slice_from((const char *)bytes, length);
    static char out[INPUT_MOST * 2];
    size_t compressed = deflate_compress(message, window_bits, out, sizeof out);
    REQUIRE(compressed > 0);
    struct deflate_output inflated;
    REQUIRE(deflate_inflate(NULL, 15, slice_from(out, compressed), (uint32_t)length, &inflated) == DEFLATE_DONE);
    REQUIRE(slice_equal(slice_from(inflated.data, inflated.length), message));
    pool_release(POOL_BUFFERS, inflated.data, inflated.size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > INPUT_MOST)
        return 0;
    unsigned choice = data[0];
    data++;
    size--;
    if (choice & CHOOSE_OFFER) {
        offer(choice, data, size);
    } else if (choice & CHOOSE_ROUND_TRIP) {
        round_trip(choice, data, size);
    } else {
        struct events whole = run(choice, data, size, 0);
        for (uint32_t seed = 1; seed <= 2; seed++) {
            struct events split = run(choice, data, size, seed * 2654435761u + (uint32_t)size);
            REQUIRE(split.count == whole.count && split.hash == whole.hash);
        }
        if (choice & CHOOSE_FAILURE) {
            deflate_leave_thread();
            pool_set_enabled(false);
            scarce = true;
            memory_fail(1 + size % 16);
            run(choice, data, size, (uint32_t)size);
            (void)memory_failed();
            scarce = false;
            pool_set_enabled(true);
        }
    }
    return 0;
}
