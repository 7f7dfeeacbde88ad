/* JSON to MessagePack. How many values a container has is known at its end only, so it starts with the one-byte header,
 * and its first fifteen values move by two bytes when a sixteenth comes. */
#include <math.h>

#include "protocol/json/json_number.h"
#include "protocol/msgpack/msgpack.h"

static char *put_big_endian(char *out, uint64_t value, unsigned width)
{
    for (unsigned i = 0; i < width; i++)
        out[i] = (char)(value >> 8 * (width - 1 - i));
    return out + width;
}

static char *put_format(char *out, unsigned format, uint64_t value, unsigned width)
{
    *out = (char)format;
    return put_big_endian(out + 1, value, width);
}

static char *put_unsigned(char *out, uint64_t value)
{
    if (value < 0x80) {
        *out++ = (char)value;
        return out;
    }
    unsigned width = value <= 0xff ? 0 : value <= 0xffff ? 1 : value <= 0xffffffffu ? 2 : 3;
    return put_format(out, 0xcc + width, value, 1u << width);
}

/* -size; size is 1 to 2^63 */
static char *put_negative(char *out, uint64_t size)
{
    uint64_t value = 0 - size;
    if (size <= 32) {
        *out++ = (char)value;
        return out;
    }
    unsigned width = size <= 0x80 ? 0 : size <= 0x8000 ? 1 : size <= 0x80000000u ? 2 : 3;
    return put_format(out, 0xd0 + width, value, 1u << width);
}

static char *put_double(char *out, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return put_format(out, 0xcb, bits, 8);
}

/* Of a string of that length, at most 5 bytes. */
static char *put_string_header(char *out, size_t length)
{
    if (length < 32) {
        *out++ = (char)(0xa0 | length);
        return out;
    }
    unsigned width = length <= 0xff ? 0 : length <= 0xffff ? 1 : 2;
    return put_format(out, 0xd9 + width, length, 1u << width);
}

/* The inside of a string's quotes. */
static char *put_string(char *out, struct slice inside)
{
    if (!json_has_escape(inside)) {
        out = put_string_header(out, inside.length);
        return (char *)mempcpy(out, inside.data, inside.length);
    }
    /* The text is shorter than what it is read from, and so may its header be. */
    char *text = put_string_header(out, inside.length);
    size_t length = json_unescape(inside, text, NULL);
    char *start = put_string_header(out, length);
    memmove(start, text, length);
    return start + length;
}

static const char *number_end(const char *p, const char *end)
{
    while (p < end && ((*p >= '0' && *p <= '9') || *p == '-' || *p == '+' || *p == '.' || (*p | 0x20) == 'e'))
        p++;
    return p;
}

/* NULL: memory is out. */
static char *put_number(char *out, const char *text, const char *end)
{
    bool negative = *text == '-';
    const char *digits = text + negative, *p = digits;
    uint64_t size = 0;
    bool fits = true;
    for (; p < end && *p >= '0' && *p <= '9'; p++)
        fits = fits && !__builtin_mul_overflow(size, 10u, &size) &&
               !__builtin_add_overflow(size, (uint64_t)(*p - '0'), &size);
    if (p == end && fits && !negative)
        return put_unsigned(out, size);
    if (p == end && fits && size > 0 && size <= (uint64_t)1 << 63)
        return put_negative(out, size);
    double value;
    bool wide = false;
    if (!json_number_read(text, end, &value, &wide)) {
        if (!wide)
            return NULL;
        value = negative ? -INFINITY : INFINITY;
    }
    return put_double(out, value);
}

/* The closing quote of the string whose inside starts at `p`. */
static const char *string_close(const char *p, const char *end)
{
    const char *quote = memchr(p, '"', (size_t)(end - p));
    while (memchr(p, '\\', (size_t)(quote - p))) {
        p = memchr(p, '\\', (size_t)(quote - p));
        p += 2;
        if (p > quote)
            quote = memchr(p, '"', (size_t)(end - p));
    }
    return quote;
}

/* A container that holds `count` values (pairs): its header, and where the writing goes on. */
static char *grow_header(char *header, char *out, bool map, uint32_t count)
{
    if (count < 16) {
        *header = (char)((map ? 0x80 : 0x90) | count);
        return out;
    }
    bool wide = count > 0xffff;
    if (count == 16 || count == 0x10000) {
        size_t behind = count == 16 ? 1 : 3;
        memmove(header + behind + 2, header + behind, (size_t)(out - header) - behind);
        out += 2;
    }
    put_format(header, (map ? 0xde : 0xdc) + wide, count, wide ? 4 : 2);
    return out;
}

char *msgpack_write_json(char *out, struct slice json)
{
    struct {
        char *header;
        uint32_t count; /* begun, the one in hand included */
        bool map;
    } open[MSGPACK_DEPTH_MAXIMUM]; /* written before it is read */
    unsigned inside = 0;
    const char *p = json.data, *end = json.data + json.length, *close;

    while (p < end) {
        switch (*p) {
        case ' ':
        case '\n':
        case '\r':
        case '\t':
        case ':':
            p++;
            continue;
        case ',':
            /* Grown before the value, whose place then stays. */
            /* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): JSON that was scanned: set at its bracket */
            open[inside - 1].count++;
            out = grow_header(open[inside - 1].header, out, open[inside - 1].map, open[inside - 1].count);
            p++;
            continue;
        case ']':
        case '}':
            inside--;
            p++;
            continue;
        case '[':
        case '{':
            open[inside].header = out;
            open[inside].map = *p == '{';
            p++;
            while (json_is_space(*p))
                p++;
            open[inside].count = *p == ']' || *p == '}' ? 0 : 1;
            out = grow_header(out, out + 1, open[inside].map, open[inside].count);
            inside++;
            continue;
        case '"':
            close = string_close(p + 1, end);
            out = put_string(out, slice_from(p + 1, (size_t)(close - p - 1)));
            p = close + 1;
            continue;
        case 't':
            *out++ = (char)0xc3;
            p += 4;
            continue;
        case 'f':
            *out++ = (char)0xc2;
            p += 5;
            continue;
        case 'n':
            *out++ = (char)0xc0;
            p += 4;
            continue;
        default:
            close = number_end(p, end);
            out = put_number(out, p, close);
            if (!out)
                return NULL;
            p = close;
            continue;
        }
    }
    return out;
}
