/* permessage-deflate. The first byte chooses: bytes that a peer says are deflated, with and without a window that goes
 * on from message to message; offers of the extension; messages of ours, which must inflate to themselves. Memory may
 * run out at any allocation. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "memory/admission.h"
#include "memory/pool.h"
#include "protocol/websocket/deflate.h"
#include "require.h"

#define INPUT_MOST 8192
#define LIMIT_SMALL 300u
#define LIMIT_LARGE 100000u

enum choice {
    CHOOSE_WAY = 0x03, /* 0: each message afresh; 1: with a window that stays; 2: an offer; 3: what we send */
    CHOOSE_SMALL_LIMIT = 0x04,
    CHOOSE_TAKEOVER = 0x08,
    CHOOSE_FAILURE = 0x10, /* the second byte says which allocation fails */
    CHOOSE_REFUSAL = 0x20, /* or the memory budget says no */
};

static uint64_t hash;

static void fold(const void *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
}

/* Messages, each behind two bytes that say how long it is. */
static void inflate_messages(unsigned choice, const uint8_t *bytes, size_t length, bool scarce)
{
    struct deflate_history *history = NULL;
    bool stays = (choice & CHOOSE_WAY) == 1;
    uint32_t limit = choice & CHOOSE_SMALL_LIMIT ? LIMIT_SMALL : LIMIT_LARGE;
    for (enum deflate_result result = DEFLATE_DONE; length > 2 && (result == DEFLATE_DONE || !stays);) {
        size_t size = bytes[0] | (size_t)bytes[1] << 8;
        bytes += 2, length -= 2;
        size = size < length ? size : length;
        char *exact = malloc(size ? size : 1);
        if (!exact)
            break;
        memcpy(exact, bytes, size);
        struct deflate_output out;
        result = deflate_inflate(stays ? &history : NULL, 9 + choice % 7, slice_from(exact, size), limit, &out);
        free(exact);
        bytes += size, length -= size;
        REQUIRE(result <= DEFLATE_OUT_OF_MEMORY && (scarce || result != DEFLATE_OUT_OF_MEMORY));
        fold(&result, sizeof result);
        if (result != DEFLATE_DONE) {
            REQUIRE(!out.data);
            continue;
        }
        REQUIRE(out.length <= limit && out.size >= out.length + DEFLATE_SLACK);
        fold(out.data, out.length);
        memset(out.data + out.length, 'x', DEFLATE_SLACK);
        pool_release(POOL_BUFFERS, out.data, out.size);
    }
    deflate_history_free(history);
}

/* Values of headers, with a line each. */
static void negotiate(unsigned choice, const char *text, size_t length)
{
    struct slice values[4];
    size_t count = 0;
    char *exact = malloc(length ? length : 1), *rest = exact;
    if (!exact)
        return;
    memcpy(exact, text, length);
    for (char *end = exact + length; count < 4 && rest < end; count++) {
        char *line = memchr(rest, '\n', (size_t)(end - rest));
        values[count] = slice_from(rest, (size_t)((line ? line : end) - rest));
        rest = line ? line + 1 : end;
    }
    struct deflate_agreement agreement;
    enum deflate_offer offer = deflate_negotiate(values, count, choice & CHOOSE_TAKEOVER, &agreement);
    if (offer == DEFLATE_AGREED) {
        char answer[DEFLATE_AGREEMENT_LENGTH];
        REQUIRE(agreement.send_window_bits >= 9 && agreement.send_window_bits <= 15);
        REQUIRE(agreement.receive_window_bits >= 9 && agreement.receive_window_bits <= 15);
        REQUIRE(!agreement.receive_takeover || (choice & CHOOSE_TAKEOVER));
        REQUIRE(deflate_agreement_write(&agreement, answer) < sizeof answer);
    } else {
        REQUIRE(offer == DEFLATE_DECLINED || offer == DEFLATE_MALFORMED);
    }
    free(exact);
}

/* The twin of a frame, or the frame itself where none is worth it. */
static void send_message(unsigned choice, const char *text, size_t length, bool scarce)
{
    unsigned bits = choice & CHOOSE_TAKEOVER ? 9 + choice % 7 : 15;
    struct frame *frame = frame_from(FRAME_ENVELOPE, choice & CHOOSE_SMALL_LIMIT ? 9 : 1, slice_from(text, length));
    REQUIRE(frame || scarce);
    if (!frame)
        return;
    struct frame *twin = deflate_twin(frame, bits);
    REQUIRE(twin && deflate_twin(frame, 0) == frame);
    REQUIRE(scarce || deflate_twin(frame, bits) == twin);
    if (twin != frame && !scarce) {
        struct deflate_output out;
        REQUIRE(twin->length < frame->length && (twin->data[0] & 0x40));
        REQUIRE(deflate_inflate(NULL, 15, frame_payload_slice(twin), (uint32_t)length, &out) == DEFLATE_DONE);
        REQUIRE(slice_equal(slice_from(out.data, out.length), slice_from(text, length)));
        pool_release(POOL_BUFFERS, out.data, out.size);
    }
    char out[64];
    REQUIRE(deflate_compress(slice_from(text, length), 8, out, sizeof out) == 0);
    REQUIRE(deflate_compress(slice_from(text, length), bits, out, sizeof out) <= sizeof out - 4);
    frame_release(frame);
}

static void run(unsigned choice, const uint8_t *data, size_t size, bool scarce)
{
    if ((choice & CHOOSE_WAY) < 2)
        inflate_messages(choice, data, size, scarce);
    else if ((choice & CHOOSE_WAY) == 2)
        negotiate(choice, (const char *)data, size);
    else
        send_message(choice, (const char *)data, size, scarce);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > INPUT_MOST)
        return 0;
    hash = 0xcbf29ce484222325u;
    run(data[0], data + 2, size - 2, false);
    if (data[0] & CHOOSE_FAILURE) {
        deflate_leave_thread();
        pool_set_enabled(false);
        pool_age_thread();
        memory_fail(1 + data[1] % 32);
        run(data[0], data + 2, size - 2, true);
        (void)memory_failed();
        pool_set_enabled(true);
    } else if (data[0] & CHOOSE_REFUSAL) {
        deflate_leave_thread();
        admission_start(1, 1, NULL);
        admission_credit = data[1] * 1024;
        run(data[0], data + 2, size - 2, true);
        admission_start(UINT64_MAX, UINT64_MAX, NULL);
        admission_update(0, 0, ADMISSION_OPEN);
    } else {
        uint64_t first = hash;
        hash = 0xcbf29ce484222325u;
        run(data[0], data + 2, size - 2, false);
        REQUIRE(hash == first);
    }
    struct pool_statistics statistics;
    pool_read_statistics(POOL_BUFFERS, &statistics);
    REQUIRE(statistics.acquired == statistics.released);
    return 0;
}
