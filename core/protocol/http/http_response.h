/* Writing HTTP/1.1 responses (RFC 9110, RFC 9112): the head into a caller's buffer, and the framing of chunks. The body
 * is the caller's. Any thread. */
#ifndef LUADUCT_PROTOCOL_HTTP_RESPONSE_H
#define LUADUCT_PROTOCOL_HTTP_RESPONSE_H

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "protocol/http/http_request.h"

/* What to send before reading a body whose sender waits for it (RFC 9110 10.1.1). */
#define HTTP_CONTINUE "HTTP/1.1 100 Continue\r\n\r\n"

enum http_connection {
    HTTP_CONNECTION_KEEP,    /* says nothing: keep-alive is the rule in HTTP/1.1 */
    HTTP_CONNECTION_KEEP_10, /* "keep-alive", which an HTTP/1.0 client must be told */
    HTTP_CONNECTION_CLOSE,   /* "close": the last response here */
    HTTP_CONNECTION_UPGRADE, /* "Upgrade", for 101; name the protocol in an Upgrade header of your own */
};

enum http_framing {
    HTTP_FRAMING_NONE,    /* no header about it: a body that ends with the connection (needs CLOSE), or a 101 */
    HTTP_FRAMING_LENGTH,  /* Content-Length: content_length */
    HTTP_FRAMING_CHUNKED, /* Transfer-Encoding: chunked; never to an HTTP/1.0 client */
};

struct http_response {
    unsigned status; /* 100 to 599 */
    enum http_connection connection;
    enum http_framing framing; /* ignored for 1xx and 204, which have no body (RFC 9110 8.6) */
    uint64_t content_length;   /* for HEAD: what GET would have said */
    struct slice content_type; /* empty: none */
    /* More headers. Refused here, because the fields above say them: Date, Content-Type, Content-Length,
     * Transfer-Encoding, Connection. */
    const struct http_header *headers;
    size_t header_count;
};

enum http_written {
    HTTP_WRITTEN,
    HTTP_NO_ROOM, /* capacity is too small; never with http_response_bound() bytes */
    HTTP_REFUSED, /* a header that cannot be sent: name not a token, control byte (CR, LF) in a value, or see above */
};

/* A capacity that is certainly enough for that head. */
size_t http_response_bound(const struct http_response *response);

/* Writes status line and headers with the empty line behind them; *length is set when HTTP_WRITTEN. Date is the wall
 * clock's, formatted once a second per thread. */
enum http_written http_response_write(const struct http_response *response, char *out, size_t capacity, size_t *length);

/* "Not Found" …; "" for a status that the bridge does not use (a reason may be empty, RFC 9112 4). */
const char *http_reason(unsigned status);

#define HTTP_DATE_LENGTH 29

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 5.6.7), no NUL. */
void http_date_format(int64_t wall_ms, char out[HTTP_DATE_LENGTH]);

/* A chunk is http_chunk_open's bytes, the data, HTTP_CHUNK_CLOSE; after the last one comes HTTP_CHUNKS_END. */
#define HTTP_CHUNK_OPEN_MAX 18 /* 16 hexadecimal digits and the line end */
#define HTTP_CHUNK_CLOSE "\r\n"
#define HTTP_CHUNKS_END "0\r\n\r\n"

/* Writes the size line for length bytes and gives its length. length 0 gives 0 bytes: write no chunk at all then, an
 * empty one would end the body. */
size_t http_chunk_open(size_t length, char out[HTTP_CHUNK_OPEN_MAX]);

#endif
