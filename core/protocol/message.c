/* Prepares the buffer and calls the scanner that fits the processor; the scanning itself is scan_body.h. */
#include "protocol/message.h"

#include <stdio.h>

#include "protocol/json/scan.h"
#include "protocol/json/utf8.h"

enum code message_scan(char *data, size_t length, const struct message_rules *rules, struct text_store *store,
                       struct message *out)
{
    out->type = MESSAGE_UNKNOWN;
    envelope_clear(&out->envelope, store);
    out->envelope.readable_end = data + length + JSON_SLACK;
    if (!rules->utf8_checked && !utf8_valid(data, length)) {
        snprintf(out->error, sizeof out->error, "not JSON: not UTF-8 at byte %zu", utf8_valid_length(data, length));
        return CODE_BAD_JSON;
    }
    struct scan scan = {
        .start = data,
        .end = data + length,
        .depth = rules->depth,
        .lenient = rules->lenient,
        .prefix = "envelope.",
        .error = out->error,
    };
    char behind = data[length];
    data[length] = '\0';
    enum code code = scan_best()->message(&scan, out);
    data[length] = behind;
    return code;
}

struct slice message_error_id(const struct message *message)
{
    if (message->type == MESSAGE_REGISTER || message->type == MESSAGE_HEARTBEAT)
        return slice_from(NULL, 0);
    return envelope_sent_text(&message->envelope, FIELD_ID);
}
