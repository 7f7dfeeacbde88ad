/* base64 is RFC 4648's with the standard alphabet. Work between two looks at the stop flag: 192 KiB. */
#include <string.h>

#include "workers/operations/inputs.h"

#define BLOCK_BYTES ((size_t)3 * 64 * 1024)

const char *const encoding_names[] = {"raw", "hex", "base64", NULL};

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static char *encode_base64(char *out, const unsigned char *bytes, size_t length)
{
    for (; length >= 3; bytes += 3, length -= 3) {
        uint32_t group = (uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 8 | bytes[2];
        *out++ = alphabet[group >> 18];
        *out++ = alphabet[group >> 12 & 63];
        *out++ = alphabet[group >> 6 & 63];
        *out++ = alphabet[group & 63];
    }
    if (length > 0) {
        uint32_t group = (uint32_t)bytes[0] << 16 | (length > 1 ? (uint32_t)bytes[1] << 8 : 0);
        *out++ = alphabet[group >> 18];
        *out++ = alphabet[group >> 12 & 63];
        *out++ = length > 1 ? alphabet[group >> 6 & 63] : '=';
        *out++ = '=';
    }
    return out;
}

static char *encode_hex(char *out, const unsigned char *bytes, size_t length)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < length; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    return out;
}

enum operation_status encoding_write(struct operation_call *call, struct slice bytes, enum encoding encoding)
{
    if (encoding == ENCODING_RAW) {
        value_write_string(call->result, bytes);
        return OPERATION_DONE;
    }
    size_t length = encoding == ENCODING_HEX ? bytes.length * 2 : (bytes.length + 2) / 3 * 4;
    char *out = value_write_room(call->result, length);
    const unsigned char *from = (const unsigned char *)bytes.data;
    for (size_t at = 0; out && at < bytes.length; at += BLOCK_BYTES) {
        size_t block = bytes.length - at < BLOCK_BYTES ? bytes.length - at : BLOCK_BYTES;
        out = encoding == ENCODING_HEX ? encode_hex(out, from + at, block) : encode_base64(out, from + at, block);
        if (operation_stopped(call))
            return OPERATION_STOPPED;
    }
    return OPERATION_DONE;
}

/* A digit's value and one; 0: no digit of base64. */
static const unsigned char digits[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64};

/* 0 to 63; anything else has bit 6 set. */
static uint32_t digit_value(unsigned char byte)
{
    return (uint32_t)digits[byte] - 1;
}

enum operation_status base64_decode(struct operation_call *call, struct slice text, struct buffer *out, size_t *wrong)
{
    size_t length = text.length;
    for (int i = 0; i < 2 && text.length % 4 == 0 && length > 0 && text.data[length - 1] == '='; i++)
        length--;
    const unsigned char *from = (const unsigned char *)text.data;
    size_t rest = length % 4, at = 0;
    *wrong = length;
    if (rest == 1)
        return OPERATION_FAILED;
    unsigned char *to = (unsigned char *)value_write_room(out, length / 4 * 3 + (rest ? rest - 1 : 0));
    if (!to)
        return OPERATION_DONE; /* out->failed */
    for (; length - at >= 4; at += 4) {
        uint32_t a = digit_value(from[at]), b = digit_value(from[at + 1]), c = digit_value(from[at + 2]),
                 d = digit_value(from[at + 3]);
        if ((a | b | c | d) & 64)
            break;
        uint32_t group = a << 18 | b << 12 | c << 6 | d;
        *to++ = (unsigned char)(group >> 16);
        *to++ = (unsigned char)(group >> 8);
        *to++ = (unsigned char)group;
        if (at % BLOCK_BYTES == 0 && operation_stopped(call))
            return OPERATION_STOPPED;
    }
    uint32_t group = 0;
    for (size_t i = at; i < length; i++) {
        if (digit_value(from[i]) > 63 || i - at >= 3) {
            *wrong = i;
            return OPERATION_FAILED;
        }
        group |= digit_value(from[i]) << (18 - 6 * (i - at));
    }
    if (rest >= 2)
        *to++ = (unsigned char)(group >> 16);
    if (rest == 3)
        *to++ = (unsigned char)(group >> 8);
    return OPERATION_DONE;
}
