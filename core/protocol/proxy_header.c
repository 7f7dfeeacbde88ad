#include "protocol/proxy_header.h"

#include <string.h>

/* 2.1: the longest line with its CRLF. */
#define LINE_MOST 107u

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define SIGNATURE_LENGTH 12u
#define FIXED_LENGTH 16u /* signature, version and command, family, length */

/* As far as both go. */
static bool starts_alike(struct slice bytes, const char *text, size_t length)
{
    return memcmp(bytes.data, text, bytes.length < length ? bytes.length : length) == 0;
}

/* Takes the text up to the next space off the line; the last one has none behind it. */
static struct slice take_word(struct slice *line)
{
    const char *space = memchr(line->data, ' ', line->length);
    size_t length = space ? (size_t)(space - line->data) : line->length;
    struct slice word = slice_from(line->data, length);
    *line = slice_from(line->data + length + (space != NULL), line->length - length - (space != NULL));
    return word;
}

/* Decimal, no leading zero. */
static bool is_port(struct slice text)
{
    unsigned value = 0;
    if (text.length < 1 || text.length > 5 || (text.length > 1 && text.data[0] == '0'))
        return false;
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (unsigned)(text.data[i] - '0');
    }
    return value <= 65535;
}

static bool is_of_family(struct slice text, bool ipv6, struct address *out)
{
    return (text.length > 0 && memchr(text.data, ':', text.length) != NULL) == ipv6 && address_parse(text, false, out);
}

/* Behind "PROXY ". */
static enum proxy_step read_line(struct slice line, struct proxy_header *out)
{
    struct slice family = take_word(&line);
    if (slice_equal(family, SLICE("UNKNOWN"))) /* what follows is to be ignored */
        return PROXY_DONE;
    bool ipv6 = slice_equal(family, SLICE("TCP6"));
    if (!ipv6 && !slice_equal(family, SLICE("TCP4")))
        return PROXY_FAIL;
    struct address destination;
    struct slice source = take_word(&line), target = take_word(&line);
    struct slice source_port = take_word(&line), target_port = line;
    if (!is_of_family(source, ipv6, &out->source) || !is_of_family(target, ipv6, &destination) ||
        !is_port(source_port) || !is_port(target_port))
        return PROXY_FAIL;
    out->known = true;
    return PROXY_DONE;
}

static enum proxy_step parse_v1(struct slice bytes, struct proxy_header *out)
{
    size_t most = bytes.length < LINE_MOST ? bytes.length : LINE_MOST;
    const char *end = memchr(bytes.data, '\n', most);
    if (!end)
        return most == LINE_MOST ? PROXY_FAIL : PROXY_NEED_BYTES;
    size_t length = (size_t)(end - bytes.data) + 1;
    if (length < sizeof "PROXY \r\n" - 1 || end[-1] != '\r')
        return PROXY_FAIL;
    out->length = length;
    return read_line(slice_from(bytes.data + 6, length - 8), out);
}

static enum proxy_step parse_v2(struct slice bytes, struct proxy_header *out)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    const unsigned char *at = (const unsigned char *)bytes.data;
    if (bytes.length > SIGNATURE_LENGTH) {
        unsigned version = at[12] >> 4, command = at[12] & 0x0f;
        if (version != 2 || command > 1)
            return PROXY_FAIL;
    }
    if (bytes.length < FIXED_LENGTH)
        return PROXY_NEED_BYTES;
    size_t length = (size_t)(at[14] << 8 | at[15]);
    unsigned family = at[13] >> 4, transport = at[13] & 0x0f;
    if (length > PROXY_HEADER_MOST - FIXED_LENGTH || family > 3 || transport > 2)
        return PROXY_FAIL;
    out->local = (at[12] & 0x0f) == 0;
    out->known = !out->local && (family == 1 || family == 2); /* else unspecified, or a Unix socket */
    if (out->known && (transport == 2 || length < (family == 1 ? 12u : 36u)))
        return PROXY_FAIL; /* datagrams do not come over a stream */
    if (bytes.length < FIXED_LENGTH + length)
        return PROXY_NEED_BYTES;
    out->length = FIXED_LENGTH + length;
    if (!out->known)
        return PROXY_DONE;
    if (family == 1) {
        memcpy(out->source.bytes, mapped, sizeof mapped);
        memcpy(out->source.bytes + 12, at + FIXED_LENGTH, 4);
    } else {
        memcpy(out->source.bytes, at + FIXED_LENGTH, 16);
    }
    return PROXY_DONE;
}

enum proxy_step proxy_header_parse(struct slice bytes, struct proxy_header *out)
{
    memset(out, 0, sizeof *out);
    if (bytes.length == 0)
        return PROXY_NEED_BYTES;
    if (bytes.data[0] == 'P')
        return starts_alike(bytes, "PROXY ", 6) ? parse_v1(bytes, out) : PROXY_FAIL;
    return starts_alike(bytes, SIGNATURE, SIGNATURE_LENGTH) ? parse_v2(bytes, out) : PROXY_FAIL;
}
