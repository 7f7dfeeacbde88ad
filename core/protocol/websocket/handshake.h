/* The opening handshake of a WebSocket, server side (RFC 6455 4.2): is this request a valid upgrade, and the answer. */
#ifndef LUADUCT_PROTOCOL_HANDSHAKE_H
#define LUADUCT_PROTOCOL_HANDSHAKE_H

#include <stddef.h>

#include "protocol/http/http_request.h"
#include "protocol/websocket/deflate.h"

enum handshake_compression {
    HANDSHAKE_PLAIN,            /* never compress */
    HANDSHAKE_DEFLATE,          /* permessage-deflate; clients start every message afresh */
    HANDSHAKE_DEFLATE_TAKEOVER, /* as above, but a client may keep its window within DEFLATE_TAKEOVER_BYTES */
};

/* The one subprotocol there is: the bridge's messages as MessagePack. */
#define HANDSHAKE_MSGPACK "luaduct.msgpack"

/* Enough for every 101 answer. */
#define HANDSHAKE_ANSWER_LENGTH 384

struct handshake {
    unsigned status; /* 101, or what to refuse with: 400, 405, 426, 500 */

    /* 101 only: send answer[0..length) and speak WebSocket with this agreement. */
    struct deflate_agreement agreement;
    bool msgpack; /* HANDSHAKE_MSGPACK was offered and is taken */
    size_t length;
    char answer[HANDSHAKE_ANSWER_LENGTH];

    /* Refusals only; static. */
    const char *text;                  /* why, in one line */
    const struct http_header *headers; /* to put into the response; NULL or a list of header_count */
    size_t header_count;
};

/* Judges a parsed request and fills *out. Origin, Host and credentials are judged elsewhere, before this. No
 * subprotocol is ever chosen but, where `msgpack` allows it, HANDSHAKE_MSGPACK (RFC 6455 4.2.2: a client that needs
 * another one must then give up). Any thread. */
void handshake_answer(const struct http_request *request, enum handshake_compression compression, bool msgpack,
                      struct handshake *out);

#define HANDSHAKE_ACCEPT_LENGTH 28

/* Sec-WebSocket-Accept for that key: base64(SHA-1(key + GUID)), no NUL. false: the library failed. */
bool handshake_accept(struct slice key, char out[HANDSHAKE_ACCEPT_LENGTH]);

#endif
