#include "../../support/unit.h"

#include "protocol/http/http_request.h"

static const struct http_limits limits = {.head_bytes = 1024, .headers = 8, .body_bytes = 100};
static struct http_request request;

/* Parses a copy of exactly that size, so that the address sanitizer sees a read behind it. */
static enum http_step parse_bytes(const char *text, size_t length)
{
    static char *copy;
    free(copy);
    copy = malloc(length ? length : 1);
    CHECK(copy);
    memcpy(copy, text, length);
    struct http_scan scan = {0};
    memset(&request, 0x55, sizeof(request));
    return http_request_parse(&scan, copy, length, &limits, &request);
}

static enum http_step parse(const char *text)
{
    return parse_bytes(text, strlen(text));
}

static void check_refused(const char *text, unsigned status)
{
    if (parse(text) != HTTP_FAIL || request.error.status != status) {
        fprintf(stderr, "not refused with %u: %s\n", status, text);
        exit(1);
    }
    CHECK(request.error.text && request.error.text[0]);
}

static void check_taken(const char *text)
{
    if (parse(text) != HTTP_DONE) {
        fprintf(stderr, "not taken: %s\n", text);
        exit(1);
    }
}

#define CHECK_SLICE(slice, expected) CHECK_TEXT((slice).data, (slice).length, expected)
#define GET(headers) "GET / HTTP/1.1\r\nHost: a\r\n" headers "\r\n"

TEST("reads method, path, query, version, host and headers of a request")
{
    check_taken(
        "POST /send?to=a&x=%20 HTTP/1.1\r\nHost: bridge.example:4568\r\nX-Empty:\r\nX-Word: \t one two \t\r\n\r\nrest");
    CHECK_SLICE(request.method, "POST");
    CHECK_SLICE(request.path, "/send");
    CHECK_SLICE(request.query, "to=a&x=%20");
    CHECK(request.version_minor == 1);
    CHECK_SLICE(request.host, "bridge.example:4568");
    CHECK(request.header_count == 3);
    CHECK_SLICE(request.headers[1].name, "X-Empty");
    CHECK_SLICE(request.headers[1].value, "");
    CHECK_SLICE(request.headers[2].value, "one two");
    CHECK(request.content_length == 0 && !request.chunked && request.keep_alive && !request.expect_continue);
    CHECK(!request.upgrade);
    CHECK(request.head_bytes == strlen("POST /send?to=a&x=%20 HTTP/1.1\r\nHost: bridge.example:4568\r\nX-Empty:\r\n"
                                       "X-Word: \t one two \t\r\n\r\n"));
}

TEST("gives the same request when the head comes byte by byte at changing addresses")
{
    const char *text = "\r\nPUT /a/b?c HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nConnection: close\r\n\r\n";
    size_t length = strlen(text);
    struct http_scan scan = {0};
    for (size_t have = 0; have < length; have++) {
        char *copy = malloc(have ? have : 1);
        CHECK(copy);
        memcpy(copy, text, have);
        CHECK(http_request_parse(&scan, copy, have, &limits, &request) == HTTP_NEED_BYTES);
        CHECK(scan.scanned == have);
        free(copy);
    }
    CHECK(http_request_parse(&scan, text, length, &limits, &request) == HTTP_DONE);
    CHECK(request.head_bytes == length);
    CHECK_SLICE(request.method, "PUT");
    CHECK_SLICE(request.path, "/a/b");
    CHECK_SLICE(request.query, "c");
    CHECK(request.content_length == 12 && !request.keep_alive);
}

TEST("forgives one empty line before a request and no second one")
{
    check_taken("\r\n" GET(""));
    CHECK(request.head_bytes == strlen("\r\n" GET("")));
    check_refused("\r\n\r\n" GET(""), 400);
    check_refused("\r\n\r\n", 400);
    check_refused("\n" GET(""), 400);
}

TEST("refuses every line end that is not CR LF")
{
    check_refused("GET / HTTP/1.1\nHost: a\r\n\r\n", 400);
    check_refused("GET / HTTP/1.1\r\nHost: a\n\r\n", 400);
    check_refused("GET / HTTP/1.1\r\nHost: a\r\n\n", 400);
    check_refused("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400);
    check_refused("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400);
}

TEST("refuses header lines that other parsers read differently")
{
    check_refused(GET("X : y\r\n"), 400);
    check_refused(GET("X\t: y\r\n"), 400);
    check_refused(GET(" X: y\r\n"), 400);
    check_refused(GET("X: y\r\n folded\r\n"), 400);
    check_refused(GET("X: y\r\n\tfolded: z\r\n"), 400);
    check_refused(GET(": y\r\n"), 400);
    check_refused(GET("no colon\r\n"), 400);
    check_refused(GET("X(y): z\r\n"), 400);
    check_refused(GET("X\x80: z\r\n"), 400);
}

TEST("refuses control bytes anywhere in the head, NUL included")
{
    for (int byte = 0; byte < 256; byte++) {
        char text[] = GET("X: a_b\r\n");
        char *place = strchr(text, '_');
        *place = (char)byte;
        bool control = (byte < ' ' && byte != '\t') || byte == 0x7f;
        CHECK(parse_bytes(text, sizeof(text) - 1) == (control ? HTTP_FAIL : HTTP_DONE));
    }
    CHECK(parse_bytes("\x16\x03\x01", 3) == HTTP_FAIL); /* a TLS hello, at its first byte */
}

TEST("refuses request lines with other spaces, methods or targets than the grammar's")
{
    const char *const lines[] = {
        "GET  / HTTP/1.1",      "GET / HTTP/1.1 ",      " GET / HTTP/1.1", "GET /",
        "GET\t/\tHTTP/1.1",     "GET /a b HTTP/1.1",    "G@T / HTTP/1.1",  "GET  HTTP/1.1",
        "GET / http/1.1",       "GET / HTTP/1.1x",      "GET / HTTP/11",   "GET / HTTP/1,1",
        "GET / HTTPS/1.1",      "GET a HTTP/1.1",       "GET /# HTTP/1.1", "GET /\xc3\xa9 HTTP/1.1",
        "GET * HTTP/1.1",       "OPTIONS *x HTTP/1.1",  "GET ?a HTTP/1.1", "CONNECT a:1 HTTP/1.1",
        "OPTIONS *?a HTTP/1.1", "GET ftp://a/ HTTP/1.1"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        char text[128];
        snprintf(text, sizeof(text), "%s\r\nHost: a\r\n\r\n", lines[i]);
        check_refused(text, 400);
    }
}

TEST("says 505 to versions other than 1.0 and 1.1")
{
    check_refused("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505);
    check_refused("PRI * HTTP/2.0\r\n\r\n", 505);
    check_refused("GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505);
    check_refused("GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505);
    CHECK(request.error.code == CODE_BAD_REQUEST);
}

TEST("wants exactly one valid Host from HTTP/1.1 and at most one from HTTP/1.0")
{
    check_refused("GET / HTTP/1.1\r\n\r\n", 400);
    check_refused("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400);
    check_refused("GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", 400);
    check_refused("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400);
    check_refused("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400);
    check_refused("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400);
    check_refused("GET / HTTP/1.1\r\nHost: a:port\r\n\r\n", 400);
    check_taken("GET / HTTP/1.0\r\n\r\n");
    CHECK(request.host.length == 0);
}

TEST("takes a whole URL as target when its host is the Host said")
{
    check_taken("GET HTTP://A:80/x?y HTTP/1.1\r\nHost: a:80\r\n\r\n");
    CHECK_SLICE(request.path, "/x");
    CHECK_SLICE(request.query, "y");
    check_taken("GET https://a HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK_SLICE(request.path, "/");
    CHECK(request.query.length == 0);
    check_taken("GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK_SLICE(request.path, "/");
    CHECK_SLICE(request.query, "q");
    check_taken("GET http://a/ HTTP/1.0\r\n\r\n");
    CHECK_SLICE(request.host, "a");
    check_refused("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", 400);
    check_refused("GET http://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n", 400);
    check_refused("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    check_refused("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    check_refused("GET http://a/ HTTP/1.1\r\n\r\n", 400);
}

TEST("takes the target * for OPTIONS")
{
    check_taken("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK_SLICE(request.path, "*");
}

TEST("takes only one Content-Length of digits within the body limit")
{
    check_taken(GET("Content-Length: 100\r\n"));
    CHECK(request.content_length == 100);
    check_taken(GET("Content-Length: 007\r\n"));
    CHECK(request.content_length == 7);
    check_refused(GET("Content-Length: 101\r\n"), 413);
    CHECK(request.error.code == CODE_TOO_LARGE);
    check_refused(GET("Content-Length: 18446744073709551616\r\n"), 413);
    check_refused(GET("Content-Length: 99999999999999999999999999999999999999999\r\n"), 413);
    check_refused(GET("Content-Length: 5\r\nContent-Length: 5\r\n"), 400);
    check_refused(GET("Content-Length: 5, 5\r\n"), 400);
    check_refused(GET("Content-Length: +5\r\n"), 400);
    check_refused(GET("Content-Length: -5\r\n"), 400);
    check_refused(GET("Content-Length: 0x5\r\n"), 400);
    check_refused(GET("Content-Length: 5 5\r\n"), 400);
    check_refused(GET("Content-Length:\r\n"), 400);
}

TEST("takes Transfer-Encoding only as chunked, once, in HTTP/1.1, without Content-Length")
{
    check_taken(GET("Transfer-Encoding: Chunked\r\n"));
    CHECK(request.chunked);
    check_refused(GET("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400);
    check_refused(GET("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400);
    check_refused(GET("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400);
    check_refused(GET("Transfer-Encoding: chunked, chunked\r\n"), 400);
    check_refused(GET("Transfer-Encoding: gzip, chunked\r\n"), 400);
    check_refused(GET("Transfer-Encoding: identity\r\n"), 400);
    check_refused(GET("Transfer-Encoding: \"chunked\"\r\n"), 400);
    check_refused(GET("Transfer-Encoding: chunked;q=1\r\n"), 400);
    check_refused(GET("Transfer-Encoding:\r\n"), 400);
    check_refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
}

TEST("keeps a connection alive as its version and its Connection header say")
{
    check_taken(GET(""));
    CHECK(request.keep_alive);
    check_taken(GET("Connection: x\r\nConnection: y , CLOSE\r\n"));
    CHECK(!request.keep_alive);
    check_taken(GET("Connection: closed\r\n"));
    CHECK(request.keep_alive);
    check_taken("GET / HTTP/1.0\r\n\r\n");
    CHECK(!request.keep_alive);
    check_taken("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    CHECK(request.keep_alive);
    check_taken("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n");
    CHECK(!request.keep_alive);
}

TEST("sees an upgrade to websocket only when both headers ask for it in HTTP/1.1")
{
    check_taken(GET("Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"));
    CHECK(request.upgrade);
    check_taken(GET("Connection: keep-alive\r\nUpgrade: websocket\r\n"));
    CHECK(!request.upgrade);
    check_taken(GET("Connection: upgrade\r\nUpgrade: h2c\r\n"));
    CHECK(!request.upgrade);
    check_taken("GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    CHECK(!request.upgrade);
}

TEST("expects to be told to continue only with a body and only for 100-continue")
{
    check_taken(GET("Expect: 100-Continue\r\nContent-Length: 5\r\n"));
    CHECK(request.expect_continue);
    check_taken(GET("Expect: 100-continue\r\n"));
    CHECK(!request.expect_continue);
    check_refused(GET("Expect: 200-ok\r\n"), 417);
    check_taken("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    CHECK(!request.expect_continue);
}

TEST("refuses a head of more bytes or headers than the limits with 431")
{
    char text[2048];
    int prefix = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\nX: ");
    memset(text + prefix, 'y', 1024);
    memcpy(text + 1020, "\r\n\r\n", 4);
    CHECK(parse_bytes(text, 1024) == HTTP_DONE);
    CHECK(request.head_bytes == 1024);
    CHECK(parse_bytes(text, 1023) == HTTP_NEED_BYTES);
    memcpy(text + 1020, "yyyy", 4);
    CHECK(parse_bytes(text, 1023) == HTTP_NEED_BYTES);
    CHECK(parse_bytes(text, 1024) == HTTP_FAIL);
    CHECK(request.error.status == 431 && request.error.code == CODE_HEADERS_TOO_LARGE);
    memcpy(text + 1021, "\r\n\r\n", 4);
    CHECK(parse_bytes(text, 1025) == HTTP_FAIL);
    CHECK(request.error.status == 431);

    check_taken(GET("A:\r\nB:\r\nC:\r\nD:\r\nE:\r\nF:\r\nG:\r\n"));
    CHECK(request.header_count == 8);
    check_refused(GET("A:\r\nB:\r\nC:\r\nD:\r\nE:\r\nF:\r\nG:\r\nH:\r\n"), 431);
}

TEST("finds headers by name, one after the other")
{
    check_taken(GET("Cookie: 1\r\nX: y\r\ncookie: 2\r\n"));
    const struct http_header *header = http_request_header(&request, SLICE("COOKIE"), NULL);
    CHECK(header);
    CHECK_SLICE(header->value, "1");
    header = http_request_header(&request, SLICE("COOKIE"), header);
    CHECK(header);
    CHECK_SLICE(header->value, "2");
    CHECK(!http_request_header(&request, SLICE("COOKIE"), header));
    CHECK(!http_request_header(&request, SLICE("Cook"), NULL));
}

TEST("finds a token in a comma-separated list and not a part of one")
{
    CHECK(http_list_has(SLICE("a, b ,c"), SLICE("B")));
    CHECK(http_list_has(SLICE(" a"), SLICE("a")));
    CHECK(http_list_has(SLICE(",,\ta\t,"), SLICE("a")));
    CHECK(!http_list_has(SLICE("ab, ca"), SLICE("a")));
    CHECK(!http_list_has(SLICE("a b"), SLICE("a")));
    CHECK(!http_list_has(SLICE(""), SLICE("a")));
}

struct outcome {
    enum http_step step;
    unsigned status;
    size_t used, length;
    char content[512];
};

/* Reads a body that comes in pieces of that size. */
static struct outcome body_read(bool chunked, uint64_t content_length, const char *text, size_t total, size_t piece)
{
    struct outcome outcome = {.step = HTTP_NEED_BYTES};
    struct http_request head = {.chunked = chunked, .content_length = content_length};
    struct http_body body;
    http_body_start(&body, &head, &limits);
    size_t given = 0;
    for (;;) {
        struct slice out;
        const char *at = text + outcome.used;
        outcome.step = http_body_next(&body, &at, text + given, &out);
        outcome.used = (size_t)(at - text);
        if (outcome.step == HTTP_DATA) {
            CHECK(out.length > 0 && outcome.length + out.length <= sizeof(outcome.content));
            memcpy(outcome.content + outcome.length, out.data, out.length);
            outcome.length += out.length;
        } else if (outcome.step == HTTP_NEED_BYTES && given < total) {
            given = total - given < piece ? total : given + piece;
        } else {
            outcome.status = body.error.status;
            return outcome;
        }
    }
}

static struct outcome chunks_read(const char *text)
{
    struct outcome whole = body_read(true, 0, text, strlen(text), strlen(text));
    struct outcome bytes = body_read(true, 0, text, strlen(text), 1);
    CHECK(whole.step == bytes.step && whole.status == bytes.status && whole.used == bytes.used);
    CHECK(whole.length == bytes.length && memcmp(whole.content, bytes.content, whole.length) == 0);
    return whole;
}

TEST("reads a body of known length and stops at its end")
{
    struct outcome outcome = body_read(false, 5, "hellonext", 9, 9);
    CHECK(outcome.step == HTTP_DONE && outcome.used == 5);
    CHECK_TEXT(outcome.content, outcome.length, "hello");
    outcome = body_read(false, 5, "hellonext", 9, 1);
    CHECK(outcome.step == HTTP_DONE && outcome.used == 5 && outcome.length == 5);
    outcome = body_read(false, 5, "hell", 4, 4);
    CHECK(outcome.step == HTTP_NEED_BYTES && outcome.used == 4);
    outcome = body_read(false, 0, "next", 4, 4);
    CHECK(outcome.step == HTTP_DONE && outcome.used == 0);
    outcome = body_read(false, 101, "", 0, 1);
    CHECK(outcome.step == HTTP_FAIL && outcome.status == 413);
}

TEST("reads chunks with extensions and drops trailers")
{
    struct outcome outcome =
        chunks_read("5\r\nhello\r\n00000001;a;b=c;d=\"e \\\" ;\"\r\n!\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\nGET");
    CHECK(outcome.step == HTTP_DONE);
    CHECK_TEXT(outcome.content, outcome.length, "hello!");
    CHECK(outcome.used == strlen("5\r\nhello\r\n00000001;a;b=c;d=\"e \\\" ;\"\r\n!\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n"));
    outcome = chunks_read("0\r\n\r\n");
    CHECK(outcome.step == HTTP_DONE && outcome.length == 0);
    outcome = chunks_read("A\r\n0123456789\r\n0\r\n\r\n");
    CHECK(outcome.step == HTTP_DONE && outcome.length == 10);
}

TEST("refuses chunk framing that other parsers read differently")
{
    const char *const bodies[] = {
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
        "5\r\nhello\r\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5 ;a\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        ";a\r\nhello\r\n0\r\n\r\n",
        "5;\r\nhello\r\n0\r\n\r\n",
        "5;a=\r\nhello\r\n0\r\n\r\n",
        "5;a=b c\r\nhello\r\n0\r\n\r\n",
        "5;a=\"b\nc\"\r\nhello\r\n",
        "5;a=\"b\"c\r\nhello\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "000000005\r\nhello\r\n",
        "5\r\r\nhello\r\n0\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\n folded\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\nX\r\n\r\n",
        "0\r\n: y\r\n\r\n",
        "0\r\nX: \x01\r\n\r\n",
        "g\r\n",
        "0\r\n\rX",
    };
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct outcome outcome = chunks_read(bodies[i]);
        if (outcome.step != HTTP_FAIL || outcome.status != 400) {
            fprintf(stderr, "not refused: %s\n", bodies[i]);
            exit(1);
        }
    }
}

TEST("refuses a chunked body at the chunk that takes it over the limit")
{
    char text[256], content[101];
    memset(content, 'x', 100);
    content[100] = '\0';
    snprintf(text, sizeof(text), "64\r\n%s\r\n0\r\n\r\n", content);
    CHECK(chunks_read(text).step == HTTP_DONE);
    snprintf(text, sizeof(text), "64\r\n%s\r\n1\r\n", content);
    struct outcome outcome = chunks_read(text);
    CHECK(outcome.step == HTTP_FAIL && outcome.status == 413 && outcome.length == 100);
    CHECK(chunks_read("65\r").status == 413);
    CHECK(chunks_read("ffffffff\r").status == 413);
}

TEST("bounds chunk extensions and trailers over the whole body")
{
    static char text[8192];
    int length = snprintf(text, sizeof(text), "1;");
    memset(text + length, 'e', 5000);
    CHECK(chunks_read(text).status == 431);
    memset(text, 0, sizeof(text));
    length = snprintf(text, sizeof(text), "0\r\n");
    for (int i = 0; i < 1000; i++)
        length += snprintf(text + length, sizeof(text) - (size_t)length, "X: y\r\n");
    CHECK(chunks_read(text).status == 431);
}

TEST("stays failed after a bad body")
{
    struct http_request head = {.chunked = true};
    struct http_body body;
    struct slice out;
    const char *at = "x0\r\n\r\n";
    http_body_start(&body, &head, &limits);
    CHECK(http_body_next(&body, &at, at + 6, &out) == HTTP_FAIL);
    CHECK(http_body_next(&body, &at, at + 5, &out) == HTTP_FAIL);
    CHECK(body.error.status == 400 && body.error.code == CODE_BAD_REQUEST);
}
