/* One pass, without recursion. Every length is compared with what is left before it is believed, and a container cannot
 * promise more values than there are bytes, so a short message cannot make the bridge work or allocate for a long one.
 */
#include <math.h>
#include <mbedtls/base64.h>
#include <stdio.h>

#include "base/likely.h"
#include "protocol/json/json_number.h"
#include "protocol/json/json_write.h"
#include "protocol/json/utf8.h"
#include "protocol/msgpack/msgpack.h"

struct unpacker {
    const unsigned char *start, *at, *end;
    struct buffer *out;
    const struct msgpack_rules *rules;
    enum code stopped;
    char *error;
};

static bool fail(struct unpacker *unpacker, const unsigned char *at, const char *reason)
    __attribute__((cold, noinline));
static bool fail(struct unpacker *unpacker, const unsigned char *at, const char *reason)
{
    unpacker->stopped = CODE_BAD_JSON;
    snprintf(unpacker->error, ERROR_TEXT_BYTES, "not MessagePack: %s at byte %zu", reason,
             (size_t)(at - unpacker->start));
    return false;
}

static bool fail_unsayable(struct unpacker *unpacker, const unsigned char *at, const char *what)
    __attribute__((cold, noinline));
static bool fail_unsayable(struct unpacker *unpacker, const unsigned char *at, const char *what)
{
    unpacker->stopped = CODE_BAD_JSON;
    snprintf(unpacker->error, ERROR_TEXT_BYTES, "MessagePack that JSON cannot say: %s at byte %zu", what,
             (size_t)(at - unpacker->start));
    return false;
}

static bool fail_end(struct unpacker *unpacker)
{
    return fail(unpacker, unpacker->end, "unexpected end");
}

static bool fail_deep(struct unpacker *unpacker, const unsigned char *at)
{
    unpacker->stopped = CODE_TOO_DEEP;
    snprintf(unpacker->error, ERROR_TEXT_BYTES, "nested deeper than %u at byte %zu", unpacker->rules->depth,
             (size_t)(at - unpacker->start));
    return false;
}

static bool fail_large(struct unpacker *unpacker)
{
    unpacker->stopped = CODE_TOO_LARGE;
    snprintf(unpacker->error, ERROR_TEXT_BYTES, "as JSON the message is larger than %zu bytes", unpacker->rules->bytes);
    return false;
}

static char *more_room(struct unpacker *unpacker, size_t size) __attribute__((noinline));
static char *more_room(struct unpacker *unpacker, size_t size)
{
    /* Tokens ask for more than they use, by less than the slack. */
    if (unpacker->out->length + size > unpacker->rules->bytes + (size_t)2 * JSON_SLACK) {
        fail_large(unpacker);
        return NULL;
    }
    char *to = buffer_reserve(unpacker->out, size);
    if (!to) {
        unpacker->stopped = CODE_OVERLOADED;
        snprintf(unpacker->error, ERROR_TEXT_BYTES, "out of memory");
    }
    return to;
}

/* Room for that many bytes behind the text; NULL after a failure was noted. */
static inline char *room(struct unpacker *unpacker, size_t size)
{
    struct buffer *out = unpacker->out;
    if (LIKELY(out->capacity - out->length >= size))
        return out->data + out->length;
    return more_room(unpacker, size);
}

static inline bool put(struct unpacker *unpacker, const char *text, size_t length)
{
    char *to = room(unpacker, length);
    if (!to)
        return false;
    memcpy(to, text, length);
    unpacker->out->length += length;
    return true;
}

/* The big-endian number in `width` bytes; the caller has checked that they are there. */
static inline uint64_t big_endian(const unsigned char *at, unsigned width)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < width; i++)
        value = value << 8 | at[i];
    return value;
}

/* Takes a number of `width` bytes behind the format byte. */
static inline bool take(struct unpacker *unpacker, unsigned width, uint64_t *value)
{
    if (UNLIKELY((size_t)(unpacker->end - unpacker->at) < width))
        return fail_end(unpacker);
    *value = big_endian(unpacker->at, width);
    unpacker->at += width;
    return true;
}

static bool put_unsigned(struct unpacker *unpacker, uint64_t value, bool negative)
{
    char text[24], *at = text + sizeof text;
    do
        *--at = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    if (negative)
        *--at = '-';
    return put(unpacker, at, (size_t)(text + sizeof text - at));
}

static bool put_signed(struct unpacker *unpacker, int64_t value)
{
    return value < 0 ? put_unsigned(unpacker, 0 - (uint64_t)value, true)
                     : put_unsigned(unpacker, (uint64_t)value, false);
}

static bool put_float(struct unpacker *unpacker, const unsigned char *at, double value)
{
    if (!isfinite(value))
        return fail_unsayable(unpacker, at, isnan(value) ? "NaN" : "an infinity");
    char *to = room(unpacker, JSON_NUMBER_BYTES);
    if (!to)
        return false;
    unpacker->out->length += json_number_write(value, to);
    return true;
}

/* How many bytes from the start stand for themselves in a JSON string: ASCII but controls, DEL, quote and backslash. */
static size_t plain_run(const char *data, size_t length)
{
    const uint64_t ones = 0x0101010101010101u, high = ones << 7;
    size_t at = 0;
    for (; at + 8 <= length; at += 8) {
        uint64_t word;
        memcpy(&word, data + at, 8);
        uint64_t quote = word ^ (ones * '"'), slash = word ^ (ones * '\\'), del = word ^ (ones * 0x7f);
        /* A byte's top bit: below 0x20, equal to one of the three, or not ASCII. A false alarm costs only time. */
        if (((word - ones * 0x20) | (quote - ones) | (slash - ones) | (del - ones) | word) & high)
            break;
    }
    for (; at < length; at++) {
        unsigned char byte = (unsigned char)data[at];
        if (byte < 0x20 || byte >= 0x7f || byte == '"' || byte == '\\')
            break;
    }
    return at;
}

static bool put_string(struct unpacker *unpacker, struct slice text)
{
    if (LIKELY(plain_run(text.data, text.length) == text.length)) {
        char *to = room(unpacker, text.length + 2);
        if (!to)
            return false;
        *to = '"';
        memcpy(to + 1, text.data, text.length);
        to[1 + text.length] = '"';
        unpacker->out->length += text.length + 2;
        return true;
    }
    size_t good = utf8_valid_length(text.data, text.length);
    if (good < text.length)
        return fail(unpacker, (const unsigned char *)text.data + good, "a string that is not UTF-8");
    size_t length = json_string_length(text);
    char *to = room(unpacker, length);
    if (!to)
        return false;
    json_write_string(to, text);
    unpacker->out->length += length;
    return true;
}

/* Takes `length` bytes. */
static inline bool take_bytes(struct unpacker *unpacker, uint64_t length, struct slice *bytes)
{
    if (UNLIKELY((size_t)(unpacker->end - unpacker->at) < length))
        return fail_end(unpacker);
    *bytes = slice_from((const char *)unpacker->at, (size_t)length);
    unpacker->at += length;
    return true;
}

static bool put_binary(struct unpacker *unpacker, struct slice bytes)
{
    size_t size = (bytes.length + 2) / 3 * 4, written = 0;
    char *to = room(unpacker, size + 3); /* the quotes, and the NUL that the library writes */
    if (!to)
        return false;
    to[0] = '"';
    if (mbedtls_base64_encode((unsigned char *)to + 1, size + 1, &written, (const unsigned char *)bytes.data,
                              bytes.length) != 0)
        written = 0; /* only for want of room, and there is room */
    to[1 + written] = '"';
    unpacker->out->length += written + 2;
    return true;
}

/* A key, written with its colon. */
static bool take_key(struct unpacker *unpacker, struct slice *key)
{
    const unsigned char *at = unpacker->at;
    if (UNLIKELY(at == unpacker->end))
        return fail_end(unpacker);
    unpacker->at++;
    uint64_t length = *at & 31;
    if (UNLIKELY(*at >> 5 != 5)) {
        if (*at < 0xd9 || *at > 0xdb)
            return fail_unsayable(unpacker, at, "a key that is no string");
        if (!take(unpacker, 1u << (*at - 0xd9), &length))
            return false;
    }
    return take_bytes(unpacker, length, key) && put_string(unpacker, *key) && put(unpacker, ":", 1);
}

/* One value that holds no others. Format bytes of arrays and maps are the caller's. */
static bool scalar(struct unpacker *unpacker, unsigned format)
{
    const unsigned char *at = unpacker->at - 1;
    uint64_t number = 0;
    struct slice bytes;
    if (format < 0x80)
        return put_unsigned(unpacker, format, false);
    if (format >= 0xe0)
        return put_signed(unpacker, (int8_t)format);
    if (format >= 0xa0 && format < 0xc0)
        return take_bytes(unpacker, format & 31, &bytes) && put_string(unpacker, bytes);
    switch (format) {
    case 0xc0:
        return put(unpacker, "null", 4);
    case 0xc2:
        return put(unpacker, "false", 5);
    case 0xc3:
        return put(unpacker, "true", 4);
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return take(unpacker, 1u << (format - 0xc4), &number) && take_bytes(unpacker, number, &bytes) &&
               put_binary(unpacker, bytes);
    case 0xca: {
        uint32_t bits;
        float value;
        if (!take(unpacker, 4, &number))
            return false;
        bits = (uint32_t)number;
        memcpy(&value, &bits, sizeof value);
        return put_float(unpacker, at, (double)value);
    }
    case 0xcb: {
        double value;
        if (!take(unpacker, 8, &number))
            return false;
        memcpy(&value, &number, sizeof value);
        return put_float(unpacker, at, value);
    }
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        return take(unpacker, 1u << (format - 0xcc), &number) && put_unsigned(unpacker, number, false);
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3: {
        unsigned width = 1u << (format - 0xd0), unused = 64 - 8 * width;
        if (!take(unpacker, width, &number))
            return false;
        return put_signed(unpacker, (int64_t)(number << unused) >> unused);
    }
    case 0xd9:
    case 0xda:
    case 0xdb:
        return take(unpacker, 1u << (format - 0xd9), &number) && take_bytes(unpacker, number, &bytes) &&
               put_string(unpacker, bytes);
    case 0xc1:
        return fail(unpacker, at, "0xc1, which is no format");
    default:
        return fail_unsayable(unpacker, at, "an extension type");
    }
}

static inline bool is_map(unsigned format)
{
    return format >> 4 == 8 || format == 0xde || format == 0xdf;
}

static inline bool is_array(unsigned format)
{
    return format >> 4 == 9 || format == 0xdc || format == 0xdd;
}

/* The count of an array or map whose format byte was taken. */
static bool take_count(struct unpacker *unpacker, unsigned format, uint64_t *count)
{
    *count = format & 15;
    if (format >= 0xdc && !take(unpacker, format & 1 ? 4 : 2, count))
        return false;
    if (*count * (is_map(format) ? 2 : 1) > (size_t)(unpacker->end - unpacker->at))
        return fail_end(unpacker);
    return true;
}

/* One value of any kind, inside `level` containers. */
static bool value(struct unpacker *unpacker, const unsigned level)
{
    struct {
        uint32_t left; /* values to come, or pairs */
        bool map;
    } open[JSON_DEPTH_MAXIMUM]; /* written before it is read */
    unsigned inside = 0;
    struct slice key;

    for (;;) {
        if (UNLIKELY(unpacker->at == unpacker->end))
            return fail_end(unpacker);
        unsigned format = *unpacker->at++;
        bool map = is_map(format);
        if (map || is_array(format)) {
            uint64_t count;
            if (UNLIKELY(level + inside >= unpacker->rules->depth))
                return fail_deep(unpacker, unpacker->at - 1);
            if (!take_count(unpacker, format, &count))
                return false;
            if (count > 0) {
                open[inside].left = (uint32_t)count;
                open[inside++].map = map;
                if (!put(unpacker, map ? "{" : "[", 1) || (map && !take_key(unpacker, &key)))
                    return false;
                continue;
            }
            if (!put(unpacker, map ? "{}" : "[]", 2))
                return false;
        } else if (!scalar(unpacker, format)) {
            return false;
        }
        while (inside > 0 && --open[inside - 1].left == 0) {
            inside--;
            if (!put(unpacker, open[inside].map ? "}" : "]", 1))
                return false;
        }
        if (inside == 0)
            return true;
        if (!put(unpacker, ",", 1) || (open[inside - 1].map && !take_key(unpacker, &key)))
            return false;
    }
}

/* The map that an envelope is, of which the opaque fields are noted. Its format byte was taken. */
static bool envelope(struct unpacker *unpacker, unsigned format, struct msgpack_fields *fields)
{
    uint64_t count;
    if (unpacker->rules->depth < 2)
        return fail_deep(unpacker, unpacker->at - 1);
    if (!take_count(unpacker, format, &count) || !put(unpacker, "{", 1))
        return false;
    for (uint64_t i = 0; i < count; i++) {
        struct slice key;
        if ((i > 0 && !put(unpacker, ",", 1)) || !take_key(unpacker, &key))
            return false;
        enum field field = field_from_name(key);
        const unsigned char *packed = unpacker->at;
        size_t json_at = unpacker->out->length;
        if (!value(unpacker, 2))
            return false;
        if (!fields || field < FIELD_TEXT_COUNT || field == FIELD_UNKNOWN)
            continue;
        unsigned index = field - FIELD_TEXT_COUNT;
        fields->found |= 1u << field;
        fields->fields[index].json_at = json_at;
        fields->fields[index].packed = slice_from((const char *)packed, (size_t)(unpacker->at - packed));
    }
    return put(unpacker, "}", 1);
}

static bool message_value(struct unpacker *unpacker, struct msgpack_fields *fields)
{
    if (unpacker->at == unpacker->end)
        return fail_end(unpacker);
    unsigned format = *unpacker->at;
    if (!is_map(format))
        return value(unpacker, 0);
    unpacker->at++;
    uint64_t count;
    if (!take_count(unpacker, format, &count) || !put(unpacker, "{", 1))
        return false;
    for (uint64_t i = 0; i < count; i++) {
        struct slice key;
        if ((i > 0 && !put(unpacker, ",", 1)) || !take_key(unpacker, &key))
            return false;
        bool good;
        if (slice_equal(key, SLICE("envelope")) && unpacker->at < unpacker->end && is_map(*unpacker->at)) {
            format = *unpacker->at++;
            good = envelope(unpacker, format, fields);
        } else {
            good = value(unpacker, 1);
        }
        if (!good)
            return false;
    }
    return put(unpacker, "}", 1);
}

enum code msgpack_to_json(struct slice message, const struct msgpack_rules *rules, struct buffer *out,
                          struct msgpack_fields *fields, char error[ERROR_TEXT_BYTES])
{
    const unsigned char *start = (const unsigned char *)message.data;
    struct unpacker unpacker = {
        .start = start, .at = start, .end = start + message.length, .out = out, .rules = rules, .error = error};
    if (fields)
        fields->found = 0;
    if (!message_value(&unpacker, fields))
        return unpacker.stopped;
    if (unpacker.at != unpacker.end) {
        fail(&unpacker, unpacker.at, "bytes behind the message");
        return unpacker.stopped;
    }
    if (out->length > rules->bytes) {
        fail_large(&unpacker);
        return unpacker.stopped;
    }
    char *slack = room(&unpacker, JSON_SLACK);
    if (!slack)
        return unpacker.stopped;
    memset(slack, 0, JSON_SLACK);
    return CODE_OK;
}

void msgpack_keep_fields(const struct msgpack_fields *fields, struct slice text, struct envelope *envelope)
{
    for (unsigned index = 0; index < FIELD_OPAQUE_COUNT; index++) {
        unsigned field = FIELD_TEXT_COUNT + index;
        /* What the scan took for nothing has its default, and no bytes. */
        if (fields->found >> field & 1 && envelope->json[field].length > 0 &&
            envelope->json[field].data == text.data + fields->fields[index].json_at)
            envelope_keep_packed(envelope, (enum field)field, fields->fields[index].packed);
    }
}

const char *msgpack_skip(const char *at)
{
    uint64_t left = 1;
    const unsigned char *p = (const unsigned char *)at;
    for (; left > 0; left--) {
        unsigned format = *p++;
        if (format < 0x80 || format >= 0xe0)
            continue;
        if (format >= 0xa0 && format < 0xc0) {
            p += format & 31;
        } else if (is_map(format) || is_array(format)) {
            unsigned width = format < 0xdc ? 0 : format & 1 ? 4 : 2;
            uint64_t count = width ? big_endian(p, width) : format & 15;
            p += width;
            left += is_map(format) ? 2 * count : count;
        } else if (format >= 0xc4 && format <= 0xc6) {
            unsigned width = 1u << (format - 0xc4);
            p += width + big_endian(p, width);
        } else if (format >= 0xd9 && format <= 0xdb) {
            unsigned width = 1u << (format - 0xd9);
            p += width + big_endian(p, width);
        } else if (format >= 0xcc) {
            p += 1u << (format & 3);
        } else if (format >= 0xca) {
            p += format == 0xca ? 4 : 8;
        }
    }
    return (const char *)p;
}
