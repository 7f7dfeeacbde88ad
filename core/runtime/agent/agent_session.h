/* A WebSocket connection's conversation: register, envelopes, heartbeats, errors, closing. */
#ifndef LUADUCT_RUNTIME_AGENT_SESSION_H
#define LUADUCT_RUNTIME_AGENT_SESSION_H

#include "protocol/websocket/handshake.h"
#include "runtime/connection/connection.h"

/* After the 101 answer was queued to go out: from here on it is a WebSocket. */
void agent_session_start(struct connection *connection, const struct handshake *handshake);

/* Bytes in the reactor's read buffer, WEBSOCKET_SLACK behind them. */
void agent_session_bytes(struct connection *connection, char *bytes, size_t length);

/* Its turn has come (reactor_hold): first what waits in its backlog, then the bytes that it held. */
void agent_session_turn(struct connection *connection, char *bytes, size_t length);

enum outbox_result agent_session_flush(struct connection *connection);
void agent_session_deadline(struct connection *connection);

/* Starts the closing handshake with a status and a reason for the peer. */
void agent_session_close(struct connection *connection, unsigned status, struct slice reason);

/* The same, after an error message with that code, which says why to clients that look at messages alone. */
void agent_session_end_with(struct connection *connection, enum code code, unsigned status, struct slice reason);

/* The connection is being killed: gives the endpoint up and frees what the session holds. */
void agent_session_end(struct connection *connection);

#endif
