/* An envelope as it passes through: 15 slices of the text it came in, never a tree. Scripts may replace single fields;
 * the outgoing frame is the slices with the defaults spliced between, copied once.
 *
 * The way of one: message_scan or envelope_scan fills it; scripts read with envelope_text and envelope_json and replace
 * with envelope_set_*; envelope_build makes the frame. All of it on one thread. */
#ifndef LUADUCT_PROTOCOL_ENVELOPE_H
#define LUADUCT_PROTOCOL_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/slice.h"
#include "protocol/code.h"
#include "protocol/json/json.h"
#include "protocol/json/text_store.h"
#include "protocol/websocket/frame.h"

/* What a field may hold. */
enum field_class {
    FIELD_CLASS_STRING,           /* a string */
    FIELD_CLASS_STRING_OR_NUMBER, /* timestamp */
    FIELD_CLASS_STRING_OR_NULL,
    FIELD_CLASS_ARRAY, /* opaque: passed on byte for byte */
    FIELD_CLASS_ANY,   /* opaque, any JSON value */
};

/* The one declaration: enum name, name on the wire, default as JSON, class, and whether it is an identifier (1 to
 * TEXT_BYTES_MAXIMUM bytes of valid Unicode without control characters). In the order in which they go out. Defaults of
 * "" are made for each envelope: a UUID, the time, the sender. */
#define ENVELOPE_FIELDS(X)                                                                                             \
    X(ID, "id", "", STRING, true)                                                                                      \
    X(TIMESTAMP, "timestamp", "", STRING_OR_NUMBER, false)                                                             \
    X(INTENT, "intent", "\"agent.message\"", STRING, false)                                                            \
    X(TASK_ID, "taskId", "null", STRING_OR_NULL, true)                                                                 \
    X(CHANNEL, "channel", "\"default\"", STRING, false)                                                                \
    X(PRIORITY, "priority", "\"normal\"", STRING, false)                                                               \
    X(FROM, "from", "", STRING, true)                                                                                  \
    X(ROLE, "role", "", STRING, true)                                                                                  \
    X(TO, "to", "null", STRING_OR_NULL, true)                                                                          \
    X(REPLY_TO, "replyTo", "null", STRING_OR_NULL, true)                                                               \
    X(CONTEXT, "context", "{}", ANY, false)                                                                            \
    X(PAYLOAD, "payload", "{}", ANY, false)                                                                            \
    X(TOOLS, "tools", "[]", ARRAY, false)                                                                              \
    X(ATTACHMENTS, "attachments", "[]", ARRAY, false)                                                                  \
    X(TRACE, "trace", "{}", ANY, false)

enum field {
#define X(name, text, default_json, class, identifier) FIELD_##name,
    ENVELOPE_FIELDS(X)
#undef X
        FIELD_COUNT,
    FIELD_UNKNOWN = FIELD_COUNT,
    FIELD_TEXT_COUNT = FIELD_CONTEXT, /* the fields before this one have a text, those from it on are opaque */
    FIELD_OPAQUE_COUNT = FIELD_COUNT - FIELD_TEXT_COUNT,
};

/* Ids, roles and labels: this many bytes of text at most, and at least one. */
#define TEXT_BYTES_MAXIMUM 256

struct slice field_name(enum field field);         /* "taskId" */
struct slice field_default_json(enum field field); /* "null"; empty for id, timestamp, from, role */
enum field_class field_class(enum field field);
enum field field_from_name(struct slice name); /* unescaped; FIELD_UNKNOWN when it is none */

struct envelope {
    /* The JSON text of each value, without white space around it; length 0 (data then means nothing): absent, null or
     * (original mode) empty, so the default goes out. Read a field with its default through envelope_json. */
    struct slice json[FIELD_COUNT];
    struct slice unescaped[FIELD_TEXT_COUNT]; /* only where the `escaped` bit is set */
    uint32_t escaped;                         /* bit per field: the text differs from the inside of the quotes */
    uint32_t borrowed;                        /* bit per field: set after the scan, so not within readable_end */
    /* Opaque fields that came as MessagePack: those bytes go to peers that speak it. A bit per field: has been sent so,
     * and still is what was sent. */
    uint32_t packed_sent, packed_kept;
    struct slice packed[FIELD_OPAQUE_COUNT]; /* only where a bit is set */
    const char *readable_end; /* the scanned text and what may be read behind it: lets copies go by whole vectors */
    struct text_store *store; /* unescaped and set texts live here; the caller's, outlives the envelope's use */
    bool has_made_id;
    char made_id[UUID_LENGTH + 2]; /* the default id as JSON, made once so that script and frame agree */
};

/* How strictly a text is judged. */
struct message_rules {
    unsigned depth;    /* nesting allowed, 1 to JSON_DEPTH_MAXIMUM; the message's own object counts */
    bool lenient;      /* original mode: an empty or false value takes the default, a number may stand for a string */
    bool utf8_checked; /* the caller has found the text to be UTF-8 already (WebSocket text frames) */
};

/* Scans a bare envelope object: an HTTP body, or frame_envelope() of a frame of ours. The text may be read-only and
 * needs no slack; it must stay as it is while the envelope is used. On anything but CODE_OK `error` names field and
 * reason; json[FIELD_ID] is filled when an id was read, so that the answer can carry it. CODE_INTERNAL: memory is out.
 * `store` is reset first and then holds what had to be unescaped. */
enum code envelope_scan(struct slice text, const struct message_rules *rules, struct text_store *store,
                        struct envelope *out, char error[ERROR_TEXT_BYTES]);

/* Notes the MessagePack of an opaque field that has a value: borrowed, as the scanned text is. */
static inline void envelope_keep_packed(struct envelope *envelope, enum field field, struct slice packed)
{
    envelope->packed_sent |= 1u << field;
    envelope->packed_kept |= 1u << field;
    envelope->packed[field - FIELD_TEXT_COUNT] = packed;
}

/* Bytes of all that was kept so. */
size_t envelope_packed_length(const struct envelope *envelope);

/* Takes a scanned envelope over to a copy of its text, made by the caller with JSON_SLACK bytes behind it and then room
 * for envelope_packed_length, which is filled: for one that has to outlast its read buffer. Its store's texts move to
 * `store` (empty before); what scripts assigned stays where it is. `from` is used up. */
void envelope_move(struct envelope *to, struct envelope *from, struct slice text, char *copy, struct text_store *store);

/* All fields absent: the start of an envelope that the bridge itself makes. Resets the store. */
void envelope_clear(struct envelope *envelope, struct text_store *store);

/* --- Defaults --------------------------------------------------------------------------------------------------- */

/* `,"from":"…","role":"…"` as it goes out for envelopes that name neither: made once for each registration. */
struct sender_fragment {
    char *data;         /* owned; NULL before sender_fragment_set */
    uint32_t length;    /* of the whole */
    uint32_t from_json; /* offset and length of the quoted id, … */
    uint32_t from_json_length;
    uint32_t role_json; /* … and of the quoted role */
    uint32_t role_json_length;
    bool from_plain, role_plain; /* nothing in it is escaped: the text is the inside of the quotes */
};

/* Makes (or remakes) the fragment from unescaped texts. A role of length 0 gives "agent", an id of length 0 "unknown".
 * False when memory is out: the fragment is then as it was. Start from all zero. */
bool sender_fragment_set(struct sender_fragment *fragment, struct slice id, struct slice role);
void sender_fragment_free(struct sender_fragment *fragment);

struct envelope_defaults {
    const struct sender_fragment *sender; /* NULL or not set: "unknown" and "agent" */
    const char *timestamp;                /* CLOCK_ISO_LENGTH bytes: the caller formats it once a millisecond */
};

/* --- Reading ---------------------------------------------------------------------------------------------------- */

static inline bool envelope_has(const struct envelope *envelope, enum field field)
{
    return envelope->json[field].length > 0;
}

/* The text of a field that was sent, for the fields below FIELD_TEXT_COUNT: unescaped; a number as its digits. Length 0
 * (data NULL) when it is absent. Valid as long as the scanned text and the store. */
static inline struct slice envelope_sent_text(const struct envelope *envelope, enum field field)
{
    struct slice json = envelope->json[field];
    if (json.length == 0)
        return slice_from(NULL, 0);
    if (envelope->escaped >> field & 1)
        return envelope->unescaped[field];
    return json.data[0] == '"' ? slice_from(json.data + 1, json.length - 2) : json;
}

/* What a reader sees, the default included. Text of a null (taskId, to, replyTo absent) has data NULL. `envelope` is
 * written only to keep the id that the default makes. Valid as the above, and as long as the defaults; an unescaped
 * default `from` or `role` lives in the envelope's store (data NULL as well when memory is out). */
struct slice envelope_text(struct envelope *envelope, enum field field, const struct envelope_defaults *defaults);

/* The same as JSON text, for every field: never empty. The default timestamp lives in the envelope's store (empty when
 * memory is out). */
struct slice envelope_json(struct envelope *envelope, enum field field, const struct envelope_defaults *defaults);

/* --- Replacing, by scripts -------------------------------------------------------------------------------------- */

/* The JSON text must be valid (our writer's, or scanned) and stay until the frame is built: it is borrowed. Empty or
 * null: the field takes its default again. CODE_BAD_FIELD with `error` when the type or value is not one that a strict
 * sender may give; then nothing changes. CODE_INTERNAL: memory is out. */
enum code envelope_set_json(struct envelope *envelope, enum field field, struct slice json,
                            char error[ERROR_TEXT_BYTES]);

/* Sets a field below FIELD_TEXT_COUNT to this text, copied and quoted into the store. Errors as above. */
enum code envelope_set_text(struct envelope *envelope, enum field field, struct slice text,
                            char error[ERROR_TEXT_BYTES]);

/* --- Sending on ------------------------------------------------------------------------------------------------- */

/* Makes the frame FRAME_ENVELOPE_PREFIX{15 fields}FRAME_ENVELOPE_SUFFIX: one allocation, one reference for the caller;
 * a second one for its MessagePack twin where fields came packed. NULL when memory is out. Building twice gives the
 * same id. */
struct frame *envelope_build(struct envelope *envelope, const struct envelope_defaults *defaults, enum frame_kind kind);

#endif
