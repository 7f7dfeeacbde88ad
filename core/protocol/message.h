/* A whole message from an agent, judged in one pass: is it JSON, what is it, and (for an envelope) where its fields
 * lie. The pass runs in the read buffer itself; nothing is copied and nothing decoded but what carries escapes. */
#ifndef LUADUCT_PROTOCOL_MESSAGE_H
#define LUADUCT_PROTOCOL_MESSAGE_H

#include "protocol/envelope.h"

enum message_type {
    MESSAGE_UNKNOWN,
    MESSAGE_ENVELOPE,
    MESSAGE_REGISTER,
    MESSAGE_HEARTBEAT,
};

/* What a scan found. Reused from message to message; `envelope` counts only when type is MESSAGE_ENVELOPE. */
struct message {
    enum message_type type; /* also known, where it was read, when the message is refused */
    struct envelope envelope;
    char error[ERROR_TEXT_BYTES]; /* counts only when the message is refused */
};

/* Scans data[0..length), where JSON_SLACK bytes behind it are readable and data[length] may be written: it is a NUL
 * during the scan and restored before the return. Slices in `out` point into data (or into the store, for what was
 * unescaped), so they last until the buffer is used again. The store is reset first.
 *
 * CODE_OK; CODE_BAD_JSON, CODE_TOO_DEEP; CODE_BAD_MESSAGE (not an object, no type, unknown type); CODE_BAD_FIELD or
 * CODE_DUPLICATE_FIELD, with the envelope's id in out->envelope.json[FIELD_ID] when it was read and is good, wherever
 * in the message it stands; CODE_INTERNAL when memory is out. A text that is not JSON is refused as that, whatever else
 * is wrong with it. One scan at a time for each `out` and store; no other limits on threads. */
enum code message_scan(char *data, size_t length, const struct message_rules *rules, struct text_store *store,
                       struct message *out);

/* The id to carry in the answer to a refused message, unescaped; length 0 when none is known. */
struct slice message_error_id(const struct message *message);

#endif
