#include <unistd.h>

#include "bridge/queue/pending.h"
#include "bridge/registry/attachment.h"
#include "bridge/state/carry.h"
#include "memory/pool.h"
#include "runtime/agent/agent_session.h"
#include "runtime/agent/backlog.h"
#include "runtime/agent/session.h"
#include "runtime/connection/proxied.h"
#include "runtime/handover/handover.h"
#include "runtime/handover/late.h"
#include "runtime/handover/part.h"
#include "runtime/identity/standing.h"
#include "runtime/reactor.h"

/* --- Taking --- */

/* The connection, open and counted, with nothing said on it yet. NULL: the reader has failed. */
static struct connection *get_peer(struct reactor *reactor, struct channel_reader *channel)
{
    int fd = channel_get_fd(channel);
    struct slice address = channel_get_bytes(channel);
    uint64_t bits = channel_get(channel);
    struct arrival arrival = {.kind = bits & 1 ? PEER_ADMIN : bits & 4 ? PEER_PROXY : PEER_DIRECT};
    if (!channel->failed && address.length != sizeof arrival.address.bytes)
        channel_reject(channel, "a connection has no address");
    if (channel->failed) {
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    memcpy(arrival.address.bytes, address.data, address.length);
    arrival.counted = bits >> 1 & 1;
    if (arrival.kind == PEER_DIRECT || (arrival.kind == PEER_PROXY && bits & 8))
        arrival.party = party_of_address(&arrival.address);
    limits_restore_connection(arrival.counted, arrival.party);
    if (!connection_open(reactor, (struct transport){.fd = fd}, &arrival)) {
        arrival_leave(&arrival);
        close(fd);
        channel_reject(channel, "out of memory");
        return NULL;
    }
    reactor->connections->forwarded = bits >> 3 & 1;
    return reactor->connections;
}

/* As what its identity and its agent count. */
static void count_sender(struct connection *connection)
{
    connection_restore_identity(connection);
    if (!connection_registered(connection))
        return;
    if (!connection->sender)
        connection->sender = party_of_agent(connection->endpoint.profile->id);
    /* One that is there already is refused by no limit. */
    connection->counted_agent = limits_take_agent(connection->sender, connection->party, true) == LIMIT_NONE;
}

static bool get_registration(struct connection *connection, struct channel_reader *channel)
{
    struct endpoint *endpoint = &connection->endpoint;
    if (!carry_get_registration(endpoint, channel))
        return false;
    const struct profile *profile = endpoint->profile;
    endpoint->outbox.batches = profile->wants_batches;
    return sender_fragment_set(&connection->fragment, profile->id, profile->role);
}

/* Without memory it has none. */
static void get_trace(struct connection *connection, struct channel_reader *channel)
{
    struct slice bytes = channel_get_bytes(channel);
    if (bytes.length == sizeof *connection->trace && (connection->trace = pool_acquire(POOL_ARRAYS, bytes.length)))
        memcpy(connection->trace, bytes.data, bytes.length);
}

static struct connection *get_agent(struct reactor *reactor, struct channel_reader *channel)
{
    struct connection *connection = get_peer(reactor, channel);
    if (!connection)
        return NULL;
    struct endpoint *endpoint = &connection->endpoint;
    connection->phase = CONNECTION_WEBSOCKET;
    connection->is_websocket = true;
    connection->websocket = (struct websocket){0};
    connection->known_at_upgrade = channel_get(channel) != 0;
    endpoint->outbox.form = (uint8_t)channel_get(channel);
    endpoint->grace_over = channel_get(channel) != 0;
    connection->message_began_ms = (uint32_t)channel_get(channel);
    get_trace(connection, channel);
    uint32_t pause_ms = (uint32_t)channel_get(channel);
    bool good = backlog_get(&connection->backlog, channel);
    session_pause(connection, pause_ms);
    struct slice held = channel_get_bytes(channel);
    good = good && (held.length == 0 || reactor_hold(connection, held.data, held.length));
    good = good && identity_read(channel, &connection->identity) && websocket_get(&connection->websocket, channel);
    if (good && channel_get(channel))
        good = get_registration(connection, channel);
    if (!good)
        channel_reject(channel, "out of memory");
    if (channel->failed)
        return NULL;
    count_sender(connection);
    return connection;
}

static void get_backlog_entry(struct connection *connection, struct channel_reader *channel)
{
    if (!connection || !connection->backlog) {
        channel_reject(channel, "a record belongs to no connection");
        return;
    }
    if (!backlog_get_entry(connection->backlog, channel))
        channel_reject(channel, "out of memory");
    connection->backlog_full = connection->backlog->count >= BACKLOG_MAXIMUM;
}

bool part_take(struct reactor *reactor, struct frame_reader *frames, bool (*meet)(void))
{
    struct channel_reader *channel = frames->channel;
    struct connection *last = NULL;
    uint32_t kind;
    bool ahead = true; /* what the other process sends while it serves: that may take a while */
    reactor_begin_pass(reactor);
    while ((kind = channel_next(channel)) && kind != HANDOVER_END) {
        if (ahead && kind != CARRY_FRAME) {
            ahead = false;
            reactor_begin_pass(reactor);
        }
        if (kind == HANDOVER_AGENT)
            last = get_agent(reactor, channel);
        else if (kind == HANDOVER_BACKLOG)
            get_backlog_entry(last, channel);
        else if (kind == HANDOVER_HTTP)
            get_peer(reactor, channel);
        else if (kind == HANDOVER_PROXIED)
            proxied_get(reactor, channel);
        else if (kind == HANDOVER_TASK)
            late_get_task(frames);
        else if (kind == HANDOVER_PHASE && !meet())
            channel_reject(channel, "another reactor could not take its part");
        else if (kind != HANDOVER_PHASE)
            carry_get(kind, reactor->lane, last ? &last->endpoint : NULL, frames);
    }
    return kind == HANDOVER_END && !channel->failed;
}

/* --- Beginning --- */

static void begin(struct connection *connection)
{
    struct reactor *reactor = connection_reactor(connection);
    struct endpoint *endpoint = &connection->endpoint;
    const struct config *config = reactor->config;
    bool registered = connection_registered(connection);
    bool must_register = config->mode == CONFIG_MODE_ENHANCED || reactor->standing.config->auth.required;
    connection->has_asked = registered;
    connection->last_byte_ms = reactor->now_ms;
    connection_wait_for(connection, !registered            ? (must_register ? DEADLINE_REGISTER : DEADLINE_IDLE)
                                    : endpoint->grace_over ? DEADLINE_IDLE
                                                           : DEADLINE_GRACE);
    attachment_go_live(endpoint);
    lane_mark_dirty(reactor->lane, endpoint);
    if (connection->backlog_full)
        connection_read_on(connection, false);
    if (connection->backlog && !connection->pause) /* there was no room for the pause */
        session_hook_ended(connection);
}

void part_begin(struct reactor *reactor)
{
    reactor_begin_pass(reactor);
    standing_review(reactor);
    for (struct connection *connection = reactor->connections; connection; connection = connection->next)
        if (connection->phase == CONNECTION_WEBSOCKET)
            begin(connection);
    if (reactor->index == 0)
        pending_tend(reactor->lane);
    if (reactor->held && !ev_is_active(&reactor->held_timer))
        ev_timer_start(reactor->loop, &reactor->held_timer);
    reactor_end_pass(reactor);
}
