/* Validation runs on a copy with slack behind it, which for the small texts that come this way lies on the stack. The
 * readers trust their text: they count brackets and skip strings, no more. */
#include "protocol/json/json.h"

#include <stdio.h>

#include "protocol/json/scan.h"
#include "protocol/json/utf8.h"

enum json_kind json_kind(struct slice value)
{
    if (value.length == 0)
        return JSON_NONE;
    switch (value.data[0]) {
    case 'n':
        return JSON_NULL;
    case 'f':
        return JSON_FALSE;
    case 't':
        return JSON_TRUE;
    case '"':
        return JSON_STRING;
    case '[':
        return JSON_ARRAY;
    case '{':
        return JSON_OBJECT;
    default:
        return JSON_NUMBER;
    }
}

const char *json_kind_name(enum json_kind kind)
{
    static const char *const names[] = {"nothing",  "null",     "false",    "true",
                                        "a number", "a string", "an array", "an object"};
    return names[kind];
}

enum code json_validate(struct slice text, unsigned depth, char error[ERROR_TEXT_BYTES])
{
    size_t valid = utf8_valid(text.data, text.length) ? text.length : utf8_valid_length(text.data, text.length);
    struct scan_copy copy;
    if (valid < text.length) {
        if (error)
            snprintf(error, ERROR_TEXT_BYTES, "not JSON: not UTF-8 at byte %zu", valid);
        return CODE_BAD_JSON;
    }
    if (!scan_copy_make(&copy, text)) {
        if (error)
            snprintf(error, ERROR_TEXT_BYTES, "out of memory");
        return CODE_INTERNAL;
    }
    struct scan scan = {
        .start = copy.data, .end = copy.data + text.length, .depth = depth, .prefix = "", .error = error};
    enum code code = scan_best()->value(&scan);
    scan_copy_drop(&copy);
    return code;
}

static const char *past_space(const char *p, const char *end)
{
    while (p < end && json_is_space(*p))
        p++;
    return p;
}

/* `p` is at an opening quote; gives the byte behind the closing one. */
static const char *past_string(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++)
        if (*p == '\\')
            p++;
    return p < end ? p + 1 : end;
}

static const char *past_value(const char *p, const char *end)
{
    size_t inside = 0;
    while (p < end) {
        switch (*p) {
        case '"':
            p = past_string(p, end);
            break;
        case '{':
        case '[':
            inside++;
            p++;
            continue;
        case '}':
        case ']':
            inside--;
            p++;
            break;
        case ',':
        case ':':
        case ' ':
        case '\n':
        case '\r':
        case '\t':
            p++;
            continue;
        default: /* a number or literal */
            while (p < end && *p != ',' && *p != ']' && *p != '}' && (unsigned char)*p > ' ')
                p++;
            break;
        }
        if (inside == 0)
            return p;
    }
    return end;
}

/* From the opening bracket, or from behind a value, to the next value or key; false at the closing bracket. */
static bool next_start(struct slice *rest)
{
    if (rest->length == 0)
        return false; /* walked to its end, or no list at all */
    const char *end = rest->data + rest->length;
    const char *p = past_space(rest->data, end);
    if (p < end && (*p == '{' || *p == '[' || *p == ','))
        p = past_space(p + 1, end);
    if (p >= end || *p == '}' || *p == ']') {
        *rest = slice_from(end, 0);
        return false;
    }
    *rest = slice_from(p, (size_t)(end - p));
    return true;
}

static void take_value(struct slice *rest, struct slice *value)
{
    const char *end = rest->data + rest->length;
    const char *after = past_value(rest->data, end);
    *value = slice_from(rest->data, (size_t)(after - rest->data));
    *rest = slice_from(after, (size_t)(end - after));
}

bool json_next_member(struct slice *rest, struct slice *key, struct slice *value)
{
    if (!next_start(rest))
        return false;
    struct slice quoted;
    take_value(rest, &quoted);
    *key = json_string_inside(quoted);
    const char *end = rest->data + rest->length;
    const char *p = past_space(rest->data, end);
    p = past_space(p + 1, end); /* the colon */
    *rest = slice_from(p, (size_t)(end - p));
    take_value(rest, value);
    return true;
}

bool json_next_element(struct slice *rest, struct slice *value)
{
    if (!next_start(rest))
        return false;
    take_value(rest, value);
    return true;
}

static uint32_t hex_value(const char *digits)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char digit = (unsigned char)digits[i];
        value = value << 4 | (uint32_t)(digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
    }
    return value;
}

/* The escape at inside[at], as UTF-8 in out; returns its bytes there and moves `at` behind it. */
static unsigned unescape_one(struct slice inside, size_t *at, char out[4], bool *lone_surrogate)
{
    const char *escape = inside.data + *at;
    *at += 2;
    switch (escape[1]) {
    case 'b':
        out[0] = '\b';
        return 1;
    case 'f':
        out[0] = '\f';
        return 1;
    case 'n':
        out[0] = '\n';
        return 1;
    case 'r':
        out[0] = '\r';
        return 1;
    case 't':
        out[0] = '\t';
        return 1;
    case 'u':
        break;
    default:
        out[0] = escape[1];
        return 1;
    }
    *at += 4;
    uint32_t unit = hex_value(escape + 2);
    if (unit < 0xd800 || unit > 0xdfff)
        return utf8_encode(unit, out);
    if (unit < 0xdc00 && inside.length - *at >= 6 && escape[6] == '\\' && escape[7] == 'u') {
        uint32_t second = hex_value(escape + 8);
        if (second >= 0xdc00 && second <= 0xdfff) {
            *at += 6;
            return utf8_encode(0x10000 + ((unit - 0xd800) << 10) + (second - 0xdc00), out);
        }
    }
    if (lone_surrogate)
        *lone_surrogate = true;
    return utf8_encode(0xfffd, out);
}

size_t json_unescape(struct slice inside, char *out, bool *lone_surrogate)
{
    size_t written = 0;
    for (size_t at = 0; at < inside.length;) {
        const char *escape = memchr(inside.data + at, '\\', inside.length - at);
        size_t plain = escape ? (size_t)(escape - inside.data) - at : inside.length - at;
        memcpy(out + written, inside.data + at, plain);
        written += plain;
        at += plain;
        if (escape)
            written += unescape_one(inside, &at, out + written, lone_surrogate);
    }
    return written;
}

bool json_inside_equals(struct slice inside, struct slice text)
{
    if (!json_has_escape(inside))
        return slice_equal(inside, text);
    size_t compared = 0;
    for (size_t at = 0; at < inside.length;) {
        char piece[4];
        unsigned length = 1;
        if (inside.data[at] == '\\')
            length = unescape_one(inside, &at, piece, NULL);
        else
            piece[0] = inside.data[at++];
        if (text.length - compared < length || memcmp(text.data + compared, piece, length) != 0)
            return false;
        compared += length;
    }
    return compared == text.length;
}
