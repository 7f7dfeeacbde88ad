/* A request becomes a WebSocket, with what came behind its head, or is refused as any other. */
#include "runtime/http/http_exchange.h"

#include "protocol/websocket/handshake.h"
#include "runtime/agent/agent_session.h"
#include "runtime/http/http_session.h"
#include "runtime/process/drain.h"
#include "runtime/reactor.h"

static enum code code_of_refused_handshake(unsigned status)
{
    return status == 405 ? CODE_METHOD_NOT_ALLOWED : status == 500 ? CODE_INTERNAL : CODE_BAD_REQUEST;
}

/* Answers before this one and the 101 must be on their way before the first frame, which has a queue of its own; a
 * socket that cannot take these few bytes is not worth a connection. */
static bool write_now(struct connection *connection, struct slice answer)
{
    struct http_exchange *exchange = connection->http;
    buffer_append_slice(&exchange->output, answer);
    if (exchange->output.failed)
        return false;
    size_t length = http_exchange_waiting(exchange);
    long sent = transport_send(&connection->transport, exchange->output.data + exchange->output_at, length);
    if (sent > 0)
        counter_add(&connection_reactor(connection)->lane->counters.bytes_out, (unsigned long long)sent);
    return sent == (long)length;
}

static void become_websocket(struct connection *connection, const struct handshake *handshake)
{
    struct http_exchange *exchange = connection->http;
    exchange->request.status = handshake->status;
    if (!write_now(connection, slice_from(handshake->answer, handshake->length))) {
        connection_kill(connection);
        return;
    }
    /* What came behind the head is the beginning of the WebSocket. */
    struct buffer input = exchange->input;
    size_t at = exchange->input_at;
    bool peer_finished = exchange->peer_finished;
    exchange->input = (struct buffer){0};
    connection->trace = exchange->request.trace;
    exchange->request.trace = NULL;
    http_session_end(connection);
    connection_read_on(connection, true);
    agent_session_start(connection, handshake);
    if (input.length > at) {
        if (buffer_reserve(&input, WEBSOCKET_SLACK))
            agent_session_bytes(connection, input.data + at, input.length - at);
        else
            connection_kill(connection);
    }
    if (peer_finished)
        connection_kill(connection);
    buffer_free(&input);
}

/* From here on the connection is one peer's, whom the proxy has named: it counts as that address's. Where the proxy has
 * named nobody, as the proxy's own: or whoever comes by it would be without a limit. */
static enum limit count_forwarded(struct connection *connection, const struct http_gate *gate)
{
    if (!connection->by_proxy || connection->party)
        return LIMIT_NONE;
    struct party *party = party_of_address(&gate->address);
    enum limit limit = party_take_connection(party, clock_coarse_ns());
    if (limit != LIMIT_NONE) {
        party_release(party);
        return limit;
    }
    connection->party = party;
    connection->address = gate->address;
    connection->forwarded = gate->forwarded;
    return LIMIT_NONE;
}

void http_upgrade(struct connection *connection, const struct http_request *request, struct slice path)
{
    struct http_exchange *exchange = connection->http;
    struct http_gate *gate = &exchange->request.gate;
    exchange->request.keep_alive = false; /* when it is refused, what follows may be frames */
    if (gate->code != CODE_OK) {
        http_answer_error(
            connection, gate->code,
            (struct http_answer){.status = code_http_status(gate->code), .retry_after = gate->retry_after}, gate->text);
        return;
    }
    if (drain_begun() || connection_reactor(connection)->draining) {
        http_answer_last(connection, CODE_DRAINING, code_http_status(CODE_DRAINING), "the bridge is going away");
        return;
    }
    if (http_gate_path_reserved(path)) {
        http_answer_last(connection, CODE_NOT_FOUND, 404, "no WebSocket opens here");
        return;
    }
    identity_put(&connection->identity, identity_retain(gate->identity));
    enum limit limit = count_forwarded(connection, gate);
    if (limit == LIMIT_NONE)
        limit = connection_count_identity(connection);
    if (limit != LIMIT_NONE) {
        enum code code = limit_code(limit);
        http_answer_error(connection, code, (struct http_answer){.status = code_http_status(code), .retry_after = 1},
                          limit == LIMIT_CONNECTIONS_PER_IDENTITY ? "too many connections of this identity"
                                                                  : "too many connections from this address");
        return;
    }
    struct handshake handshake;
    const struct config *config = connection_reactor(connection)->config;
    handshake_answer(request, config->performance.compression ? HANDSHAKE_DEFLATE_TAKEOVER : HANDSHAKE_PLAIN,
                     config->performance.binary_protocol, &handshake);
    if (handshake.status == 101)
        become_websocket(connection, &handshake);
    else
        http_answer_error(connection, code_of_refused_handshake(handshake.status),
                          (struct http_answer){.status = handshake.status,
                                               .headers = handshake.headers,
                                               .header_count = handshake.header_count},
                          handshake.text);
}
