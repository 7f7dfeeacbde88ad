/* Requests, head and body, one after the other on a connection. The limits come from the first byte. What the parser
 * makes of them must be the same whole, byte by byte, and in pieces; and what it accepts must keep its promises. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/http/http_request.h"
#include "protocol/http/origin.h"
#include "protocol/http/url.h"
#include "require.h"

/* Longer inputs find nothing that these do not. */
#define INPUT_MOST 8192

/* All that was read, folded (FNV-1a). */
struct outcome {
    uint64_t hash;
    unsigned requests;
    size_t used;
};

static void fold(struct outcome *outcome, const void *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        outcome->hash = (outcome->hash ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
}

static void fold_slice(struct outcome *outcome, struct slice text)
{
    fold(outcome, &text.length, sizeof text.length);
    fold(outcome, text.data, text.length);
}

static void fold_error(struct outcome *outcome, const struct http_error *error)
{
    REQUIRE(error->text && error->text[0]);
    REQUIRE(error->code == CODE_BAD_REQUEST || error->code == CODE_HEADERS_TOO_LARGE || error->code == CODE_TOO_LARGE);
    REQUIRE(error->status == 400 || error->status == 413 || error->status == 417 || error->status == 431 ||
            error->status == 505);
    fold(outcome, &error->status, sizeof error->status);
    fold(outcome, error->text, strlen(error->text));
}

static void check_url(struct slice text)
{
    char *out = malloc(text.length + 1);
    size_t length;
    REQUIRE(out);
    if (url_decode_path(text, out, text.length, &length) || url_decode_query(text, out, text.length, &length))
        REQUIRE(length <= text.length && !memchr(out, '\0', length));
    free(out);
}

static void check_request(const struct http_request *request, const struct http_limits *limits, size_t length)
{
    struct url_authority authority;
    REQUIRE(request->head_bytes <= length && request->head_bytes <= limits->head_bytes);
    REQUIRE(request->header_count <= limits->headers);
    REQUIRE(http_token_valid(request->method));
    REQUIRE(request->path.length > 0 && (request->path.data[0] == '/' || slice_equal(request->path, SLICE("*"))));
    REQUIRE(request->version_minor <= 1);
    REQUIRE(request->host.length == 0 ? request->version_minor == 0 : url_authority_parse(request->host, &authority));
    REQUIRE(request->content_length <= limits->body_bytes);
    REQUIRE(!request->chunked || (request->content_length == 0 && request->version_minor == 1));
    unsigned hosts = 0, lengths = 0, encodings = 0, found = 0;
    for (unsigned i = 0; i < request->header_count; i++) {
        const struct http_header *header = &request->headers[i];
        REQUIRE(http_token_valid(header->name) && http_value_valid(header->value));
        hosts += slice_equal_ignoring_case(header->name, SLICE("host"));
        lengths += slice_equal_ignoring_case(header->name, SLICE("content-length"));
        encodings += slice_equal_ignoring_case(header->name, SLICE("transfer-encoding"));
        if (slice_equal_ignoring_case(header->name, SLICE("origin"))) {
            const struct slice listed[] = {SLICE("http://a"), SLICE("https://b:81"), SLICE("*")};
            REQUIRE(origin_allowed(header->value, SLICE("http"), request->host, listed, 3));
            bool own = origin_allowed(header->value, SLICE("https"), request->host, NULL, 0);
            REQUIRE(!own || origin_allowed(header->value, SLICE("https"), request->host, listed, 2));
        }
        check_url(header->value);
    }
    REQUIRE(hosts <= 1 && hosts >= request->version_minor && lengths + encodings <= 1);
    REQUIRE(request->chunked == (encodings == 1));
    for (const struct http_header *at = NULL; (at = http_request_header(request, SLICE("host"), at));)
        found++;
    REQUIRE(found == hosts);
    const struct slice names[] = {SLICE("a"), SLICE("b.:81")};
    bool open = origin_host_allowed(request->host, NULL, 0);
    REQUIRE(origin_host_allowed(request->host, names, 2) || !open);
    check_url(request->path);
    struct slice rest = request->query, name, value;
    while (url_query_next(&rest, &name, &value)) {
        check_url(name);
        check_url(value);
    }
}

static void fold_request(struct outcome *outcome, const struct http_request *request)
{
    const bool flags[] = {request->chunked, request->keep_alive, request->expect_continue, request->upgrade};
    fold_slice(outcome, request->method);
    fold_slice(outcome, request->path);
    fold_slice(outcome, request->query);
    fold_slice(outcome, request->host);
    fold(outcome, &request->version_minor, sizeof request->version_minor);
    fold(outcome, &request->content_length, sizeof request->content_length);
    fold(outcome, flags, sizeof flags);
    for (unsigned i = 0; i < request->header_count; i++) {
        fold_slice(outcome, request->headers[i].name);
        fold_slice(outcome, request->headers[i].value);
    }
}

/* Reads one connection that gives `piece` bytes at a time. Every head is looked at in a buffer that ends where the
 * bytes received so far end. */
static struct outcome connection_read(const char *data, size_t length, size_t piece, const struct http_limits *limits)
{
    struct outcome outcome = {.hash = 0xcbf29ce484222325u};
    static struct http_request request;
    size_t given = piece < length ? piece : length;
    for (;;) {
        struct http_scan scan = {0};
        enum http_step step;
        for (;;) {
            size_t there = given - outcome.used;
            char *exact = malloc(there ? there : 1);
            REQUIRE(exact);
            memcpy(exact, data + outcome.used, there);
            step = http_request_parse(&scan, exact, there, limits, &request);
            if (step == HTTP_DONE) {
                check_request(&request, limits, there);
                fold_request(&outcome, &request);
            }
            free(exact);
            if (step != HTTP_NEED_BYTES || given == length)
                break;
            given = length - given < piece ? length : given + piece;
        }
        fold(&outcome, &step, sizeof step);
        if (step == HTTP_FAIL)
            fold_error(&outcome, &request.error);
        if (step != HTTP_DONE)
            return outcome;
        outcome.requests++;
        outcome.used += request.head_bytes;

        struct http_body body;
        struct slice content;
        uint64_t content_bytes = 0;
        http_body_start(&body, &request, limits);
        for (;;) {
            const char *at = data + outcome.used;
            step = http_body_next(&body, &at, data + given, &content);
            REQUIRE(at >= data + outcome.used && at <= data + given);
            outcome.used = (size_t)(at - data);
            if (step == HTTP_DATA) {
                REQUIRE(content.length > 0 && content.data + content.length == at);
                content_bytes += content.length;
                fold(&outcome, content.data, content.length);
            } else if (step == HTTP_NEED_BYTES && given < length) {
                REQUIRE(outcome.used == given);
                given = length - given < piece ? length : given + piece;
            } else {
                break;
            }
        }
        REQUIRE(content_bytes <= limits->body_bytes);
        REQUIRE(step != HTTP_DONE || request.chunked || content_bytes == request.content_length);
        fold(&outcome, &step, sizeof step);
        if (step == HTTP_FAIL)
            fold_error(&outcome, &body.error);
        if (step != HTTP_DONE)
            return outcome;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > INPUT_MOST)
        return 0;
    bool small = data[0] & 1;
    const struct http_limits limits = {
        .head_bytes = small ? 100 : 2048, .headers = small ? 3 : HTTP_HEADERS_MAX, .body_bytes = small ? 20 : 4096};
    const char *text = (const char *)data + 1;
    struct outcome whole = connection_read(text, size - 1, size, &limits);
    /* Byte by byte costs a copy a byte; the middle of a long input is better reached in pieces. */
    size_t pieces[] = {size <= 160 ? 1 : 61, 7 + data[0] / 8};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct outcome split = connection_read(text, size - 1, pieces[i], &limits);
        REQUIRE(split.hash == whole.hash && split.requests == whole.requests && split.used == whole.used);
    }
    return 0;
}
