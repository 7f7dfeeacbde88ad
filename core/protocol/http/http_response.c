/* Append-only writing with one check per piece: the first piece that does not fit stops the rest. Nothing is written
 * that a header of ours already says, and no value that could end its line: scripts may choose headers, and a CR LF in
 * one would be a response of the attacker's making. */
#include "protocol/http/http_response.h"

#include "base/clock.h"

const char *http_reason(unsigned status)
{
    switch (status) {
    case 100:
        return "Continue";
    case 101:
        return "Switching Protocols";
    case 200:
        return "OK";
    case 202:
        return "Accepted";
    case 204:
        return "No Content";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 409:
        return "Conflict";
    case 410:
        return "Gone";
    case 413:
        return "Content Too Large";
    case 417:
        return "Expectation Failed";
    case 422:
        return "Unprocessable Content";
    case 426:
        return "Upgrade Required";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    case 505:
        return "HTTP Version Not Supported";
    case 507:
        return "Insufficient Storage";
    default:
        return "";
    }
}

void http_date_format(int64_t wall_ms, char out[HTTP_DATE_LENGTH])
{
    static const char days[] = "ThuFriSatSunMonTueWed"; /* the epoch was a Thursday */
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char iso[CLOCK_ISO_LENGTH]; /* 2026-01-31T12:00:00.000Z */
    if (wall_ms < 0)
        wall_ms = 0;
    clock_format_iso(wall_ms, iso);
    size_t day = (size_t)(wall_ms / 86400000 % 7);
    size_t month = (size_t)((iso[5] - '0') * 10 + (iso[6] - '0') - 1);
    memcpy(out, "___, DD MMM YYYY HH:MM:SS GMT", HTTP_DATE_LENGTH);
    memcpy(out, days + day * 3, 3);
    memcpy(out + 5, iso + 8, 2);
    memcpy(out + 8, months + month * 3, 3);
    memcpy(out + 12, iso, 4);
    memcpy(out + 17, iso + 11, 8);
}

static struct slice date_now(void)
{
    static _Thread_local struct {
        int64_t second;
        char text[HTTP_DATE_LENGTH];
    } cache = {.second = -1};
    int64_t now_ms = clock_wall_ms();
    if (now_ms / 1000 != cache.second) {
        cache.second = now_ms / 1000;
        http_date_format(now_ms, cache.text);
    }
    return slice_from(cache.text, HTTP_DATE_LENGTH);
}

struct writer {
    char *at, *end;
    bool full;
};

static void put(struct writer *writer, struct slice text)
{
    if (writer->full || (size_t)(writer->end - writer->at) < text.length) {
        writer->full = true;
        return;
    }
    if (text.length > 0)
        memcpy(writer->at, text.data, text.length);
    writer->at += text.length;
}

static void put_header(struct writer *writer, struct slice name, struct slice value)
{
    put(writer, name);
    put(writer, SLICE(": "));
    put(writer, value);
    put(writer, SLICE("\r\n"));
}

#define DECIMAL_MAX 20 /* digits of UINT64_MAX */

static struct slice decimal(uint64_t value, char out[DECIMAL_MAX])
{
    size_t at = DECIMAL_MAX;
    do {
        out[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return slice_from(out + at, DECIMAL_MAX - at);
}

static bool header_sendable(const struct http_header *header)
{
    static const struct slice said_by_fields[] = {
        {"date", 4}, {"content-type", 12}, {"content-length", 14}, {"transfer-encoding", 17}, {"connection", 10},
    };
    for (size_t i = 0; i < sizeof(said_by_fields) / sizeof(said_by_fields[0]); i++)
        if (slice_equal_ignoring_case(header->name, said_by_fields[i]))
            return false;
    return http_token_valid(header->name) && http_value_valid(header->value);
}

size_t http_response_bound(const struct http_response *response)
{
    /* Status line with the longest reason 46, Date 37, Content-Length 38 or Transfer-Encoding 28, Connection 24,
     * Content-Type 16 without its value, the empty line 2: 163. */
    size_t bound = 192 + response->content_type.length;
    for (size_t i = 0; i < response->header_count; i++)
        bound += response->headers[i].name.length + response->headers[i].value.length + 4;
    return bound;
}

enum http_written http_response_write(const struct http_response *response, char *out, size_t capacity, size_t *length)
{
    if (response->status < 100 || response->status > 599 || !http_value_valid(response->content_type))
        return HTTP_REFUSED;
    for (size_t i = 0; i < response->header_count; i++)
        if (!header_sendable(&response->headers[i]))
            return HTTP_REFUSED;

    struct writer writer = {out, out + capacity, false};
    char digits[DECIMAL_MAX];
    put(&writer, SLICE("HTTP/1.1 "));
    put(&writer, decimal(response->status, digits));
    put(&writer, SLICE(" "));
    put(&writer, slice_from_string(http_reason(response->status)));
    put(&writer, SLICE("\r\n"));
    put_header(&writer, SLICE("Date"), date_now());
    if (response->content_type.length > 0)
        put_header(&writer, SLICE("Content-Type"), response->content_type);
    if (response->status >= 200 && response->status != 204) {
        if (response->framing == HTTP_FRAMING_LENGTH)
            put_header(&writer, SLICE("Content-Length"), decimal(response->content_length, digits));
        else if (response->framing == HTTP_FRAMING_CHUNKED)
            put_header(&writer, SLICE("Transfer-Encoding"), SLICE("chunked"));
    }
    switch (response->connection) {
    case HTTP_CONNECTION_KEEP:
        break;
    case HTTP_CONNECTION_KEEP_10:
        put_header(&writer, SLICE("Connection"), SLICE("keep-alive"));
        break;
    case HTTP_CONNECTION_CLOSE:
        put_header(&writer, SLICE("Connection"), SLICE("close"));
        break;
    case HTTP_CONNECTION_UPGRADE:
        put_header(&writer, SLICE("Connection"), SLICE("Upgrade"));
        break;
    }
    for (size_t i = 0; i < response->header_count; i++)
        put_header(&writer, response->headers[i].name, response->headers[i].value);
    put(&writer, SLICE("\r\n"));
    if (writer.full)
        return HTTP_NO_ROOM;
    *length = (size_t)(writer.at - out);
    return HTTP_WRITTEN;
}

size_t http_chunk_open(size_t length, char out[HTTP_CHUNK_OPEN_MAX])
{
    if (length == 0)
        return 0;
    size_t digits = 1;
    for (size_t rest = length >> 4; rest > 0; rest >>= 4)
        digits++;
    for (size_t i = digits; i-- > 0; length >>= 4)
        out[i] = "0123456789abcdef"[length & 15];
    memcpy(out + digits, "\r\n", 2);
    return digits + 2;
}
