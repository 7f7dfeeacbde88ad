/* POST /send and /broadcast: the body is an envelope, which takes the way of those that agents send (dispatch.h). The
 * caller may say that it comes from an agent, whose rules then hold too. */
#include "base/wildcard.h"
#include "bridge/queue/mailbox.h"
#include "bridge/registry/registry.h"
#include "protocol/registration.h"
#include "runtime/dispatch/dispatch.h"
#include "runtime/dispatch/slowdown.h"
#include "runtime/http/api/api_native.h"
#include "runtime/http/http_exchange.h"
#include "runtime/http/http_session.h"
#include "runtime/identity/access.h"
#include "runtime/reactor.h"
#include "runtime/work/execute.h"

/* A broadcast that came with `to`: its text without, because a script that fails makes dispatch read the text again. */
static enum code clear_recipient(struct api_call *call, struct envelope *envelope,
                                 const struct envelope_defaults *defaults, const struct message_rules *rules,
                                 struct slice *text, char error[ERROR_TEXT_BYTES])
{
    enum code code = envelope_set_json(envelope, FIELD_TO, slice_from(NULL, 0), error);
    if (code != CODE_OK)
        return code;
    call->sent = envelope_build(envelope, defaults, FRAME_ENVELOPE);
    if (!call->sent)
        return CODE_INTERNAL;
    *text = frame_envelope(call->sent);
    return envelope_scan(*text, rules, envelope->store, envelope, error);
}

static bool is_own_agent(const struct identity *identity, struct slice from)
{
    return identity && wildcard_list_matches(&identity->client_ids, from) && !client_id_reserved(from);
}

/* `from` may be api, or an agent that the caller's credential names. */
static enum code identity_refusal(const struct api *api, const struct envelope *envelope)
{
    const struct identity *identity = api->call->identity;
    struct slice from = envelope_sent_text(envelope, FIELD_FROM);
    if (!api->reactor->config->agents.verify_from || api->call->admin || !envelope_has(envelope, FIELD_FROM) ||
        slice_equal(from, SLICE("api")))
        return CODE_OK;
    return is_own_agent(identity, from) ? CODE_OK : CODE_FROM_MISMATCH;
}

/* The role of an agent that somebody speaks for: as it registered or, while it is away, would have to. */
static struct slice role_of(const struct api *api, const struct agent_view *view)
{
    const struct identity *identity = api->call->identity;
    if (view->profile)
        return view->profile->role;
    struct slice only = identity ? identity_only(&identity->agent_roles) : slice_from(NULL, 0);
    return only.data || (identity && identity->agent_roles.count > 0) ? only : SLICE("agent");
}

static bool may_send(const struct api *api, const struct access_subject *who, struct slice intent,
                     const struct envelope *envelope, bool broadcast)
{
    const struct access_policy *policy = api->reactor->standing.access;
    return broadcast ? access_may_broadcast(policy, who, intent)
                     : access_may_send(policy, who, intent, envelope_sent_text(envelope, FIELD_TO));
}

static bool access_refused_for(const struct api *api, struct envelope *envelope,
                               const struct envelope_defaults *defaults, bool broadcast)
{
    struct access_subject who = {.identity = api->call->identity};
    struct slice intent = envelope_text(envelope, FIELD_INTENT, defaults);
    struct slice from = envelope_sent_text(envelope, FIELD_FROM);
    struct agent_view view = {0};
    bool may = true;
    if (from.data && !slice_equal(from, SLICE("api"))) { /* it speaks for an agent, whose rules hold here too */
        /* Where anybody may say anything, what the agent may do is not given away by saying its name. */
        may = api->call->admin || is_own_agent(who.identity, from) || may_send(api, &who, intent, envelope, broadcast);
        registry_find(from, &view);
        who.agent = from;
        who.agent_role = role_of(api, &view);
    }
    may = may && may_send(api, &who, intent, envelope, broadcast);
    if (view.profile)
        agent_view_release(&view);
    if (may)
        return false;
    access_refused(broadcast ? REFUSED_BROADCAST : REFUSED_SEND, who.identity, intent);
    return true;
}

int api_send_push_answer(lua_State *L, struct api_call *call, const struct dispatch_result *result)
{
    call->sent = result->frame;
    if (result->dropped) {
        lua_pushliteral(L, "dropped");
        lua_pushlstring(L, result->text.data ? result->text.data : "", result->text.length);
        return 2;
    }
    if (result->code != CODE_OK)
        return api_push_refused(L, result->code, result->text);
    lua_pushliteral(L, "queued");
    return 1;
}

static uint64_t caller_of(const struct api_call *call)
{
    return peer_address_hash(&call->connection->http->request.gate.address);
}

static uint64_t slow_key(const struct api_call *call)
{
    return slowdown_key(call->identity, slice_from(NULL, 0), &call->connection->http->request.gate.address);
}

uint16_t api_mailbox_share(const struct api_call *call)
{
    const struct identity *identity = identity_counted(call->identity);
    return mailbox_share(identity ? identity_key(identity) : caller_of(call));
}

/* Whose time its envelopes take: its identity's, else its address's. A reference; NULL: nobody's. */
static struct party *payer_of(const struct api_call *call, struct party *sender)
{
    if (sender)
        return party_retain(sender);
    return call->connection->is_admin ? NULL : party_of_address(&call->connection->http->request.gate.address);
}

/* Whether the caller is past a rate. Takes from it what the body costs if not. */
static enum limit take_rates(const struct api_call *call, struct party *sender, const struct party *payer)
{
    uint64_t now_ns = clock_coarse_ns();
    if (party_out_of_time(payer, now_ns)) {
        limit_count(LIMIT_SCRIPT_TIME);
        return LIMIT_SCRIPT_TIME;
    }
    struct party *address =
        call->connection->is_admin ? NULL : party_of_address(&call->connection->http->request.gate.address);
    enum limit limit = limits_take_message(sender, address, call->body.length, now_ns);
    party_release(address);
    return limit;
}

static void slow_down(const struct api_call *call, const struct dispatch_result *result)
{
    if (result->overran)
        slowdown_strike(slow_key(call), connection_reactor(call->connection)->config->script.budget_ms,
                        clock_steady_ns() / 1000000);
}

static void sent_later(void *context, struct dispatch_result *result)
{
    struct api_call *call = context;
    call->job = NULL;
    call->dispatched = result;
    slow_down(call, result);
    http_session_answered(call->connection);
}

/* send(broadcast): dispatches the body. "queued" (then write_sent writes the envelope as it went out), "dropped" and
 * the reason, or "refused" and the status. */
static int native_send(lua_State *L)
{
    struct api *api = api_of(L);
    struct api_call *call = api->call;
    struct reactor *reactor = api->reactor;
    const struct config *config = reactor->config;
    bool broadcast = lua_toboolean(L, 1);
    if (reactor->draining)
        return api_push_refused(L, CODE_DRAINING, SLICE("the bridge is going away"));

    struct envelope envelope;
    struct message_rules rules = {.depth = config->limits.json_depth, .lenient = config->mode == CONFIG_MODE_ORIGINAL};
    struct envelope_defaults defaults = {.sender = &api->fragment, .timestamp = reactor->lane->timestamp};
    struct slice text = call->body;
    char error[ERROR_TEXT_BYTES] = "";
    enum code code = envelope_scan(text, &rules, &reactor->store, &envelope, error);
    if (code == CODE_OK && slice_equal(envelope_sent_text(&envelope, FIELD_INTENT), SLICE(EXECUTE_INTENT)))
        return api_push_refused(L, CODE_FORBIDDEN, SLICE("over HTTP work is asked for by POST /workers/execute"));
    if (code == CODE_OK && !broadcast && !envelope_has(&envelope, FIELD_TO))
        return api_push_refused(L, CODE_RECIPIENT_REQUIRED, SLICE("Recipient `to` is required"));
    if (code == CODE_OK && identity_refusal(api, &envelope) != CODE_OK)
        return api_push_refused(
            L, CODE_FROM_MISMATCH,
            SLICE("over HTTP `from` is \"api\" or an agent of the caller's own, unless an administrator asks"));
    if (code == CODE_OK && access_refused_for(api, &envelope, &defaults, broadcast))
        return api_push_refused(L, CODE_FORBIDDEN,
                                broadcast ? SLICE("you may not broadcast envelopes of this intent")
                                          : SLICE("you may not send envelopes of this intent to this recipient"));
    if (code == CODE_OK && broadcast && envelope_has(&envelope, FIELD_TO))
        code = clear_recipient(call, &envelope, &defaults, &rules, &text, error);
    if (code != CODE_OK)
        return api_push_refused(L, code, error[0] ? slice_from_string(error) : SLICE("out of memory"));

    if (slowdown_left(slow_key(call), clock_steady_ns() / 1000000) > 0)
        return api_push_refused(
            L, CODE_RATE_LIMITED,
            SLICE("the script took too long over what this sender sent: the envelope was not taken"));
    const struct identity *identity = identity_counted(call->identity);
    struct party *sender = identity ? identity_party(identity) : NULL, *payer = payer_of(call, sender);
    if (take_rates(call, sender, payer) != LIMIT_NONE) {
        party_release(sender);
        party_release(payer);
        return api_push_refused(
            L, CODE_RATE_LIMITED,
            SLICE("too much was sent in too short a time, or took the bridge too long: the envelope was not taken"));
    }
    struct frame *rewritten = call->sent; /* the text lies in it */
    struct dispatch dispatch = {.envelope = &envelope,
                                .defaults = &defaults,
                                .share = api_mailbox_share(call),
                                .identity = call->identity,
                                .payer = party_counts_time(payer) ? payer : NULL,
                                .inherited = call->connection->http->request.trace,
                                .text = text,
                                .done = sent_later,
                                .context = call};
    struct dispatch_result result;
    uint64_t began_ns = clock_steady_ns(), ended_ns;
    call->job = dispatch_envelope(reactor, &dispatch, &result);
    ended_ns = clock_steady_ns();
    party_charge_time(payer, ended_ns - began_ns, ended_ns);
    party_release(sender);
    party_release(payer);
    if (call->job) {
        call->sent = NULL;
        frame_release(rewritten); /* the job has its text */
        call->waits = true;
        return lua_yield(L, 0);
    }
    slow_down(call, &result);
    int count = api_send_push_answer(L, call, &result);
    frame_release(rewritten);
    return count;
}

/* write_sent() */
static int native_write_sent(lua_State *L)
{
    struct api_call *call = api_of(L)->call;
    if (!call->sent)
        return luaL_error(L, "nothing was sent");
    buffer_append_slice(&call->content, frame_envelope(call->sent));
    return 0;
}

const luaL_Reg api_send_functions[] = {
    {"send", native_send},
    {"write_sent", native_write_sent},
    {NULL, NULL},
};
