/* Any bytes as a message in MessagePack: what is accepted is JSON that the scanner accepts, says the same when it is
 * written back, and goes on with its opaque fields as they came. The first byte chooses the rules. */
#include <stdint.h>
#include <stdlib.h>

#include "memory.h"
#include "memory/pool.h"
#include "protocol/message.h"
#include "protocol/msgpack/msgpack.h"
#include "protocol/msgpack/msgpack_frame.h"

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            abort();                                                                                                   \
    } while (0)

#define DEPTH 40

static const struct envelope_defaults defaults = {NULL, "2026-01-31T12:00:00.000Z"};

/* JSON of MessagePack that must be good. */
static struct buffer unpack(struct slice packed)
{
    struct buffer out = {0};
    char error[ERROR_TEXT_BYTES];
    struct msgpack_rules rules = {.depth = JSON_DEPTH_MAXIMUM, .bytes = SIZE_MAX / 2};
    MUST(msgpack_to_json(packed, &rules, &out, NULL, error) == CODE_OK);
    return out;
}

/* Written as MessagePack and read again, the text is the same; but what is wider than a double is refused then. */
static void write_back(struct slice text)
{
    char *packed = malloc(MSGPACK_BOUND(text.length));
    MUST(packed);
    char *end = msgpack_write_json(packed, text);
    MUST(end && end <= packed + MSGPACK_BOUND(text.length) && msgpack_skip(packed) == end);
    struct buffer again = unpack(slice_from(packed, (size_t)(end - packed)));
    MUST(slice_equal(slice_from(again.data, again.length), text));
    buffer_free(&again);
    free(packed);
}

static void check_envelope(struct envelope *envelope)
{
    struct frame *frame = envelope_build(envelope, &defaults, FRAME_ENVELOPE);
    MUST(frame);
    struct frame *twin = msgpack_twin(frame);
    MUST(twin && twin != frame);
    struct slice packed = frame_payload_slice(twin);
    MUST(msgpack_skip(packed.data) == packed.data + packed.length);
    struct buffer text = unpack(packed);
    MUST(slice_equal(slice_from(text.data, text.length), frame_payload_slice(frame)));
    buffer_free(&text);

    struct frame *frames[17];
    for (unsigned i = 0; i < 17; i++)
        frames[i] = frame;
    for (unsigned count = 1; count <= 17; count += 16) {
        struct frame *list = msgpack_list(msgpack_batch_head, frames, count);
        MUST(list && msgpack_skip(frame_payload_slice(list).data) ==
                         frame_payload_slice(list).data + frame_payload_slice(list).length);
        frame_release(list);
    }

    struct envelope again;
    struct text_store store = {0};
    char error[ERROR_TEXT_BYTES];
    struct message_rules rules = {.depth = JSON_DEPTH_MAXIMUM, .utf8_checked = true};
    if (envelope_scan(frame_envelope(frame), &rules, &store, &again, error) == CODE_OK) {
        msgpack_keep_twin(&again, frame);
        for (uint32_t rest = envelope->packed_kept; rest; rest &= rest - 1) {
            unsigned index = (unsigned)__builtin_ctz(rest) - FIELD_TEXT_COUNT;
            MUST(slice_equal(again.packed[index], envelope->packed[index]));
        }
    }
    text_store_free(&store);
    frame_release(frame);
}

/* Whatever allocation fails, the answer is one. */
static void run_out_of_memory(struct slice packed, const struct msgpack_rules *rules, unsigned n)
{
    static struct message message;
    struct buffer text = {0};
    struct msgpack_fields fields;
    struct text_store store = {0};
    struct message_rules scanning = {.depth = DEPTH, .utf8_checked = true};
    pool_set_enabled(false);
    memory_fail(n);
    if (msgpack_to_json(packed, rules, &text, &fields, message.error) == CODE_OK) {
        if (message_scan(text.data, text.length, &scanning, &store, &message) == CODE_OK &&
            message.type == MESSAGE_ENVELOPE) {
            msgpack_keep_fields(&fields, slice_from(text.data, text.length), &message.envelope);
            struct frame *frame = envelope_build(&message.envelope, &defaults, FRAME_ENVELOPE);
            struct frame *list = frame ? msgpack_list(msgpack_batch_head, &frame, 1) : NULL;
            if (list)
                frame_release(list);
            if (frame)
                frame_release(frame);
        }
    }
    (void)memory_failed();
    pool_set_enabled(true);
    text_store_free(&store);
    buffer_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    unsigned choice = *data++;
    size--;
    char *copy = malloc(size + !size);
    MUST(copy);
    memcpy(copy, data, size);
    struct msgpack_rules rules = {.depth = DEPTH, .bytes = choice & 2 ? 64 : 1 << 20};
    struct buffer text = {0};
    struct msgpack_fields fields;
    static struct message message;
    enum code code = msgpack_to_json(slice_from(copy, size), &rules, &text, &fields, message.error);
    if (code != CODE_OK) {
        MUST(code == CODE_BAD_JSON || code == CODE_TOO_DEEP || code == CODE_TOO_LARGE);
        MUST(memchr(message.error, '\0', sizeof message.error) && message.error[0]);
    } else {
        MUST(text.length <= rules.bytes && msgpack_skip(copy) == copy + size);
        write_back(slice_from(text.data, text.length));
        struct message_rules scanning = {.depth = DEPTH, .lenient = choice & 1, .utf8_checked = true};
        struct text_store store = {0};
        code = message_scan(text.data, text.length, &scanning, &store, &message);
        MUST(code != CODE_BAD_JSON && code != CODE_TOO_DEEP && code != CODE_INTERNAL);
        if (code == CODE_OK && message.type == MESSAGE_ENVELOPE) {
            msgpack_keep_fields(&fields, slice_from(text.data, text.length), &message.envelope);
            check_envelope(&message.envelope);
            char error[ERROR_TEXT_BYTES];
            if (envelope_set_json(&message.envelope, FIELD_PAYLOAD, SLICE("[1,{}]"), error) == CODE_OK)
                check_envelope(&message.envelope);
        }
        text_store_free(&store);
    }
    buffer_free(&text);
    if (choice & 0x80)
        run_out_of_memory(slice_from(copy, size), &rules, 1 + (choice >> 2) % 16);
    free(copy);
    return 0;
}
