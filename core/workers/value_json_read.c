/* JSON text to values in one pass that validates as it builds, and without recursion: what is open lies in a list of
 * VALUE_DEPTH_MAXIMUM entries. An array that begins with a number is read as numbers side by side; only when something
 * else follows are they spread out. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/likely.h"
#include "protocol/json/json_number.h"
#include "protocol/json/utf8.h"
#include "workers/value.h"

struct open {
    size_t place;
    uint32_t count;
    bool object;
};

struct reader {
    const char *start, *p, *end;
    const char *look; /* where to look at `stop` next */
    const atomic_bool *stop;
    struct buffer *out;
    char *error;
    enum code code;
    unsigned depth;
    struct open open[VALUE_DEPTH_MAXIMUM];
};

static bool __attribute__((cold, noinline)) fail(struct reader *reader, const char *reason)
{
    reader->code = CODE_BAD_JSON;
    snprintf(reader->error, ERROR_TEXT_BYTES, "not JSON: %s at byte %zu",
             reader->p >= reader->end ? "unexpected end" : reason, (size_t)(reader->p - reader->start));
    return false;
}

static bool __attribute__((cold, noinline)) fail_with(struct reader *reader, enum code code, const char *reason)
{
    reader->code = code;
    snprintf(reader->error, ERROR_TEXT_BYTES, "%s", reason);
    return false;
}

/* Room for `more` bytes of values; also where the stop flag is looked at. */
static inline char *reserve(struct reader *reader, size_t more)
{
    struct buffer *out = reader->out;
    if (UNLIKELY(reader->p >= reader->look)) {
        reader->look = reader->p + VALUE_STOP_BYTES;
        if (value_stopped(reader->stop)) {
            fail_with(reader, CODE_TASK_TIMEOUT, "stopped");
            return NULL;
        }
    }
    if (LIKELY(out->capacity - out->length >= more))
        return out->data + out->length;
    char *at = more + out->length <= VALUE_BYTES_MAXIMUM ? buffer_reserve(out, more) : NULL;
    if (!at) {
        if (out->failed)
            fail_with(reader, CODE_INTERNAL, "out of memory");
        else
            fail_with(reader, CODE_TOO_LARGE, "the value takes more than 256 MiB");
    }
    return at;
}

static inline void put_header(struct reader *reader, char *at, uint32_t kind, uint32_t count, uint64_t bytes)
{
    *(struct value *)(void *)at = (struct value){kind, count, bytes};
    reader->out->length += sizeof(struct value) + bytes;
}

static inline void skip_space(struct reader *reader)
{
    const char *p = reader->p;
    while (p < reader->end && json_is_space(*p))
        p++;
    reader->p = p;
}

/* The first byte from p on that is a quote, a backslash or a control character; end when there is none. */
static inline const char *string_stop(const char *p, const char *end)
{
#if defined(__SSE2__)
    for (; end - p >= 16; p += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        __m128i stops = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')),
                                     _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')), control));
        unsigned mask = (unsigned)_mm_movemask_epi8(stops);
        if (mask)
            return p + __builtin_ctz(mask);
    }
#endif
    while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20)
        p++;
    return p;
}

static bool skip_escape(struct reader *reader)
{
    const char *p = reader->p + 1;
    if (p < reader->end && *p == 'u') {
        for (int i = 1; i <= 4; i++) {
            unsigned char digit = p + i < reader->end ? (unsigned char)p[i] : 0;
            if (!((digit >= '0' && digit <= '9') || ((digit | 0x20) >= 'a' && (digit | 0x20) <= 'f')))
                return fail(reader, "expected four hexadecimal digits after \\u");
        }
        reader->p = p + 5;
        return true;
    }
    if (p == reader->end || *p == '\0' || !strchr("\"\\/bfnrt", *p))
        return fail(reader, "no such escape");
    reader->p = p + 1;
    return true;
}

/* At the opening quote. */
static bool read_string(struct reader *reader)
{
    const char *inside = ++reader->p;
    bool escaped = false;
    for (;;) {
        reader->p = string_stop(reader->p, reader->end);
        if (UNLIKELY(reader->p == reader->end))
            return fail(reader, "expected the quote that ends the string");
        if (LIKELY(*reader->p == '"'))
            break;
        if (*reader->p != '\\')
            return fail(reader, "a control character in a string");
        escaped = true;
        if (!skip_escape(reader))
            return false;
    }
    size_t length = (size_t)(reader->p - inside), bytes = (length + 7) & ~(size_t)7;
    char *at = reserve(reader, sizeof(struct value) + bytes);
    if (!at)
        return false;
    char *body = at + sizeof(struct value);
    if (bytes > 0)
        memset(body + bytes - 8, 0, 8);
    if (LIKELY(!escaped)) {
        memcpy(body, inside, length);
    } else {
        length = json_unescape(slice_from(inside, length), body, NULL);
        bytes = (length + 7) & ~(size_t)7;
        memset(body + length, 0, bytes - length);
    }
    put_header(reader, at, VALUE_STRING, (uint32_t)length, bytes);
    reader->p++;
    return true;
}

static bool read_number(struct reader *reader, double *number)
{
    bool wide = false;
    const char *after = json_number_read(reader->p, reader->end, number, &wide);
    if (UNLIKELY(!after))
        return fail(reader, wide ? "a number beyond the range of a double" : "a number that is not complete");
    reader->p = after;
    return true;
}

static bool read_literal(struct reader *reader, const char *text, size_t length, enum value_kind kind)
{
    if ((size_t)(reader->end - reader->p) < length || memcmp(reader->p, text, length) != 0)
        return fail(reader, "expected a value");
    char *at = reserve(reader, sizeof(struct value));
    if (!at)
        return false;
    put_header(reader, at, kind, 0, 0);
    reader->p += length;
    return true;
}

static inline bool at_number(const struct reader *reader)
{
    return reader->p < reader->end && (*reader->p == '-' || (unsigned char)(*reader->p - '0') < 10);
}

/* The numbers read so far turn out to be followed by something else: each gets a header of its own. */
static bool spread_numbers(struct reader *reader, size_t place, uint32_t count)
{
    const size_t one = sizeof(struct value) + sizeof(double);
    if (!reserve(reader, count * sizeof(struct value)))
        return false;
    char *body = reader->out->data + place + sizeof(struct value);
    for (uint32_t i = count; i-- > 0;) {
        double number;
        memcpy(&number, body + i * sizeof number, sizeof number);
        *(struct value *)(void *)(body + i * one) = (struct value){VALUE_NUMBER, 0, sizeof number};
        memcpy(body + i * one + sizeof(struct value), &number, sizeof number);
    }
    ((struct value *)(void *)(body - sizeof(struct value)))->kind = VALUE_ARRAY;
    reader->out->length += count * sizeof(struct value);
    return true;
}

/* At the first number of an array whose header lies at `place`. Either the array is read to its end (*whole), or `open`
 * knows how many were read and the next value follows. */
static bool read_numbers(struct reader *reader, struct open *open, bool *whole)
{
    uint32_t count = 0;
    do {
        double number;
        if (!read_number(reader, &number))
            return false;
        char *at = reserve(reader, sizeof number);
        if (!at)
            return false;
        memcpy(at, &number, sizeof number);
        reader->out->length += sizeof number;
        count++;
        skip_space(reader);
        if (reader->p == reader->end || (*reader->p != ',' && *reader->p != ']'))
            return fail(reader, "expected , or ] in an array");
        *whole = *reader->p++ == ']';
        if (*whole) {
            struct value *array = (struct value *)(void *)(reader->out->data + open->place);
            *array = (struct value){VALUE_NUMBERS, count, (uint64_t)count * sizeof number};
            return true;
        }
        skip_space(reader);
    } while (at_number(reader));
    open->count = count;
    return spread_numbers(reader, open->place, count);
}

/* At a bracket or brace. *whole: it was read to its end. */
static bool open_container(struct reader *reader, unsigned *level, bool *whole)
{
    bool object = *reader->p == '{';
    if (*level == reader->depth) {
        snprintf(reader->error, ERROR_TEXT_BYTES, "nested deeper than %u at byte %zu", reader->depth,
                 (size_t)(reader->p - reader->start));
        reader->code = CODE_TOO_DEEP;
        return false;
    }
    size_t place = reader->out->length;
    char *at = reserve(reader, sizeof(struct value));
    if (!at)
        return false;
    put_header(reader, at, object ? VALUE_OBJECT : VALUE_ARRAY, 0, 0);
    reader->p++;
    skip_space(reader);
    if (reader->p < reader->end && *reader->p == (object ? '}' : ']')) {
        reader->p++;
        *whole = true;
        return true;
    }
    struct open *open = &reader->open[*level];
    *open = (struct open){place, 0, object};
    *whole = false;
    if (!object && at_number(reader) && !read_numbers(reader, open, whole))
        return false;
    *level += !*whole;
    return true;
}

static bool read_key(struct reader *reader)
{
    skip_space(reader);
    if (reader->p == reader->end || *reader->p != '"')
        return fail(reader, "expected a key");
    if (!read_string(reader))
        return false;
    skip_space(reader);
    if (reader->p == reader->end || *reader->p != ':')
        return fail(reader, "expected : behind the key");
    reader->p++;
    return true;
}

static bool read_scalar(struct reader *reader)
{
    switch (*reader->p) {
    case '"':
        return read_string(reader);
    case 'n':
        return read_literal(reader, "null", 4, VALUE_NULL);
    case 't':
        return read_literal(reader, "true", 4, VALUE_TRUE);
    case 'f':
        return read_literal(reader, "false", 5, VALUE_FALSE);
    default: {
        double number;
        if (!at_number(reader))
            return fail(reader, "expected a value");
        if (!read_number(reader, &number))
            return false;
        char *at = reserve(reader, sizeof(struct value) + sizeof number);
        if (!at)
            return false;
        memcpy(at + sizeof(struct value), &number, sizeof number);
        put_header(reader, at, VALUE_NUMBER, 0, sizeof number);
        return true;
    }
    }
}

static void close_container(struct reader *reader, const struct open *open)
{
    struct value *value = (struct value *)(void *)(reader->out->data + open->place);
    value->count = open->count;
    value->bytes = reader->out->length - open->place - sizeof *value;
}

/* Behind a value: closes what ends here. *more: another value follows, and in an object its key was read. */
static bool read_separators(struct reader *reader, unsigned *level, bool *more)
{
    while (*level > 0) {
        struct open *open = &reader->open[*level - 1];
        open->count++;
        skip_space(reader);
        char byte = reader->p < reader->end ? *reader->p : '\0';
        if (byte == ',') {
            reader->p++;
            *more = true;
            return !open->object || read_key(reader);
        }
        if (byte != (open->object ? '}' : ']'))
            return fail(reader, open->object ? "expected , or } in an object" : "expected , or ] in an array");
        reader->p++;
        close_container(reader, open);
        --*level;
    }
    *more = false;
    return true;
}

static bool read_values(struct reader *reader)
{
    unsigned level = 0;
    for (bool more = true; more;) {
        skip_space(reader);
        if (reader->p == reader->end)
            return fail(reader, "expected a value");
        if (*reader->p == '{' || *reader->p == '[') {
            bool whole;
            if (!open_container(reader, &level, &whole))
                return false;
            if (!whole) {
                if (reader->open[level - 1].object && !read_key(reader))
                    return false;
                continue;
            }
        } else if (!read_scalar(reader)) {
            return false;
        }
        if (!read_separators(reader, &level, &more))
            return false;
    }
    skip_space(reader);
    return reader->p == reader->end || fail(reader, "something behind the value");
}

static bool check_utf8(struct reader *reader, struct slice text)
{
    struct utf8_stream stream = {0};
    const size_t piece = 512u << 10;
    for (size_t at = 0; at < text.length; at += piece) {
        size_t length = text.length - at < piece ? text.length - at : piece;
        if (!utf8_stream_feed(&stream, text.data + at, length))
            break;
        if (value_stopped(reader->stop))
            return fail_with(reader, CODE_TASK_TIMEOUT, "stopped");
    }
    if (utf8_stream_complete(&stream))
        return true;
    reader->p = text.data + utf8_valid_length(text.data, text.length);
    return fail(reader, "not UTF-8");
}

enum code value_from_json(struct buffer *out, struct slice text, unsigned depth, const atomic_bool *stop,
                          char error[ERROR_TEXT_BYTES])
{
    struct reader reader = {.start = text.data,
                            .p = text.data,
                            .end = text.data + text.length,
                            .look = text.data + VALUE_STOP_BYTES,
                            .stop = stop,
                            .out = out,
                            .error = error,
                            .depth = depth < VALUE_DEPTH_MAXIMUM ? depth : VALUE_DEPTH_MAXIMUM};
    size_t before = out->length;
    if (text.length > VALUE_BYTES_MAXIMUM)
        fail_with(&reader, CODE_TOO_LARGE, "the text has more than 256 MiB");
    else if (out->failed || (out->capacity == 0 && !buffer_reserve(out, text.length + 64)))
        fail_with(&reader, CODE_INTERNAL, "out of memory");
    else if (check_utf8(&reader, text) && read_values(&reader))
        return CODE_OK;
    out->length = before;
    return reader.code;
}
