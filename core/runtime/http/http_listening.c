/* An answer that goes on with events: who may listen is asked again whenever the standing changes. */
#include "runtime/http/http_exchange.h"

#include "runtime/events/events.h"
#include "runtime/http/http_session.h"
#include "runtime/identity/access.h"
#include "runtime/reactor.h"

bool http_listens(const struct http_exchange *exchange)
{
    return exchange && exchange->request.call.subscriber && exchange->request.streams;
}

static bool take_events(struct connection *connection)
{
    struct http_exchange *exchange = connection->http;
    struct buffer taken = {0};
    bool any = events_take(exchange->request.call.subscriber, &taken);
    if (any)
        http_answer_piece(exchange, slice_from(taken.data, taken.length));
    exchange->output.failed = exchange->output.failed || taken.failed;
    buffer_free(&taken);
    return any;
}

enum outbox_result http_listening_flush(struct connection *connection)
{
    enum outbox_result result = http_session_send(connection);
    if (result != OUTBOX_EMPTY || !take_events(connection))
        return result;
    return connection->http->output.failed ? OUTBOX_BROKEN : http_session_send(connection);
}

struct identity *http_session_listener(const struct connection *connection)
{
    return http_listens(connection->http) ? connection->http->request.gate.identity : NULL;
}

/* What waits for a listener that is not allowed to listen any more goes with him. */
static void refuse_events(struct connection *connection)
{
    connection->http->last = true;
    http_answer_end(connection);
    http_session_settle(connection);
}

/* As when it began to: see /events and /admin/trace. */
static bool may_listen(struct connection *connection, const struct api_call *call)
{
    struct access_subject who = {.identity = call->identity};
    bool for_admins = events_kinds(call->subscriber) & EVENT_ADMIN_KINDS;
    if (call->admin ||
        (!for_admins && access_may_see(connection_reactor(connection)->standing.access, &who, ACCESS_EVENTS)))
        return true;
    access_refused(for_admins ? REFUSED_ADMIN : REFUSED_SEE, call->identity, SLICE("events, which it listened to"));
    return false;
}

void http_session_review(struct connection *connection)
{
    struct http_exchange *exchange = connection->http;
    if (!exchange)
        return;
    struct request *request = &exchange->request;
    request->gate.standing = 0; /* one whose body comes is judged again when it is answered */
    if (!http_listens(exchange))
        return;
    http_gate_check_again(connection, http_exchange_kept(exchange, request->path), &request->gate);
    request->call.identity = request->gate.identity;
    request->call.admin = request->gate.admin;
    if (request->gate.code != CODE_OK) {
        connection_kill(connection);
        return;
    }
    if (!may_listen(connection, &request->call))
        refuse_events(connection);
}

void http_session_end_stream(struct connection *connection)
{
    if (connection->phase != CONNECTION_HTTP || !http_listens(connection->http))
        return;
    take_events(connection);
    connection->http->last = true;
    http_answer_end(connection);
    http_session_settle(connection);
}
