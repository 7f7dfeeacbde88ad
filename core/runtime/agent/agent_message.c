/* A message on its way in: scanned, counted against the limits, and, when it is an envelope, dispatched. */
#include "runtime/agent/session.h"

#include "bridge/delivery/answer.h"
#include "bridge/registry/attachment.h"
#include "protocol/msgpack/msgpack.h"
#include "runtime/dispatch/dispatch.h"
#include "runtime/reactor.h"
#include "runtime/work/execute.h"

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

/* Before it registered, an agent has no grant: then the rules are asked about its identity alone. */
static enum code access_refusal(struct connection *connection, struct envelope *envelope,
                                const struct envelope_defaults *defaults, bool executes, struct slice *text)
{
    struct grant *grant = connection->grant;
    bool broadcasts = !executes && !envelope_has(envelope, FIELD_TO);
    if (grant && (broadcasts ? grant->broadcasts_all : grant->sends_all))
        return CODE_OK;
    const struct access_policy *policy = connection_reactor(connection)->standing.access;
    struct access_subject who = {.identity = connection->identity};
    struct slice intent = envelope_text(envelope, FIELD_INTENT, defaults);
    struct slice to = executes ? SLICE("bridge") : envelope_sent_text(envelope, FIELD_TO);
    if (broadcasts ? (grant ? grant_may_broadcast(grant, intent) : access_may_broadcast(policy, &who, intent))
                   : (grant ? grant_may_send(grant, intent, to) : access_may_send(policy, &who, intent, to)))
        return CODE_OK;
    access_refused(broadcasts ? REFUSED_BROADCAST : REFUSED_SEND, connection->identity, intent);
    *text = broadcasts ? SLICE("you may not broadcast envelopes of this intent")
                       : SLICE("you may not send envelopes of this intent to this recipient");
    return CODE_FORBIDDEN;
}

static void settle_envelope(struct connection *connection, struct dispatch_result *result)
{
    if (result->code != CODE_OK)
        /* Never closes: a recipient that is overloaded is not this sender's fault. */
        session_object(connection, result->code, result->text, result->id);
    else if (connection_registered(connection))
        attachment_touch(&connection->endpoint, 1, 0);
    frame_release(result->frame);
}

static void dispatched_later(void *context, struct dispatch_result *result)
{
    struct connection *connection = context;
    if (connection->phase == CONNECTION_WEBSOCKET)
        settle_envelope(connection, result);
    else
        frame_release(result->frame);
    connection->hook_waits = false;
    if (__builtin_expect(result->overran, 0))
        session_slow_down(connection, result->sender);
    if (!connection->hook_waits)
        session_hook_ended(connection);
}

static void handle_envelope(struct connection *connection, struct slice text)
{
    struct reactor *reactor = connection_reactor(connection);
    struct message *message = &reactor->message;
    struct slice why;
    enum code code = identity_refusal(connection, &message->envelope, &why);
    struct party *payer = session_payer(connection);
    if (code == CODE_OK && __builtin_expect(party_out_of_time(payer, reactor->now_ms * 1000000), 0)) {
        code = CODE_RATE_LIMITED;
        why = SLICE("what this sender sent lately took the bridge too much time: the envelope was not taken");
        limit_count(LIMIT_SCRIPT_TIME);
    }
    bool registered = connection_registered(connection);
    struct envelope_defaults defaults = {.sender = registered ? &connection->fragment : NULL,
                                         .timestamp = reactor->lane->timestamp};
    bool executes = slice_equal(envelope_sent_text(&message->envelope, FIELD_INTENT), SLICE(EXECUTE_INTENT));
    if (code == CODE_OK)
        code = access_refusal(connection, &message->envelope, &defaults, executes, &why);
    if (code != CODE_OK) {
        session_refuse(connection, code, why, message_error_id(message));
        return;
    }
    if (__builtin_expect(executes, 0)) {
        session_execute(connection, &message->envelope, &defaults);
        return;
    }
    if (envelope_has(&message->envelope, FIELD_TO))
        registry_prefetch(envelope_sent_text(&message->envelope, FIELD_TO));
    struct dispatch dispatch = {.envelope = &message->envelope,
                                .defaults = &defaults,
                                .sender = registered ? &connection->endpoint : NULL,
                                .share = connection->share,
                                .payer = payer,
                                .text = text,
                                .is_message = true,
                                .done = dispatched_later,
                                .context = connection};
    struct dispatch_result result;
    uint64_t began_ns = payer ? clock_steady_ns() : 0;
    struct dispatch_job *job = dispatch_envelope(reactor, &dispatch, &result);
    if (payer) {
        uint64_t now_ns = clock_steady_ns();
        party_charge_time(payer, now_ns - began_ns, now_ns);
    }
    if (job) {
        connection->hook_waits = true;
        return;
    }
    if (__builtin_expect(result.code != CODE_OK, 0))
        result.id = envelope_text(&message->envelope, FIELD_ID, &defaults);
    settle_envelope(connection, &result);
    if (__builtin_expect(result.overran, 0))
        session_slow_down(connection, registered ? connection->endpoint.profile->id : slice_from(NULL, 0));
}

/* A binary frame of a peer that speaks MessagePack: `received` becomes its JSON, in the reactor's scratch buffer, and
 * is scanned. */
static enum code scan_packed(struct connection *connection, struct websocket_message *received,
                             struct message_rules *rules)
{
    struct reactor *reactor = connection_reactor(connection);
    struct message *message = &reactor->message;
    struct msgpack_fields fields;
    reactor->unpacked.length = 0;
    enum code code =
        msgpack_to_json(slice_from(received->data, received->length),
                        &(struct msgpack_rules){.depth = rules->depth, .bytes = reactor->config->limits.message_bytes},
                        &reactor->unpacked, &fields, message->error);
    if (code != CODE_OK) {
        message->type = MESSAGE_UNKNOWN;
        envelope_clear(&message->envelope, &reactor->store);
        return code;
    }
    received->data = reactor->unpacked.data;
    received->length = reactor->unpacked.length;
    rules->utf8_checked = true;
    code = message_scan(received->data, received->length, rules, &reactor->store, message);
    if (code == CODE_OK)
        msgpack_keep_fields(&fields, slice_from(received->data, received->length), &message->envelope);
    return code;
}

/* What was unpacked is not needed any more; a large block is not kept. */
#define UNPACKED_KEPT_BYTES (256u << 10)

static void drop_unpacked(struct reactor *reactor)
{
    if (reactor->unpacked.failed || reactor->unpacked.capacity > UNPACKED_KEPT_BYTES)
        buffer_free(&reactor->unpacked);
}

/* A message that was scanned with that result; `text` is its JSON. Whatever it is, it counts. */
/* A connection's first register is free to its sender: where the credential comes in it, and not at the upgrade, whom
 * it counts against is not known yet either. It counts against the address and all. */
static struct party *counted_against(struct connection *connection, enum code code, const struct message *message)
{
    if (__builtin_expect(code != CODE_OK || message->type != MESSAGE_REGISTER || connection->has_asked, 1))
        return connection->sender;
    connection->has_asked = true;
    return NULL;
}

static inline void handle_scanned(struct connection *connection, enum code code, struct slice text,
                                  const struct message_rules *rules)
{
    struct reactor *reactor = connection_reactor(connection);
    const struct config *config = reactor->config;
    struct message *message = &reactor->message;
    enum limit limit = limits_take_message(counted_against(connection, code, message), connection->party, text.length,
                                           reactor->now_ms * 1000000);
    if (reactor->standing.config->auth.required && !connection->identity &&
        !(code == CODE_OK && message->type == MESSAGE_REGISTER)) {
        access_refused_from(connection_from(connection), REFUSED_CREDENTIAL, NULL,
                            SLICE("a message before an authenticated register"));
        session_refuse(connection, CODE_UNAUTHORIZED, SLICE("unauthorized"), slice_from(NULL, 0));
        return;
    }
    if (__builtin_expect(limit != LIMIT_NONE, 0)) {
        session_object(connection, CODE_RATE_LIMITED,
                       SLICE("too many messages or bytes in too short a time: this one was not taken"),
                       message_error_id(message));
        return;
    }
    if (code != CODE_OK) {
        /* Memory that is short for a moment is no reason to close. */
        (code == CODE_OVERLOADED ? session_object : session_refuse)(connection, code, slice_from_string(message->error),
                                                                    message_error_id(message));
        return;
    }
    switch (message->type) {
    case MESSAGE_ENVELOPE:
        handle_envelope(connection, text);
        break;
    case MESSAGE_REGISTER:
        session_register(connection, text, rules);
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

void session_message(struct connection *connection, const struct websocket_message *received)
{
    struct reactor *reactor = connection_reactor(connection);
    const struct config *config = reactor->config;
    struct message *message = &reactor->message;
    struct message_rules rules = {.depth = config->limits.json_depth,
                                  .lenient = config->mode == CONFIG_MODE_ORIGINAL,
                                  .utf8_checked = received->opcode == WEBSOCKET_TEXT};
    if (__builtin_expect(received->opcode == WEBSOCKET_BINARY && connection->endpoint.outbox.form & OUTBOX_BINARY, 0)) {
        struct websocket_message unpacked = *received;
        enum code code = scan_packed(connection, &unpacked, &rules);
        handle_scanned(connection, code, slice_from(unpacked.data, unpacked.length), &rules);
        drop_unpacked(reactor);
        return;
    }
    enum code code = message_scan(received->data, received->length, &rules, &reactor->store, message);
    handle_scanned(connection, code, slice_from(received->data, received->length), &rules);
}
