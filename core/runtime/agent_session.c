#include "runtime/agent_session.h"

#include <stdio.h>

#include "base/hash.h"
#include "base/log.h"
#include "bridge/answer.h"
#include "bridge/attachment.h"
#include "bridge/history.h"
#include "protocol/registration.h"
#include "runtime/credential.h"
#include "runtime/dispatch.h"
#include "runtime/http/api.h"
#include "runtime/limits.h"
#include "runtime/reactor.h"

/* Envelopes of the history in a `registered` answer. */
#define REGISTERED_HISTORY 10u

/* A peer that makes us answer and does not read the answers is not read from past this many waiting bytes. */
#define ANSWERS_WAITING_BYTES (256u * 1024)

/* While the bridge stops, hooks may take this long in all. */
#define DRAIN_HOOKS_MS 5000u

/* … and is closed past this many. */
#define ANSWERS_UNREAD_BYTES (4u << 20)

/* A connection whose messages take this long has the rest of them wait for the others' turns. */
#define SESSION_TURN_NS 5000000u

static void log_disconnect(struct connection *connection, struct slice reason)
{
    struct reactor *reactor = connection_reactor(connection);
    const struct profile *profile = connection->endpoint.profile;
    log_debug("agent %.*s left: %.*s", (int)profile->id.length, profile->id.data, (int)reason.length, reason.data);
    if (!script_has_hook(reactor->script, HOOK_ON_DISCONNECT))
        return;
    if (reactor->draining && clock_steady_ns() / 1000000 - reactor->drain_started_ms > DRAIN_HOOKS_MS) {
        log_warn("stopping: on_disconnect is not called any more, its calls took too long");
        return;
    }
    struct agent_view view;
    attachment_view(&connection->endpoint, &view);
    script_on_disconnect(reactor->script, &view, reason);
    agent_view_release(&view);
}

/* Leaves the registry; what was not sent returns to the mailbox. */
static void leave(struct connection *connection, struct slice reason)
{
    if (!connection_registered(connection))
        return;
    /* A replaced agent has not left: its newer connection is there. */
    if (!atomic_load_explicit(&connection->endpoint.replaced, memory_order_acquire))
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
    connection_read_on(connection, true);
    connection_wait_for(connection, DEADLINE_LINGER);
    if (connection->endpoint.outbox.cut)
        connection_kill(connection);
    else
        reactor_answer(connection, websocket_close(status, reason));
}

/* Says no and leaves the connection open. */
static void object(struct connection *connection, enum code code, struct slice text, struct slice id)
{
    api_count_refusal(connection_reactor(connection)->lane, code);
    if (connection_registered(connection))
        attachment_touch(&connection->endpoint, 0, 1);
    reactor_answer(connection, answer_error(code, text, id));
}

/* Says no, and closes where the code says so. */
static void refuse(struct connection *connection, enum code code, struct slice text, struct slice id)
{
    object(connection, code, text, id);
    if (code_close_status(code) != 0)
        agent_session_close(connection, code_close_status(code), text);
}

/* --- register --- */

/* Each register shows the token, unless the upgrade did; one that shows a wrong one is refused all the same. */
static bool token_accepted(struct connection *connection, struct slice token)
{
    const struct config *config = connection_reactor(connection)->config;
    if (!config->auth.token)
        return true;
    bool good = token.length > 0 ? credential_matches(config, token) : connection->token_at_upgrade;
    connection->authorized = connection->authorized || good;
    return good;
}

static void answer_register(struct connection *connection)
{
    struct reactor *reactor = connection_reactor(connection);
    bool enhanced = reactor->config->mode == CONFIG_MODE_ENHANCED;
    struct agent_view view;
    struct frame *history[REGISTERED_HISTORY];
    attachment_view(&connection->endpoint, &view);
    unsigned count = history_newest(history, REGISTERED_HISTORY, enhanced ? hash_slice(view.profile->id) : 0);
    reactor_answer(connection, answer_registered(&view, enhanced, reactor->lane->wall_ms, history, count));
    for (unsigned i = 0; i < count; i++)
        frame_release(history[i]);
    agent_view_release(&view);
}

static bool join(struct connection *connection, struct profile *profile, bool again)
{
    struct endpoint *endpoint = &connection->endpoint;
    struct sender_fragment fragment = {0};
    if (!sender_fragment_set(&fragment, profile->id, profile->role))
        return false;
    endpoint->grace_over = endpoint->grace_over || profile->has_features;
    if (!(again ? attachment_change_profile : attachment_attach)(endpoint, profile)) {
        sender_fragment_free(&fragment);
        return false;
    }
    sender_fragment_free(&connection->fragment);
    connection->fragment = fragment;
    return true;
}

static void handle_register(struct connection *connection, struct slice text, const struct message_rules *rules)
{
    struct reactor *reactor = connection_reactor(connection);
    struct registration asked;
    char error[ERROR_TEXT_BYTES], made_id[UUID_LENGTH];
    enum code code = registration_scan(text, rules, &reactor->store, &asked, error);
    bool again = connection_registered(connection);
    if (!token_accepted(connection, code == CODE_OK ? asked.auth_token : slice_from(NULL, 0))) {
        /* A second register that is refused leaves all as it was. */
        (again ? object : refuse)(connection, CODE_UNAUTHORIZED, SLICE("unauthorized"), slice_from(NULL, 0));
        return;
    }
    if (code != CODE_OK) {
        refuse(connection, code, slice_from_string(error), slice_from(NULL, 0));
        return;
    }
    if (again && asked.client_id.length == 0)
        asked.client_id = connection->endpoint.profile->id;
    if (again && !slice_equal(asked.client_id, connection->endpoint.profile->id)) {
        refuse(connection, CODE_ALREADY_REGISTERED, SLICE("this connection is registered under another clientId"),
               slice_from(NULL, 0));
        return;
    }
    if (asked.client_id.length == 0) {
        uuid_format(made_id);
        asked.client_id = slice_from(made_id, sizeof made_id);
    }
    struct script_registration wanted = {
        .id = asked.client_id,
        .role = asked.role.length > 0 ? asked.role : SLICE("agent"),
        .labels = asked.labels.length > 0 ? asked.labels : SLICE("[]"),
        .tools = asked.tools.length > 0 ? asked.tools : SLICE("[]"),
        .intents = asked.intents.length > 0 ? asked.intents : SLICE("[]"),
        .max_concurrent_tasks = asked.max_concurrent_tasks,
    };
    struct slice reason;
    if (script_has_hook(reactor->script, HOOK_ON_REGISTER) && !script_on_register(reactor->script, &wanted, &reason)) {
        refuse(connection, CODE_FORBIDDEN, reason, slice_from(NULL, 0));
        if (!again)
            agent_session_close(connection, 1008, reason);
        return;
    }
    struct profile *profile = profile_new(&(struct profile_source){
        .id = wanted.id,
        .role = wanted.role,
        .labels = wanted.labels,
        .tools = wanted.tools,
        .intents = wanted.intents,
        .max_concurrent_tasks = wanted.max_concurrent_tasks,
        .has_features = asked.has_features,
        .wants_batches = asked.wants_batches,
    });
    if (!profile || !join(connection, profile, again)) {
        profile_release(profile);
        refuse(connection, CODE_OVERLOADED, SLICE("out of memory"), slice_from(NULL, 0));
        return;
    }
    connection->endpoint.outbox.batches = asked.wants_batches;
    answer_register(connection);
    if (connection->phase != CONNECTION_WEBSOCKET || again)
        return;
    log_debug("agent %.*s registered", (int)wanted.id.length, wanted.id.data);
    if (connection->endpoint.grace_over) {
        attachment_go_live(&connection->endpoint);
    }
    connection_wait_for(connection, DEADLINE_IDLE); /* the grace period starts when `registered` is written */
}

/* --- envelope --- */

static enum code identity_refusal(struct connection *connection, const struct envelope *envelope, struct slice *text)
{
    const struct config *config = connection_reactor(connection)->config;
    if (!connection_registered(connection)) {
        if (!config->agents.require_register)
            return CODE_OK;
        *text = SLICE("register before you send envelopes");
        return CODE_NOT_REGISTERED;
    }
    if (config->agents.verify_from && envelope_has(envelope, FIELD_FROM) &&
        !slice_equal(envelope_sent_text(envelope, FIELD_FROM), connection->endpoint.profile->id)) {
        *text = SLICE("envelope.from is not the clientId that this connection registered");
        return CODE_FROM_MISMATCH;
    }
    return CODE_OK;
}

static void handle_envelope(struct connection *connection, struct slice text)
{
    struct reactor *reactor = connection_reactor(connection);
    struct message *message = &reactor->message;
    struct slice why;
    enum code code = identity_refusal(connection, &message->envelope, &why);
    if (code == CODE_OK && !rate_bucket_take(connection->rate, reactor->config, text.length, reactor->now_ms)) {
        code = CODE_RATE_LIMITED;
        why = SLICE("too many messages or bytes in too short a time: the envelope was not taken");
    }
    if (code != CODE_OK) {
        refuse(connection, code, why, message_error_id(message));
        return;
    }
    if (envelope_has(&message->envelope, FIELD_TO))
        registry_prefetch(envelope_sent_text(&message->envelope, FIELD_TO));
    bool registered = connection_registered(connection);
    struct envelope_defaults defaults = {.sender = registered ? &connection->fragment : NULL,
                                         .timestamp = reactor->lane->timestamp};
    struct dispatch dispatch = {.envelope = &message->envelope,
                                .defaults = &defaults,
                                .sender = registered ? &connection->endpoint : NULL,
                                .text = text,
                                .is_message = true};
    struct dispatch_result result;
    dispatch_envelope(reactor, &dispatch, &result);
    if (result.code != CODE_OK)
        /* Never closes: a recipient that is overloaded is not this sender's fault. */
        object(connection, result.code, result.text, envelope_text(&message->envelope, FIELD_ID, &defaults));
    else if (registered)
        attachment_touch(&connection->endpoint, 1, 0);
    frame_release(result.frame);
}

/* --- messages --- */

static void handle_message(struct connection *connection, const struct websocket_message *received)
{
    struct reactor *reactor = connection_reactor(connection);
    const struct config *config = reactor->config;
    struct message *message = &reactor->message;
    struct message_rules rules = {.depth = config->limits.json_depth,
                                  .lenient = config->mode == CONFIG_MODE_ORIGINAL,
                                  .utf8_checked = received->opcode == WEBSOCKET_TEXT};
    enum code code = message_scan(received->data, received->length, &rules, &reactor->store, message);
    if (config->auth.token && !connection->authorized && !(code == CODE_OK && message->type == MESSAGE_REGISTER)) {
        refuse(connection, CODE_UNAUTHORIZED, SLICE("unauthorized"), slice_from(NULL, 0));
        return;
    }
    if (code != CODE_OK) {
        refuse(connection, code, slice_from_string(message->error), message_error_id(message));
        return;
    }
    struct slice text = slice_from(received->data, received->length);
    switch (message->type) {
    case MESSAGE_ENVELOPE:
        handle_envelope(connection, text);
        break;
    case MESSAGE_REGISTER:
        handle_register(connection, text, &rules);
        break;
    case MESSAGE_HEARTBEAT:
        if (connection_registered(connection))
            attachment_touch(&connection->endpoint, 0, 0);
        if (config->mode == CONFIG_MODE_ENHANCED)
            reactor_answer(connection, answer_heartbeat());
        break;
    case MESSAGE_UNKNOWN:
        break;
    }
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

void agent_session_bytes(struct connection *connection, char *bytes, size_t length)
{
    struct reactor *reactor = connection_reactor(connection);
    char *at = bytes, *end = bytes + length;
    struct websocket_message received;
    attachment_prefetch(&connection->endpoint);
    __builtin_prefetch(connection->fragment.data);
    while (connection->phase != CONNECTION_GONE) {
        enum websocket_event event =
            websocket_next(&connection->websocket, &at, end, reactor->config->limits.message_bytes, &received);
        if (event == WEBSOCKET_NEED_BYTES)
            break;
        /* What comes after our close frame, or over a connection that a newer one replaced, is not for us any more. */
        bool over = connection->phase == CONNECTION_CLOSING || connection->endpoint.close_status ||
                    atomic_load_explicit(&connection->endpoint.replaced, memory_order_relaxed);
        if (over && event != WEBSOCKET_ON_CLOSE)
            continue;
        switch (event) {
        case WEBSOCKET_ON_MESSAGE:
            handle_message(connection, &received);
            websocket_message_done(&connection->websocket);
            break;
        case WEBSOCKET_ON_PING:
            reactor_answer(connection, websocket_pong(slice_from(received.data, received.length)));
            break;
        case WEBSOCKET_ON_PONG:
        case WEBSOCKET_NEED_BYTES:
            break;
        case WEBSOCKET_ON_CLOSE:
            peer_closes(connection, &received);
            break;
        case WEBSOCKET_ON_FAIL:
            counter_add(&reactor->lane->counters
                             .refused[received.status == WEBSOCKET_TOO_LARGE ? CODE_TOO_LARGE : CODE_BAD_MESSAGE],
                        1);
            if (received.status == WEBSOCKET_TOO_LARGE)
                reactor_answer(connection,
                               answer_error(CODE_TOO_LARGE, slice_from_string(received.reason), slice_from(NULL, 0)));
            agent_session_close(connection, received.status, slice_from_string(received.reason));
            break;
        }
        if (at < end && connection->phase != CONNECTION_GONE &&
            clock_coarse_ns() > reactor->pass_start_ns + SESSION_TURN_NS &&
            reactor_hold(connection, at, (size_t)(end - at)))
            break;
        if (reactor->lane->pass_bytes > REACTOR_PASS_BYTES) {
            reactor_flush(reactor);
            if (connection_blocked(connection) && connection->answer_bytes > ANSWERS_UNREAD_BYTES)
                agent_session_close(connection, WEBSOCKET_TRY_LATER, SLICE("answers are not read"));
        }
    }
    if (connection->phase != CONNECTION_GONE && connection_registered(connection))
        attachment_touch(&connection->endpoint, 0, 0);
    if (connection->endpoint.outbox.queue.bytes > ANSWERS_WAITING_BYTES && connection_blocked(connection))
        connection_read_on(connection, false);
}

/* --- life --- */

void agent_session_start(struct connection *connection, const struct deflate_agreement *agreement)
{
    const struct config *config = connection_reactor(connection)->config;
    connection->phase = CONNECTION_WEBSOCKET;
    connection->is_websocket = true;
    connection->token_at_upgrade = connection->authorized;
    connection->endpoint.grace_over = config->agents.register_grace_ms == 0;
    connection->rate = rate_bucket_new(config, connection_reactor(connection)->now_ms);
    websocket_start(&connection->websocket, agreement);
    connection->endpoint.outbox.window_bits = agreement->send_window_bits;
    bool must_register = config->mode == CONFIG_MODE_ENHANCED || config->auth.token;
    connection_wait_for(connection, must_register ? DEADLINE_REGISTER : DEADLINE_IDLE);
}

enum outbox_result agent_session_flush(struct connection *connection)
{
    struct reactor *reactor = connection_reactor(connection);
    struct endpoint *endpoint = &connection->endpoint;
    if (endpoint->close_status && connection->phase == CONNECTION_WEBSOCKET) {
        unsigned status = endpoint->close_status;
        agent_session_close(connection, status,
                            status == 4001 ? SLICE("replaced by a newer connection of this clientId")
                                           : SLICE("too slow: more waited than the bridge keeps"));
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
        refuse(connection, CODE_REGISTER_TIMEOUT, SLICE("no register message came in time"), slice_from(NULL, 0));
        break;
    case DEADLINE_GRACE:
        connection->endpoint.grace_over = true;
        connection_wait_for(connection, DEADLINE_IDLE);
        attachment_go_live(&connection->endpoint);
        break;
    case DEADLINE_IDLE:
        connection_wait_for(connection, DEADLINE_IDLE);
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
    reactor_forget_held(connection);
    leave(connection, SLICE("connection closed"));
    attachment_linger_end(&connection->endpoint);
    websocket_stop(&connection->websocket);
}
