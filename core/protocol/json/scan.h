/* Inside of the protocol room: what the scanner's three builds share. Others use json.h, message.h and envelope.h.
 *
 * scan_body.h holds the grammar and is compiled once for each vector width (scan_scalar.c, scan_sse2.c, scan_avx2.c).
 * Everything rare (errors, escapes, values that need a second look) is here, compiled once. */
#ifndef LUADUCT_PROTOCOL_SCAN_H
#define LUADUCT_PROTOCOL_SCAN_H

#include "protocol/envelope.h"
#include "protocol/message.h"

/* One scan. The text is followed by a NUL, which no JSON text may contain, so the scanner needs no bounds: whatever it
 * looks for, it stops there. JSON_SLACK bytes from `end` on are readable. */
struct scan {
    const char *start, *end;
    unsigned depth;
    bool lenient;
    const char *prefix;   /* before field names in error texts: "envelope." in a message, "" for a bare envelope */
    char *error;          /* ERROR_TEXT_BYTES; may be NULL */
    enum code stopped;    /* the text cannot be read on: CODE_BAD_JSON or CODE_TOO_DEEP */
    enum code field_code; /* the first thing wrong with a field; its text stands in `error` */
};

struct scan_functions {
    const char *name;
    enum code (*value)(struct scan *scan);
    enum code (*envelope)(struct scan *scan, struct envelope *out);
    enum code (*message)(struct scan *scan, struct message *out);
};

/* A copy with slack, for text that has none or may not be written: on the stack when small, else from the pool. */
#define SCAN_COPY_SMALL 4096
struct scan_copy {
    char *data;
    size_t pooled; /* bytes acquired; 0: `small` is in use */
    char small[SCAN_COPY_SMALL + JSON_SLACK];
};
bool scan_copy_make(struct scan_copy *copy, struct slice text); /* false when memory is out */
void scan_copy_drop(struct scan_copy *copy);

extern const struct scan_functions scan_scalar;
#if defined(__x86_64__)
extern const struct scan_functions scan_sse2, scan_avx2;
#endif

/* The widest that this processor has. */
static inline const struct scan_functions *scan_best(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2"))
        return &scan_avx2;
    return &scan_sse2;
#else
    return &scan_scalar;
#endif
}

/* Sets of fields, a bit each. */
enum {
#define X(name, text, default_json, class, identifier) | (identifier) << FIELD_##name
    FIELD_BITS_IDENTIFIER = 0 ENVELOPE_FIELDS(X),
#undef X
#define X(name, text, default_json, class, identifier) | (FIELD_CLASS_##class == FIELD_CLASS_ARRAY) << FIELD_##name
    FIELD_BITS_ARRAY = 0 ENVELOPE_FIELDS(X),
#undef X
};

/* The scan ends here: `reason` says what was expected or found. Returns NULL for the caller to return. */
const char *scan_fail(struct scan *scan, const char *at, const char *reason) __attribute__((cold, noinline));
const char *scan_fail_deep(struct scan *scan, const char *at) __attribute__((cold, noinline));

/* A string stopped at a byte that it may not hold raw: the end, or a control character. */
const char *scan_fail_string(struct scan *scan, const char *at) __attribute__((cold, noinline));

/* `at` is a backslash in a string: the byte after the escape, or NULL after scan_fail. */
const char *scan_escape(struct scan *scan, const char *at) __attribute__((noinline));

/* Notes the first thing wrong with a field. The scan goes on: the text may turn out not to be JSON at all, and the id
 * for the answer may stand further back. */
void scan_refuse(struct scan *scan, enum code code, const char *format, ...)
    __attribute__((cold, noinline, format(printf, 3, 4)));
void scan_refuse_twice(struct scan *scan, enum field field) __attribute__((cold, noinline));

/* Which field a key means, by a perfect hash of its first eight bytes. `length` is the key's, unescaped; 16 bytes from
 * `key` on are readable. */
enum field scan_field_of_escaped(struct slice inside) __attribute__((noinline));

struct field_slot {
    char name[16]; /* padded with NUL, as the key is masked */
    uint32_t field;
    uint32_t length; /* or "to" and a NUL would be `to` */
};
extern const struct field_slot scan_field_slots[16];

static inline uint64_t scan_word(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

static inline enum field scan_field_of(const char *key, size_t length)
{
    if (length - 1 >= 11) /* the longest is "attachments" */
        return FIELD_UNKNOWN;
    uint64_t first = scan_word(key), second = 0;
    if (length < 8)
        first &= ((uint64_t)1 << 8 * length) - 1;
    else if (length > 8)
        second = scan_word(key + 8) & (((uint64_t)1 << 8 * (length - 8)) - 1);
    /* Found by trying multipliers until the 15 names fell into 16 different slots; the unit test looks each one up. */
    const struct field_slot *slot = &scan_field_slots[first * 0x8ef9152770ae0bdfu >> 60];
    if (scan_word(slot->name) != first || scan_word(slot->name + 8) != second || slot->length != length)
        return FIELD_UNKNOWN;
    return (enum field)slot->field;
}

/* Any value of a known field that is not a short plain string: judges it by the field's class and stores it. */
void scan_field_value(struct scan *scan, struct envelope *envelope, enum field field, struct slice value)
    __attribute__((noinline));

/* What the old server, written in JavaScript, took for nothing (`value || default`): false, "", a zero. */
bool scan_is_falsy(struct slice value);

/* What `"type"` says, which need not be a string. */
enum message_type scan_message_type(struct slice value);
/* The verdict on a message that is JSON. `type` is the value of the key, length 0 when there was none. */
enum code scan_message_verdict(struct scan *scan, struct message *out, struct slice type, const char *twice,
                               enum json_kind envelope_kind);

#endif
