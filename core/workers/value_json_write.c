/* Values to JSON text. Strings, which are most of it, are looked at sixteen bytes at a time. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/likely.h"
#include "protocol/json/json_number.h"
#include "protocol/json/json_write.h"
#include "protocol/json/utf8.h"
#include "workers/value.h"

struct writer {
    struct buffer *out;
    const atomic_bool *stop;
    size_t look; /* length of `out` at which to look at `stop` next */
    char *error;
    enum code code;
};

static bool __attribute__((cold, noinline)) refuse(struct writer *writer, enum code code, const char *reason)
{
    writer->code = code;
    if (writer->error)
        snprintf(writer->error, ERROR_TEXT_BYTES, "%s", reason);
    return false;
}

static char *__attribute__((noinline)) make_text_room(struct writer *writer, size_t more)
{
    struct buffer *out = writer->out;
    if (UNLIKELY(out->length >= writer->look)) {
        writer->look = out->length + VALUE_STOP_BYTES;
        if (value_stopped(writer->stop)) {
            refuse(writer, CODE_TASK_TIMEOUT, "stopped");
            return NULL;
        }
    }
    if (out->capacity - out->length >= more && !out->failed)
        return out->data + out->length;
    if (out->length + more > VALUE_BYTES_MAXIMUM) {
        refuse(writer, CODE_TOO_LARGE, "the JSON text has more than 256 MiB");
        return NULL;
    }
    char *at = buffer_reserve(out, more);
    if (!at)
        refuse(writer, CODE_INTERNAL, "out of memory");
    return at;
}

static inline char *text_room(struct writer *writer, size_t more)
{
    struct buffer *out = writer->out;
    if (LIKELY(out->length < writer->look && out->capacity - out->length >= more))
        return out->data + out->length;
    return make_text_room(writer, more);
}

static inline bool put_byte(struct writer *writer, char byte)
{
    char *at = text_room(writer, 1);
    if (UNLIKELY(!at))
        return false;
    *at = byte;
    writer->out->length++;
    return true;
}

static inline bool put_bytes(struct writer *writer, const char *text, size_t length)
{
    char *at = text_room(writer, length);
    if (!at)
        return false;
    memcpy(at, text, length);
    writer->out->length += length;
    return true;
}

/* True when the text can stand between quotes as it is. *ascii: no byte of it is above 0x7f. */
static bool is_plain(struct slice text, bool *ascii)
{
    size_t at = 0;
    unsigned char all = 0, special = 0;
#if defined(__SSE2__)
    __m128i seen = _mm_setzero_si128(), specials = _mm_setzero_si128();
    for (; text.length - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(text.data + at));
        __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        __m128i marks =
            _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
        marks = _mm_or_si128(marks, _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f)));
        specials = _mm_or_si128(specials, _mm_or_si128(marks, control));
        seen = _mm_or_si128(seen, bytes);
    }
    all = _mm_movemask_epi8(seen) ? 0x80 : 0;
    special = _mm_movemask_epi8(specials) != 0;
#endif
    for (; at < text.length; at++) {
        unsigned char byte = (unsigned char)text.data[at];
        all |= byte;
        special |= byte < 0x20 || byte == '"' || byte == '\\' || byte == 0x7f;
    }
    *ascii = all < 0x80;
    return !special;
}

#if defined(__SSE2__)
#define SHORT_BYTES 16u

/* A string of at most SHORT_BYTES that is ASCII and can stand as it is, as most keys are: in one step, for its padding
 * may be read. False when it is something else, or there is no room; then nothing was written. */
static inline bool put_short(struct writer *writer, const struct value *string)
{
    const __m128i *body = value_body(string);
    char *at = text_room(writer, SHORT_BYTES + 2);
    if (UNLIKELY(!at))
        return false;
    __m128i bytes = string->bytes > 8 ? _mm_loadu_si128(body) : _mm_setzero_si128();
    if (string->bytes == 8)
        bytes = _mm_loadl_epi64(body);
    __m128i marks = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
    marks = _mm_or_si128(marks, _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f)));
    marks = _mm_or_si128(marks, _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20))); /* signed: what is above 0x7f too */
    unsigned mask = (unsigned)_mm_movemask_epi8(marks);
    if (mask & ((1u << string->count) - 1))
        return false;
    *at = '"';
    _mm_storeu_si128((__m128i *)(void *)(at + 1), bytes);
    at[1 + string->count] = '"';
    writer->out->length += string->count + 2;
    return true;
}
#endif

static bool put_string(struct writer *writer, const struct value *string)
{
#if defined(__SSE2__)
    if (LIKELY(string->count <= SHORT_BYTES) && LIKELY(put_short(writer, string)))
        return true;
#endif
    struct slice text = value_string(string);
    bool ascii, plain = is_plain(text, &ascii);
    if (!ascii && !utf8_valid(text.data, text.length))
        return refuse(writer, CODE_TASK_FAILED, "a string in the result is not UTF-8: JSON has no way to write it");
    size_t length = plain ? text.length + 2 : json_string_length(text);
    char *at = text_room(writer, length);
    if (!at)
        return false;
    if (plain) {
        *at = '"';
        if (text.length > 0)
            memcpy(at + 1, text.data, text.length);
        at[length - 1] = '"';
    } else {
        json_write_string(at, text);
    }
    writer->out->length += length;
    return true;
}

static bool put_number(struct writer *writer, double number)
{
    if (!isfinite(number))
        return put_bytes(writer, "null", 4);
    char *at = text_room(writer, JSON_NUMBER_BYTES);
    if (!at)
        return false;
    writer->out->length += json_number_write(number, at);
    return true;
}

/* As deep as values nest. */
static bool put_value(struct writer *writer, const struct value *value)
{
    const struct value *inner = value_first(value);
    switch ((enum value_kind)value->kind) {
    case VALUE_NULL:
        return put_bytes(writer, "null", 4);
    case VALUE_FALSE:
        return put_bytes(writer, "false", 5);
    case VALUE_TRUE:
        return put_bytes(writer, "true", 4);
    case VALUE_NUMBER:
        return put_number(writer, value_number(value));
    case VALUE_STRING:
        return put_string(writer, value);
    case VALUE_NUMBERS:
        for (uint32_t i = 0; i < value->count; i++)
            if (!put_byte(writer, i == 0 ? '[' : ',') || !put_number(writer, value_numbers(value)[i]))
                return false;
        return put_byte(writer, ']');
    case VALUE_ARRAY:
        if (!put_byte(writer, '['))
            return false;
        for (uint32_t i = 0; i < value->count; i++, inner = value_next(inner))
            if ((i > 0 && !put_byte(writer, ',')) || !put_value(writer, inner))
                return false;
        return put_byte(writer, ']');
    case VALUE_OBJECT:
        if (!put_byte(writer, '{'))
            return false;
        for (uint32_t i = 0; i < value->count; i++) {
            const struct value *member = value_next(inner);
            if ((i > 0 && !put_byte(writer, ',')) || !put_string(writer, inner) || !put_byte(writer, ':') ||
                !put_value(writer, member))
                return false;
            inner = value_next(member);
        }
        return put_byte(writer, '}');
    }
    return false;
}

enum code value_write_json(struct buffer *out, const struct value *value, const atomic_bool *stop,
                           char error[ERROR_TEXT_BYTES])
{
    struct writer writer = {.out = out, .stop = stop, .look = out->length + VALUE_STOP_BYTES, .error = error};
    put_value(&writer, value);
    return writer.code;
}
