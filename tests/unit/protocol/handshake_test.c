/* RFC 6455 4.2, rule by rule. */
#include "../../support/unit.h"

#include "protocol/websocket/handshake.h"

static struct http_request request;
static struct handshake handshake;

#define START "GET /chat HTTP/1.1\r\nHost: example.com\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define GOOD START UPGRADE KEY VERSION

static unsigned answer_with(const char *head, enum handshake_compression compression)
{
    static char text[4096]; /* the slices of `request` point into it */
    size_t length = (size_t)snprintf(text, sizeof text, "%s\r\n", head);
    struct http_scan scan = {0};
    struct http_limits limits = {.head_bytes = 16384, .headers = HTTP_HEADERS_MAX, .body_bytes = 1000};
    CHECK(http_request_parse(&scan, text, length, &limits, &request) == HTTP_DONE);
    memset(&handshake, 0xee, sizeof handshake);
    handshake_answer(&request, compression, true, &handshake);
    if (handshake.status == 101)
        CHECK(handshake.length > 0 && handshake.length <= sizeof handshake.answer);
    else
        CHECK(handshake.text && handshake.text[0] && (handshake.header_count == 0 || handshake.headers));
    return handshake.status;
}

static unsigned answer(const char *head)
{
    return answer_with(head, HANDSHAKE_DEFLATE);
}

TEST("handshake: gives the answer of RFC 6455 1.3")
{
    CHECK(answer(GOOD) == 101);
    CHECK_TEXT(handshake.answer, handshake.length,
               "HTTP/1.1 101 Switching Protocols\r\n"
               "Upgrade: websocket\r\n"
               "Connection: Upgrade\r\n"
               "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
               "\r\n");
    CHECK(handshake.agreement.send_window_bits == 0);
}

TEST("handshake: computes Sec-WebSocket-Accept for keys of one length only")
{
    char accept[HANDSHAKE_ACCEPT_LENGTH];
    CHECK(handshake_accept(SLICE("dGhlIHNhbXBsZSBub25jZQ=="), accept));
    CHECK_TEXT(accept, sizeof accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    CHECK(!handshake_accept(SLICE("short"), accept));
}

TEST("handshake: Upgrade and Connection are lists, and case does not matter")
{
    CHECK(answer(START "upgrade: h2c, WebSocket\r\nCONNECTION: keep-alive , uPGRADE\r\n" KEY VERSION) == 101);
    CHECK(
        answer(START
               "Upgrade: h2c\r\nUpgrade: websocket\r\nConnection: keep-alive\r\nConnection: Upgrade\r\n" KEY VERSION) ==
        101);
    CHECK(answer(START "Upgrade: websockets\r\nConnection: Upgrade\r\n" KEY VERSION) == 400);
    CHECK(answer(START "Connection: Upgrade\r\n" KEY VERSION) == 400);
    CHECK(answer(START "Upgrade: websocket\r\nConnection: keep-alive\r\n" KEY VERSION) == 400);
    CHECK(answer(START "Upgrade: websocket\r\n" KEY VERSION) == 400);
}

TEST("handshake: refuses other methods and older HTTP")
{
    CHECK(answer("POST / HTTP/1.1\r\nHost: a\r\n" UPGRADE KEY VERSION) == 405);
    CHECK(handshake.header_count == 1 && slice_equal(handshake.headers[0].name, SLICE("Allow")));
    CHECK(answer("HEAD / HTTP/1.1\r\nHost: a\r\n" UPGRADE KEY VERSION) == 405);
    CHECK(answer("GET / HTTP/1.0\r\nHost: a\r\n" UPGRADE KEY VERSION) == 400);
}

TEST("handshake: refuses an upgrade with a body")
{
    CHECK(answer(GOOD "Content-Length: 5\r\n") == 400);
    CHECK(answer(GOOD "Transfer-Encoding: chunked\r\n") == 400);
    CHECK(answer(GOOD "Content-Length: 0\r\n") == 101);
}

TEST("handshake: another version is told which one would do")
{
    static const char *const heads[] = {
        START UPGRADE KEY,
        START UPGRADE KEY "Sec-WebSocket-Version: 8\r\n",
        START UPGRADE KEY "Sec-WebSocket-Version: 013\r\n",
        START UPGRADE KEY "Sec-WebSocket-Version: 13, 8\r\n",
        START UPGRADE KEY VERSION VERSION,
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        CHECK(answer(heads[i]) == 426);
        bool version = false, upgrade = false;
        for (size_t j = 0; j < handshake.header_count; j++) {
            version = version || (slice_equal(handshake.headers[j].name, SLICE("Sec-WebSocket-Version")) &&
                                  slice_equal(handshake.headers[j].value, SLICE("13")));
            upgrade = upgrade || (slice_equal(handshake.headers[j].name, SLICE("Upgrade")) &&
                                  slice_equal(handshake.headers[j].value, SLICE("websocket")));
        }
        CHECK(version && upgrade);
    }
}

TEST("handshake: the key is 16 bytes in base64, once")
{
    static const char *const bad[] = {
        "",
        "Sec-WebSocket-Key: \r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ===\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTE=\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTEy\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBs ZSBub25jZQ=\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j*Q==\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ-==\r\n",
        "Sec-WebSocket-Key: =GhlIHNhbXBsZSBub25jZQ==\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j====\r\n",
        KEY KEY,
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char head[512];
        snprintf(head, sizeof head, "%s%s", START UPGRADE VERSION, bad[i]);
        CHECK(answer(head) == 400);
    }
    CHECK(answer(START UPGRADE VERSION "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC==\r\n") == 101);
}

TEST("handshake: names no subprotocol")
{
    CHECK(answer(GOOD "Sec-WebSocket-Protocol: chat, superchat\r\n") == 101);
    handshake.answer[handshake.length < sizeof handshake.answer ? handshake.length : sizeof handshake.answer - 1] = 0;
    CHECK(!strstr(handshake.answer, "Protocol:"));
}

static bool answer_has(const char *line)
{
    size_t length = strlen(line);
    for (size_t i = 0; i + length <= handshake.length; i++)
        if (memcmp(handshake.answer + i, line, length) == 0)
            return true;
    return false;
}

TEST("handshake: agrees on compression across several headers, when it may")
{
    const char *head = GOOD "Sec-WebSocket-Extensions: x-other; a=1\r\n"
                            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    CHECK(answer(head) == 101);
    CHECK(answer_has("\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "
                     "client_no_context_takeover\r\n\r\n"));
    CHECK(handshake.agreement.send_window_bits == 15 && !handshake.agreement.receive_takeover);

    CHECK(answer_with(head, HANDSHAKE_DEFLATE_TAKEOVER) == 101);
    CHECK(answer_has("\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "
                     "client_max_window_bits=13\r\n\r\n"));
    CHECK(handshake.agreement.receive_takeover && handshake.agreement.receive_window_bits == 13);

    CHECK(answer_with(head, HANDSHAKE_PLAIN) == 101);
    CHECK(!answer_has("Extensions") && handshake.agreement.send_window_bits == 0);
    CHECK(handshake.agreement.receive_window_bits == 0 && !handshake.agreement.receive_takeover);
}

TEST("handshake: the longest answer fits")
{
    CHECK(answer_with(GOOD "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\n",
                      HANDSHAKE_DEFLATE_TAKEOVER) == 101);
    CHECK(answer_has("server_no_context_takeover; server_max_window_bits=10; client_no_context_takeover\r\n\r\n"));
}

TEST("handshake: a malformed extension list fails it, whatever compression is set to")
{
    CHECK(answer(GOOD "Sec-WebSocket-Extensions: permessage-deflate;;\r\n") == 400);
    CHECK(answer_with(GOOD "Sec-WebSocket-Extensions: a=b\r\n", HANDSHAKE_PLAIN) == 400);
}
