/* Any bytes as a message: what is accepted goes out as a frame that reads back the same, whole or through a script's
 * hands. The first byte chooses the rules and, further on, which field a script replaces. */
#include <stdint.h>
#include <stdlib.h>

#include "memory.h"
#include "memory/pool.h"
#include "protocol/message.h"
#include "protocol/registration.h"

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            abort();                                                                                                   \
    } while (0)

static const struct envelope_defaults defaults = {NULL, "2026-01-31T12:00:00.000Z"};

static struct frame *build_and_compare(struct envelope *envelope, const struct message_rules *rules)
{
    struct frame *frame = envelope_build(envelope, &defaults, FRAME_ENVELOPE);
    MUST(frame && json_validate(frame_payload_slice(frame), JSON_DEPTH_MAXIMUM, NULL) == CODE_OK);
    struct text_store store = {0};
    struct envelope again;
    char error[ERROR_TEXT_BYTES];
    MUST(envelope_scan(frame_envelope(frame), rules, &store, &again, error) == CODE_OK);
    struct frame *twin = envelope_build(&again, &defaults, FRAME_ENVELOPE);
    MUST(twin && slice_equal(frame_payload_slice(frame), frame_payload_slice(twin)));
    for (unsigned field = 0; field < FIELD_TEXT_COUNT; field++)
        MUST(slice_equal(envelope_text(envelope, (enum field)field, &defaults),
                         envelope_text(&again, (enum field)field, &defaults)));
    frame_release(twin);
    text_store_free(&store);
    return frame;
}

/* What readers see of a field is JSON, and text of it is that text. */
static void check_fields(struct envelope *envelope)
{
    struct sender_fragment sender = {0};
    struct envelope_defaults named = {&sender, defaults.timestamp};
    MUST(sender_fragment_set(&sender, envelope_text(envelope, FIELD_FROM, &defaults),
                             envelope_sent_text(envelope, FIELD_ROLE)));
    for (unsigned field = 0; field < FIELD_COUNT; field++) {
        struct slice json = envelope_json(envelope, (enum field)field, &named);
        MUST(json.length > 0 && json_validate(json, JSON_DEPTH_MAXIMUM, NULL) == CODE_OK);
        MUST(field_from_name(field_name((enum field)field)) == (enum field)field);
        MUST(field_default_json((enum field)field).length == 0 || envelope_has(envelope, (enum field)field) ||
             slice_equal(json, field_default_json((enum field)field)));
        if (field < FIELD_TEXT_COUNT)
            (void)envelope_text(envelope, (enum field)field, &named);
    }
    frame_release(envelope_build(envelope, &named, FRAME_ENVELOPE));
    sender_fragment_free(&sender);
    MUST(field_from_name(envelope_sent_text(envelope, FIELD_INTENT)) <= FIELD_COUNT);
}

/* An envelope goes on from a copy of its text. */
static void check_moved(struct envelope *envelope, struct slice text)
{
    struct envelope moved;
    struct text_store store = {0};
    struct frame *before = envelope_build(envelope, &defaults, FRAME_ENVELOPE);
    char *copy = malloc(text.length + JSON_SLACK + envelope_packed_length(envelope));
    MUST(copy && before);
    memcpy(copy, text.data, text.length);
    memset(copy + text.length, 0, JSON_SLACK);
    envelope_move(&moved, envelope, text, copy, &store);
    struct frame *after = envelope_build(&moved, &defaults, FRAME_ENVELOPE);
    MUST(after && slice_equal(frame_payload_slice(before), frame_payload_slice(after)));
    frame_release(before);
    frame_release(after);
    text_store_free(&store);
    free(copy);
}

/* A bare envelope, as a body of HTTP. */
static void check_bare(struct slice text, const struct message_rules *rules)
{
    struct envelope envelope;
    struct text_store store = {0};
    char error[ERROR_TEXT_BYTES];
    if (envelope_scan(text, rules, &store, &envelope, error) == CODE_OK)
        frame_release(build_and_compare(&envelope, rules));
    else
        MUST(error[0] && memchr(error, 0, sizeof error));
    text_store_free(&store);
}

/* Whatever allocation fails, the answer is one. */
static void run_out_of_memory(char *text, size_t size, const struct message_rules *rules, unsigned n)
{
    static struct message message;
    struct text_store store = {0};
    struct sender_fragment sender = {0};
    struct registration registration;
    char error[ERROR_TEXT_BYTES];
    pool_set_enabled(false);
    memory_fail(n);
    bool made =
        sender_fragment_set(&sender, SLICE(""), SLICE("")) && sender_fragment_set(&sender, SLICE("a\n"), SLICE("b\n"));
    const struct envelope_defaults named = {made ? &sender : NULL, defaults.timestamp};
    enum code code = message_scan(text, size, rules, &store, &message);
    if (code == CODE_OK && message.type == MESSAGE_ENVELOPE) {
        for (unsigned field = 0; field < FIELD_COUNT; field++) {
            (void)envelope_json(&message.envelope, (enum field)field, &named);
            if (field < FIELD_TEXT_COUNT)
                (void)envelope_text(&message.envelope, (enum field)field, &named);
        }
        (void)envelope_set_text(&message.envelope, FIELD_INTENT, SLICE("other"), error);
        struct frame *frame = envelope_build(&message.envelope, &named, FRAME_ENVELOPE);
        if (frame)
            frame_release(frame);
    } else if (code == CODE_OK && message.type == MESSAGE_REGISTER) {
        (void)registration_scan(slice_from(text, size), rules, &store, &registration, error);
    }
    text_store_reset(&store);
    (void)envelope_scan(slice_from(text, size), rules, &store, &message.envelope, error);
    (void)memory_failed();
    pool_set_enabled(true);
    text_store_free(&store);
    sender_fragment_free(&sender);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    unsigned choice = *data++;
    size--;
    struct message_rules rules = {.depth = 40, .lenient = choice & 1};
    char *text = malloc(size + JSON_SLACK);
    MUST(text);
    memcpy(text, data, size);
    memset(text + size, 0xff, JSON_SLACK);
    static struct message message;
    struct text_store store = {0};
    char error[ERROR_TEXT_BYTES];
    enum code code = message_scan(text, size, &rules, &store, &message);
    MUST(memcmp(text, data, size) == 0 && (unsigned char)text[size] == 0xff);
    if (code != CODE_OK) {
        MUST(memchr(message.error, '\0', sizeof message.error) && message.error[0]);
        struct slice id = message_error_id(&message);
        MUST(id.length == 0 || identifier_valid(id));
    } else if (message.type == MESSAGE_ENVELOPE) {
        frame_release(build_and_compare(&message.envelope, &rules));
        check_fields(&message.envelope);
        /* What a script sets is judged strictly; read back leniently, an empty text would be the default. */
        rules.lenient = false;
        if (choice & 1)
            envelope_clear(&message.envelope, &store);
        enum field field = (enum field)((choice >> 1) % FIELD_COUNT);
        if (envelope_set_text(&message.envelope, field, slice_from(text, size % 300 < size ? size % 300 : size),
                              error) == CODE_OK)
            frame_release(build_and_compare(&message.envelope, &rules));
        MUST(envelope_set_text(&message.envelope, FIELD_PAYLOAD, SLICE("text"), error) == CODE_BAD_FIELD);
        MUST(envelope_set_text(&message.envelope, FIELD_ID, SLICE("\xff"), error) == CODE_BAD_FIELD);
        MUST(envelope_set_json(&message.envelope, FIELD_INTENT, SLICE(" \"a\" "), error) == CODE_OK);
        MUST(field_from_name(SLICE("a name that is too long")) == FIELD_UNKNOWN);
        if (envelope_set_json(&message.envelope, field, message.envelope.json[FIELD_PAYLOAD], error) == CODE_OK)
            frame_release(build_and_compare(&message.envelope, &rules));
    } else if (message.type == MESSAGE_REGISTER) {
        struct registration registration;
        if (registration_scan(slice_from(text, size), &rules, &store, &registration, error) == CODE_OK) {
            struct slice lists[] = {registration.labels, registration.tools, registration.intents,
                                    registration.features};
            for (int i = 0; i < 4; i++) {
                char buffer[TEXT_BYTES_MAXIMUM];
                struct slice entry;
                while (registration_next(&lists[i], buffer, &entry))
                    MUST(identifier_valid(entry));
            }
        }
    }
    rules.lenient = choice & 1;
    check_bare(slice_from(text, size), &rules);
    if (message_scan(text, size, &rules, &store, &message) == CODE_OK && message.type == MESSAGE_ENVELOPE)
        check_moved(&message.envelope, slice_from(text, size));
    if (choice & 0x80)
        run_out_of_memory(text, size, &rules, 1 + (choice >> 1) % 16);
    text_store_free(&store);
    free(text);
    return 0;
}
