/* Endpoints write their answer piece by piece into the call's buffer; `pause` stops them for the peer or, when they
 * have looked at much without writing anything, for the other connections. What a call holds (frames) hangs on the
 * call, not on Lua: a peer that goes away gives it back at once. */
#include "runtime/http/api/api_native.h"

#include <stdio.h>

#include "bridge/delivery/answer.h"
#include "bridge/registry/registry.h"
#include "bridge/state/history.h"
#include "memory/pool.h"
#include "protocol/http/url.h"
#include "protocol/json/json_write.h"
#include "runtime/dispatch/dispatch.h"
#include "runtime/http/http_exchange.h"
#include "runtime/http/http_session.h"
#include "runtime/identity/access.h"
#include "runtime/limits/party.h"
#include "runtime/reactor.h"
#include "runtime/tracing/hop.h"
#include "runtime/work/execute.h"

/* Looking at this many bytes takes about a millisecond: as long as one turn may be. */
#define WORK_PER_TURN (1024u << 10)

/* Agents shown between two looks at how much waits. */
#define AGENTS_AT_ONCE 64

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
    const char *name = luaL_checkstring(L, 1);
    struct slice text = check_slice(L, 2);
    enum code code = CODE_OK;
    while (code < CODE_COUNT && strcmp(code_name(code), name) != 0)
        code++;
    luaL_argcheck(L, code < CODE_COUNT, 1, "no such code");
    set_allow(L, 3);
    return api_push_status(L, code, text);
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
    int count = api_push_refused(L, code, slice_from_string(call->work->task.error));
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
        return api_push_refused(L, CODE_FORBIDDEN,
                                SLICE("only an administrator may have the workers work over HTTP" API_ADMINISTRATORS));
    if (api->reactor->draining)
        return api_push_refused(L, CODE_DRAINING, SLICE("the bridge is going away"));
    struct slice body = slice_trim_space(call->body);
    enum code code = json_validate(body, api->reactor->config->limits.json_depth, error);
    if (code == CODE_OK)
        code = execute_start(api->reactor, body, &call->connection->http->request.body, worked_later, call, &call->work,
                             error);
    if (code != CODE_OK)
        return api_push_refused(L, code, slice_from_string(error));
    if (__builtin_expect(tracing_on, 0) && hop_samples(call->connection->http->request.trace, api_mailbox_share(call)))
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
    return call->work ? push_worked(L, call) : api_send_push_answer(L, call, call->dispatched);
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
    {"execute", native_execute},
    {"write_result", native_write_result},
    {"write_agents", native_write_agents},
    {"take_history", native_take_history},
    {"write_envelope", native_write_envelope},
    {"read_envelope", native_read_envelope},
    {NULL, NULL},
};
