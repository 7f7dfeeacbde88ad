#include "net/post_answer.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* The line at `at`, without its end; `at` moves behind it. False: it is not whole. */
static bool next_line(struct slice *rest, struct slice *line)
{
    const char *end = memchr(rest->data, '\n', rest->length);
    if (!end)
        return false;
    size_t length = (size_t)(end - rest->data);
    *line = slice_from(rest->data, length > 0 && end[-1] == '\r' ? length - 1 : length);
    *rest = slice_from(end + 1, rest->length - length - 1);
    return true;
}

/* The value, when the line is that header (its name in lower case). */
static bool header_is(struct slice line, const char *name, struct slice *value)
{
    size_t length = strlen(name);
    if (line.length <= length || line.data[length] != ':' || strncasecmp(line.data, name, length) != 0)
        return false;
    *value = slice_trim_space(slice_from(line.data + length + 1, line.length - length - 1));
    return true;
}

/* At most nine digits; -1: something else. */
static long number_of(struct slice text)
{
    long number = 0;
    if (text.length == 0 || text.length > 9)
        return -1;
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return -1;
        number = 10 * number + (text.data[i] - '0');
    }
    return number;
}

struct head {
    bool chunked;
    long length, retry_after; /* -1: it does not say */
    struct slice body;        /* what came behind the head */
};

/* False: it is not whole. */
static bool read_head(const struct post_answer *answer, struct head *out)
{
    struct slice rest = slice_from(answer->text, answer->length), line, value;
    *out = (struct head){.length = -1, .retry_after = -1};
    if (!next_line(&rest, &line))
        return false;
    while (next_line(&rest, &line)) {
        if (line.length == 0) {
            out->body = rest;
            return true;
        }
        if (header_is(line, "content-length", &value))
            out->length = number_of(value);
        else if (header_is(line, "retry-after", &value))
            out->retry_after = number_of(value);
        else if (header_is(line, "transfer-encoding", &value))
            out->chunked = value.length == 7 && strncasecmp(value.data, "chunked", 7) == 0;
    }
    return false;
}

/* Up to eight hexadecimal digits; what follows behind a semicolon is nobody's business. */
static bool chunk_size(struct slice line, size_t *out)
{
    size_t at = 0;
    *out = 0;
    for (; at < line.length && isxdigit((unsigned char)line.data[at]); at++) {
        char digit = (char)(line.data[at] | 0x20);
        *out = *out << 4 | (size_t)(digit <= '9' ? (digit & 15) : digit - 'a' + 10);
    }
    return at > 0 && at <= 8 && (at == line.length || line.data[at] == ';' || line.data[at] == ' ');
}

/* Walks the chunks (RFC 9112 7.1), and moves them together at `out` unless that is NULL. The length of them; *whole:
 * the last one has come. */
static size_t join_chunks(struct slice rest, char *out, bool *whole)
{
    size_t length = 0;
    struct slice line;
    *whole = false;
    while (next_line(&rest, &line)) {
        size_t size;
        if (!chunk_size(line, &size))
            break;
        *whole = size == 0;
        size_t here = size < rest.length ? size : rest.length;
        if (out)
            memmove(out + length, rest.data, here);
        length += here;
        rest = slice_from(rest.data + here, rest.length - here);
        if (size == 0 || here < size || !next_line(&rest, &line) || line.length > 0)
            break;
    }
    return length;
}

bool post_answer_whole(const struct post_answer *answer)
{
    struct head head;
    bool whole = false;
    if (!read_head(answer, &head))
        return false;
    if (!head.chunked)
        return head.length >= 0 && head.body.length >= (size_t)head.length;
    join_chunks(head.body, NULL, &whole);
    return whole;
}

void post_answer_read(struct post_answer *answer)
{
    struct head head;
    bool whole;
    answer->retry_after_s = 0;
    answer->body = slice_from(answer->text, 0);
    if (!read_head(answer, &head))
        return;
    answer->retry_after_s = head.retry_after > 0 ? (uint32_t)head.retry_after : 0;
    answer->body = head.body;
    if (head.chunked)
        answer->body.length = join_chunks(head.body, answer->text + (head.body.data - answer->text), &whole);
    else if (head.length >= 0 && (size_t)head.length < answer->body.length)
        answer->body.length = (size_t)head.length;
}
