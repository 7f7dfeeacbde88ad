/* Every function is one pass over its text. Decoding refuses what it does not understand instead of passing it through:
 * two readers that mend a broken escape differently see two different paths. */
#include "protocol/http/url.h"

#include <arpa/inet.h>

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

static bool decode(struct slice text, bool plus_is_space, char *out, size_t capacity, size_t *length)
{
    size_t written = 0;
    for (size_t i = 0; i < text.length; i++) {
        char byte = text.data[i];
        if (byte == '%') {
            if (text.length - i < 3)
                return false;
            int high = hex_value(text.data[i + 1]), low = hex_value(text.data[i + 2]);
            if (high < 0 || low < 0)
                return false;
            byte = (char)(high * 16 + low);
            i += 2;
        } else if (byte == '+' && plus_is_space) {
            byte = ' ';
        }
        if (byte == '\0' || written == capacity)
            return false;
        out[written++] = byte;
    }
    *length = written;
    return true;
}

bool url_decode_path(struct slice text, char *out, size_t capacity, size_t *length)
{
    return decode(text, false, out, capacity, length);
}

bool url_decode_query(struct slice text, char *out, size_t capacity, size_t *length)
{
    return decode(text, true, out, capacity, length);
}

bool url_query_next(struct slice *rest, struct slice *name, struct slice *value)
{
    while (rest->length > 0) {
        const char *ampersand = memchr(rest->data, '&', rest->length);
        struct slice piece = *rest;
        if (ampersand) {
            piece.length = (size_t)(ampersand - rest->data);
            *rest = slice_from(ampersand + 1, rest->length - piece.length - 1);
        } else {
            *rest = slice_from(rest->data + rest->length, 0);
        }
        if (piece.length == 0)
            continue;
        const char *equals = memchr(piece.data, '=', piece.length);
        size_t name_length = equals ? (size_t)(equals - piece.data) : piece.length;
        *name = slice_from(piece.data, name_length);
        *value =
            equals ? slice_from(equals + 1, piece.length - name_length - 1) : slice_from(piece.data + piece.length, 0);
        return true;
    }
    return false;
}

/* inet_pton wants a string; the longest address, "ffff:…:255.255.255.255", has 45 bytes. It reads the strict forms only
 * (no "127.1", no "0x7f000001", no zone). */
static bool address_valid(int family, struct slice text)
{
    char string[46];
    struct in6_addr address;
    if (text.length >= sizeof(string) || memchr(text.data, '\0', text.length))
        return false;
    memcpy(string, text.data, text.length);
    string[text.length] = '\0';
    return inet_pton(family, string, &address) == 1;
}

static bool name_valid(struct slice text)
{
    for (size_t i = 0; i < text.length; i++) {
        char byte = text.data[i];
        bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
        if (!letter && !(byte >= '0' && byte <= '9') && byte != '-' && byte != '.' && byte != '_' && byte != '~')
            return false;
    }
    return text.length > 0;
}

static bool port_parse(struct slice text, struct url_authority *out)
{
    unsigned port = 0;
    if (text.length > 5) /* 65535 */
        return false;
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        port = port * 10 + (unsigned)(text.data[i] - '0');
    }
    out->has_port = text.length > 0;
    out->port = (uint16_t)port;
    return port <= UINT16_MAX;
}

bool url_authority_parse(struct slice text, struct url_authority *out)
{
    *out = (struct url_authority){.kind = URL_HOST_NAME};
    if (text.length == 0)
        return false;
    size_t after_host;
    if (text.data[0] == '[') {
        const char *bracket = memchr(text.data, ']', text.length);
        if (!bracket)
            return false;
        after_host = (size_t)(bracket - text.data) + 1;
        out->host = slice_from(text.data + 1, after_host - 2);
        out->kind = URL_HOST_IPV6;
        if (!address_valid(AF_INET6, out->host))
            return false;
    } else {
        const char *colon = memchr(text.data, ':', text.length);
        after_host = colon ? (size_t)(colon - text.data) : text.length;
        out->host = slice_from(text.data, after_host);
        if (!name_valid(out->host))
            return false;
        if (address_valid(AF_INET, out->host))
            out->kind = URL_HOST_IPV4;
    }
    if (after_host == text.length)
        return true;
    if (text.data[after_host] != ':')
        return false;
    return port_parse(slice_from(text.data + after_host + 1, text.length - after_host - 1), out);
}
