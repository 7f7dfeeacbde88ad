/* The grammar of RFC 8259 and the shape of a message, in one pass. Included by scan_scalar.c, scan_sse2.c and
 * scan_avx2.c, each of which defines before:
 *   SCAN_FUNCTIONS     the name of its struct scan_functions, SCAN_NAME the text for it
 *   SCAN_WIDTH         bytes a vector
 *   string_stops(p)    a mask of the bytes at p..p+SCAN_WIDTH that end a run of string text: the quote, the backslash
 *                      and everything below 0x20; and string_stops_and_odd(p, &odd), which also marks the bytes that
 *                      are DEL or not ASCII
 *   space_stops(p)     a mask of the bytes that are not white space
 *   MASK_INDEX(mask)   the offset of the first byte that a mask marks
 *
 * No bounds are checked, for the NUL behind the text stops every loop: it is not white space, not a digit, not in a
 * literal, and a string may not hold it. Vectors may read up to SCAN_WIDTH - 1 bytes past it.
 *
 * A value's nesting is one bit a level (object or array), 64 levels in a register, more in an array on the stack. */
#include "base/likely.h"
#include "protocol/json/scan.h"

#define INLINE static inline __attribute__((always_inline))

enum { STRING_ESCAPED = 1, STRING_ODD = 2 };

static __attribute__((noinline)) const char *skip_long_space(const char *p)
{
    for (;;) {
        scan_mask mask = space_stops(p);
        if (mask)
            return p + MASK_INDEX(mask);
        p += SCAN_WIDTH;
    }
}

INLINE bool is_space(char byte)
{
    return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

/* Most texts have no white space between tokens, or one blank. */
INLINE const char *skip_space(const char *p)
{
    if (LIKELY((unsigned char)*p > ' '))
        return p;
    if (is_space(*p))
        p++;
    if (LIKELY((unsigned char)*p > ' '))
        return p;
    return skip_long_space(p);
}

/* `p` is behind the opening quote. The closing quote, or NULL; flags gains STRING_ESCAPED and, where `odd` is asked
 * for, STRING_ODD: some byte is DEL or not ASCII. */
INLINE const char *string_close(struct scan *scan, const char *p, unsigned *flags, bool odd)
{
    for (;;) {
        scan_mask stops, odd_bytes = 0;
        if (odd)
            stops = string_stops_and_odd(p, &odd_bytes);
        else
            stops = string_stops(p);
        /* What stands before the first stop: all of the vector when there is none. */
        if (odd && UNLIKELY(odd_bytes & ((stops & (0 - stops)) - 1)))
            *flags |= STRING_ODD;
        if (UNLIKELY(!stops)) {
            p += SCAN_WIDTH;
            continue;
        }
        p += MASK_INDEX(stops);
        if (LIKELY(*p == '"'))
            return p;
        if (*p != '\\')
            return scan_fail_string(scan, p);
        *flags |= STRING_ESCAPED;
        p = scan_escape(scan, p);
        if (!p)
            return NULL;
    }
}

INLINE bool is_digit(char byte)
{
    return (unsigned char)(byte - '0') < 10;
}

static const char *number_end(struct scan *scan, const char *p)
{
    if (*p == '-')
        p++;
    if (*p == '0') {
        p++;
    } else {
        if (!is_digit(*p))
            return scan_fail(scan, p, "expected a digit");
        do
            p++;
        while (is_digit(*p));
    }
    if (*p == '.') {
        p++;
        if (!is_digit(*p))
            return scan_fail(scan, p, "expected a digit");
        do
            p++;
        while (is_digit(*p));
    }
    if (*p == 'e' || *p == 'E') {
        p++;
        if (*p == '+' || *p == '-')
            p++;
        if (!is_digit(*p))
            return scan_fail(scan, p, "expected a digit");
        do
            p++;
        while (is_digit(*p));
    }
    return p;
}

/* `p` is at the first byte of a value inside `level` containers. The byte behind it, or NULL. */
static const char *value_end(struct scan *scan, const char *p, const unsigned level)
{
    uint64_t saved[JSON_DEPTH_MAXIMUM / 64 + 1]; /* written before it is read, 64 levels at a time */
    uint64_t objects = 0;                        /* lowest bit: the container in hand is an object */
    unsigned inside = 0, flags = 0;

value:
    switch (*p) {
    case '"':
        p = string_close(scan, p + 1, &flags, false);
        if (UNLIKELY(!p))
            return NULL;
        p++;
        break;
    case '{':
    case '[':
        if (UNLIKELY(level + inside >= scan->depth))
            return scan_fail_deep(scan, p);
        if (UNLIKELY(inside % 64 == 0))
            saved[inside / 64] = objects;
        inside++;
        objects = objects << 1 | (*p == '{');
        p = skip_space(p + 1);
        if (objects & 1) {
            if (*p != '}')
                goto key;
        } else {
            if (*p != ']')
                goto value;
        }
        goto close;
    case 't':
        if (memcmp(p, "true", 4) != 0)
            return scan_fail(scan, p, "expected a value");
        p += 4;
        break;
    case 'f':
        if (memcmp(p + 1, "alse", 4) != 0)
            return scan_fail(scan, p, "expected a value");
        p += 5;
        break;
    case 'n':
        if (memcmp(p, "null", 4) != 0)
            return scan_fail(scan, p, "expected a value");
        p += 4;
        break;
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        p = number_end(scan, p);
        if (UNLIKELY(!p))
            return NULL;
        break;
    default:
        return scan_fail(scan, p, "expected a value");
    }

after:
    if (inside == 0)
        return p;
    p = skip_space(p);
    if (*p == ',') {
        p = skip_space(p + 1);
        if (objects & 1)
            goto key;
        goto value;
    }
    if (UNLIKELY(*p != (objects & 1 ? '}' : ']')))
        return scan_fail(scan, p, objects & 1 ? "expected ',' or '}'" : "expected ',' or ']'");
close:
    p++;
    inside--;
    objects >>= 1;
    if (UNLIKELY(inside % 64 == 0))
        objects = saved[inside / 64];
    goto after;

key:
    if (UNLIKELY(*p != '"'))
        return scan_fail(scan, p, "expected a key in quotes");
    p = string_close(scan, p + 1, &flags, false);
    if (UNLIKELY(!p))
        return NULL;
    p = skip_space(p + 1);
    if (UNLIKELY(*p != ':'))
        return scan_fail(scan, p, "expected ':'");
    p = skip_space(p + 1);
    goto value;
}

/* The same with a short way for what many fields hold: null, {} and []. */
INLINE const char *empty_or_value_end(struct scan *scan, const char *p, unsigned level)
{
    if (p[0] == 'n' && memcmp(p, "null", 4) == 0)
        return p + 4;
    if (((p[0] == '{' && p[1] == '}') || (p[0] == '[' && p[1] == ']')) && level < scan->depth)
        return p + 2;
    return value_end(scan, p, level);
}

/* `p` is at a key's opening quote. The first byte of its value, or NULL; `key` is the inside of its quotes. */
INLINE const char *key_end(struct scan *scan, const char *p, struct slice *key, unsigned *flags)
{
    if (UNLIKELY(*p != '"'))
        return scan_fail(scan, p, "expected a key in quotes");
    const char *close = string_close(scan, p + 1, flags, false);
    if (UNLIKELY(!close))
        return NULL;
    *key = slice_from(p + 1, (size_t)(close - p - 1));
    p = skip_space(close + 1);
    if (UNLIKELY(*p != ':'))
        return scan_fail(scan, p, "expected ':'");
    return skip_space(p + 1);
}

/* A field's key as nearly every sender writes it, `"name":`. Its bytes, and the field; 0 when the key is another or is
 * written otherwise. Finding the closing quote and looking the name up would give the same, but then the place of the
 * value would wait for that result; here it follows from a branch, which the processor predicts. */
INLINE unsigned plain_key(const char *p, enum field *field)
{
#define TRY(which, name)                                                                                               \
    if (memcmp(p + 2, &(name "\":")[1], sizeof(name)) == 0) {                                                          \
        *field = FIELD_##which;                                                                                        \
        return sizeof("\"" name "\":") - 1;                                                                            \
    }
    if (UNLIKELY(*p != '"'))
        return 0;
    switch (p[1]) {
    case 'a':
        TRY(ATTACHMENTS, "attachments")
        return 0;
    case 'c':
        TRY(CONTEXT, "context")
        TRY(CHANNEL, "channel")
        return 0;
    case 'f':
        TRY(FROM, "from")
        return 0;
    case 'i':
        TRY(ID, "id")
        TRY(INTENT, "intent")
        return 0;
    case 'p':
        TRY(PAYLOAD, "payload")
        TRY(PRIORITY, "priority")
        return 0;
    case 'r':
        TRY(ROLE, "role")
        TRY(REPLY_TO, "replyTo")
        return 0;
    case 't':
        TRY(TO, "to")
        TRY(TIMESTAMP, "timestamp")
        TRY(TASK_ID, "taskId")
        TRY(TOOLS, "tools")
        TRY(TRACE, "trace")
        return 0;
    default:
        return 0;
    }
#undef TRY
}

/* `p` is at the opening brace of an envelope inside `level` containers. */
static const char *envelope_end(struct scan *scan, const char *p, unsigned level, struct envelope *out)
{
    if (UNLIKELY(level >= scan->depth))
        return scan_fail_deep(scan, p);
    unsigned seen = 0;
    p = skip_space(p + 1);
    if (*p == '}')
        return p + 1;
    for (;;) {
        enum field field;
        unsigned flags = 0, plain = plain_key(p, &field);
        if (LIKELY(plain)) {
            p = skip_space(p + plain);
        } else {
            struct slice key;
            p = key_end(scan, p, &key, &flags);
            if (UNLIKELY(!p))
                return NULL;
            field = flags ? scan_field_of_escaped(key) : scan_field_of(key.data, key.length);
        }
        const char *value = p;
        if (field < FIELD_TEXT_COUNT && LIKELY(*p == '"')) {
            flags = 0;
            p = string_close(scan, p + 1, &flags, true);
            if (UNLIKELY(!p))
                return NULL;
            p++;
        } else {
            p = empty_or_value_end(scan, p, level + 1);
            if (UNLIKELY(!p))
                return NULL;
            flags = field < FIELD_TEXT_COUNT || *value == 'n' || (FIELD_BITS_ARRAY >> field & 1 && *value != '[');
        }
        if (LIKELY(field != FIELD_UNKNOWN)) {
            struct slice found = slice_from(value, (size_t)(p - value));
            /* A text of 1 to TEXT_BYTES_MAXIMUM plain bytes is good for every field that takes text. */
            if (UNLIKELY(seen >> field & 1))
                scan_refuse_twice(scan, field);
            else if (UNLIKELY(flags || (field < FIELD_TEXT_COUNT && found.length - 3 >= TEXT_BYTES_MAXIMUM)))
                scan_field_value(scan, out, field, found);
            else
                out->json[field] = found;
            seen |= 1u << field;
        }
        p = skip_space(p);
        if (*p == ',') {
            p = skip_space(p + 1);
            continue;
        }
        if (LIKELY(*p == '}'))
            return p + 1;
        return scan_fail(scan, p, "expected ',' or '}'");
    }
}

/* Behind the outermost value only white space may follow. */
INLINE enum code finish(struct scan *scan, const char *p)
{
    if (!p)
        return scan->stopped;
    p = skip_space(p);
    if (LIKELY(p == scan->end))
        return CODE_OK;
    scan_fail(scan, p, "text after the value");
    return scan->stopped;
}

static enum code scan_one_value(struct scan *scan)
{
    return finish(scan, value_end(scan, skip_space(scan->start), 0));
}

static enum code scan_one_envelope(struct scan *scan, struct envelope *out)
{
    const char *p = skip_space(scan->start);
    if (*p != '{') {
        enum code code = finish(scan, value_end(scan, p, 0));
        if (code != CODE_OK)
            return code;
        scan_refuse(scan, CODE_BAD_FIELD, "envelope: expected an object, got %s",
                    json_kind_name(json_kind(slice_from(p, 1))));
        return scan->field_code;
    }
    enum code code = finish(scan, envelope_end(scan, p, 0, out));
    return LIKELY(code == CODE_OK) ? scan->field_code : code;
}

static enum code scan_one_message(struct scan *scan, struct message *out)
{
    struct slice type = {0};
    const char *twice = NULL; /* a key of the message itself that came twice */
    enum json_kind envelope_kind = JSON_NONE;
    const char *p = scan->start;
    /* The start that every plain sender writes is compared whole. */
    static const char plain_start[] = "{\"type\":\"envelope\",\"envelope\":{";
    if (LIKELY((size_t)(scan->end - p) >= sizeof plain_start - 1 &&
               memcmp(p, plain_start, sizeof plain_start - 1) == 0)) {
        type = slice_from(p + 8, 10);
        envelope_kind = JSON_OBJECT;
        p = envelope_end(scan, p + sizeof plain_start - 2, 1, &out->envelope);
        if (UNLIKELY(!p))
            return scan->stopped;
        goto after;
    }
    p = skip_space(p);
    if (*p != '{') {
        enum code code = finish(scan, value_end(scan, p, 0));
        if (code != CODE_OK)
            return code;
        scan_refuse(scan, CODE_BAD_MESSAGE, "expected an object, got %s", json_kind_name(json_kind(slice_from(p, 1))));
        return scan->field_code;
    }
    p = skip_space(p + 1);
    if (*p == '}')
        goto end;
    for (;;) {
        struct slice key;
        unsigned flags = 0;
        p = key_end(scan, p, &key, &flags);
        if (UNLIKELY(!p))
            return scan->stopped;
        bool is_type, is_envelope;
        if (LIKELY(!flags)) {
            is_type = key.length == 4 && memcmp(key.data, "type", 4) == 0;
            is_envelope = key.length == 8 && memcmp(key.data, "envelope", 8) == 0;
        } else {
            is_type = json_inside_equals(key, SLICE("type"));
            is_envelope = json_inside_equals(key, SLICE("envelope"));
        }
        const char *value = p;
        if (is_envelope && *p == '{' && envelope_kind == JSON_NONE)
            p = envelope_end(scan, p, 1, &out->envelope);
        else
            p = value_end(scan, p, 1);
        if (UNLIKELY(!p))
            return scan->stopped;
        if (is_type) {
            if (type.length > 0)
                twice = "type";
            else
                type = slice_from(value, (size_t)(p - value));
        } else if (is_envelope) {
            if (envelope_kind != JSON_NONE && !twice)
                twice = "envelope";
            else
                envelope_kind = json_kind(slice_from(value, 1));
        }
    after:
        p = skip_space(p);
        if (*p == ',') {
            p = skip_space(p + 1);
            continue;
        }
        if (LIKELY(*p == '}'))
            break;
        scan_fail(scan, p, "expected ',' or '}'");
        return scan->stopped;
    }
end:;
    enum code code = finish(scan, p + 1);
    if (UNLIKELY(code != CODE_OK))
        return code;
    static const char common[] = "\"envelope\"";
    if (LIKELY(type.length == sizeof common - 1 && memcmp(type.data, common, sizeof common - 1) == 0 && !twice &&
               envelope_kind == JSON_OBJECT)) {
        out->type = MESSAGE_ENVELOPE;
        return scan->field_code;
    }
    return scan_message_verdict(scan, out, type, twice, envelope_kind);
}

const struct scan_functions SCAN_FUNCTIONS = {
    .name = SCAN_NAME,
    .value = scan_one_value,
    .envelope = scan_one_envelope,
    .message = scan_one_message,
};
