#include "client/connection/http_head.h"

static struct slice next_line(struct slice *rest)
{
    const char *end = memmem(rest->data, rest->length, "\r\n", 2);
    size_t length = end ? (size_t)(end - rest->data) : rest->length, used = end ? length + 2 : length;
    struct slice line = slice_from(rest->data, length);
    *rest = slice_from(rest->data + used, rest->length - used);
    return line;
}

static bool read_number(struct slice text, uint64_t *number)
{
    *number = 0;
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || i >= 18)
            return false;
        *number = *number * 10 + (uint64_t)(text.data[i] - '0');
    }
    return text.length > 0;
}

bool http_head_read(struct slice bytes, struct http_head *head)
{
    const char *end = bytes.length > 0 ? memmem(bytes.data, bytes.length, "\r\n\r\n", 4) : NULL;
    if (!end)
        return true;
    struct slice rest = slice_from(bytes.data, (size_t)(end - bytes.data)), line = next_line(&rest);
    uint64_t status;
    if (line.length < 12 || memcmp(line.data, "HTTP/1.", 7) != 0 || !read_number(slice_from(line.data + 9, 3), &status))
        return false;
    *head = (struct http_head){.status = (unsigned)status, .length = (size_t)(end + 4 - bytes.data)};
    while (rest.length > 0) {
        line = next_line(&rest);
        const char *colon = memchr(line.data, ':', line.length);
        if (!colon)
            return false;
        struct slice name = slice_from(line.data, (size_t)(colon - line.data));
        struct slice value = slice_from(colon + 1, line.length - name.length - 1);
        while (value.length > 0 && value.data[0] == ' ')
            value = slice_from(value.data + 1, value.length - 1);
        while (value.length > 0 && value.data[value.length - 1] == ' ')
            value.length--;
        if (slice_equal_ignoring_case(name, SLICE("Transfer-Encoding")))
            head->chunked = slice_equal_ignoring_case(value, SLICE("chunked"));
        else if (slice_equal_ignoring_case(name, SLICE("Connection")))
            head->closes = slice_equal_ignoring_case(value, SLICE("close"));
        else if (slice_equal_ignoring_case(name, SLICE("Content-Length")))
            head->has_length = read_number(value, &head->content_length);
    }
    return true;
}
