/* A client's WebSocket connection to a bridge, for one agent: opens it, takes messages apart, answers pings and closes.
 * (The load generator, with thousands of them, works on tcp.h and frames.h itself.) One thread. */
#ifndef LUADUCT_CLIENT_CONNECTION_H
#define LUADUCT_CLIENT_CONNECTION_H

#include <stdint.h>

#include "client/connection/frames.h"
#include "client/connection/tcp.h"

#define CLIENT_ERROR_SIZE 256

struct client_connection {
    struct tcp_stream stream; /* poll its descriptor: POLLIN, and POLLOUT while tcp_wants_write */
    struct read_buffer buffer;
    struct buffer message;         /* the fragments so far */
    enum websocket_opcode opcode;  /* theirs; WEBSOCKET_CONTINUATION: no message has begun */
    bool leaving;                  /* our close frame is on its way: nothing may follow it (RFC 6455 5.5.1) */
    unsigned status;               /* of the peer's close frame; 0: none came */
    char error[CLIENT_ERROR_SIZE]; /* why the connection could not be opened, or ended */
};

/* Connects and upgrades, each step within timeout_ms. Blocks. The token may be NULL. False: `error` says why, nothing
 * is left open. */
bool client_open(struct client_connection *connection, const struct bridge_url *url, const char *token, int timeout_ms);

/* Sends one frame. False: the connection has ended, `error` says how. */
bool client_send(struct client_connection *connection, enum websocket_opcode opcode, struct slice payload);

/* Sends what waits; to be called on POLLOUT. As client_send. */
bool client_flush(struct client_connection *connection);

/* Gets whole text and binary messages and pongs, valid during the call. */
typedef void client_handler(void *context, enum websocket_opcode opcode, struct slice payload);

/* Reads once; to be called on POLLIN. Pings and a close are answered here. False: the connection has ended. */
bool client_receive(struct client_connection *connection, client_handler *handler, void *context);

/* Says goodbye (1000), waits up to timeout_ms for the peer to do so too, and frees everything. Messages that come
 * meanwhile go to the handler. Harmless on a connection that has ended. */
void client_close(struct client_connection *connection, int timeout_ms, client_handler *handler, void *context);

#endif
