/* The HTTP half of a connection: requests come in (kept alive, pipelined, chunked), are checked (origin, host, rate,
 * token), and are answered by the API or turned into a WebSocket. One request at a time, answers in order:
 *
 *            first byte              whole head            whole body             answered
 *   idle ───────────────► head ───────────────► body ──────────────► answering ───────────► idle, or head again
 *                           │                     │                      │
 *                           └─ refused: closing   └─ refused: closing    └─ last answer: closing (half closed, input
 *                                                                           swallowed, then gone); 101: WebSocket
 *
 * An idle connection has no exchange and owns no buffer. All on the reactor's thread. */
#ifndef LUADUCT_RUNTIME_HTTP_SESSION_H
#define LUADUCT_RUNTIME_HTTP_SESSION_H

#include "runtime/connection/connection.h"

/* Bytes from the socket; they are used or copied before it returns. The connection may be a WebSocket, or gone, then.
 */
void http_session_bytes(struct connection *connection, char *bytes, size_t length);

/* Writes what waits, and goes on with what is still to be answered when this is the connection's turn, so that one
 * large answer, or many requests, never hold the other connections up. */
enum outbox_result http_session_flush(struct connection *connection);

/* DEADLINE_HEADER or DEADLINE_BODY passed: 408 for a request that dawdles; the end for an idle connection, or a peer
 * that does not take its answer; a sign of life for one that listens to events. */
void http_session_deadline(struct connection *connection);

/* The peer has sent all it will. True: an answer is still on its way out, and the connection closes itself after it.
 * False: kill it. */
bool http_session_peer_finished(struct connection *connection);

/* The bridge stops: an answer that goes on with events ends. */
void http_session_end_stream(struct connection *connection);

/* The connection is being killed: frees the exchange. */
void http_session_end(struct connection *connection);

/* It is known who asks (http_gate.waits): the request is taken up again. Harmless when none waits. Inside a pass. */
void http_session_authenticated(struct connection *connection);

/* What the request's endpoint waited for (API_WAITS) has come. Inside a pass. */
void http_session_answered(struct connection *connection);

/* The standing is another: an answer that goes on with events ends when it would not begin now. Inside a pass. */
void http_session_review(struct connection *connection);

/* Who listens to events on this connection; NULL: nobody who has said who he is. */
struct identity *http_session_listener(const struct connection *connection);

#endif
