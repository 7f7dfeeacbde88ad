#include "net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};

struct address address_of(const struct sockaddr_storage *from)
{
    struct address out = {{0}};
    if (from->ss_family == AF_INET) {
        memcpy(out.bytes, mapped, sizeof mapped);
        memcpy(out.bytes + 12, &((const struct sockaddr_in *)from)->sin_addr, 4);
    } else if (from->ss_family == AF_INET6) {
        memcpy(out.bytes, &((const struct sockaddr_in6 *)from)->sin6_addr, 16);
    }
    return out;
}

/* The longest is "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255". */
static bool parse_bare(struct slice text, struct address *out)
{
    char literal[INET6_ADDRSTRLEN];
    if (text.length == 0 || text.length >= sizeof literal || memchr(text.data, '\0', text.length))
        return false;
    memcpy(literal, text.data, text.length);
    literal[text.length] = '\0';
    if (inet_pton(AF_INET6, literal, out->bytes) == 1)
        return true;
    memcpy(out->bytes, mapped, sizeof mapped);
    return inet_pton(AF_INET, literal, out->bytes + 12) == 1;
}

static bool is_port(struct slice text)
{
    for (size_t i = 0; i < text.length; i++)
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
    return text.length >= 1 && text.length <= 5;
}

bool address_parse(struct slice text, bool suffixes, struct address *out)
{
    if (!suffixes || text.length == 0)
        return parse_bare(text, out);
    if (text.data[0] == '[') {
        const char *end = memchr(text.data, ']', text.length);
        if (!end)
            return false;
        struct slice inside = slice_from(text.data + 1, (size_t)(end - text.data) - 1);
        struct slice rest = slice_from(end + 1, text.length - inside.length - 2);
        return memchr(inside.data, ':', inside.length) && parse_bare(inside, out) &&
               (rest.length == 0 || (rest.data[0] == ':' && is_port(slice_from(rest.data + 1, rest.length - 1))));
    }
    /* One colon stands before a port, more make an IPv6 address. */
    const char *colon = memchr(text.data, ':', text.length);
    size_t before = colon ? (size_t)(colon - text.data) : text.length;
    if (colon && !memchr(colon + 1, ':', text.length - before - 1))
        return is_port(slice_from(colon + 1, text.length - before - 1)) &&
               parse_bare(slice_from(text.data, before), out);
    return parse_bare(text, out);
}

static bool same_bits(const struct address *a, const struct address *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    return memcmp(a->bytes, b->bytes, whole) == 0 &&
           (rest == 0 || (a->bytes[whole] ^ b->bytes[whole]) >> (8 - rest) == 0);
}

bool address_range_parse(struct slice text, struct address_range *out)
{
    const char *slash = text.length ? memchr(text.data, '/', text.length) : NULL;
    size_t before = slash ? (size_t)(slash - text.data) : text.length;
    if (!address_parse(slice_from(text.data, before), false, &out->first))
        return false;
    unsigned width = memchr(text.data, ':', before) ? 128 : 32, bits = 0;
    if (slash) {
        size_t digits = text.length - before - 1;
        if (digits < 1 || digits > 3)
            return false;
        for (size_t i = 0; i < digits; i++) {
            if (slash[1 + i] < '0' || slash[1 + i] > '9')
                return false;
            bits = bits * 10 + (unsigned)(slash[1 + i] - '0');
        }
        if (bits > width)
            return false;
    } else {
        bits = width;
    }
    bits += 128 - width;
    out->bits = (unsigned char)bits;
    /* "10.0.0.1/8" means something else than it says to one reader in two. */
    struct address start = out->first;
    for (unsigned i = bits; i < 128; i++)
        start.bytes[i / 8] = (unsigned char)(start.bytes[i / 8] & ~(0x80u >> i % 8));
    return memcmp(start.bytes, out->first.bytes, sizeof start.bytes) == 0;
}

bool address_in_any(const struct address *address, const struct address_ranges *ranges)
{
    for (size_t i = 0; i < ranges->count; i++)
        if (same_bits(address, &ranges->items[i].first, ranges->items[i].bits))
            return true;
    return false;
}
