#include "runtime/agent/agent_session.h"

#include <stdio.h>

#include "base/log.h"
#include "bridge/delivery/answer.h"
#include "bridge/registry/attachment.h"
#include "memory/pool.h"
#include "runtime/agent/backlog.h"
#include "runtime/agent/session.h"
#include "runtime/events/events.h"
#include "runtime/http/api/api.h"
#include "runtime/limits/limits.h"
#include "runtime/reactor.h"
#include "runtime/work/waiting.h"

/* A peer that makes us answer and does not read the answers is not read from past this many waiting bytes. */
#define ANSWERS_WAITING_BYTES (256u << 10)

/* … and is closed past this many. */
#define ANSWERS_UNREAD_BYTES (4u << 20)

/* Pings that are answered each for itself in one turn of a connection; of those past it only the last is, which is all
 * that is asked of us (RFC 6455 5.5.3). So pings earn no more than they cost. */
#define PONGS_PER_TURN 32u

/* Nothing comes after on_disconnect. */
static void disconnect_told(struct waiting *waiting, enum script_result result, const struct script_outcome *outcome)
{
    (void)result, (void)outcome;
    party_release(waiting->payer);
    pool_release(POOL_ARRAYS, waiting, sizeof *waiting);
}

struct party *session_payer(const struct connection *connection)
{
    struct party *payer = connection->sender ? connection->sender : connection->party;
    return party_counts_time(payer) ? payer : NULL;
}

static void log_disconnect(struct connection *connection, struct slice reason)
{
    struct reactor *reactor = connection_reactor(connection);
    const struct profile *profile = connection->endpoint.profile;
    events_tell(EVENT_AGENT, (struct event_field[]){EVENT_TEXT("state", SLICE("left")),
                                                    EVENT_TEXT("agent", profile->id),
                                                    EVENT_TEXT("role", profile->role),
                                                    EVENT_TEXT("reason", reason),
                                                    {0}});
    log_debug(AGENT, "left", "agent %.*s left: %.*s", (int)profile->id.length, profile->id.data, (int)reason.length,
              reason.data);
    struct script_state *script = scripts_pick(&reactor->scripts, profile->id, profile->labels);
    if (!script_has_hook(script, HOOK_ON_DISCONNECT))
        return;
    if (reactor->draining && clock_steady_ns() / 1000000 - reactor->drain_started_ms > REACTOR_DRAIN_HOOKS_MS) {
        log_warn(AGENT, "disconnect_hooks_skipped",
                 "stopping: on_disconnect is not called any more, its calls took too long");
        return;
    }
    struct agent_view view;
    attachment_view(&connection->endpoint, &view);
    struct party *payer = session_payer(connection);
    uint64_t began_ns = clock_steady_ns();
    enum script_result result = script_on_disconnect(script, &view, reason);
    uint64_t now_ns = clock_steady_ns();
    party_charge_time(payer, now_ns - began_ns, now_ns);
    if (result != SCRIPT_WAITS)
        return;
    struct waiting *waiting = pool_acquire(POOL_ARRAYS, sizeof *waiting);
    if (!waiting) {
        script_abandon(script, script_take_wait(script), "not enough memory to wait");
        return;
    }
    waiting_start(reactor, script, waiting, disconnect_told);
    waiting->payer = party_retain(payer);
}

/* Leaves the registry; what was not sent returns to the mailbox. */
static void leave(struct connection *connection, struct slice reason)
{
    if (!connection_registered(connection))
        return;
    /* A replaced agent has not left: its newer connection is there. Nor has one that another process serves. */
    if (!connection->goes_along && !atomic_load_explicit(&connection->endpoint.replaced, memory_order_acquire))
        log_disconnect(connection, reason);
    attachment_detach(&connection->endpoint);
}

void agent_session_close(struct connection *connection, unsigned status, struct slice reason)
{
    if (connection->phase != CONNECTION_WEBSOCKET)
        return;
    char said[128];
    int length = snprintf(said, sizeof said, "%u %.*s", status, (int)reason.length, reason.data);
    attachment_linger(&connection->endpoint);
    leave(connection, slice_from(said, (size_t)length < sizeof said ? (size_t)length : sizeof said - 1));
    connection->phase = CONNECTION_CLOSING;
    connection->close_sent = true;
    backlog_clear(connection->backlog);
    connection_leave_sender(connection);
    connection_read_on(connection, true);
    connection_wait_for(connection, DEADLINE_LINGER);
    if (connection->endpoint.outbox.cut)
        connection_kill(connection);
    else
        reactor_answer(connection, websocket_close(status, reason));
}

void session_object(struct connection *connection, enum code code, struct slice text, struct slice id)
{
    api_count_refusal(connection_reactor(connection)->lane, code);
    if (connection_registered(connection))
        attachment_touch(&connection->endpoint, 0, 1);
    reactor_answer(connection, answer_error(code, text, id));
}

void agent_session_end_with(struct connection *connection, enum code code, unsigned status, struct slice reason)
{
    if (connection->phase != CONNECTION_WEBSOCKET)
        return;
    session_object(connection, code, reason, slice_from(NULL, 0));
    agent_session_close(connection, status, reason);
}

void session_refuse(struct connection *connection, enum code code, struct slice text, struct slice id)
{
    session_object(connection, code, text, id);
    if (code_close_status(code) != 0)
        agent_session_close(connection, code_close_status(code), text);
}

static void peer_closes(struct connection *connection, const struct websocket_message *received)
{
    connection->close_received = true;
    if (connection->close_sent) {
        connection_kill(connection);
        return;
    }
    unsigned status = received->status == WEBSOCKET_NO_STATUS ? WEBSOCKET_NORMAL : received->status;
    leave(connection, SLICE("closed by the agent"));
    attachment_withdraw(&connection->endpoint); /* it need not read what comes after its close frame */
    agent_session_close(connection, status, slice_from(NULL, 0));
}

/* What comes after our close frame, or over a connection that a newer one replaced, is not for us any more. */
static bool connection_over(const struct connection *connection)
{
    return connection->phase == CONNECTION_CLOSING || connection->endpoint.close_status ||
           atomic_load_explicit(&connection->endpoint.replaced, memory_order_relaxed);
}

/* --- while a hook waits --- */

/* A message that there is no room to keep: it is not taken, and its sender goes on. */
static void refuse_to_keep(struct connection *connection, enum websocket_event event,
                           const struct websocket_message *received)
{
    struct reactor *reactor = connection_reactor(connection);
    struct message_rules rules = {.depth = reactor->config->limits.json_depth,
                                  .lenient = reactor->config->mode == CONFIG_MODE_ORIGINAL,
                                  .utf8_checked = true};
    struct slice id = {NULL, 0};
    if (event == WEBSOCKET_ON_CLOSE) {
        session_refuse(connection, CODE_OVERLOADED, SLICE("out of memory"), id);
        return;
    }
    if (received->opcode == WEBSOCKET_TEXT) {
        message_scan(received->data, received->length, &rules, &reactor->store, &reactor->message);
        id = message_error_id(&reactor->message);
    }
    session_object(connection, CODE_OVERLOADED, SLICE("the bridge is short of memory: this message was not taken"), id);
}

/* Behind what waits already. False: the backlog is full, and has the rest of the bytes too. */
static bool join_backlog(struct connection *connection, enum websocket_event event,
                         const struct websocket_message *received, const char *at, const char *end)
{
    if (!connection->backlog)
        connection->backlog = backlog_new();
    if (!connection->backlog || !backlog_add(connection->backlog, event, received))
        refuse_to_keep(connection, event, received);
    if (event == WEBSOCKET_ON_MESSAGE)
        websocket_message_done(&connection->websocket);
    if (connection->phase != CONNECTION_WEBSOCKET || !connection->backlog ||
        connection->backlog->count < BACKLOG_MAXIMUM)
        return true;
    buffer_reserve(&connection->backlog->unread, (size_t)(end - at) + WEBSOCKET_SLACK);
    buffer_append(&connection->backlog->unread, at, (size_t)(end - at));
    if (connection->backlog->unread.failed) {
        session_refuse(connection, CODE_OVERLOADED, SLICE("the bridge is short of memory"), slice_from(NULL, 0));
        return false;
    }
    connection->backlog_full = true;
    connection_read_on(connection, false);
    return false;
}

void session_hold_message(struct connection *connection, struct slice text)
{
    const struct websocket_message message = {
        .opcode = WEBSOCKET_TEXT, .data = (char *)text.data, .length = text.length};
    if (!connection->backlog)
        connection->backlog = backlog_new();
    if (connection->backlog && backlog_put_back(connection->backlog, WEBSOCKET_ON_MESSAGE, &message))
        connection->hook_waits = true;
    else
        session_refuse(connection, CODE_OVERLOADED, SLICE("out of memory"), slice_from(NULL, 0));
}

/* What was behind the last message that there was room for. */
static void read_on(struct connection *connection, struct backlog *backlog)
{
    connection->backlog = NULL;
    connection->backlog_full = false;
    connection_read_on(connection, true);
    if (backlog->unread.length > 0 && connection->phase != CONNECTION_GONE &&
        (connection->holds || !reactor_hold(connection, backlog->unread.data, backlog->unread.length)))
        agent_session_bytes(connection, backlog->unread.data, backlog->unread.length);
    backlog_free(backlog);
}

/* Handles the backlog up to a message whose hook waits. False: its turn is over before that. */
static bool work_off(struct connection *connection)
{
    struct reactor *reactor = connection_reactor(connection);
    struct backlog *backlog = connection->backlog;
    struct backlog_entry *entry;
    reactor_begin_turn(reactor);
    while (!connection->hook_waits && (entry = backlog_take(backlog))) {
        if (connection->phase != CONNECTION_GONE && !connection_over(connection)) {
            if (entry->event == WEBSOCKET_ON_CLOSE)
                peer_closes(connection, &entry->message);
            else
                session_message(connection, &entry->message);
        }
        size_t bytes = entry->message.length;
        backlog_entry_free(entry);
        if (!connection->hook_waits && backlog->first && connection->phase != CONNECTION_GONE &&
            reactor_turn_over(reactor, bytes))
            return false;
    }
    if (!connection->hook_waits)
        read_on(connection, backlog);
    return true;
}

/* The first message is handled at once: what it waited for may not last. One that holds has its turn soon. */
void session_hook_ended(struct connection *connection)
{
    connection->hook_waits = false;
    while (connection->backlog && !connection->hook_waits && !work_off(connection))
        if (connection->holds || reactor_hold(connection, NULL, 0))
            return;
}

void agent_session_turn(struct connection *connection, char *bytes, size_t length)
{
    while (connection->backlog && !connection->hook_waits && !work_off(connection))
        if (reactor_hold(connection, bytes, length))
            return;
    if (length > 0)
        agent_session_bytes(connection, bytes, length);
}

/* --- bytes --- */

/* In the place of the one before; where memory is out that one goes. */
static void keep_pong(struct frame **pong, struct slice payload)
{
    struct frame *newer = websocket_pong(payload);
    if (!newer)
        return;
    if (*pong)
        frame_release(*pong);
    *pong = newer;
}

/* What the peer sent is no message. Where that breaks the framing, RFC 6455 leaves nothing but the close frame; where
 * it is a limit of ours, it has a code. */
static void refuse_frames(struct connection *connection, const struct websocket_message *failure)
{
    struct slice reason = slice_from_string(failure->reason);
    switch (failure->status) {
    case WEBSOCKET_POLICY:
        limit_count(LIMIT_COSTLY);
        agent_session_end_with(connection, limit_code(LIMIT_COSTLY), failure->status, reason);
        break;
    case WEBSOCKET_TRY_LATER:
        agent_session_end_with(connection, CODE_OVERLOADED, failure->status, reason);
        break;
    case WEBSOCKET_TOO_LARGE:
        agent_session_end_with(connection, CODE_TOO_LARGE, failure->status, reason);
        break;
    default:
        counter_add(&connection_reactor(connection)->lane->counters.refused[CODE_BAD_MESSAGE], 1);
        agent_session_close(connection, failure->status, reason);
        break;
    }
}

/* A message that takes too long to come: its sender holds memory and a place. Looked at when bytes come and when the
 * connection is idle, which is often enough to close it. */
static void look_at_time(struct connection *connection)
{
    struct reactor *reactor = connection_reactor(connection);
    uint32_t most_ms = reactor->config->limits.message_timeout_ms;
    if (connection->phase != CONNECTION_WEBSOCKET || !websocket_in_message(&connection->websocket)) {
        connection->message_began_ms = 0;
    } else if (connection->message_began_ms == 0) {
        connection->message_began_ms = (uint32_t)reactor->now_ms | 1;
    } else if (most_ms > 0 && (uint32_t)reactor->now_ms - connection->message_began_ms >= most_ms) {
        limit_count(LIMIT_MESSAGE_TIME);
        agent_session_end_with(connection, limit_code(LIMIT_MESSAGE_TIME), WEBSOCKET_POLICY,
                               SLICE("a message took too long to come"));
    }
}

/* In a pass that is long already those who send large messages are in line from the first one on: however many they
 * are, others wait for one of them. */
static bool waits_its_turn(struct connection *connection, const char *bytes, size_t length)
{
    struct reactor *reactor = connection_reactor(connection);
    if (__builtin_expect(!connection->sends_large, 1))
        return false;
    connection->sends_large = false;
    return !connection->holds && clock_steady_ns() > reactor->pass_start_ns + REACTOR_TURN_NS &&
           reactor_hold(connection, bytes, length);
}

void agent_session_bytes(struct connection *connection, char *bytes, size_t length)
{
    struct reactor *reactor = connection_reactor(connection);
    char *at = bytes, *end = bytes + length;
    struct websocket_message received = {0};
    struct frame *last_pong = NULL; /* owed for the newest ping past PONGS_PER_TURN */
    unsigned pings = 0;
    if (waits_its_turn(connection, bytes, length))
        return;
    attachment_prefetch(&connection->endpoint);
    __builtin_prefetch(connection->fragment.data);
    reactor_begin_turn(reactor);
    while (connection->phase != CONNECTION_GONE) {
        enum websocket_event event =
            websocket_next(&connection->websocket, &at, end, reactor->config->limits.message_bytes, &received);
        if (event == WEBSOCKET_NEED_BYTES)
            break;
        if (event == WEBSOCKET_ON_MESSAGE)
            connection->message_began_ms = 0; /* what follows is another one */
        bool over = connection_over(connection);
        if (over && event != WEBSOCKET_ON_CLOSE)
            continue;
        if (__builtin_expect(connection->hook_waits || connection->backlog, 0) && !over &&
            (event == WEBSOCKET_ON_MESSAGE || event == WEBSOCKET_ON_CLOSE)) {
            if (!join_backlog(connection, event, &received, at, end))
                break;
            continue;
        }
        switch (event) {
        case WEBSOCKET_ON_MESSAGE:
            session_message(connection, &received);
            websocket_message_done(&connection->websocket);
            connection->sends_large |= received.length >= REACTOR_SHARE_BYTES;
            break;
        case WEBSOCKET_ON_PING:
            if (++pings <= PONGS_PER_TURN) {
                reactor_answer(connection, websocket_pong(slice_from(received.data, received.length)));
            } else {
                limit_count(LIMIT_PINGS);
                keep_pong(&last_pong, slice_from(received.data, received.length));
            }
            break;
        case WEBSOCKET_ON_PONG:
        case WEBSOCKET_NEED_BYTES:
            break;
        case WEBSOCKET_ON_CLOSE:
            peer_closes(connection, &received);
            break;
        case WEBSOCKET_ON_FAIL:
            refuse_frames(connection, &received);
            break;
        }
        if (at < end && connection->phase != CONNECTION_GONE && !connection->holds &&
            reactor_turn_over(reactor, received.length) && reactor_hold(connection, at, (size_t)(end - at)))
            break;
        if (reactor->lane->pass_bytes > REACTOR_PASS_BYTES) {
            reactor_flush(reactor);
            if (connection_blocked(connection) && connection->answer_bytes > ANSWERS_UNREAD_BYTES)
                agent_session_end_with(connection, CODE_OVERLOADED, WEBSOCKET_TRY_LATER, SLICE("answers are not read"));
        }
    }
    if (last_pong)
        reactor_answer(connection, last_pong);
    if (connection->phase != CONNECTION_GONE && connection_registered(connection))
        attachment_touch(&connection->endpoint, 0, 0);
    look_at_time(connection);
    if (connection->endpoint.outbox.queue.bytes > ANSWERS_WAITING_BYTES && connection_blocked(connection))
        connection_read_on(connection, false);
}

/* --- life --- */

void agent_session_start(struct connection *connection, const struct handshake *handshake)
{
    const struct reactor *reactor = connection_reactor(connection);
    const struct config *config = reactor->config;
    connection->phase = CONNECTION_WEBSOCKET;
    connection->is_websocket = true;
    connection->known_at_upgrade = connection->identity != NULL;
    connection->share = connection_share(connection);
    connection->endpoint.grace_over = config->agents.register_grace_ms == 0;
    websocket_start(&connection->websocket, &handshake->agreement);
    connection->endpoint.outbox.form = handshake->agreement.send_window_bits | (handshake->msgpack ? OUTBOX_BINARY : 0);
    bool must_register = config->mode == CONFIG_MODE_ENHANCED || reactor->standing.config->auth.required;
    connection_wait_for(connection, must_register ? DEADLINE_REGISTER : DEADLINE_IDLE);
}

enum outbox_result agent_session_flush(struct connection *connection)
{
    struct reactor *reactor = connection_reactor(connection);
    struct endpoint *endpoint = &connection->endpoint;
    if (endpoint->close_status && connection->phase == CONNECTION_WEBSOCKET) {
        unsigned status = endpoint->close_status;
        if (status == 4001)
            agent_session_close(connection, status, SLICE("replaced by a newer connection of this clientId"));
        else
            agent_session_end_with(connection, CODE_OVERLOADED, status,
                                   SLICE("too slow: more waited than the bridge keeps"));
        if (connection->phase == CONNECTION_GONE)
            return OUTBOX_EMPTY;
    }
    if (endpoint->outbox.cut)
        return OUTBOX_BROKEN;
    uint64_t bytes = 0, frames = 0;
    enum outbox_result result =
        outbox_flush(&endpoint->outbox, &connection->transport, &reactor->outbox_scratch, &bytes, &frames);
    counter_add(&reactor->lane->counters.bytes_out, bytes);
    counter_add(&reactor->lane->counters.messages_out, frames);
    endpoint_count(endpoint, frames);
    if (result != OUTBOX_EMPTY)
        return result;
    connection->answer_bytes = 0;
    connection_read_on(connection, true);
    attachment_linger_end(endpoint);
    if (endpoint->state == ENDPOINT_HOLDING && !endpoint->grace_over && connection->deadline != DEADLINE_GRACE) {
        reactor->now_ms = clock_steady_ns() / 1000000; /* the period counts from now, not from the start of the pass */
        connection_wait_for(connection, DEADLINE_GRACE);
    }
    if (connection->close_sent && connection->close_received)
        return OUTBOX_BROKEN; /* both sides are done: close the socket */
    attachment_go_live(endpoint);
    return OUTBOX_EMPTY;
}

void agent_session_deadline(struct connection *connection)
{
    struct reactor *reactor = connection_reactor(connection);
    const struct config *config = reactor->config;
    switch ((enum deadline)connection->deadline) {
    case DEADLINE_REGISTER:
        session_refuse(connection, CODE_REGISTER_TIMEOUT, SLICE("no register message came in time"),
                       slice_from(NULL, 0));
        break;
    case DEADLINE_GRACE:
        connection->endpoint.grace_over = true;
        connection_wait_for(connection, DEADLINE_IDLE);
        attachment_go_live(&connection->endpoint);
        break;
    case DEADLINE_IDLE:
        connection_wait_for(connection, DEADLINE_IDLE);
        look_at_time(connection);
        if (connection->phase != CONNECTION_WEBSOCKET)
            break;
        if (reactor->now_ms - connection->last_byte_ms >= config->agents.ttl_ms) {
            agent_session_close(connection, WEBSOCKET_GOING_AWAY, SLICE("no sign of life"));
        } else if (reactor->now_ms - connection->last_byte_ms + 1 >= config->agents.ping_interval_ms) {
            reactor_answer(connection, websocket_ping(slice_from(NULL, 0)));
        }
        break;
    default:
        connection_wait_for(connection, DEADLINE_NONE);
        break;
    }
}

void agent_session_end(struct connection *connection)
{
    session_forget_pause(connection);
    backlog_clear(connection->backlog); /* however long its hook still waits */
    leave(connection, SLICE("connection closed"));
    attachment_linger_end(&connection->endpoint);
    websocket_stop(&connection->websocket);
}
