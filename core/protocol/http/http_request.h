/* Reading HTTP/1.1 requests (RFC 9110, RFC 9112), strictly: the head of a request from the bytes received so far, then
 * its body piece by piece. Nothing here allocates; slices point into the caller's buffer and are valid as long as that
 * stays where it is. Any thread; one connection at a time is one thread's. */
#ifndef LUADUCT_PROTOCOL_HTTP_REQUEST_H
#define LUADUCT_PROTOCOL_HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "protocol/code.h"

/* Browsers and proxies send 10 to 30. Fixed, so that a request is a plain struct. */
#define HTTP_HEADERS_MAX 64

struct http_limits {
    uint32_t head_bytes; /* request line and headers with their line ends, a leading empty line included: 16 KiB */
    uint32_t headers;    /* how many; at most HTTP_HEADERS_MAX */
    uint64_t body_bytes; /* of content, chunk framing not counted */
};

struct http_header {
    struct slice name;  /* as sent; compare with slice_equal_ignoring_case */
    struct slice value; /* without white space around it */
};

enum http_step {
    HTTP_NEED_BYTES, /* all right so far: call again when more has come */
    HTTP_DATA,       /* http_body_next only: a piece of content */
    HTTP_DONE,
    HTTP_FAIL, /* answer with the error and close: where the next request would start is not known */
};

struct http_error {
    enum code code;   /* CODE_BAD_REQUEST, CODE_HEADERS_TOO_LARGE, CODE_TOO_LARGE */
    unsigned status;  /* 400, 431, 413; 417 and 505 are said with CODE_BAD_REQUEST */
    const char *text; /* static, safe to show */
};

/* What is kept between two calls for one request: how far the head has been looked at, so that a peer that sends one
 * byte at a time costs one look at each byte. All zero before every request. */
struct http_scan {
    uint32_t scanned;    /* bytes looked at */
    uint32_t line_start; /* where the line that is not complete begins */
};

struct http_request {
    size_t head_bytes; /* consumed; the body, or the next request, starts there */

    struct slice method;    /* a token; which ones exist is routing's business, but it is never CONNECT */
    struct slice path;      /* still encoded; starts with "/", or is "*" (OPTIONS only) */
    struct slice query;     /* still encoded, without "?"; empty when there is none */
    unsigned version_minor; /* HTTP/1.0 or HTTP/1.1 */
    struct slice host;      /* valid host[:port]; empty only in HTTP/1.0 without Host */

    struct http_header headers[HTTP_HEADERS_MAX];
    unsigned header_count;

    uint64_t content_length; /* 0 when absent or chunked */
    bool chunked;
    bool keep_alive;      /* the connection may carry another request after this one */
    bool expect_continue; /* send HTTP_CONTINUE before reading the body, or a final status instead of it */
    bool upgrade;         /* HTTP/1.1, Connection names upgrade and Upgrade names websocket */

    struct http_error error; /* after HTTP_FAIL only */
};

/* Looks at data[0..length), the bytes received from the start of this request on (leftovers of the one before
 * included). HTTP_NEED_BYTES: keep them all and call again with more behind them, at any address, the same scan and
 * limits. HTTP_DONE: out is complete. HTTP_FAIL: out->error is set, nothing else. Body lengths over
 * limits->body_bytes fail here already. */
enum http_step http_request_parse(struct http_scan *scan, const char *data, size_t length,
                                  const struct http_limits *limits, struct http_request *out);

/* The first header of that name behind `after` (NULL: from the start), or NULL. */
const struct http_header *http_request_header(const struct http_request *request, struct slice name,
                                              const struct http_header *after);

/* Whether a comma-separated list (RFC 9110 5.6.1) has that token; upper and lower case are the same. */
bool http_list_has(struct slice list, struct slice token);

/* Whether the bytes are a token (RFC 9110 5.6.2), as header names and methods must be. */
bool http_token_valid(struct slice text);

/* Whether the bytes may stand in a header's value: no control bytes but the tabulator. */
bool http_value_valid(struct slice text);

/* A body being read: of known length or chunked (RFC 9112 6.2, 7.1). */
struct http_body {
    uint64_t remaining; /* of the current chunk, or of the whole body */
    uint64_t received;  /* bytes of content given out so far and promised by the current chunk */
    uint64_t limit;
    uint32_t overhead; /* bytes of chunk extensions and trailers so far */
    uint8_t digits;    /* of the current chunk size */
    uint8_t state;
    struct http_error error; /* after HTTP_FAIL only */
};

void http_body_start(struct http_body *body, const struct http_request *request, const struct http_limits *limits);

/* Reads on at *at and moves *at behind what it used. HTTP_DATA: *out is content, inside the buffer; call again.
 * HTTP_NEED_BYTES: everything up to end is used. HTTP_DONE: *at is where the next request starts (also at once, for a
 * request without a body). HTTP_FAIL: body->error is set. Chunk extensions and trailers are checked and dropped. */
enum http_step http_body_next(struct http_body *body, const char **at, const char *end, struct slice *out);

#endif
