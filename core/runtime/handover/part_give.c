#include <stdio.h>

#include "base/random.h"
#include "bridge/registry/attachment.h"
#include "bridge/registry/registry.h"
#include "bridge/state/carry.h"
#include "runtime/agent/agent_session.h"
#include "runtime/agent/backlog.h"
#include "runtime/agent/session.h"
#include "runtime/connection/acceptor.h"
#include "runtime/connection/proxied.h"
#include "runtime/handover/handover.h"
#include "runtime/handover/part.h"
#include "runtime/reactor.h"
#include "runtime/work/waiting.h"
#include "script/wait/timer.h"

/* Service Restart (IANA registry of close codes). */
#define CLOSE_RESTART 1012u

static bool goes_along(const struct connection *connection)
{
    const struct endpoint *endpoint = &connection->endpoint;
    if (connection->transport.tls || connection->verification)
        return false;
    if (connection->executing > 0 && !connection_registered(connection))
        return false; /* nobody could be told what came of it */
    if (connection->phase == CONNECTION_HTTP)
        return !connection->http;
    return connection->phase == CONNECTION_WEBSOCKET && !endpoint->close_status && !endpoint->outbox.cut &&
           (connection->pause || (!connection->hook_waits && !connection->backlog)) &&
           endpoint->state != ENDPOINT_LEAVING && !atomic_load_explicit(&endpoint->replaced, memory_order_acquire);
}

/* --- Settling --- */

bool part_busy(const struct reactor *reactor)
{
    return reactor->waiting;
}

/* As much as one read of another connection may take: a session gives what one record holds. */
static void read_up(struct connection *connection)
{
    atomic_ullong *bytes_in = &connection_reactor(connection)->lane->counters.bytes_in;
    uint64_t begun = atomic_load_explicit(bytes_in, memory_order_relaxed), before, now = begun;
    do {
        before = now;
        if (connection->reads && connection->phase == CONNECTION_WEBSOCKET)
            connection_readable(connection);
        now = atomic_load_explicit(bytes_in, memory_order_relaxed);
    } while (now != before && now - begun < REACTOR_READ_BYTES);
}

void part_read(struct reactor *reactor)
{
    for (struct connection *connection = reactor->connections, *next; connection; connection = next) {
        next = connection->next;
        if (connection->transport.tls && connection->phase == CONNECTION_WEBSOCKET)
            read_up(connection);
    }
}

bool part_settle(struct reactor *reactor)
{
    bool done = true;
    for (struct connection *connection = reactor->connections, *next; connection; connection = next) {
        next = connection->next;
        while (connection->pause && !goes_along(connection)) { /* the next message may slow it again */
            session_forget_pause(connection);
            session_hook_ended(connection);
        }
    }
    while (reactor->waiting)
        waiting_give_up(reactor);
    reactor_take_turns(reactor);
    do
        reactor_flush(reactor);
    while (lane_drain(reactor->lane));
    reactor_flush(reactor);
    for (struct connection *connection = reactor->connections; connection; connection = connection->next)
        done = done && (connection->pause ? goes_along(connection) : !connection->backlog) &&
               !(connection->holds && connection->transport.tls);
    return done && !reactor->waiting && lane_idle(reactor->lane);
}

/* --- Giving --- */

/* What waits on the reactor's list for this connection's turn. */
static struct slice held_of(const struct connection *connection)
{
    struct held_bytes *held = connection->holds ? connection_reactor(connection)->held : NULL;
    while (held && held->connection != connection)
        held = held->next;
    return held ? slice_from(held->bytes + held->at, held->length - held->at) : slice_from("", 0);
}

static void put_peer(const struct connection *connection, struct channel_writer *channel)
{
    channel_put_fd(channel, connection->transport.fd);
    channel_put_bytes(channel, slice_from((const char *)connection->address.bytes, sizeof connection->address.bytes));
    channel_put(channel, connection->is_admin | connection->counted << 1 | connection->by_proxy << 2 |
                             connection->forwarded << 3);
}

static void put_agent(const struct connection *connection, struct frame_writer *writer)
{
    const struct endpoint *endpoint = &connection->endpoint;
    struct channel_writer *channel = writer->channel;
    bool registered = connection_registered(connection);
    channel_begin(channel, HANDOVER_AGENT);
    put_peer(connection, channel);
    channel_put(channel, connection->known_at_upgrade);
    channel_put(channel, endpoint->outbox.form);
    channel_put(channel, endpoint->grace_over);
    channel_put(channel, connection->message_began_ms); /* of the machine's clock */
    channel_put_bytes(channel,
                      slice_from((const char *)connection->trace, connection->trace ? sizeof *connection->trace : 0));
    channel_put(channel, session_pause_left(connection));
    backlog_put(connection->backlog, channel);
    channel_put_bytes(channel, held_of(connection));
    identity_write(connection->identity, channel);
    websocket_put(&connection->websocket, channel);
    channel_put(channel, registered);
    if (registered)
        carry_put_registration(endpoint, writer);
    channel_end(channel);
    backlog_put_entries(connection->backlog, HANDOVER_BACKLOG, channel);
    carry_put_waiting(endpoint, writer);
}

bool part_give(struct reactor *reactor, struct frame_writer *writer)
{
    struct channel_writer *channel = writer->channel;
    for (struct connection *connection = reactor->connections; connection && !channel->failed;
         connection = connection->next) {
        connection->goes_along = goes_along(connection);
        if (connection->goes_along && connection->phase == CONNECTION_HTTP) {
            channel_begin(channel, HANDOVER_HTTP);
            put_peer(connection, channel);
            channel_end(channel);
        } else if (connection->goes_along) {
            put_agent(connection, writer);
        } else if (connection->is_websocket) {
            carry_put_rest(&connection->endpoint, writer);
        }
    }
    proxied_put(reactor, HANDOVER_PROXIED, channel);
    session_put_executing(reactor, writer);
    carry_put_mailboxes(reactor->lane, writer);
    if (reactor->index == 0)
        carry_put_history(writer);
    channel_begin(channel, HANDOVER_PHASE);
    channel_end(channel);
    carry_put_holders(reactor->lane, writer);
    if (reactor->index == 0)
        carry_put_pending(writer);
    channel_begin(channel, HANDOVER_END);
    channel_end(channel);
    return channel_flush(channel);
}

void part_resume(struct reactor *reactor)
{
    for (struct connection *connection = reactor->connections; connection; connection = connection->next)
        connection->goes_along = false;
}

/* --- Letting go --- */

static void send_over(struct connection *connection, uint32_t retry_ms)
{
    char reason[96];
    carry_drop_rest(&connection->endpoint);
    connection->goes_along = true; /* its agent has not left */
    snprintf(reason, sizeof reason, "the bridge was upgraded; retry in %u ms",
             (unsigned)(random_u64() % (retry_ms + 1u)));
    agent_session_close(connection, CLOSE_RESTART, slice_from_string(reason));
}

void part_let_go(struct reactor *reactor)
{
    reactor->lane->given_away = true;
    acceptor_stop(reactor);
    script_stop_timers(reactor->script);
    ev_timer_stop(reactor->loop, &reactor->cleanup_timer);
    for (struct connection *connection = reactor->connections, *next; connection; connection = next) {
        next = connection->next;
        if (connection->goes_along)
            connection_kill(connection);
        else if (connection->is_websocket)
            send_over(connection, reactor->config->drain.retry_ms);
    }
    reactor_begin_stop(reactor); /* from here on nothing is accepted that this process would have to deliver */
    registry_clear_mailboxes(reactor->lane);
}
