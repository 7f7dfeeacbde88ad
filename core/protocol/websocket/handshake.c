/* The rules of RFC 6455 4.2.1 in their order, then the answer of 4.2.2. SHA-1 and base64 are mbedtls's. */
#include "protocol/websocket/handshake.h"

#include <mbedtls/base64.h>
#include <mbedtls/sha1.h>
#include <stdio.h>

#define KEY_LENGTH 24 /* 16 bytes in base64 */

/* RFC 6455 1.3 */
static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/* RFC 9110 15.5.22 asks for Upgrade in every 426, RFC 6455 4.4 for the versions that would do. */
static const struct http_header version_headers[] = {
    {{"Sec-WebSocket-Version", 21}, {"13", 2}},
    {{"Upgrade", 7}, {"websocket", 9}},
};

static const struct http_header method_headers[] = {{{"Allow", 5}, {"GET", 3}}};

/* Whether any of the headers of that name lists the token. */
static bool lists(const struct http_request *request, struct slice name, struct slice token)
{
    const struct http_header *header = NULL;
    while ((header = http_request_header(request, name, header)))
        if (http_list_has(header->value, token))
            return true;
    return false;
}

/* Whether HANDSHAKE_MSGPACK is among the subprotocols offered: names whose case counts (RFC 6455 11.3.4). */
static bool offers_msgpack(const struct http_request *request)
{
    const struct http_header *header = NULL;
    while ((header = http_request_header(request, SLICE("sec-websocket-protocol"), header))) {
        const char *at = header->value.data, *end = at + header->value.length;
        while (at < end) {
            const char *comma = memchr(at, ',', (size_t)(end - at)), *behind = comma ? comma : end, *next = behind + 1;
            while (at < behind && (*at == ' ' || *at == '\t'))
                at++;
            while (behind > at && (behind[-1] == ' ' || behind[-1] == '\t'))
                behind--;
            if (slice_equal(slice_from(at, (size_t)(behind - at)), SLICE(HANDSHAKE_MSGPACK)))
                return true;
            at = next;
        }
    }
    return false;
}

/* The value of a header that must be there exactly once; data is NULL when it is not. */
static struct slice only(const struct http_request *request, struct slice name)
{
    const struct http_header *header = http_request_header(request, name, NULL);
    if (!header || http_request_header(request, name, header))
        return slice_from(NULL, 0);
    return header->value;
}

/* 16 bytes in base64. Bits that padding leaves over may be set: the example in RFC 6455 4.1 sets them. */
static bool key_valid(struct slice key)
{
    unsigned char bytes[16];
    size_t length = 0;
    return key.length == KEY_LENGTH &&
           mbedtls_base64_decode(bytes, sizeof bytes, &length, (const unsigned char *)key.data, key.length) == 0 &&
           length == sizeof bytes;
}

bool handshake_accept(struct slice key, char out[HANDSHAKE_ACCEPT_LENGTH])
{
    unsigned char text[KEY_LENGTH + sizeof guid - 1], digest[20], encoded[HANDSHAKE_ACCEPT_LENGTH + 1];
    size_t length = 0;
    if (key.length != KEY_LENGTH)
        return false;
    memcpy(text, key.data, KEY_LENGTH);
    memcpy(text + KEY_LENGTH, guid, sizeof guid - 1);
    if (mbedtls_sha1_ret(text, sizeof text, digest) != 0 ||
        mbedtls_base64_encode(encoded, sizeof encoded, &length, digest, sizeof digest) != 0 ||
        length != HANDSHAKE_ACCEPT_LENGTH)
        return false;
    memcpy(out, encoded, length);
    return true;
}

static void refuse(struct handshake *out, unsigned status, const char *text)
{
    out->status = status;
    out->text = text;
}

/* Sets the agreement; false when the header is malformed. */
static bool negotiate(const struct http_request *request, enum handshake_compression compression,
                      struct deflate_agreement *agreement, bool *agreed)
{
    struct slice offers[HTTP_HEADERS_MAX];
    size_t count = 0;
    const struct http_header *header = NULL;
    while (count < HTTP_HEADERS_MAX &&
           (header = http_request_header(request, SLICE("sec-websocket-extensions"), header)))
        offers[count++] = header->value;
    enum deflate_offer result = deflate_negotiate(offers, count, compression == HANDSHAKE_DEFLATE_TAKEOVER, agreement);
    *agreed = result == DEFLATE_AGREED && compression != HANDSHAKE_PLAIN;
    if (!*agreed)
        *agreement = (struct deflate_agreement){0};
    return result != DEFLATE_MALFORMED;
}

void handshake_answer(const struct http_request *request, enum handshake_compression compression, bool msgpack,
                      struct handshake *out)
{
    out->agreement = (struct deflate_agreement){0};
    out->msgpack = false;
    out->length = 0;
    out->text = NULL;
    out->headers = NULL;
    out->header_count = 0;

    if (!slice_equal(request->method, SLICE("GET"))) {
        refuse(out, 405, "a WebSocket opens with GET");
        out->headers = method_headers;
        out->header_count = sizeof method_headers / sizeof *method_headers;
        return;
    }
    if (request->version_minor < 1)
        return refuse(out, 400, "a WebSocket needs HTTP/1.1");
    if (request->host.length == 0)
        return refuse(out, 400, "Host is missing");
    if (request->chunked || request->content_length > 0)
        return refuse(out, 400, "an upgrade has no body");
    if (!lists(request, SLICE("upgrade"), SLICE("websocket")))
        return refuse(out, 400, "Upgrade does not name websocket");
    if (!lists(request, SLICE("connection"), SLICE("upgrade")))
        return refuse(out, 400, "Connection does not name upgrade");
    if (!slice_equal(only(request, SLICE("sec-websocket-version")), SLICE("13"))) {
        refuse(out, 426, "Sec-WebSocket-Version must be 13");
        out->headers = version_headers;
        out->header_count = sizeof version_headers / sizeof *version_headers;
        return;
    }
    struct slice key = only(request, SLICE("sec-websocket-key"));
    if (!key_valid(key))
        return refuse(out, 400, "Sec-WebSocket-Key must be 16 bytes in base64, once");

    bool compressed;
    if (!negotiate(request, compression, &out->agreement, &compressed))
        return refuse(out, 400, "Sec-WebSocket-Extensions is malformed");
    char accept[HANDSHAKE_ACCEPT_LENGTH], extension[DEFLATE_AGREEMENT_LENGTH];
    if (!handshake_accept(key, accept))
        return refuse(out, 500, "SHA-1 failed");
    out->msgpack = msgpack && offers_msgpack(request);
    size_t extension_length = compressed ? deflate_agreement_write(&out->agreement, extension) : 0;
    int length = snprintf(out->answer, sizeof out->answer,
                          "HTTP/1.1 101 Switching Protocols\r\n"
                          "Upgrade: websocket\r\n"
                          "Connection: Upgrade\r\n"
                          "Sec-WebSocket-Accept: %.*s\r\n"
                          "%s%.*s%s%s\r\n",
                          HANDSHAKE_ACCEPT_LENGTH, accept, compressed ? "Sec-WebSocket-Extensions: " : "",
                          (int)extension_length, extension, compressed ? "\r\n" : "",
                          out->msgpack ? "Sec-WebSocket-Protocol: " HANDSHAKE_MSGPACK "\r\n" : "");
    out->length = (size_t)length;
    out->status = 101;
}
