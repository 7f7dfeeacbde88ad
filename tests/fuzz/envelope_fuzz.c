/* Any bytes as a message: what is accepted goes out as a frame that reads back the same, whole or through a script's
 * hands. The first byte chooses the rules and, further on, which field a script replaces. */
#include <stdint.h>
#include <stdlib.h>

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
        /* What a script sets is judged strictly; read back leniently, an empty text would be the default. */
        rules.lenient = false;
        if (choice & 1)
            envelope_clear(&message.envelope, &store);
        enum field field = (enum field)((choice >> 1) % FIELD_COUNT);
        if (envelope_set_text(&message.envelope, field, slice_from(text, size % 300 < size ? size % 300 : size),
                              error) == CODE_OK)
            frame_release(build_and_compare(&message.envelope, &rules));
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
    text_store_free(&store);
    free(text);
    return 0;
}
