/* The frame is written in runs: each field that was sent is its key (one 16-byte store) and its value; each run of
 * absent fields is one piece of a constant that holds the defaults in order, broken only where a default is made for
 * the envelope (id, time, sender). Copies go by whole vectors wherever what they read and write too much is ours. */
#include "protocol/envelope.h"

#include <stdio.h>
#include <stdlib.h>

#include "protocol/json/json_write.h"
#include "protocol/json/scan.h"
#include "protocol/json/utf8.h"
#include "protocol/msgpack/msgpack_frame.h"

static const struct {
    struct slice name, default_json;
    enum field_class class;
} fields[FIELD_COUNT] = {
#define X(name, text, default_json, class, identifier)                                                                 \
    [FIELD_##name] = {{text, sizeof(text) - 1}, {default_json, sizeof(default_json) - 1}, FIELD_CLASS_##class},
    ENVELOPE_FIELDS(X)
#undef X
};

/* ,"name": for each field; the longest is 15 bytes. */
static const struct {
    char text[16];
    size_t length;
} keys[FIELD_COUNT] = {
#define X(name, text, default_json, class, identifier) [FIELD_##name] = {",\"" text "\":", sizeof(text) + 3},
    ENVELOPE_FIELDS(X)
#undef X
};

#define START FRAME_ENVELOPE_PREFIX "{\"id\":"

enum {
#define X(name, text, default_json, class, identifier) +(sizeof(text) + 3)
    KEYS_LENGTH = 0 ENVELOPE_FIELDS(X),
#undef X
    ID_JSON_LENGTH = UUID_LENGTH + 2,
    TIMESTAMP_JSON_LENGTH = CLOCK_ISO_LENGTH + 2,
    /* All but the values: START takes the place of the id's key and its comma. */
    FRAME_BASE = sizeof(START) - 1 + KEYS_LENGTH - (sizeof("id") + 3) + 1 + sizeof(FRAME_ENVELOPE_SUFFIX) - 1,
};

/* The constant defaults with their keys, one behind the other, and where each begins: any run of neighbours is one
 * copy. Made from the field table when the program is loaded. */
static char default_run[256];
static uint16_t default_start[FIELD_COUNT + 1];
static uint32_t default_length[FIELD_COUNT]; /* of the value alone; 0 for the sender's, which are added apart */

__attribute__((constructor)) static void make_default_run(void)
{
    size_t at = 0;
    for (unsigned field = 0; field < FIELD_COUNT; field++) {
        struct slice json = fields[field].default_json;
        default_start[field] = (uint16_t)at;
        default_length[field] = (uint32_t)json.length;
        if (json.length == 0)
            continue;
        memcpy(default_run + at, keys[field].text, keys[field].length);
        at += keys[field].length;
        memcpy(default_run + at, json.data, json.length);
        at += json.length;
    }
    default_start[FIELD_COUNT] = (uint16_t)at;
    default_length[FIELD_ID] = ID_JSON_LENGTH;
    default_length[FIELD_TIMESTAMP] = TIMESTAMP_JSON_LENGTH;
}

struct slice field_name(enum field field)
{
    return fields[field].name;
}

struct slice field_default_json(enum field field)
{
    return fields[field].default_json;
}

enum field_class field_class(enum field field)
{
    return fields[field].class;
}

enum field field_from_name(struct slice name)
{
    char padded[32] = {0};
    if (name.length > 16)
        return FIELD_UNKNOWN;
    if (name.length > 0)
        memcpy(padded, name.data, name.length);
    return scan_field_of(padded, name.length);
}

size_t envelope_packed_length(const struct envelope *envelope)
{
    size_t length = 0;
    for (uint32_t rest = envelope->packed_sent; rest; rest &= rest - 1)
        length += envelope->packed[__builtin_ctz(rest) - FIELD_TEXT_COUNT].length;
    return length;
}

void envelope_move(struct envelope *to, struct envelope *from, struct slice text, char *copy, struct text_store *store)
{
    *to = *from;
    for (unsigned field = 0; field < FIELD_COUNT; field++) {
        struct slice *json = &to->json[field];
        if (json->length > 0 && json->data >= text.data && json->data < text.data + text.length)
            json->data = copy + (json->data - text.data);
    }
    to->readable_end = copy + text.length + JSON_SLACK;
    char *behind = copy + text.length + JSON_SLACK;
    for (uint32_t rest = to->packed_sent; rest; rest &= rest - 1) {
        struct slice *packed = &to->packed[__builtin_ctz(rest) - FIELD_TEXT_COUNT];
        char *at = behind;
        behind = mempcpy(at, packed->data, packed->length);
        packed->data = at;
    }
    to->store = store;
    *store = *from->store;
    *from->store = (struct text_store){0};
}

void envelope_clear(struct envelope *envelope, struct text_store *store)
{
    text_store_reset(store);
    for (unsigned field = 0; field < FIELD_COUNT; field++)
        envelope->json[field].length = 0; /* the lengths alone: clearing all took as long as scanning four fields */
    envelope->escaped = 0;
    envelope->borrowed = 0;
    envelope->packed_sent = envelope->packed_kept = 0;
    envelope->readable_end = NULL;
    envelope->store = store;
    envelope->has_made_id = false;
}

enum code envelope_scan(struct slice text, const struct message_rules *rules, struct text_store *store,
                        struct envelope *out, char error[ERROR_TEXT_BYTES])
{
    envelope_clear(out, store);
    if (!rules->utf8_checked && !utf8_valid(text.data, text.length)) {
        snprintf(error, ERROR_TEXT_BYTES, "not JSON: not UTF-8 at byte %zu", utf8_valid_length(text.data, text.length));
        return CODE_BAD_JSON;
    }
    struct scan_copy copy;
    if (!scan_copy_make(&copy, text)) {
        snprintf(error, ERROR_TEXT_BYTES, "out of memory");
        return CODE_INTERNAL;
    }
    struct scan scan = {
        .start = copy.data,
        .end = copy.data + text.length,
        .depth = rules->depth,
        .lenient = rules->lenient,
        .prefix = "",
        .error = error,
    };
    enum code code = scan_best()->envelope(&scan, out);
    for (unsigned field = 0; field < FIELD_COUNT; field++)
        if (out->json[field].length > 0)
            out->json[field].data = text.data + (out->json[field].data - copy.data);
    out->readable_end = text.data + text.length;
    scan_copy_drop(&copy);
    return code;
}

/* --- Defaults --------------------------------------------------------------------------------------------------- */

static const struct sender_fragment nobody = {
    .data = (char[]){",\"from\":\"unknown\",\"role\":\"agent\""},
    .length = 32,
    .from_json = 8,
    .from_json_length = 9,
    .role_json = 25,
    .role_json_length = 7,
    .from_plain = true,
    .role_plain = true,
};

bool sender_fragment_set(struct sender_fragment *fragment, struct slice id, struct slice role)
{
    if (id.length == 0)
        id = SLICE("unknown");
    if (role.length == 0)
        role = SLICE("agent");
    size_t id_length = json_string_length(id), role_length = json_string_length(role);
    size_t length = keys[FIELD_FROM].length + id_length + keys[FIELD_ROLE].length + role_length;
    if (length > UINT32_MAX / 2)
        return false;
    char *data = malloc(length);
    if (!data)
        return false;
    char *at = data;
    memcpy(at, keys[FIELD_FROM].text, keys[FIELD_FROM].length);
    at += keys[FIELD_FROM].length;
    fragment->from_json = (uint32_t)(at - data);
    fragment->from_json_length = (uint32_t)id_length;
    at = json_write_string(at, id);
    memcpy(at, keys[FIELD_ROLE].text, keys[FIELD_ROLE].length);
    at += keys[FIELD_ROLE].length;
    fragment->role_json = (uint32_t)(at - data);
    fragment->role_json_length = (uint32_t)role_length;
    json_write_string(at, role);
    fragment->from_plain = id_length == id.length + 2;
    fragment->role_plain = role_length == role.length + 2;
    fragment->length = (uint32_t)length;
    free(fragment->data);
    fragment->data = data;
    return true;
}

void sender_fragment_free(struct sender_fragment *fragment)
{
    free(fragment->data);
    *fragment = (struct sender_fragment){0};
}

static const struct sender_fragment *sender_of(const struct envelope_defaults *defaults)
{
    return defaults->sender && defaults->sender->data ? defaults->sender : &nobody;
}

static struct slice made_id(struct envelope *envelope)
{
    if (!envelope->has_made_id) {
        envelope->made_id[0] = '"';
        uuid_format(envelope->made_id + 1);
        envelope->made_id[ID_JSON_LENGTH - 1] = '"';
        envelope->has_made_id = true;
    }
    return slice_from(envelope->made_id, ID_JSON_LENGTH);
}

/* --- Reading ---------------------------------------------------------------------------------------------------- */

static struct slice default_json_of(struct envelope *envelope, enum field field,
                                    const struct envelope_defaults *defaults)
{
    const struct sender_fragment *sender = sender_of(defaults);
    char *quoted;
    switch (field) {
    case FIELD_ID:
        return made_id(envelope);
    case FIELD_FROM:
        return slice_from(sender->data + sender->from_json, sender->from_json_length);
    case FIELD_ROLE:
        return slice_from(sender->data + sender->role_json, sender->role_json_length);
    case FIELD_TIMESTAMP:
        quoted = text_store_take(envelope->store, TIMESTAMP_JSON_LENGTH);
        if (!quoted)
            return slice_from(NULL, 0);
        quoted[0] = '"';
        memcpy(quoted + 1, defaults->timestamp, CLOCK_ISO_LENGTH);
        quoted[TIMESTAMP_JSON_LENGTH - 1] = '"';
        return slice_from(quoted, TIMESTAMP_JSON_LENGTH);
    default:
        return fields[field].default_json;
    }
}

struct slice envelope_json(struct envelope *envelope, enum field field, const struct envelope_defaults *defaults)
{
    if (envelope_has(envelope, field))
        return envelope->json[field];
    return default_json_of(envelope, field, defaults);
}

struct slice envelope_text(struct envelope *envelope, enum field field, const struct envelope_defaults *defaults)
{
    if (envelope_has(envelope, field))
        return envelope_sent_text(envelope, field);
    if (field == FIELD_TIMESTAMP)
        return slice_from(defaults->timestamp, CLOCK_ISO_LENGTH);
    struct slice json = default_json_of(envelope, field, defaults);
    if (json_kind(json) != JSON_STRING)
        return slice_from(NULL, 0);
    struct slice inside = json_string_inside(json);
    if ((field == FIELD_FROM && !sender_of(defaults)->from_plain) ||
        (field == FIELD_ROLE && !sender_of(defaults)->role_plain)) {
        char *unescaped = text_store_take(envelope->store, inside.length);
        if (!unescaped)
            return slice_from(NULL, 0);
        return slice_from(unescaped, json_unescape(inside, unescaped, NULL));
    }
    return inside;
}

/* --- Replacing -------------------------------------------------------------------------------------------------- */

static struct slice trimmed(struct slice json)
{
    static const char space[] = " \t\r\n";
    while (json.length > 0 && memchr(space, json.data[0], 4)) {
        json.data++;
        json.length--;
    }
    while (json.length > 0 && memchr(space, json.data[json.length - 1], 4))
        json.length--;
    return json;
}

enum code envelope_set_json(struct envelope *envelope, enum field field, struct slice json,
                            char error[ERROR_TEXT_BYTES])
{
    uint32_t bit = 1u << field, escaped_before = envelope->escaped;
    struct slice before = envelope->json[field];
    struct scan scan = {.prefix = "", .error = error};
    envelope->escaped &= ~bit;
    envelope->json[field] = slice_from(NULL, 0);
    json = trimmed(json);
    if (json.length > 0)
        scan_field_value(&scan, envelope, field, json);
    if (scan.field_code != CODE_OK) {
        envelope->json[field] = before;
        envelope->escaped = escaped_before;
        return scan.field_code;
    }
    envelope->borrowed |= bit;
    envelope->packed_kept &= ~bit;
    return CODE_OK;
}

enum code envelope_set_text(struct envelope *envelope, enum field field, struct slice text,
                            char error[ERROR_TEXT_BYTES])
{
    if (field >= FIELD_TEXT_COUNT) {
        snprintf(error, ERROR_TEXT_BYTES, "%s: expected JSON, got a text", field_name(field).data);
        return CODE_BAD_FIELD;
    }
    /* Judged before it is quoted: quoting mends what is not UTF-8, and an id is not to be mended. */
    if (!utf8_valid(text.data, text.length)) {
        snprintf(error, ERROR_TEXT_BYTES, "%s: is not UTF-8", fields[field].name.data);
        return CODE_BAD_FIELD;
    }
    size_t length = json_string_length(text);
    char *quoted = text_store_take(envelope->store, length);
    if (!quoted) {
        snprintf(error, ERROR_TEXT_BYTES, "out of memory");
        return CODE_INTERNAL;
    }
    json_write_string(quoted, text);
    return envelope_set_json(envelope, field, slice_from(quoted, length), error);
}

/* --- Sending on ------------------------------------------------------------------------------------------------- */

/* A frame being written: `limit` is the end of the memory behind `at`, past the end of the text. */
struct writer {
    char *at, *limit;
};

/* Copies by whole vectors, up to VECTOR - 1 bytes more than asked, where both sides have the room; what is written too
 * much is overwritten by what follows. */
#define VECTOR 32
/* From here on the library's copy is faster than the loop. */
#define LONG_COPY 512

static inline void put(struct writer *writer, const char *data, size_t length, const char *readable_end)
{
    char *to = writer->at;
    writer->at += length;
    if (__builtin_expect(length <= LONG_COPY && (size_t)(writer->limit - writer->at) >= VECTOR &&
                             (size_t)(readable_end - data) >= length + VECTOR,
                         1)) {
        size_t done = 0;
        do {
            memcpy(to + done, data + done, VECTOR);
            done += VECTOR;
        } while (done < length);
        return;
    }
    memcpy(to, data, length);
}

static inline void put_value(struct writer *writer, const struct envelope *envelope, unsigned field)
{
    struct slice json = envelope->json[field];
    const char *readable_end = envelope->readable_end;
    if (__builtin_expect(envelope->borrowed >> field & 1, 0))
        readable_end = json.data + json.length;
    put(writer, json.data, json.length, readable_end);
}

static inline void put_key(struct writer *writer, unsigned field)
{
    if (__builtin_expect((size_t)(writer->limit - writer->at) >= sizeof keys[0].text, 1))
        memcpy(writer->at, keys[field].text, sizeof keys[0].text);
    else
        memcpy(writer->at, keys[field].text, keys[field].length);
    writer->at += keys[field].length;
}

/* The fields first to last, none of which has a default made for the envelope. */
static inline void put_fields(struct writer *writer, const struct envelope *envelope, uint32_t present, unsigned first,
                              unsigned last)
{
    for (unsigned field = first; field <= last;) {
        if (present >> field & 1) {
            put_key(writer, field);
            put_value(writer, envelope, field);
            field++;
            continue;
        }
        /* The bit behind the last field is set, so that a run always ends. */
        unsigned next = field + (unsigned)__builtin_ctz((present | 1u << (last + 1)) >> field);
        put(writer, default_run + default_start[field], (size_t)(default_start[next] - default_start[field]),
            default_run + sizeof default_run);
        field = next;
    }
}

struct frame *envelope_build(struct envelope *envelope, const struct envelope_defaults *defaults, enum frame_kind kind)
{
    const struct sender_fragment *sender = sender_of(defaults);
    size_t length = FRAME_BASE;
    uint32_t present = 0;
/* Written out for each field: as a loop it took a fifth of the whole build. */
#define X(name, text, default_json, class, identifier)                                                                 \
    length +=                                                                                                          \
        envelope->json[FIELD_##name].length > 0 ? envelope->json[FIELD_##name].length : default_length[FIELD_##name];  \
    present |= (uint32_t)(envelope->json[FIELD_##name].length > 0) << FIELD_##name;
    ENVELOPE_FIELDS(X)
#undef X
    if (!(present >> FIELD_FROM & 1))
        length += sender->from_json_length;
    if (!(present >> FIELD_ROLE & 1))
        length += sender->role_json_length;

    struct frame *frame = frame_new(kind, 1, length);
    if (!frame)
        return NULL;
    struct writer writer = {frame_payload(frame), frame->data + frame->capacity};
    memcpy(writer.at, START, sizeof(START) - 1);
    writer.at += sizeof(START) - 1;
    if (present >> FIELD_ID & 1) {
        put_value(&writer, envelope, FIELD_ID);
    } else {
        memcpy(writer.at, made_id(envelope).data, ID_JSON_LENGTH);
        writer.at += ID_JSON_LENGTH;
    }

    put_key(&writer, FIELD_TIMESTAMP);
    if (present >> FIELD_TIMESTAMP & 1) {
        put_value(&writer, envelope, FIELD_TIMESTAMP);
    } else {
        writer.at[0] = '"';
        memcpy(writer.at + 1, defaults->timestamp, CLOCK_ISO_LENGTH);
        writer.at[TIMESTAMP_JSON_LENGTH - 1] = '"';
        writer.at += TIMESTAMP_JSON_LENGTH;
    }

    put_fields(&writer, envelope, present, FIELD_INTENT, FIELD_PRIORITY);

    const char *sender_end = sender->data + sender->length;
    uint32_t from_length = sender->role_json - (uint32_t)keys[FIELD_ROLE].length; /* of ,"from":"…" */
    if (!(present >> FIELD_FROM & 3)) {
        put(&writer, sender->data, sender->length, sender_end);
    } else {
        if (present >> FIELD_FROM & 1)
            put_fields(&writer, envelope, present, FIELD_FROM, FIELD_FROM);
        else
            put(&writer, sender->data, from_length, sender_end);
        if (present >> FIELD_ROLE & 1)
            put_fields(&writer, envelope, present, FIELD_ROLE, FIELD_ROLE);
        else
            put(&writer, sender->data + from_length, sender->length - from_length, sender_end);
    }

    put_fields(&writer, envelope, present, FIELD_TO, FIELD_TRACE);
    memcpy(writer.at, "}" FRAME_ENVELOPE_SUFFIX, sizeof("}" FRAME_ENVELOPE_SUFFIX) - 1);
    if (__builtin_expect(envelope->packed_kept != 0, 0) && !msgpack_attach(frame, envelope, defaults)) {
        frame_release(frame);
        return NULL;
    }
    return frame;
}
