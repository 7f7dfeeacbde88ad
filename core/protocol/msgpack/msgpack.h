/* MessagePack to JSON and back. The bridge thinks in JSON: a message that came as MessagePack becomes JSON text before
 * it is scanned, and keeps beside it where its opaque fields lay, so that a peer that speaks MessagePack too is sent
 * those bytes as they came.
 *
 * What JSON cannot say is refused: NaN and infinities, extension types, keys of maps that are no strings. Binary data
 * becomes a string of base64 (RFC 4648, padded). */
#ifndef LUADUCT_PROTOCOL_MSGPACK_H
#define LUADUCT_PROTOCOL_MSGPACK_H

#include "memory/buffer.h"
#include "protocol/envelope.h"

/* Where the opaque fields of a message lay. */
struct msgpack_fields {
    uint32_t found; /* bit per field */
    struct {
        size_t json_at;      /* offset of its value in the JSON text */
        struct slice packed; /* its bytes in the message */
    } fields[FIELD_OPAQUE_COUNT];
};

/* What a message may be. */
struct msgpack_rules {
    unsigned depth; /* nesting allowed, 1 to JSON_DEPTH_MAXIMUM */
    size_t bytes;   /* of JSON */
};

/* Validates one message and appends it as JSON to `out` (empty before), JSON_SLACK zeros behind its length. The JSON is
 * good for message_scan, which then judges what the message says; `fields` (may be NULL) is for envelope_keep_packed.
 *
 * CODE_OK; CODE_BAD_JSON (no MessagePack, or JSON cannot say it), CODE_TOO_DEEP, CODE_TOO_LARGE, CODE_OVERLOADED
 * (memory is out), with the reason and the offset in `error`. Any thread. */
enum code msgpack_to_json(struct slice message, const struct msgpack_rules *rules, struct buffer *out,
                          struct msgpack_fields *fields, char error[ERROR_TEXT_BYTES]);

/* After the JSON of msgpack_to_json was scanned into `envelope`: it keeps the packed bytes of the opaque fields that it
 * has. They are borrowed, as the text is. `text`: the JSON. */
void msgpack_keep_fields(const struct msgpack_fields *fields, struct slice text, struct envelope *envelope);

/* The most bytes that msgpack_write_json makes of a JSON text: `-0,` takes a float64. */
#define MSGPACK_BOUND(json_length) (3 * (json_length) + 16)

/* JSON_DEPTH_MAXIMUM levels of a peer's, and those of our messages around them. */
#define MSGPACK_DEPTH_MAXIMUM (JSON_DEPTH_MAXIMUM + 8)

/* Writes a validated JSON value in the shortest formats: integers that fit 64 bits as integers, all other numbers as
 * float64 (infinite where they are wider). `out` has MSGPACK_BOUND bytes. The end of what was written, or NULL: memory
 * is out. Any thread. */
char *msgpack_write_json(char *out, struct slice json);

/* A string, as a key: at most 31 bytes. */
static inline char *msgpack_write_short(char *out, struct slice text)
{
    *out++ = (char)(0xa0 | text.length);
    return (char *)mempcpy(out, text.data, text.length);
}

/* The byte behind the value at `at`, in MessagePack that was validated or is our own. */
const char *msgpack_skip(const char *at);

#endif
