#include "runtime/connection/connection.h"

#include <sys/socket.h>

#include "bridge/queue/mailbox.h"
#include "bridge/registry/attachment.h"
#include "memory/pool.h"
#include "runtime/agent/agent_session.h"
#include "runtime/agent/backlog.h"
#include "runtime/connection/access_log.h"
#include "runtime/http/http_session.h"
#include "runtime/identity/access.h"
#include "runtime/identity/identity.h"
#include "runtime/limits/limits.h"
#include "runtime/pressure/shed.h"
#include "runtime/reactor.h"
#include "runtime/tracing/hop.h"

static unsigned awaited(const struct connection *connection)
{
    return (connection->reads ? POLLER_READ | POLLER_PEER_ENDED : 0) |
           (connection_blocked(connection) ? POLLER_WRITE : 0);
}

static void await(struct connection *connection)
{
    poller_change(&connection_reactor(connection)->poller, &connection->polled, connection->transport.fd,
                  awaited(connection), connection);
}

bool connection_open(struct reactor *reactor, struct transport transport, const struct arrival *arrival)
{
    struct connection *connection = pool_acquire(POOL_ARRAYS, sizeof *connection);
    if (!connection)
        return false;
    memset(connection, 0, sizeof *connection);
    connection->endpoint.lane = reactor->lane;
    connection->transport = transport;
    connection->deadline = DEADLINE_NONE;
    connection->reads = true;
    connection->address = arrival->address;
    connection->is_admin = arrival->kind == PEER_ADMIN;
    connection->by_proxy = arrival->kind == PEER_PROXY;
    connection->forwarded = arrival->kind == PEER_FORWARDED;
    connection->last_byte_ms = connection->opened_ms = reactor->now_ms;
    if (!poller_add(&reactor->poller, &connection->polled, transport.fd, awaited(connection), connection)) {
        pool_release(POOL_ARRAYS, connection, sizeof *connection);
        return false;
    }
    connection->party = arrival->party;
    connection->counted = arrival->counted;
    connection->next = reactor->connections;
    connection->previous = &reactor->connections;
    if (connection->next)
        connection->next->previous = &connection->next;
    reactor->connections = connection;
    atomic_fetch_add_explicit(&reactor->connection_count, 1, memory_order_relaxed);
    connection_wait_for(connection, DEADLINE_HEADER);
    if (access_log_on(connection))
        access_log_opened(connection);
    return true;
}

void connection_read_on(struct connection *connection, bool on)
{
    if (connection->reads == on || connection->phase == CONNECTION_GONE ||
        (on && (connection->holds || connection->backlog_full || connection->paused)))
        return;
    connection->reads = on;
    await(connection);
}

static void want_write(struct connection *connection, bool on)
{
    if (connection_blocked(connection) == on || connection->phase == CONNECTION_GONE)
        return;
    connection->endpoint.blocked = on;
    await(connection);
}

void connection_readable(struct connection *connection)
{
    struct reactor *reactor = connection_reactor(connection);
    if (connection->phase == CONNECTION_GONE || connection->holds) /* since the set was asked */
        return;
    long received = transport_receive(&connection->transport, reactor->read_buffer, REACTOR_READ_BYTES);
    if (received == TRANSPORT_BLOCKED)
        return;
    if (received == 0 && !connection->is_websocket && http_session_peer_finished(connection))
        return; /* half closed: what was asked is still answered */
    if (received <= 0) {
        connection_kill(connection);
        return;
    }
    connection->last_byte_ms = reactor->now_ms;
    shed_count_received(connection, connection_second(reactor->now_ms), (size_t)received);
    counter_add(&reactor->lane->counters.bytes_in, (unsigned long long)received);
    if (connection->is_websocket)
        agent_session_bytes(connection, reactor->read_buffer, (size_t)received);
    else
        http_session_bytes(connection, reactor->read_buffer, (size_t)received);
}

void connection_writable(struct connection *connection)
{
    want_write(connection, false);
    connection_flush(connection);
}

void connection_flush(struct connection *connection)
{
    if (connection->phase == CONNECTION_GONE)
        return;
    /* While the socket is full there is nothing to try, unless the connection is to be closed. */
    bool must_close = connection->phase == CONNECTION_WEBSOCKET && connection->endpoint.close_status;
    if (connection_blocked(connection) && !must_close)
        return;
    enum outbox_result result =
        connection->is_websocket ? agent_session_flush(connection) : http_session_flush(connection);
    if (result == OUTBOX_BROKEN)
        connection_kill(connection);
    else if (result == OUTBOX_BLOCKED)
        want_write(connection, true);
}

void connection_wait_for(struct connection *connection, enum deadline deadline)
{
    struct reactor *reactor = connection_reactor(connection);
    if (connection->phase == CONNECTION_GONE)
        return;
    if (connection->deadline != DEADLINE_NONE) {
        *connection->deadline_previous = connection->deadline_next;
        if (connection->deadline_next)
            connection->deadline_next->deadline_previous = connection->deadline_previous;
        else
            reactor->deadlines[connection->deadline].last = connection->deadline_previous;
    }
    connection->deadline = (uint8_t)deadline;
    if (deadline == DEADLINE_NONE)
        return;
    connection->due_ms = reactor->now_ms + reactor->deadlines[deadline].after_ms;
    connection->deadline_next = NULL;
    connection->deadline_previous = reactor->deadlines[deadline].last;
    *connection->deadline_previous = connection;
    reactor->deadlines[deadline].last = &connection->deadline_next;
}

void connection_deadline_passed(struct connection *connection)
{
    if (connection->deadline == DEADLINE_LINGER)
        connection_kill(connection);
    else if (connection->is_websocket)
        agent_session_deadline(connection);
    else
        http_session_deadline(connection);
}

enum limit connection_count_identity(struct connection *connection)
{
    const struct identity *identity = identity_counted(connection->identity);
    connection->share = connection_share(connection);
    if (!identity)
        return LIMIT_NONE;
    struct party *party = identity_party(identity);
    /* The same identity: only its limits may have changed. An agent is counted among its identity's, and keeps it. */
    enum limit limit = LIMIT_NONE;
    if (party == connection->sender || connection->counted_agent ||
        (limit = party_take_connection(party, clock_coarse_ns())) != LIMIT_NONE) {
        party_release(party);
        return limit;
    }
    if (connection->counted_sender)
        party_drop_connection(connection->sender);
    party_release(connection->sender);
    connection->sender = party;
    connection->counted_sender = party != NULL;
    return LIMIT_NONE;
}

void connection_restore_identity(struct connection *connection)
{
    const struct identity *identity = identity_counted(connection->identity);
    connection->share = connection_share(connection);
    if (!identity)
        return;
    connection->sender = identity_party(identity);
    limits_restore_connection(false, connection->sender);
    connection->counted_sender = connection->sender != NULL;
}

enum limit connection_count_listening(struct connection *connection, const struct identity *identity)
{
    identity = identity_counted(identity);
    struct party *party = identity && !connection->sender ? identity_party(identity) : NULL;
    enum limit limit = party_take_connection(party, clock_coarse_ns());
    if (limit != LIMIT_NONE) {
        party_release(party);
        return limit;
    }
    if (party) {
        connection->sender = party;
        connection->counted_sender = true;
    }
    return LIMIT_NONE;
}

void connection_end_listening(struct connection *connection)
{
    connection_leave_sender(connection);
    party_release(connection->sender);
    connection->sender = NULL;
}

void connection_follow_limits(struct connection *connection)
{
    const struct identity *identity = identity_counted(connection->identity);
    struct party *party = identity ? identity_party(identity) : NULL; /* its own limits are as they are now */
    if (!party || connection->sender) {
        party_release(party);
        return;
    }
    party_join(party, connection->counted_agent);
    connection->sender = party;
    connection->counted_sender = true;
}

uint16_t connection_share(const struct connection *connection)
{
    const struct identity *identity = identity_counted(connection->identity);
    return mailbox_share(identity ? identity_key(identity) : peer_address_hash(&connection->address));
}

void connection_leave_sender(struct connection *connection)
{
    if (connection->counted_agent)
        limits_drop_agent(connection->sender, connection->party);
    if (connection->counted_sender)
        party_drop_connection(connection->sender);
    connection->counted_sender = connection->counted_agent = false;
}

/* Its place is free again, whenever its memory is. */
static void give_up_limits(struct connection *connection)
{
    connection_leave_sender(connection);
    if (connection->counted) {
        limits_drop_connection();
        party_drop_connection(connection->party);
    }
    party_release(connection->party);
    party_release(connection->sender);
    connection->party = connection->sender = NULL;
    connection->counted = false;
}

void connection_kill(struct connection *connection)
{
    if (connection->phase == CONNECTION_GONE)
        return;
    struct reactor *reactor = connection_reactor(connection);
    if (access_log_on(connection))
        access_log_closed(connection);
    connection_wait_for(connection, DEADLINE_NONE);
    shed_forget(connection);
    reactor_forget_held(connection);
    if (connection->is_websocket)
        agent_session_end(connection);
    else
        http_session_end(connection);
    connection->phase = CONNECTION_GONE;
    /* Closing would do, were it not that another process may have the socket too: then the set would go on telling of
     * it, by an address that is somebody else's by then (epoll(7), questions and answers, 6). */
    poller_remove(&reactor->poller, &connection->polled, connection->transport.fd);
    transport_close(&connection->transport);
    give_up_limits(connection);
    /* Freed at the end of a pass: events of this one, or a caller further up, may still name it. */
    connection->deadline_next = reactor->gone;
    reactor->gone = connection;
}

static void free_connection(struct connection *connection)
{
    struct frame_queue rest = {0};
    outbox_take_unsent(&connection->endpoint.outbox, &rest);
    frame_queue_clear(&rest);
    *connection->previous = connection->next;
    if (connection->next)
        connection->next->previous = connection->previous;
    atomic_fetch_sub_explicit(&connection_reactor(connection)->connection_count, 1, memory_order_relaxed);
    sender_fragment_free(&connection->fragment);
    backlog_free(connection->backlog);
    identity_release(connection->identity);
    grant_free(connection->grant);
    tracing_forget_header(connection->trace);
    pool_release(POOL_ARRAYS, connection, sizeof *connection);
}

void connection_reap(struct reactor *reactor)
{
    struct connection **place = &reactor->gone;
    while (*place) {
        struct connection *connection = *place;
        if (connection->endpoint.state == ENDPOINT_DETACHED && !connection->endpoint.dirty && !connection->hook_waits &&
            connection->executing == 0 && !connection->verification) {
            *place = connection->deadline_next;
            free_connection(connection);
        } else {
            place = &connection->deadline_next;
        }
    }
}
