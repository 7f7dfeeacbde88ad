/* Two passes over the same table of what each byte becomes: one counts, one writes. Text without anything to escape is
 * the common case and goes by runs. */
#include "protocol/json/json_write.h"

#include "protocol/json/utf8.h"

/* 0: as it is. 'u': \u00xx. Else the letter behind the backslash. */
static char escape_of(unsigned char byte)
{
    switch (byte) {
    case '"':
    case '\\':
        return (char)byte;
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return byte < 0x20 || byte == 0x7f ? 'u' : 0;
    }
}

static size_t plain_run(const char *data, size_t length)
{
    size_t run = 0;
    while (run < length && !escape_of((unsigned char)data[run]))
        run++;
    return run;
}

/* Of text that is UTF-8. */
static size_t escaped_length(const char *data, size_t length)
{
    size_t total = length;
    for (size_t i = 0; i < length; i++) {
        char escape = escape_of((unsigned char)data[i]);
        total += !escape ? 0 : escape == 'u' ? 5 : 1;
    }
    return total;
}

static char *write_escaped(char *out, const char *data, size_t length)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t at = 0; at < length;) {
        size_t run = plain_run(data + at, length - at);
        memcpy(out, data + at, run);
        out += run;
        at += run;
        if (at == length)
            break;
        unsigned char byte = (unsigned char)data[at++];
        char escape = escape_of(byte);
        *out++ = '\\';
        *out++ = escape;
        if (escape == 'u') {
            *out++ = '0';
            *out++ = '0';
            *out++ = hex[byte >> 4];
            *out++ = hex[byte & 15];
        }
    }
    return out;
}

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

size_t json_string_length(struct slice text)
{
    size_t total = 2;
    for (size_t at = 0; at < text.length;) {
        size_t good = utf8_valid_length(text.data + at, text.length - at);
        total += escaped_length(text.data + at, good);
        at += good;
        if (at < text.length) {
            total += sizeof replacement - 1;
            at++;
        }
    }
    return total;
}

char *json_write_string(char *out, struct slice text)
{
    *out++ = '"';
    for (size_t at = 0; at < text.length;) {
        size_t good = utf8_valid_length(text.data + at, text.length - at);
        out = write_escaped(out, text.data + at, good);
        at += good;
        if (at < text.length) {
            memcpy(out, replacement, sizeof replacement - 1);
            out += sizeof replacement - 1;
            at++;
        }
    }
    *out++ = '"';
    return out;
}

void buffer_append_json_string(struct buffer *out, struct slice text)
{
    char *at = buffer_reserve(out, json_string_length(text));
    if (at)
        out->length = (size_t)(json_write_string(at, text) - out->data);
}
