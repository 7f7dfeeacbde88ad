/* How an agent joins: its token, the script's on_register, the registry. */
#include <mbedtls/platform_util.h>
#include <stdio.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/wildcard.h"
#include "bridge/delivery/answer.h"
#include "bridge/registry/attachment.h"
#include "bridge/registry/registry.h"
#include "bridge/state/history.h"
#include "memory/pool.h"
#include "protocol/json/json_write.h"
#include "protocol/registration.h"
#include "runtime/agent/agent_session.h"
#include "runtime/agent/session.h"
#include "runtime/events/events.h"
#include "runtime/identity/authenticate.h"
#include "runtime/limits/attempts.h"
#include "runtime/process/drain.h"
#include "runtime/reactor.h"
#include "runtime/tracing/hop.h"
#include "runtime/work/waiting.h"
#include "script/binding/send.h"

/* Envelopes of the history in a `registered` answer. */
#define REGISTERED_HISTORY 10u

/* Each register shows a credential, unless the upgrade did; one that shows a wrong one is refused all the same.
 * *identity: who it is from here on, a reference; NULL where no credential is configured. */
static enum authentication authenticate(struct connection *connection, struct slice token, struct identity **identity)
{
    struct reactor *reactor = connection_reactor(connection);
    *identity = NULL;
    if (!reactor->standing.config->auth.required)
        return AUTHENTICATION_OK;
    if (token.length > 0)
        return identity_authenticate(
            &(struct credentials){.connection = connection, .address = &connection->address, .token = token}, identity);
    if (!connection->known_at_upgrade || identity_expired(connection->identity, reactor->lane->wall_ms))
        return AUTHENTICATION_WRONG;
    *identity = identity_retain(connection->identity);
    return AUTHENTICATION_OK;
}

static struct access_subject subject_of(const struct connection *connection, const struct profile *profile)
{
    return (struct access_subject){.identity = connection->identity, .agent = profile->id, .agent_role = profile->role};
}

static void answer_register(struct connection *connection)
{
    struct reactor *reactor = connection_reactor(connection);
    bool enhanced = reactor->config->mode == CONFIG_MODE_ENHANCED;
    struct agent_view view;
    struct frame *history[REGISTERED_HISTORY];
    attachment_view(&connection->endpoint, &view);
    struct access_subject who = subject_of(connection, view.profile);
    bool own_only = enhanced || !access_may_see(reactor->standing.access, &who, ACCESS_HISTORY);
    unsigned count = history_newest(history, REGISTERED_HISTORY, own_only ? hash_slice(view.profile->id) : 0);
    reactor_answer(connection, answer_registered(&view, enhanced, reactor->lane->wall_ms, history, count,
                                                 connection->endpoint.outbox.form & OUTBOX_BINARY));
    for (unsigned i = 0; i < count; i++)
        frame_release(history[i]);
    agent_view_release(&view);
}

static enum code join(struct connection *connection, struct profile *profile, bool again)
{
    struct endpoint *endpoint = &connection->endpoint;
    struct sender_fragment fragment = {0};
    if (!sender_fragment_set(&fragment, profile->id, profile->role))
        return CODE_OVERLOADED;
    endpoint->grace_over = endpoint->grace_over || profile->has_features;
    enum code code = again ? (attachment_change_profile(endpoint, profile) ? CODE_OK : CODE_OVERLOADED)
                           : attachment_attach(endpoint, profile);
    if (code != CODE_OK) {
        sender_fragment_free(&fragment);
        return code;
    }
    sender_fragment_free(&connection->fragment);
    connection->fragment = fragment;
    return CODE_OK;
}

/* False: no memory. */
static bool resolve_grant(struct connection *connection, const struct profile *profile)
{
    struct access_subject who = subject_of(connection, profile);
    struct grant *grant = grant_new(connection_reactor(connection)->standing.access, &who);
    if (!grant)
        return false;
    grant_free(connection->grant);
    connection->grant = grant;
    return true;
}

/* What is asked of a register message once it has been read. */
struct registering {
    struct script_registration wanted; /* … and what on_register made of it */
    struct slice role, labels;         /* as asked */
    bool has_features, wants_batches, again;
    bool traced;
    struct hop hop; /* where it is */
};

/* Counts it among the agents. One that comes back before its old connection is known to be dead is not refused. */
static enum limit take_agent(struct connection *connection, struct slice id)
{
    struct agent_view view;
    bool returns = registry_find(id, &view);
    if (returns)
        agent_view_release(&view);
    if (!connection->sender)
        connection->sender = party_of_agent(id);
    enum limit limit = limits_take_agent(connection->sender, connection->party, returns);
    connection->counted_agent = limit == LIMIT_NONE;
    return limit;
}

/* A connection that may not be an agent is of no use; one that is an agent stays so. */
static void forbid(struct connection *connection, bool again, struct slice reason)
{
    session_refuse(connection, CODE_FORBIDDEN, reason, slice_from(NULL, 0));
    if (!again)
        agent_session_close(connection, 1008, reason);
}

static void decide_register(struct connection *connection, const struct registering *registering,
                            enum script_result result, struct slice reason)
{
    const struct script_registration *wanted = &registering->wanted;
    bool again = registering->again;
    if (result != SCRIPT_DECIDED) {
        forbid(connection, again, reason);
        return;
    }
    struct profile *profile = profile_new(&(struct profile_source){
        .id = wanted->id,
        .role = wanted->role,
        .labels = wanted->labels,
        .tools = wanted->tools,
        .intents = wanted->intents,
        .owner = identity_owner(connection->identity),
        .yields = connection->identity && connection->identity->kind == IDENTITY_SHARED, /* who that is, is not known */
        .max_concurrent_tasks = wanted->max_concurrent_tasks,
        .has_features = registering->has_features,
        .wants_batches = registering->wants_batches,
    });
    enum limit limit = again ? LIMIT_NONE : take_agent(connection, wanted->id);
    if (limit != LIMIT_NONE) {
        profile_release(profile);
        session_refuse(connection, limit_code(limit), SLICE("too many agents are registered"), slice_from(NULL, 0));
        return;
    }
    enum code code = profile && resolve_grant(connection, profile) ? join(connection, profile, again) : CODE_OVERLOADED;
    if (code != CODE_OK)
        profile_release(profile);
    if (code == CODE_FORBIDDEN) {
        access_refused_from(connection_from(connection), REFUSED_TAKEOVER, connection->identity, wanted->id);
        forbid(connection, again, SLICE("this clientId is held by another identity"));
        return;
    }
    if (code != CODE_OK) {
        session_refuse(connection, CODE_OVERLOADED, SLICE("out of memory"), slice_from(NULL, 0));
        return;
    }
    connection->endpoint.outbox.batches = registering->wants_batches;
    answer_register(connection);
    if (connection->phase != CONNECTION_WEBSOCKET || again)
        return;
    events_tell(EVENT_AGENT, (struct event_field[]){EVENT_TEXT("state", SLICE("registered")),
                                                    EVENT_TEXT("agent", wanted->id),
                                                    EVENT_TEXT("role", wanted->role),
                                                    {0}});
    log_debug(AGENT, "registered", "agent %.*s registered", (int)wanted->id.length, wanted->id.data);
    if (connection->endpoint.grace_over)
        attachment_go_live(&connection->endpoint);
    session_still_slow(connection);
    connection_wait_for(connection, DEADLINE_IDLE); /* the grace period starts when `registered` is written */
}

static void end_register(struct connection *connection, const struct registering *registering)
{
    bool accepted = connection_registered(connection);
    if (registering->traced)
        hop_registered(&registering->hop, connection_reactor(connection), registering->wanted.id, accepted);
    if (!accepted || !connection->trace)
        return;
    tracing_forget_header(connection->trace); /* it has come in */
    connection->trace = NULL;
}

/* on_register has said, or there is none. */
static void finish_register(struct connection *connection, const struct registering *registering,
                            enum script_result result, struct slice reason)
{
    decide_register(connection, registering, result, reason);
    end_register(connection, registering);
}

static const struct trace_context *span_of(const struct registering *registering)
{
    return registering->traced ? &registering->hop.context : NULL;
}

/* A registration whose on_register runs, and may wait. */
struct register_job {
    struct waiting waiting; /* first */
    struct connection *connection;
    struct registering registering; /* its texts lie behind */
    size_t size;
    char texts[];
};

/* Whether the identity may be the agent that it asks to be. */
static bool binding_holds(const struct identity *identity, const struct registration *asked, bool strict,
                          struct slice *why)
{
    char buffer[TEXT_BYTES_MAXIMUM];
    struct slice label;
    if (!identity)
        return true;
    *why = SLICE("this credential does not allow that clientId");
    if (client_id_reserved(asked->client_id) || !identity_may_take(identity, asked->client_id, strict))
        return false;
    *why = SLICE("this credential does not allow that role");
    if (!identity_may_be(identity, asked->role, strict))
        return false;
    *why = SLICE("this credential does not allow one of those labels");
    for (struct slice rest = asked->labels; identity->labels.count > 0 && registration_next(&rest, buffer, &label);)
        if (!wildcard_list_matches(&identity->labels, label))
            return false;
    return true;
}

/* While the hook waited a reload may have taken away what its credential allowed, or asked for one. */
static bool still_holds(struct connection *connection, const struct registering *registering)
{
    struct reactor *reactor = connection_reactor(connection);
    const struct registration asked = {
        .client_id = registering->wanted.id, .role = registering->role, .labels = registering->labels};
    struct slice why;
    if (reactor->standing.config->auth.required && !connection->identity) {
        access_refused_from(connection_from(connection), REFUSED_CREDENTIAL, NULL, SLICE("register"));
        session_refuse(connection, CODE_UNAUTHORIZED, SLICE("unauthorized"), slice_from(NULL, 0));
        return false;
    }
    if (binding_holds(connection->identity, &asked, reactor->config->mode == CONFIG_MODE_ENHANCED, &why))
        return true;
    access_refused_from(connection_from(connection), REFUSED_BINDING, connection->identity, asked.client_id);
    forbid(connection, registering->again, why);
    return false;
}

static void registered_later(struct waiting *waiting, enum script_result result, const struct script_outcome *outcome)
{
    struct register_job *job = (struct register_job *)waiting;
    struct connection *connection = job->connection;
    party_release(waiting->payer);
    connection->hook_waits = false; /* or an agent that is slowed down would escape its pause */
    if (connection->phase == CONNECTION_WEBSOCKET && waiting->cut) {
        /* Nobody said no: it may come again, and clients do not after a 1008. */
        (job->registering.again ? session_object : session_refuse)(
            connection, CODE_OVERLOADED, SLICE("the script was stopped before it had decided: register again"),
            slice_from(NULL, 0));
        end_register(connection, &job->registering);
    } else if (connection->phase == CONNECTION_WEBSOCKET && still_holds(connection, &job->registering)) {
        finish_register(connection, &job->registering, result, outcome->reason);
    } else {
        end_register(connection, &job->registering);
    }
    pool_release(POOL_BUFFERS, job, job->size);
    if (!connection->hook_waits)
        session_hook_ended(connection);
}

/* The hook may wait, and the message does not last: so the texts are copied before it is asked. */
static struct register_job *new_register_job(struct connection *connection, const struct registering *from)
{
    const struct script_registration *wanted = &from->wanted;
    size_t length = wanted->id.length + wanted->role.length + wanted->labels.length + wanted->tools.length +
                    wanted->intents.length + wanted->identity.length;
    struct register_job *job = pool_acquire(POOL_BUFFERS, sizeof *job + length);
    if (!job)
        return NULL;
    *job = (struct register_job){.connection = connection, .registering = *from, .size = sizeof *job + length};
    struct script_registration *copy = &job->registering.wanted;
    struct slice *texts[] = {&copy->id, &copy->role, &copy->labels, &copy->tools, &copy->intents, &copy->identity};
    char *at = job->texts;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (!texts[i]->data)
            continue;
        memcpy(at, texts[i]->data, texts[i]->length);
        texts[i]->data = at;
        at += texts[i]->length;
    }
    job->registering.role = copy->role;
    job->registering.labels = copy->labels;
    return job;
}

static void ask_to_register(struct connection *connection, const struct registering *registering)
{
    struct reactor *reactor = connection_reactor(connection);
    struct party *payer = session_payer(connection);
    if (__builtin_expect(party_out_of_time(payer, reactor->now_ms * 1000000), 0)) {
        limit_count(LIMIT_SCRIPT_TIME);
        static const char why[] = "what this peer asked for lately took the bridge too much time: register later";
        if (registering->again)
            session_object(connection, CODE_RATE_LIMITED, SLICE(why), slice_from(NULL, 0));
        else /* it has nothing else to do here, and by this status clients come again */
            agent_session_end_with(connection, CODE_RATE_LIMITED, WEBSOCKET_TRY_LATER, SLICE(why));
        end_register(connection, registering);
        return;
    }
    struct register_job *job = new_register_job(connection, registering);
    if (!job) {
        session_refuse(connection, CODE_OVERLOADED, SLICE("out of memory"), slice_from(NULL, 0));
        end_register(connection, registering);
        return;
    }
    job->registering.wanted.origin = peer_address_hash(&connection->address);
    struct slice reason;
    struct script_state *script =
        scripts_pick(&reactor->scripts, job->registering.wanted.id, job->registering.wanted.labels);
    uint64_t began_ns = clock_steady_ns();
    script_set_cause(script, span_of(&job->registering));
    enum script_result result = script_on_register(script, &job->registering.wanted, &reason);
    script_set_cause(script, NULL);
    uint64_t now_ns = clock_steady_ns();
    party_charge_time(payer, now_ns - began_ns, now_ns);
    if (result == SCRIPT_WAITS) {
        connection->hook_waits = true;
        if (!registering->again)
            connection_wait_for(connection, DEADLINE_NONE); /* its register has come */
        waiting_start_traced(reactor, script, &job->waiting, span_of(&job->registering), registered_later);
        job->waiting.payer = party_retain(payer);
        return;
    }
    finish_register(connection, &job->registering, result, reason);
    pool_release(POOL_BUFFERS, job, job->size);
}

/* What the identity vouches for, as the agent would have said it; no memory: false. */
static bool say_labels(const struct identity *identity, struct text_store *store, struct slice *out)
{
    struct buffer list = {0};
    if (identity->labels.count == 0)
        return true;
    for (uint32_t i = 0; i < identity->labels.count; i++) {
        buffer_append(&list, i == 0 ? "[" : ",", 1);
        buffer_append_json_string(&list, identity->labels.items[i]);
    }
    buffer_append(&list, "]", 1);
    char *text = list.failed ? NULL : text_store_take(store, list.length);
    if (text)
        *out = slice_from(memcpy(text, list.data, list.length), list.length);
    buffer_free(&list);
    return text != NULL;
}

void session_register(struct connection *connection, struct slice text, const struct message_rules *rules)
{
    struct reactor *reactor = connection_reactor(connection);
    struct registration asked;
    char error[ERROR_TEXT_BYTES], made_id[UUID_LENGTH];
    enum code code = registration_scan(text, rules, &reactor->store, &asked, error);
    bool again = connection_registered(connection);
    if (!again && drain_begun()) {
        session_refuse(connection, CODE_DRAINING, SLICE("the bridge is going away"), slice_from(NULL, 0));
        return;
    }
    struct identity *identity;
    struct slice token = code == CODE_OK ? asked.auth_token : slice_from(NULL, 0);
    bool tries = reactor->standing.config->auth.required && token.length > 0 && !connection->is_admin;
    if (tries && limits_credential(&connection->address, reactor->now_ms) > 0) {
        session_object(connection, CODE_RATE_LIMITED, SLICE("too many wrong credentials from this address: try later"),
                       slice_from(NULL, 0));
        return;
    }
    enum authentication result = authenticate(connection, token, &identity);
    if (result == AUTHENTICATION_WAITS) {
        session_hold_message(connection, text);
        return;
    }
    if (result != AUTHENTICATION_OK) {
        bool failed = result == AUTHENTICATION_FAILED;
        if (tries && !failed)
            limits_credential_wrong(&connection->address, reactor->now_ms);
        if (!failed)
            access_refused_from(connection_from(connection), REFUSED_CREDENTIAL, NULL, SLICE("register"));
        /* A second register that is refused leaves all as it was. */
        (again ? session_object : session_refuse)(
            connection, failed ? CODE_OVERLOADED : CODE_UNAUTHORIZED,
            failed ? SLICE("the token cannot be judged now") : SLICE("unauthorized"), slice_from(NULL, 0));
        return;
    }
    /* What showed it is not needed any more, and the buffer that it came in is kept. */
    mbedtls_platform_zeroize((char *)asked.auth_token.data, asked.auth_token.length);
    if (again && connection->identity && !identity_same(identity, connection->identity)) {
        access_refused_from(connection_from(connection), REFUSED_BINDING, identity,
                            SLICE("a connection of another identity"));
        identity_release(identity);
        session_object(connection, CODE_FORBIDDEN, SLICE("this connection belongs to another identity"),
                       slice_from(NULL, 0));
        return;
    }
    identity_put(&connection->identity, identity);
    if (connection_count_identity(connection) != LIMIT_NONE) {
        session_refuse(connection, CODE_OVERLOADED, SLICE("too many connections of this identity"),
                       slice_from(NULL, 0));
        return;
    }
    if (code != CODE_OK) {
        session_refuse(connection, code, slice_from_string(error), slice_from(NULL, 0));
        return;
    }
    if (again && asked.client_id.length == 0)
        asked.client_id = connection->endpoint.profile->id;
    if (asked.client_id.length == 0 && identity)
        asked.client_id = identity_only(&identity->client_ids);
    if (asked.role.length == 0 && identity)
        asked.role = identity_only(&identity->agent_roles);
    if (again && !slice_equal(asked.client_id, connection->endpoint.profile->id)) {
        session_refuse(connection, CODE_ALREADY_REGISTERED,
                       SLICE("this connection is registered under another clientId"), slice_from(NULL, 0));
        return;
    }
    if (asked.client_id.length == 0) {
        uuid_format(made_id);
        asked.client_id = slice_from(made_id, sizeof made_id);
    }
    if (asked.role.length == 0)
        asked.role = SLICE("agent");
    if (identity && asked.labels.length == 0 && !say_labels(identity, &reactor->store, &asked.labels)) {
        session_refuse(connection, CODE_OVERLOADED, SLICE("out of memory"), slice_from(NULL, 0));
        return;
    }
    struct slice why;
    if (!binding_holds(identity, &asked, reactor->config->mode == CONFIG_MODE_ENHANCED, &why)) {
        access_refused_from(connection_from(connection), REFUSED_BINDING, identity, asked.client_id);
        forbid(connection, again, why);
        return;
    }
    struct registering registering = {
        .wanted = {.id = asked.client_id,
                   .role = asked.role,
                   .labels = asked.labels.length > 0 ? asked.labels : SLICE("[]"),
                   .tools = asked.tools.length > 0 ? asked.tools : SLICE("[]"),
                   .intents = asked.intents.length > 0 ? asked.intents : SLICE("[]"),
                   .max_concurrent_tasks = asked.max_concurrent_tasks,
                   .identity = identity ? identity->owner : slice_from(NULL, 0)},
        .has_features = asked.has_features,
        .wants_batches = asked.wants_batches,
        .again = again,
    };
    if (__builtin_expect(connection->trace != NULL, 0))
        registering.traced = hop_begin_register(&registering.hop, reactor, connection->trace, connection->share);
    if (script_has_hook(scripts_pick(&reactor->scripts, asked.client_id, registering.wanted.labels), HOOK_ON_REGISTER))
        ask_to_register(connection, &registering);
    else
        finish_register(connection, &registering, SCRIPT_DECIDED, slice_from(NULL, 0));
}

void session_review(struct connection *connection)
{
    const struct profile *profile = connection->endpoint.profile;
    if (!connection_registered(connection))
        return;
    /* Its role and labels may be on_register's. */
    bool strict = connection_reactor(connection)->config->mode == CONFIG_MODE_ENHANCED;
    if (!identity_may_take(connection->identity, profile->id, strict)) {
        access_refused_from(connection_from(connection), REFUSED_BINDING, connection->identity, profile->id);
        forbid(connection, false, SLICE("this credential does not allow that clientId any more"));
    } else if (!resolve_grant(connection, profile)) {
        session_refuse(connection, CODE_OVERLOADED, SLICE("out of memory"), slice_from(NULL, 0));
    }
}
