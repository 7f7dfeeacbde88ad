/* A call of a hook is a userdata that keeps all that the hook reads while it waits: the envelope's text, the sender,
 * what an agent registers as. What came of it is a table, read by lua/luaduct/test/. */
#include "author/call.h"

#include <lauxlib.h>

#include "author/plain.h"
#include "author/questions.h"
#include "author/room.h"
#include "base/clock.h"
#include "bridge/registry/registry.h"
#include "script/binding/send.h"
#include "script/wait/timer.h"

#define CALL "luaduct.test.call"

struct call {
    struct room *room;
    enum script_hook hook;
    struct script_wait *wait; /* while it waits */
    struct envelope envelope;
    struct text_store store;
    struct sender_fragment fragment;
    struct envelope_defaults defaults;
    struct script_sender sender;
    bool has_sender;
    struct script_registration registration;
    struct slice reply_to;
    char timestamp[CLOCK_ISO_LENGTH];
};

static int free_call(lua_State *lua)
{
    struct call *call = luaL_checkudata(lua, 1, CALL);
    text_store_free(&call->store);
    sender_fragment_free(&call->fragment);
    return 0;
}

/* A copy that lives as long as the call. */
static struct slice keep(lua_State *lua, struct call *call, struct slice text)
{
    if (!text.data)
        return text;
    char *copy = text_store_take(&call->store, text.length + JSON_SLACK);
    if (!copy)
        luaL_error(lua, "not enough memory");
    memset(copy + text.length, 0, JSON_SLACK);
    return slice_from(memcpy(copy, text.data, text.length), text.length);
}

/* Pushes the call. Its environment keeps the room. */
static struct call *push_call(lua_State *lua, enum script_hook hook)
{
    struct room *room = room_check(lua, 1);
    if (!room->state)
        luaL_error(lua, "this script is closed");
    struct call *call = lua_newuserdata(lua, sizeof *call);
    *call = (struct call){.room = room, .hook = hook};
    luaL_getmetatable(lua, CALL);
    lua_setmetatable(lua, -2);
    lua_createtable(lua, 1, 0);
    lua_pushvalue(lua, 1);
    lua_rawseti(lua, -2, 1);
    lua_setfenv(lua, -2);
    return call;
}

/* The envelope, JSON at 2, and its sender, a table or nil at 3. */
static void read_envelope(lua_State *lua, struct call *call)
{
    struct slice json;
    json.data = luaL_checklstring(lua, 2, &json.length);
    struct message_rules rules = {.depth = VALUE_DEPTH_MAXIMUM};
    char error[ERROR_TEXT_BYTES];
    /* The scan resets its store, so what must stay is in it afterwards: the text goes to the environment. */
    lua_getfenv(lua, -1);
    lua_pushvalue(lua, 2);
    lua_rawseti(lua, -2, 2);
    lua_pop(lua, 1);
    if (envelope_scan(json, &rules, &call->store, &call->envelope, error) != CODE_OK)
        luaL_error(lua, "the bridge would refuse this envelope: %s", error);
    clock_format_iso(clock_wall_ms(), call->timestamp);
    call->defaults.timestamp = call->timestamp;
    if (!lua_istable(lua, 3))
        return;
    call->sender = (struct script_sender){.id = keep(lua, call, plain_text(lua, 3, "id")),
                                          .role = keep(lua, call, plain_text(lua, 3, "role")),
                                          .labels = keep(lua, call, plain_text(lua, 3, "labels")),
                                          .identity = keep(lua, call, plain_text(lua, 3, "identity"))};
    call->has_sender = true;
    call->reply_to = call->sender.id;
    if (!call->sender.id.data)
        return; /* over HTTP: an identity, but no agent */
    if (!sender_fragment_set(&call->fragment, call->sender.id, call->sender.role))
        luaL_error(lua, "not enough memory");
    call->defaults.sender = &call->fragment;
}

static void push_item(lua_State *lua, const struct decision_item *item)
{
    static const char *const kinds[] = {"default", "to", "all", "any", "broadcast", "reply", "drop"};
    lua_newtable(lua);
    lua_pushstring(lua, kinds[item->kind]);
    lua_setfield(lua, -2, "kind");
    if (item->expires_ms > 0) {
        lua_pushnumber(lua, item->expires_ms);
        lua_setfield(lua, -2, "expiresMs");
    }
    if (item->kind == DECISION_ANY && item->wait) {
        lua_pushboolean(lua, true);
        lua_setfield(lua, -2, "wait");
    }
    switch (item->kind) {
    case DECISION_TO:
        lua_createtable(lua, (int)item->id_count, 0);
        for (unsigned i = 0; i < item->id_count; i++) {
            plain_push_text(lua, item->ids[i]);
            lua_rawseti(lua, -2, (int)i + 1);
        }
        lua_setfield(lua, -2, "ids");
        break;
    case DECISION_ALL:
    case DECISION_ANY:
        plain_set_text(lua, "role", item->selector.role);
        plain_set_text(lua, "label", item->selector.label);
        plain_set_text(lua, "intent", item->selector.intent);
        plain_set_text(lua, "tool", item->selector.tool);
        plain_set_text(lua, "id", item->selector.id);
        break;
    case DECISION_REPLY:
        plain_push_json(lua, item->payload);
        lua_setfield(lua, -2, "payload");
        break;
    case DECISION_DROP:
        plain_set_text(lua, "reason", item->reason);
        lua_pushboolean(lua, item->tell);
        lua_setfield(lua, -2, "tell");
        break;
    default:
        break;
    }
}

/* To the table on top: the decision, the envelope as it goes out, and who gets it. */
static void push_decision(lua_State *lua, struct call *call, const struct decision *decision)
{
    lua_createtable(lua, (int)decision->count, 0);
    for (unsigned i = 0; i < decision->count; i++) {
        push_item(lua, &decision->items[i]);
        lua_rawseti(lua, -2, (int)i + 1);
    }
    lua_setfield(lua, -2, "items");
    struct buffer text = {0};
    decision_write(&text, decision);
    lua_pushlstring(lua, text.data ? text.data : "", text.length);
    buffer_free(&text);
    lua_setfield(lua, -2, "text");
    struct frame *frame = envelope_build(&call->envelope, &call->defaults, FRAME_ENVELOPE);
    if (!frame)
        luaL_error(lua, "not enough memory");
    plain_push_text(lua, frame_envelope(frame));
    frame_release(frame);
    lua_setfield(lua, -2, "envelope");
    agents_deliver(lua, &call->envelope, &call->defaults, call->reply_to, decision);
}

static void push_registration(lua_State *lua, const struct script_registration *registration)
{
    const struct {
        const char *name;
        struct slice json;
    } lists[] = {{"labels", registration->labels}, {"tools", registration->tools}, {"intents", registration->intents}};
    lua_newtable(lua);
    plain_set_text(lua, "id", registration->id);
    plain_set_text(lua, "role", registration->role);
    plain_set_text(lua, "identity", registration->identity);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        plain_push_json(lua, lists[i].json.length ? lists[i].json : SLICE("[]"));
        lua_setfield(lua, -2, lists[i].name);
    }
    lua_pushnumber(lua, registration->max_concurrent_tasks);
    lua_setfield(lua, -2, "maxConcurrentTasks");
}

static void push_waiting(lua_State *lua, struct call *call)
{
    call->wait = script_take_wait(call->room->state);
    struct script_request *request = script_wait_request(call->wait);
    static const char *const priorities[TASK_PRIORITIES] = {"high", "normal", "low"};
    lua_pushnumber(lua, request->ms);
    lua_setfield(lua, -2, "ms");
    if (request->question_count > 0)
        questions_push(lua, request);
    if (!request->operation[0])
        return;
    lua_pushstring(lua, request->operation);
    lua_setfield(lua, -2, "operation");
    lua_pushstring(lua, priorities[request->priority]);
    lua_setfield(lua, -2, "priority");
    plain_push(lua, (const struct value *)(const void *)request->data.data);
    lua_setfield(lua, -2, "data");
}

static uint64_t count_errors(struct room *room, enum script_hook hook)
{
    struct script_statistics statistics;
    script_read_statistics(room->state, &statistics);
    return statistics.hooks[hook].errors;
}

/* Pushes the table of what came of it. The call is on top of the stack before. */
static int push_outcome(lua_State *lua, struct call *call, enum script_result result, uint64_t errors_before,
                        const struct script_outcome *outcome)
{
    static const char *const results[] = {"decided", "failed", "waits"};
    room_watch(NULL);
    int at = lua_gettop(lua);
    lua_newtable(lua);
    lua_pushvalue(lua, at);
    lua_setfield(lua, -2, "call");
    lua_pushstring(lua, results[result]);
    lua_setfield(lua, -2, "result");
    lua_pushboolean(lua, count_errors(call->room, call->hook) > errors_before);
    lua_setfield(lua, -2, "broke");
    if (result == SCRIPT_WAITS) {
        push_waiting(lua, call);
    } else if (result == SCRIPT_FAILED) {
        plain_set_text(lua, "reason", outcome->reason);
    } else if (outcome->decision) {
        push_decision(lua, call, outcome->decision);
    } else if (call->hook == HOOK_ON_REGISTER) {
        push_registration(lua, &call->registration);
        lua_setfield(lua, -2, "agent");
    }
    return 1;
}

/* room:route(envelope JSON, sender) */
static int route(lua_State *lua)
{
    lua_settop(lua, 3);
    struct call *call = push_call(lua, HOOK_ROUTE);
    read_envelope(lua, call);
    uint64_t errors = count_errors(call->room, HOOK_ROUTE);
    struct script_outcome outcome = {0};
    room_watch(call->room->state);
    enum script_result result =
        script_route(call->room->state, &call->envelope, call->has_sender ? &call->sender : NULL, &call->defaults,
                     &outcome.decision);
    return push_outcome(lua, call, result, errors, &outcome);
}

/* room:on_undeliverable(envelope JSON, sender, reason, recipient) */
static int on_undeliverable(lua_State *lua)
{
    lua_settop(lua, 5);
    struct call *call = push_call(lua, HOOK_ON_UNDELIVERABLE);
    read_envelope(lua, call);
    struct slice reason, recipient = {NULL, 0};
    reason.data = luaL_checklstring(lua, 4, &reason.length);
    if (!lua_isnil(lua, 5))
        recipient.data = luaL_checklstring(lua, 5, &recipient.length);
    reason = keep(lua, call, reason);
    recipient = keep(lua, call, recipient);
    uint64_t errors = count_errors(call->room, HOOK_ON_UNDELIVERABLE);
    struct script_outcome outcome = {0};
    room_watch(call->room->state);
    enum script_result result =
        script_on_undeliverable(call->room->state, &call->envelope, call->has_sender ? &call->sender : NULL,
                                &call->defaults, reason, recipient, &outcome.decision);
    return push_outcome(lua, call, result, errors, &outcome);
}

/* room:on_register(agent), a table of texts, JSON lists and maxConcurrentTasks */
static int on_register(lua_State *lua)
{
    lua_settop(lua, 2);
    luaL_checktype(lua, 2, LUA_TTABLE);
    struct call *call = push_call(lua, HOOK_ON_REGISTER);
    call->registration = (struct script_registration){
        .id = keep(lua, call, plain_text(lua, 2, "id")),
        .role = keep(lua, call, plain_text(lua, 2, "role")),
        .labels = keep(lua, call, plain_text(lua, 2, "labels")),
        .tools = keep(lua, call, plain_text(lua, 2, "tools")),
        .intents = keep(lua, call, plain_text(lua, 2, "intents")),
        .identity = keep(lua, call, plain_text(lua, 2, "identity")),
        .max_concurrent_tasks = (uint32_t)plain_number(lua, 2, "maxConcurrentTasks", 1),
    };
    uint64_t errors = count_errors(call->room, HOOK_ON_REGISTER);
    struct script_outcome outcome = {0};
    room_watch(call->room->state);
    enum script_result result = script_on_register(call->room->state, &call->registration, &outcome.reason);
    return push_outcome(lua, call, result, errors, &outcome);
}

/* room:on_disconnect(id, reason): of a fake agent, which is gone then. nil: there is none */
static int on_disconnect(lua_State *lua)
{
    lua_settop(lua, 3);
    struct slice id, reason;
    id.data = luaL_checklstring(lua, 2, &id.length);
    reason.data = luaL_checklstring(lua, 3, &reason.length);
    struct call *call = push_call(lua, HOOK_ON_DISCONNECT);
    struct agent_view view;
    if (!agents_take(id, &view)) {
        lua_pushnil(lua);
        return 1;
    }
    uint64_t errors = count_errors(call->room, HOOK_ON_DISCONNECT);
    room_watch(call->room->state);
    enum script_result result = script_on_disconnect(call->room->state, &view, reason);
    return push_outcome(lua, call, result, errors, &(struct script_outcome){0});
}

/* room:resume(call, value, text, code): with a code, the error that it says; without, the value, or (absent) nothing.
 * What a call that has asked agents gets is replies (questions.h). */
static int resume(lua_State *lua)
{
    lua_settop(lua, 5);
    struct room *room = room_check(lua, 1);
    struct call *call = luaL_checkudata(lua, 2, CALL);
    if (!call->wait || !room->state || call->room != room)
        return luaL_error(lua, "this call does not wait");
    struct script_answer answer = {.code = CODE_OK};
    struct buffer value = {0};
    struct replies *replies = NULL;
    const struct script_request *request = script_wait_request(call->wait);
    if (request->question_count > 0 && lua_isnil(lua, 5)) {
        replies = questions_read_replies(lua, 3, request);
        answer.replies = &replies->answer;
    } else if (!lua_isnil(lua, 5)) {
        const char *name = luaL_checkstring(lua, 5);
        answer.text.data = luaL_checklstring(lua, 4, &answer.text.length);
        for (int code = 0; code < CODE_COUNT && answer.code == CODE_OK; code++)
            if (strcmp(code_name((enum code)code), name) == 0)
                answer.code = (enum code)code;
        if (answer.code == CODE_OK)
            return luaL_error(lua, "there is no code \"%s\"", name);
    } else if (!lua_isnil(lua, 3)) {
        plain_read(lua, 3, &value);
        answer.value = (const struct value *)(const void *)value.data;
    }
    struct script_wait *wait = call->wait;
    call->wait = NULL;
    uint64_t errors = count_errors(room, call->hook);
    struct script_outcome outcome;
    room_watch(room->state);
    enum script_result result = script_resume(room->state, wait, &answer, &outcome);
    buffer_free(&value);
    questions_free_replies(replies);
    lua_settop(lua, 2);
    return push_outcome(lua, call, result, errors, &outcome);
}

/* room:abandon(call, why): the hook waits for longer than it may */
static int abandon(lua_State *lua)
{
    struct room *room = room_check(lua, 1);
    struct call *call = luaL_checkudata(lua, 2, CALL);
    if (call->wait && room->state)
        script_abandon(room->state, call->wait, luaL_optstring(lua, 3, NULL));
    call->wait = NULL;
    return 0;
}

/* --- Timers and what is sent -------------------------------------------------------------------------------------- */

/* room:next_timer(): when the next is due, in milliseconds of ahead_ms; nil: there is none */
static int next_timer(lua_State *lua)
{
    const struct room *room = room_check(lua, 1);
    uint64_t due_ms = room->state ? script_next_timer(room->state) : UINT64_MAX;
    if (due_ms == UINT64_MAX)
        return 0;
    lua_pushnumber(lua, (lua_Number)due_ms);
    return 1;
}

/* room:run_timer(): the next, which must be due */
static int run_timer(lua_State *lua)
{
    lua_settop(lua, 1);
    struct call *call = push_call(lua, HOOK_TIMER);
    uint64_t errors = count_errors(call->room, HOOK_TIMER);
    room_watch(call->room->state);
    enum script_result result = script_run_timer(call->room->state);
    return push_outcome(lua, call, result, errors, &(struct script_outcome){0});
}

/* room:take_sends(): what bridge.send has sent since the last time, a list of {to = ids, envelope = JSON} */
static int take_sends(lua_State *lua)
{
    struct room *room = room_check(lua, 1);
    struct script_send *send;
    lua_newtable(lua);
    for (int count = 0; room->state && (send = script_take_send(room->state));) {
        lua_createtable(lua, 0, 2);
        lua_createtable(lua, (int)send->agent_count, 0);
        for (unsigned i = 0; i < send->agent_count; i++) {
            plain_push_text(lua, send->agents[i]);
            lua_rawseti(lua, -2, (int)i + 1);
        }
        lua_setfield(lua, -2, "to");
        plain_push_text(lua, frame_envelope(send->frame));
        lua_setfield(lua, -2, "envelope");
        lua_rawseti(lua, -2, ++count);
        script_send_free(send);
    }
    return 1;
}

void call_add_methods(lua_State *lua)
{
    static const luaL_Reg methods[] = {{"route", route},
                                       {"on_undeliverable", on_undeliverable},
                                       {"on_register", on_register},
                                       {"on_disconnect", on_disconnect},
                                       {"resume", resume},
                                       {"abandon", abandon},
                                       {"next_timer", next_timer},
                                       {"run_timer", run_timer},
                                       {"take_sends", take_sends},
                                       {NULL, NULL}};
    luaL_register(lua, NULL, methods);
    luaL_newmetatable(lua, CALL);
    lua_pushcfunction(lua, free_call);
    lua_setfield(lua, -2, "__gc");
    lua_pop(lua, 1);
}
