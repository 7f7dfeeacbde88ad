#include "../../support/unit.h"

#include "base/clock.h"
#include "protocol/http/http_response.h"

static char head[1024];

/* Writes the response into exactly `bound` bytes and replaces the date by one that tests can name. */
static const char *write_head(const struct http_response *response)
{
    size_t bound = http_response_bound(response), length = 0;
    char *exact = malloc(bound);
    CHECK(exact && bound < sizeof(head));
    CHECK(http_response_write(response, exact, bound, &length) == HTTP_WRITTEN);
    CHECK(length <= bound);
    memcpy(head, exact, length);
    head[length] = '\0';
    free(exact);
    char *date = strstr(head, "\r\nDate: ");
    CHECK(date);
    memcpy(date + 8, "ddd, DD MMM YYYY HH:MM:SS GMT", HTTP_DATE_LENGTH);
    return head;
}

#define DATE "Date: ddd, DD MMM YYYY HH:MM:SS GMT\r\n"
#define CHECK_HEAD(response, expected)                                                                                 \
    do {                                                                                                               \
        const char *written_ = write_head(response);                                                                   \
        CHECK_TEXT(written_, strlen(written_), expected);                                                              \
    } while (0)

TEST("writes a status line, the headers of its fields and more headers")
{
    const struct http_header more[] = {{SLICE("Retry-After"), SLICE("1")}, {SLICE("X-Empty"), SLICE("")}};
    struct http_response response = {.status = 503,
                                     .connection = HTTP_CONNECTION_CLOSE,
                                     .framing = HTTP_FRAMING_LENGTH,
                                     .content_length = 18446744073709551615u,
                                     .content_type = SLICE("application/json"),
                                     .headers = more,
                                     .header_count = 2};
    CHECK_HEAD(&response,
               "HTTP/1.1 503 Service Unavailable\r\n" DATE "Content-Type: application/json\r\n"
               "Content-Length: 18446744073709551615\r\nConnection: close\r\nRetry-After: 1\r\nX-Empty: \r\n\r\n");
}

TEST("says Connection and framing as asked")
{
    struct http_response response = {.status = 200, .framing = HTTP_FRAMING_CHUNKED};
    CHECK_HEAD(&response, "HTTP/1.1 200 OK\r\n" DATE "Transfer-Encoding: chunked\r\n\r\n");
    response = (struct http_response){
        .status = 404, .connection = HTTP_CONNECTION_KEEP_10, .framing = HTTP_FRAMING_LENGTH, .content_length = 0};
    CHECK_HEAD(&response, "HTTP/1.1 404 Not Found\r\n" DATE "Content-Length: 0\r\nConnection: keep-alive\r\n\r\n");
    const struct http_header upgrade = {SLICE("Upgrade"), SLICE("websocket")};
    response = (struct http_response){
        .status = 101, .connection = HTTP_CONNECTION_UPGRADE, .headers = &upgrade, .header_count = 1};
    CHECK_HEAD(&response,
               "HTTP/1.1 101 Switching Protocols\r\n" DATE "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
}

TEST("writes no length for statuses without a body")
{
    struct http_response response = {.status = 204, .framing = HTTP_FRAMING_LENGTH};
    CHECK_HEAD(&response, "HTTP/1.1 204 No Content\r\n" DATE "\r\n");
    response.status = 100;
    response.framing = HTTP_FRAMING_CHUNKED;
    CHECK_HEAD(&response, "HTTP/1.1 100 Continue\r\n" DATE "\r\n");
}

TEST("refuses headers that would end their line, are not tokens, or are said by a field")
{
    const struct http_header bad[] = {
        {SLICE("X"), SLICE("a\r\nSet-Cookie: b")},
        {SLICE("X"), SLICE("a\nb")},
        {SLICE("X"), SLICE("a\rb")},
        {SLICE("X"), SLICE("a\0b")},
        {SLICE("X\r\nY"), SLICE("a")},
        {SLICE("X:"), SLICE("a")},
        {SLICE(""), SLICE("a")},
        {SLICE("X Y"), SLICE("a")},
        {SLICE("content-length"), SLICE("1")},
        {SLICE("Transfer-Encoding"), SLICE("x")},
        {SLICE("Connection"), SLICE("close")},
        {SLICE("date"), SLICE("x")},
        {SLICE("CONTENT-TYPE"), SLICE("x")},
    };
    size_t length = 7;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct http_response response = {.status = 200, .headers = &bad[i], .header_count = 1};
        CHECK(http_response_write(&response, head, sizeof(head), &length) == HTTP_REFUSED);
    }
    struct http_response response = {.status = 200, .content_type = SLICE("text/plain\r\nX: y")};
    CHECK(http_response_write(&response, head, sizeof(head), &length) == HTTP_REFUSED);
    response = (struct http_response){.status = 99};
    CHECK(http_response_write(&response, head, sizeof(head), &length) == HTTP_REFUSED);
    response.status = 1000;
    CHECK(http_response_write(&response, head, sizeof(head), &length) == HTTP_REFUSED);
    CHECK(length == 7);
}

TEST("writes nothing outside a buffer that is too small and says so")
{
    const struct http_header more = {SLICE("X"), SLICE("y")};
    struct http_response response = {.status = 200,
                                     .framing = HTTP_FRAMING_LENGTH,
                                     .content_type = SLICE("text/plain"),
                                     .headers = &more,
                                     .header_count = 1};
    size_t whole;
    CHECK(http_response_write(&response, head, sizeof(head), &whole) == HTTP_WRITTEN);
    for (size_t capacity = 0; capacity <= whole; capacity++) {
        size_t length = 0;
        char *exact = malloc(capacity ? capacity : 1);
        CHECK(exact);
        enum http_written expected = capacity < whole ? HTTP_NO_ROOM : HTTP_WRITTEN;
        CHECK(http_response_write(&response, exact, capacity, &length) == expected);
        free(exact);
    }
}

TEST("needs no more room than its bound for the longest of everything")
{
    struct http_response response = {.status = 431,
                                     .connection = HTTP_CONNECTION_KEEP_10,
                                     .framing = HTTP_FRAMING_LENGTH,
                                     .content_length = UINT64_MAX};
    write_head(&response);
}

TEST("says the reason of every status that the bridge uses")
{
    const unsigned used[] = {100, 101, 200, 202, 204, 400, 401, 403, 404, 405, 408, 409,
                             410, 413, 417, 422, 426, 429, 431, 500, 503, 504, 505, 507};
    for (size_t i = 0; i < sizeof(used) / sizeof(used[0]); i++)
        CHECK(http_reason(used[i])[0] != '\0');
    for (int code = CODE_OK + 1; code < CODE_COUNT; code++)
        if (code_http_status((enum code)code) != 0)
            CHECK(http_reason(code_http_status((enum code)code))[0] != '\0');
    CHECK_TEXT(http_reason(418), strlen(http_reason(418)), "");
}

TEST("formats dates as HTTP wants them")
{
    char date[HTTP_DATE_LENGTH];
    http_date_format(784111777000, date);
    CHECK_TEXT(date, sizeof(date), "Sun, 06 Nov 1994 08:49:37 GMT");
    http_date_format(0, date);
    CHECK_TEXT(date, sizeof(date), "Thu, 01 Jan 1970 00:00:00 GMT");
    http_date_format(1709210096999, date);
    CHECK_TEXT(date, sizeof(date), "Thu, 29 Feb 2024 12:34:56 GMT");
}

TEST("dates a response with the present second")
{
    struct http_response response = {.status = 200};
    char before[HTTP_DATE_LENGTH], after[HTTP_DATE_LENGTH];
    int64_t started = clock_wall_ms();
    size_t length;
    CHECK(http_response_write(&response, head, sizeof(head), &length) == HTTP_WRITTEN);
    const char *date = strstr(head, "Date: ") + 6;
    http_date_format(clock_wall_ms(), after);
    for (int64_t second = started / 1000;; second++) {
        http_date_format(second * 1000, before);
        if (memcmp(date, before, HTTP_DATE_LENGTH) == 0)
            return;
        CHECK(memcmp(before, after, HTTP_DATE_LENGTH) != 0);
    }
}

TEST("frames chunks, and none for no data")
{
    char line[HTTP_CHUNK_OPEN_MAX];
    CHECK(http_chunk_open(0, line) == 0);
    CHECK_TEXT(line, http_chunk_open(1, line), "1\r\n");
    CHECK_TEXT(line, http_chunk_open(16, line), "10\r\n");
    CHECK_TEXT(line, http_chunk_open(0xabcdef, line), "abcdef\r\n");
    CHECK_TEXT(line, http_chunk_open(SIZE_MAX, line), "ffffffffffffffff\r\n");
}
