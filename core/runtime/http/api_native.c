/* Endpoints write their answer piece by piece into the call's buffer; `pause` stops them for the peer or, when they
 * have looked at much without writing anything, for the other connections. What a call holds (frames) hangs on the
 * call, not on Lua: a peer that goes away gives it back at once. */
#include "runtime/http/api_native.h"

#include <stdio.h>

#include "base/hash.h"
#include "base/wildcard.h"
#include "bridge/delivery/answer.h"
#include "bridge/queue/mailbox.h"
#include "bridge/registry/registry.h"
#include "bridge/state/history.h"
#include "memory/pool.h"
#include "protocol/http/url.h"
#include "protocol/json/json_write.h"
#include "protocol/registration.h"
#include "runtime/dispatch/dispatch.h"
#include "runtime/dispatch/slowdown.h"
#include "runtime/http/http_exchange.h"
#include "runtime/http/http_session.h"
#include "runtime/identity/access.h"
#include "runtime/reactor.h"
#include "runtime/tracing/hop.h"
#include "runtime/work/execute.h"

/* Looking at this many bytes takes about a millisecond: as long as one turn may be. */
#define WORK_PER_TURN (1024u << 10)

/* Agents shown between two looks at how much waits. */
#define AGENTS_AT_ONCE 64

static struct slice check_slice(lua_State *L, int index)
{
    size_t length;
    const char *data = luaL_checklstring(L, index, &length);
    return slice_from(data, length);
}

/* write(text…) */
static int native_write(lua_State *L)
{
    struct api_call *call = api_of(L)->call;
    for (int i = 1; i <= lua_gettop(L); i++)
        buffer_append_slice(&call->content, check_slice(L, i));
    return 0;
}

/* pause(): returns when the peer has taken most of what was written. */
static int native_pause(lua_State *L)
{
    struct api_call *call = api_of(L)->call;
    if (call->content.failed)
        return luaL_error(L, "out of memory");
    return call->content.length >= API_PIECE_BYTES || call->worked >= WORK_PER_TURN ? lua_yield(L, 0) : 0;
}

/* content_type(text): of an answer that is not JSON. */
static int native_content_type(lua_State *L)
{
    struct api_call *call = api_of(L)->call;
    struct slice type = check_slice(L, 1);
    luaL_argcheck(L, type.length < sizeof call->content_type, 1, "too long");
    memcpy(call->content_type, type.data, type.length + 1);
    return 0;
}

static void set_allow(lua_State *L, int index)
{
    struct api_call *call = api_of(L)->call;
    struct slice allow = lua_isnoneornil(L, index) ? slice_from("", 0) : check_slice(L, index);
    luaL_argcheck(L, allow.length < sizeof call->allow, index, "too long");
    memcpy(call->allow, allow.data, allow.length);
    call->allow[allow.length] = 0;
}

/* allow(methods): the header Allow. */
static int native_allow(lua_State *L)
{
    set_allow(L, 1);
    return 0;
}

/* refuse(code, text, allow?) gives the status: the answer is this refusal. */
static int native_refuse(lua_State *L)
{
    struct api *api = api_of(L);
    const char *name = luaL_checkstring(L, 1);
    struct slice text = check_slice(L, 2);
    enum code code = CODE_OK;
    while (code < CODE_COUNT && strcmp(code_name(code), name) != 0)
        code++;
    luaL_argcheck(L, code < CODE_COUNT, 1, "no such code");
    set_allow(L, 3);
    lua_pushinteger(L, (lua_Integer)api_refuse(api, code, text));
    return 1;
}

/* json_string(text): quoted and escaped. */
static int native_json_string(lua_State *L)
{
    struct slice text = check_slice(L, 1);
    size_t length = json_string_length(text);
    char *out = lua_newuserdata(L, length);
    json_write_string(out, text);
    lua_pushlstring(L, out, length);
    return 1;
}

/* parameters(query): a table of names and values, decoded; nil and what is wrong. */
static int native_parameters(lua_State *L)
{
    struct slice rest = check_slice(L, 1), name, value;
    char *decoded = lua_newuserdata(L, rest.length + 1);
    lua_newtable(L);
    while (url_query_next(&rest, &name, &value)) {
        size_t name_length, value_length;
        if (!url_decode_query(name, decoded, name.length, &name_length) ||
            !url_decode_query(value, decoded + name_length, value.length, &value_length)) {
            lua_pushnil(L);
            lua_pushliteral(L, "the query has a bad percent escape");
            return 2;
        }
        lua_pushlstring(L, decoded, name_length);
        lua_pushvalue(L, -1);
        lua_rawget(L, 3);
        if (!lua_isnil(L, -1)) {
            lua_pushnil(L);
            lua_pushliteral(L, "the query names a parameter twice");
            return 2;
        }
        lua_pop(L, 1);
        lua_pushlstring(L, decoded + name_length, value_length);
        lua_rawset(L, 3);
    }
    return 1;
}

/* --- Sending --- */

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

/* may_see(what): "agents", "history" … */
static int native_may_see(lua_State *L)
{
    struct api *api = api_of(L);
    struct access_subject who = {.identity = api->call->identity};
    struct slice name = check_slice(L, 1);
    unsigned sight = 0;
    while (sight < ACCESS_SIGHTS && !slice_equal(name, slice_from_string(access_sight_name((enum access_sight)sight))))
        sight++;
    luaL_argcheck(L, sight < ACCESS_SIGHTS, 1, "no such sight");
    bool may = api->call->admin || access_may_see(api->reactor->standing.access, &who, (enum access_sight)sight);
    if (!may)
        access_refused(REFUSED_SEE, who.identity, name);
    lua_pushboolean(L, may);
    return 1;
}

static int push_refusal(lua_State *L, enum code code, struct slice text)
{
    unsigned status = api_refuse(api_of(L), code, text);
    lua_pushliteral(L, "refused");
    lua_pushinteger(L, (lua_Integer)status);
    return 2;
}

static int push_dispatched(lua_State *L, struct api_call *call, const struct dispatch_result *result)
{
    call->sent = result->frame;
    if (result->dropped) {
        lua_pushliteral(L, "dropped");
        lua_pushlstring(L, result->text.data ? result->text.data : "", result->text.length);
        return 2;
    }
    if (result->code != CODE_OK)
        return push_refusal(L, result->code, result->text);
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

static uint16_t share_of(const struct api_call *call)
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
        return push_refusal(L, CODE_DRAINING, SLICE("the bridge is going away"));

    struct envelope envelope;
    struct message_rules rules = {.depth = config->limits.json_depth, .lenient = config->mode == CONFIG_MODE_ORIGINAL};
    struct envelope_defaults defaults = {.sender = &api->fragment, .timestamp = reactor->lane->timestamp};
    struct slice text = call->body;
    char error[ERROR_TEXT_BYTES] = "";
    enum code code = envelope_scan(text, &rules, &reactor->store, &envelope, error);
    if (code == CODE_OK && slice_equal(envelope_sent_text(&envelope, FIELD_INTENT), SLICE(EXECUTE_INTENT)))
        return push_refusal(L, CODE_FORBIDDEN, SLICE("over HTTP work is asked for by POST /workers/execute"));
    if (code == CODE_OK && !broadcast && !envelope_has(&envelope, FIELD_TO))
        return push_refusal(L, CODE_RECIPIENT_REQUIRED, SLICE("Recipient `to` is required"));
    if (code == CODE_OK && identity_refusal(api, &envelope) != CODE_OK)
        return push_refusal(
            L, CODE_FROM_MISMATCH,
            SLICE("over HTTP `from` is \"api\" or an agent of the caller's own, unless an administrator asks"));
    if (code == CODE_OK && access_refused_for(api, &envelope, &defaults, broadcast))
        return push_refusal(L, CODE_FORBIDDEN,
                            broadcast ? SLICE("you may not broadcast envelopes of this intent")
                                      : SLICE("you may not send envelopes of this intent to this recipient"));
    if (code == CODE_OK && broadcast && envelope_has(&envelope, FIELD_TO))
        code = clear_recipient(call, &envelope, &defaults, &rules, &text, error);
    if (code != CODE_OK)
        return push_refusal(L, code, error[0] ? slice_from_string(error) : SLICE("out of memory"));

    if (slowdown_left(slow_key(call), clock_steady_ns() / 1000000) > 0)
        return push_refusal(L, CODE_RATE_LIMITED,
                            SLICE("the script took too long over what this sender sent: the envelope was not taken"));
    const struct identity *identity = identity_counted(call->identity);
    struct party *sender = identity ? identity_party(identity) : NULL, *payer = payer_of(call, sender);
    if (take_rates(call, sender, payer) != LIMIT_NONE) {
        party_release(sender);
        party_release(payer);
        return push_refusal(
            L, CODE_RATE_LIMITED,
            SLICE("too much was sent in too short a time, or took the bridge too long: the envelope was not taken"));
    }
    struct frame *rewritten = call->sent; /* the text lies in it */
    struct dispatch dispatch = {.envelope = &envelope,
                                .defaults = &defaults,
                                .share = share_of(call),
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
    int count = push_dispatched(L, call, &result);
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

/* --- Working --- */

static void worked_later(struct work *work)
{
    struct api_call *call = work->owner;
    execute_finished(work);
    if (work->began_ns)
        hop_worked(call->connection->http->request.trace, work, work_code(work));
    http_session_answered(call->connection);
}

static void free_forgotten(struct work *work)
{
    execute_finished(work);
    work_free(work);
}

/* "done" (then write_result writes the answer), or "refused" and the status. */
static int push_worked(lua_State *L, struct api_call *call)
{
    enum code code = work_code(call->work);
    if (code == CODE_OK) {
        lua_pushliteral(L, "done");
        return 1;
    }
    int count = push_refusal(L, code, slice_from_string(call->work->task.error));
    work_free(call->work);
    call->work = NULL;
    return count;
}

/* execute(): has the workers do what the body says. Returns as push_worked says. */
static int native_execute(lua_State *L)
{
    struct api *api = api_of(L);
    struct api_call *call = api->call;
    char error[ERROR_TEXT_BYTES];
    if (!call->admin)
        access_refused(REFUSED_ADMIN, call->identity, SLICE("/workers/execute"));
    if (!call->admin)
        return push_refusal(L, CODE_FORBIDDEN,
                            SLICE("only an administrator may have the workers work over HTTP" API_ADMINISTRATORS));
    if (api->reactor->draining)
        return push_refusal(L, CODE_DRAINING, SLICE("the bridge is going away"));
    struct slice body = slice_trim_space(call->body);
    enum code code = json_validate(body, api->reactor->config->limits.json_depth, error);
    if (code == CODE_OK)
        code = execute_start(api->reactor, body, &call->connection->http->request.body, worked_later, call, &call->work,
                             error);
    if (code != CODE_OK)
        return push_refusal(L, code, slice_from_string(error));
    if (__builtin_expect(tracing_on, 0) && hop_samples(call->connection->http->request.trace, share_of(call)))
        call->work->began_ns = clock_steady_ns();
    call->waits = true;
    return lua_yield(L, 0);
}

/* write_result() */
static int native_write_result(lua_State *L)
{
    struct api_call *call = api_of(L)->call;
    if (!call->work)
        return luaL_error(L, "nothing was done");
    execute_append_result(&call->content, call->work);
    work_free(call->work);
    call->work = NULL;
    return 0;
}

int api_push_answer(lua_State *L, struct api_call *call)
{
    if (call->order)
        return api_scripts_push_answer(L, call);
    if (call->repl)
        return api_repl_push_answer(L, call);
    return call->work ? push_worked(L, call) : push_dispatched(L, call, call->dispatched);
}

void api_forget(struct api_call *call)
{
    if (call->job)
        dispatch_forget(call->job);
    if (call->work && call->waits)
        work_forget(call->work, free_forgotten);
    else
        work_free(call->work);
    call->job = NULL;
    call->work = NULL;
    api_scripts_forget(call);
    api_repl_forget(call);
}

/* --- Looking --- */

#define OWN_LIMITS_BYTES 160 /* four names, and numbers of at most 20 digits */

/* As JSON, in `text`: what the agent's credential has in the place of the config's limits; length 0: nothing. */
static struct slice write_own_limits(const struct profile *profile, char text[OWN_LIMITS_BYTES])
{
    if (profile->owner.length == 0)
        return slice_from(NULL, 0);
    struct own_limits own = party_limits_of_identity(profile->owner);
    const struct {
        const char *name;
        uint64_t value;
    } members[] = {{"messagesPerSecond", own.messages_per_second},
                   {"messageBurst", own.message_burst},
                   {"bytesPerSecond", own.bytes_per_second},
                   {"connections", own.connections}};
    size_t length = 0;
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (members[i].value > 0)
            length += (size_t)snprintf(text + length, OWN_LIMITS_BYTES - length, "%s\"%s\":%llu",
                                       length > 0 ? "," : "{", members[i].name, (unsigned long long)members[i].value);
    if (length > 0)
        text[length++] = '}';
    return slice_from(text, length);
}

/* write_agents(cursor, written): writes some more agents with commas between, and gives the next cursor (nil at the
 * end) and how many are written by now. */
static int native_write_agents(lua_State *L)
{
    struct api *api = api_of(L);
    struct buffer *out = &api->call->content;
    struct agent_view views[AGENTS_AT_ONCE];
    uint64_t cursor = (uint64_t)luaL_checknumber(L, 1); /* 41 bits: shard and bucket */
    lua_Number written = luaL_checknumber(L, 2);
    bool enhanced = api->reactor->config->mode == CONFIG_MODE_ENHANCED;
    unsigned count = registry_list(&cursor, views, AGENTS_AT_ONCE);
    for (unsigned i = 0; i < count; i++) {
        if (written + i > 0)
            buffer_append_slice(out, SLICE(","));
        char text[OWN_LIMITS_BYTES];
        struct slice own_limits = enhanced ? write_own_limits(views[i].profile, text) : slice_from(NULL, 0);
        meta_append(out, &views[i], enhanced ? META_LOAD : META_REGISTERED, own_limits, api->reactor->lane->wall_ms);
        agent_view_release(&views[i]);
    }
    if (count > 0)
        lua_pushnumber(L, (lua_Number)cursor);
    else
        lua_pushnil(L);
    lua_pushnumber(L, written + count);
    return 2;
}

/* take_history(limit): how many of the newest envelopes there are to look at; number 1 is the oldest of them. */
static int native_take_history(lua_State *L)
{
    struct api_call *call = api_of(L)->call;
    lua_Number limit = luaL_checknumber(L, 1);
    uint32_t there = history_count(), wanted = limit < there ? (uint32_t)limit : there;
    if (!call->frames && wanted > 0) {
        call->frames = pool_acquire(POOL_ARRAYS, wanted * sizeof(struct frame *));
        if (!call->frames)
            return luaL_error(L, "out of memory");
        call->frame_capacity = wanted;
        call->frame_count = history_newest(call->frames, wanted, 0);
    }
    lua_pushinteger(L, (lua_Integer)call->frame_count);
    return 1;
}

static struct frame *check_frame(lua_State *L, struct api_call *call)
{
    lua_Integer number = luaL_checkinteger(L, 1);
    luaL_argcheck(L, number >= 1 && number <= (lua_Integer)call->frame_count, 1, "no such envelope");
    return call->frames[number - 1];
}

/* write_envelope(number) */
static int native_write_envelope(lua_State *L)
{
    struct api_call *call = api_of(L)->call;
    buffer_append_slice(&call->content, frame_envelope(check_frame(L, call)));
    return 0;
}

static void push_text(lua_State *L, const struct envelope *envelope, enum field field)
{
    struct slice text = envelope_sent_text(envelope, field);
    if (text.data)
        lua_pushlstring(L, text.data, text.length);
    else
        lua_pushnil(L);
}

/* read_envelope(number): its taskId, intent, from, to (each nil when null) and the timestamp as JSON. */
static int native_read_envelope(lua_State *L)
{
    struct api *api = api_of(L);
    struct slice text = frame_envelope(check_frame(L, api->call));
    struct message_rules rules = {.depth = JSON_DEPTH_MAXIMUM, .utf8_checked = true};
    rules.lenient = api->reactor->config->mode == CONFIG_MODE_ORIGINAL;
    struct envelope envelope;
    char error[ERROR_TEXT_BYTES];
    if (envelope_scan(text, &rules, &api->reactor->store, &envelope, error) != CODE_OK)
        return luaL_error(L, "an envelope of the history cannot be read: %s", error);
    api->call->worked += text.length;
    push_text(L, &envelope, FIELD_TASK_ID);
    push_text(L, &envelope, FIELD_INTENT);
    push_text(L, &envelope, FIELD_FROM);
    push_text(L, &envelope, FIELD_TO);
    lua_pushlstring(L, envelope.json[FIELD_TIMESTAMP].data, envelope.json[FIELD_TIMESTAMP].length);
    return 5;
}

const luaL_Reg api_native_functions[] = {
    {"write", native_write},
    {"pause", native_pause},
    {"content_type", native_content_type},
    {"allow", native_allow},
    {"refuse", native_refuse},
    {"json_string", native_json_string},
    {"parameters", native_parameters},
    {"may_see", native_may_see},
    {"send", native_send},
    {"write_sent", native_write_sent},
    {"execute", native_execute},
    {"write_result", native_write_result},
    {"write_agents", native_write_agents},
    {"take_history", native_take_history},
    {"write_envelope", native_write_envelope},
    {"read_envelope", native_read_envelope},
    {NULL, NULL},
};
