/* A call of a hook is a userdata that keeps all that the hook reads while it waits: the envelope's text, the sender,
 * what an agent registers as. What came of it is a table, read by lua/luaduct/test/. */
#include "author/room.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include <lauxlib.h>

#include "base/clock.h"
#include "bridge/registry.h"
#include "runtime/bundle.h"
#include "script/bounds/watchdog.h"
#include "script/hook.h"
#include "script/shared.h"
#include "workers/value_lua.h"

#define ROOM "luaduct.test.room"
#define CALL "luaduct.test.call"
#define ARRAY "luaduct.test.array" /* the registry's key of the metatable that marks arrays */
#define JSON_DEPTH 128

/* Of luaduct.shared: the default of the config. */
#define SHARED_BYTES (16u << 20)

struct log_line {
    struct log_line *next;
    enum script_log_level level;
    size_t length;
    char text[];
};

struct room {
    struct script_state *state; /* NULL: closed */
    struct log_line *log, **log_end;
};

/* One thread stops hooks that run over their budget, as the bridge's main thread does. */
static struct {
    pthread_t thread;
    pthread_mutex_t mutex;
    struct script_state *running; /* the state whose hook runs; NULL: none */
    bool started;
    atomic_bool ending;
} supervisor = {.mutex = PTHREAD_MUTEX_INITIALIZER};

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

/* --- JSON -------------------------------------------------------------------------------------------------------- */

/* Pushes what the text says; arrays that are empty are marked. */
static void push_json(lua_State *lua, struct slice json)
{
    struct buffer buffer = {0};
    char error[ERROR_TEXT_BYTES];
    if (value_from_json(&buffer, json, JSON_DEPTH, NULL, error) != CODE_OK) {
        buffer_free(&buffer);
        luaL_error(lua, "no JSON: %s", error);
    }
    lua_getfield(lua, LUA_REGISTRYINDEX, ARRAY);
    value_to_lua(lua, (const struct value *)(const void *)buffer.data, lua_gettop(lua));
    lua_remove(lua, -2);
    buffer_free(&buffer);
}

static int decode(lua_State *lua)
{
    struct slice text;
    text.data = luaL_checklstring(lua, 1, &text.length);
    push_json(lua, text);
    return 1;
}

static int read_protected(lua_State *lua)
{
    lua_getfield(lua, LUA_REGISTRYINDEX, ARRAY);
    const void *mark = lua_topointer(lua, -1);
    lua_pop(lua, 1);
    value_from_lua(lua, 1, lua_touserdata(lua, 2), mark, NULL);
    return 0;
}

/* Appends the Lua value at `index`. Raises what is wrong with it; *out is freed then. */
static void read_value(lua_State *lua, int index, struct buffer *out)
{
    lua_pushcfunction(lua, read_protected);
    lua_pushvalue(lua, index);
    lua_pushlightuserdata(lua, out);
    if (lua_pcall(lua, 2, 0, 0) == 0)
        return;
    buffer_free(out);
    lua_error(lua);
}

static int encode(lua_State *lua)
{
    struct buffer value = {0}, json = {0};
    char error[ERROR_TEXT_BYTES] = "not enough memory";
    luaL_checkany(lua, 1);
    read_value(lua, 1, &value);
    enum code code = value_write_json(&json, (const struct value *)(const void *)value.data, NULL, error);
    buffer_free(&value);
    if (code != CODE_OK) {
        buffer_free(&json);
        return luaL_error(lua, "%s", error);
    }
    lua_pushlstring(lua, json.data, json.length);
    buffer_free(&json);
    return 1;
}

/* array(table?): marks it, as luaduct.array does for scripts */
static int mark_array(lua_State *lua)
{
    if (lua_isnoneornil(lua, 1))
        lua_newtable(lua);
    else
        luaL_checktype(lua, 1, LUA_TTABLE);
    lua_getfield(lua, LUA_REGISTRYINDEX, ARRAY);
    lua_setmetatable(lua, -2);
    return 1;
}

/* --- The state ---------------------------------------------------------------------------------------------------- */

static void keep_log(void *context, enum script_log_level level, struct slice text)
{
    struct room *room = context;
    struct log_line *line = malloc(sizeof *line + text.length);
    if (!line)
        return;
    *line = (struct log_line){.level = level, .length = text.length};
    memcpy(line->text, text.data, text.length);
    *room->log_end = line;
    room->log_end = &line->next;
}

/* room:take_log(): what was said since the last time, a list of {level =, text =} */
static int take_log(lua_State *lua)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    struct room *room = luaL_checkudata(lua, 1, ROOM);
    lua_newtable(lua);
    for (int count = 0; room->log;) {
        struct log_line *line = room->log;
        lua_createtable(lua, 0, 2);
        lua_pushstring(lua, levels[line->level]);
        lua_setfield(lua, -2, "level");
        lua_pushlstring(lua, line->text, line->length);
        lua_setfield(lua, -2, "text");
        lua_rawseti(lua, -2, ++count);
        room->log = line->next;
        free(line);
    }
    room->log_end = &room->log;
    return 1;
}

static void *supervise(void *context)
{
    (void)context;
    const struct timespec tick = {0, WATCHDOG_TICK_MS * 1000000};
    while (!atomic_load(&supervisor.ending)) {
        pthread_mutex_lock(&supervisor.mutex);
        if (supervisor.running)
            watchdog_check(script_watchdog(supervisor.running), clock_steady_ns());
        pthread_mutex_unlock(&supervisor.mutex);
        nanosleep(&tick, NULL);
    }
    return NULL;
}

static void watch(struct script_state *state)
{
    pthread_mutex_lock(&supervisor.mutex);
    supervisor.running = state;
    pthread_mutex_unlock(&supervisor.mutex);
}

void room_stop(void)
{
    if (!supervisor.started)
        return;
    atomic_store(&supervisor.ending, true);
    pthread_join(supervisor.thread, NULL);
    supervisor.started = false;
}

static int close_room(lua_State *lua)
{
    struct room *room = luaL_checkudata(lua, 1, ROOM);
    script_state_free(room->state);
    room->state = NULL;
    while (room->log) {
        struct log_line *line = room->log;
        room->log = line->next;
        free(line);
    }
    room->log_end = &room->log;
    return 0;
}

static double field_number(lua_State *lua, int index, const char *name, double absent)
{
    lua_getfield(lua, index, name);
    double number = luaL_optnumber(lua, -1, absent);
    lua_pop(lua, 1);
    return number;
}

/* open{paths =, folder =, budgetMs =, memoryLimit =, mode =}: a room, or nil and what is wrong with the script */
static int open_room(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_settop(lua, 1);
    lua_getfield(lua, 1, "paths");
    luaL_checktype(lua, 2, LUA_TTABLE);
    size_t count = lua_objlen(lua, 2);
    const char **paths = lua_newuserdata(lua, (count + 1) * sizeof *paths);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(lua, 2, (int)i + 1);
        paths[i] = luaL_checkstring(lua, -1); /* the table holds it */
        lua_pop(lua, 1);
    }
    struct room *room = lua_newuserdata(lua, sizeof *room);
    *room = (struct room){0};
    room->log_end = &room->log;
    luaL_getmetatable(lua, ROOM);
    lua_setmetatable(lua, -2);
    lua_getfield(lua, 1, "mode"); /* whose table keeps it */
    const char *mode = luaL_optstring(lua, -1, "undecided");
    lua_pop(lua, 1);
    const struct script_options options = {.paths = paths,
                                           .path_count = count,
                                           .folder = field_text(lua, 1, "folder").data,
                                           .mode = mode,
                                           .budget_ms = (uint32_t)field_number(lua, 1, "budgetMs", 50),
                                           .memory_limit = (uint64_t)field_number(lua, 1, "memoryLimit", 64 << 20),
                                           .log = keep_log,
                                           .log_context = room,
                                           .wake_fd = -1,
                                           .open_bundle = bundle_install};
    /* The collector sees a few bytes where a whole state is: those of earlier tests go now and then. */
    static unsigned opened;
    if (++opened % 16 == 0)
        lua_gc(lua, LUA_GCCOLLECT, 0);
    if (!supervisor.started)
        supervisor.started = watchdog_install() && pthread_create(&supervisor.thread, NULL, supervise, NULL) == 0;
    /* Each script begins with an empty luaduct.shared, so that no test depends on another. */
    shared_stop();
    bool shares = shared_start(SHARED_BYTES);
    char problem[4096] = "cannot watch over scripts";
    room->state = supervisor.started && shares ? script_state_new(&options, problem, sizeof problem) : NULL;
    if (!room->state) {
        lua_pushnil(lua);
        lua_pushstring(lua, problem);
        return 2;
    }
    return 1;
}

static void add_name(void *context, const char *name)
{
    struct buffer *list = context;
    buffer_append(list, name, strlen(name));
    buffer_append(list, "\n", 1);
}

/* room:names(): all that the script can reach, a name a line */
static int list_names(lua_State *lua)
{
    struct room *room = luaL_checkudata(lua, 1, ROOM);
    struct buffer list = {0};
    if (!room->state || !script_list_names(room->state, add_name, &list) || list.failed) {
        buffer_free(&list);
        return luaL_error(lua, "not enough memory");
    }
    lua_pushlstring(lua, list.data, list.length);
    buffer_free(&list);
    return 1;
}

/* --- Calls -------------------------------------------------------------------------------------------------------- */

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
    struct room *room = luaL_checkudata(lua, 1, ROOM);
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
    struct message_rules rules = {.depth = JSON_DEPTH};
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
    call->sender = (struct script_sender){.id = keep(lua, call, field_text(lua, 3, "id")),
                                          .role = keep(lua, call, field_text(lua, 3, "role")),
                                          .labels = keep(lua, call, field_text(lua, 3, "labels")),
                                          .identity = keep(lua, call, field_text(lua, 3, "identity"))};
    call->has_sender = true;
    call->reply_to = call->sender.id;
    if (!call->sender.id.data)
        return; /* over HTTP: an identity, but no agent */
    if (!sender_fragment_set(&call->fragment, call->sender.id, call->sender.role))
        luaL_error(lua, "not enough memory");
    call->defaults.sender = &call->fragment;
}

static void push_slice(lua_State *lua, struct slice text)
{
    lua_pushlstring(lua, text.data ? text.data : "", text.length);
}

static void set_text(lua_State *lua, const char *name, struct slice text)
{
    if (!text.data)
        return;
    push_slice(lua, text);
    lua_setfield(lua, -2, name);
}

static void push_item(lua_State *lua, const struct decision_item *item)
{
    static const char *const kinds[] = {"default", "to", "all", "any", "broadcast", "reply", "drop"};
    lua_newtable(lua);
    lua_pushstring(lua, kinds[item->kind]);
    lua_setfield(lua, -2, "kind");
    switch (item->kind) {
    case DECISION_TO:
        lua_createtable(lua, (int)item->id_count, 0);
        for (unsigned i = 0; i < item->id_count; i++) {
            push_slice(lua, item->ids[i]);
            lua_rawseti(lua, -2, (int)i + 1);
        }
        lua_setfield(lua, -2, "ids");
        break;
    case DECISION_ALL:
    case DECISION_ANY:
        set_text(lua, "role", item->selector.role);
        set_text(lua, "label", item->selector.label);
        set_text(lua, "intent", item->selector.intent);
        set_text(lua, "tool", item->selector.tool);
        set_text(lua, "id", item->selector.id);
        break;
    case DECISION_REPLY:
        push_json(lua, item->payload);
        lua_setfield(lua, -2, "payload");
        break;
    case DECISION_DROP:
        set_text(lua, "reason", item->reason);
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
    push_slice(lua, frame_envelope(frame));
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
    set_text(lua, "id", registration->id);
    set_text(lua, "role", registration->role);
    set_text(lua, "identity", registration->identity);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        push_json(lua, lists[i].json.length ? lists[i].json : SLICE("[]"));
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
    if (!request->operation[0])
        return;
    lua_pushstring(lua, request->operation);
    lua_setfield(lua, -2, "operation");
    lua_pushstring(lua, priorities[request->priority]);
    lua_setfield(lua, -2, "priority");
    lua_getfield(lua, LUA_REGISTRYINDEX, ARRAY);
    value_to_lua(lua, (const struct value *)(const void *)request->data.data, lua_gettop(lua));
    lua_remove(lua, -2);
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
    watch(NULL);
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
        set_text(lua, "reason", outcome->reason);
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
    watch(call->room->state);
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
    watch(call->room->state);
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
        .id = keep(lua, call, field_text(lua, 2, "id")),
        .role = keep(lua, call, field_text(lua, 2, "role")),
        .labels = keep(lua, call, field_text(lua, 2, "labels")),
        .tools = keep(lua, call, field_text(lua, 2, "tools")),
        .intents = keep(lua, call, field_text(lua, 2, "intents")),
        .identity = keep(lua, call, field_text(lua, 2, "identity")),
        .max_concurrent_tasks = (uint32_t)field_number(lua, 2, "maxConcurrentTasks", 1),
    };
    uint64_t errors = count_errors(call->room, HOOK_ON_REGISTER);
    struct script_outcome outcome = {0};
    watch(call->room->state);
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
    watch(call->room->state);
    enum script_result result = script_on_disconnect(call->room->state, &view, reason);
    return push_outcome(lua, call, result, errors, &(struct script_outcome){0});
}

/* room:resume(call, value, text, code): with a code, the error that it says; without, the value, or (absent) nothing */
static int resume(lua_State *lua)
{
    lua_settop(lua, 5);
    struct room *room = luaL_checkudata(lua, 1, ROOM);
    struct call *call = luaL_checkudata(lua, 2, CALL);
    if (!call->wait || !room->state || call->room != room)
        return luaL_error(lua, "this call does not wait");
    struct script_answer answer = {.code = CODE_OK};
    struct buffer value = {0};
    if (!lua_isnil(lua, 5)) {
        const char *name = luaL_checkstring(lua, 5);
        answer.text.data = luaL_checklstring(lua, 4, &answer.text.length);
        for (int code = 0; code < CODE_COUNT && answer.code == CODE_OK; code++)
            if (strcmp(code_name((enum code)code), name) == 0)
                answer.code = (enum code)code;
        if (answer.code == CODE_OK)
            return luaL_error(lua, "there is no code \"%s\"", name);
    } else if (!lua_isnil(lua, 3)) {
        read_value(lua, 3, &value);
        answer.value = (const struct value *)(const void *)value.data;
    }
    struct script_wait *wait = call->wait;
    call->wait = NULL;
    uint64_t errors = count_errors(room, call->hook);
    struct script_outcome outcome;
    watch(room->state);
    enum script_result result = script_resume(room->state, wait, &answer, &outcome);
    buffer_free(&value);
    lua_settop(lua, 2);
    return push_outcome(lua, call, result, errors, &outcome);
}

/* room:abandon(call, why): the hook waits for longer than it may */
static int abandon(lua_State *lua)
{
    struct room *room = luaL_checkudata(lua, 1, ROOM);
    struct call *call = luaL_checkudata(lua, 2, CALL);
    if (call->wait && room->state)
        script_abandon(room->state, call->wait, luaL_optstring(lua, 3, NULL));
    call->wait = NULL;
    return 0;
}

/* --- Time --------------------------------------------------------------------------------------------------------- */

/* How far ahead it is: time does not go back between the files of one run. */
static uint64_t ahead_ms;

static int get_ahead(lua_State *lua)
{
    lua_pushnumber(lua, (lua_Number)ahead_ms);
    return 1;
}

/* set_time(wall ms, ms that the steady clock is ahead) */
static int set_time(lua_State *lua)
{
    ahead_ms = (uint64_t)luaL_checknumber(lua, 2);
    clock_pretend(ahead_ms * 1000000u, (int64_t)luaL_checknumber(lua, 1));
    return 0;
}

int room_open(lua_State *lua)
{
    static const luaL_Reg room_methods[] = {{"take_log", take_log},
                                            {"route", route},
                                            {"on_undeliverable", on_undeliverable},
                                            {"on_register", on_register},
                                            {"on_disconnect", on_disconnect},
                                            {"resume", resume},
                                            {"abandon", abandon},
                                            {"names", list_names},
                                            {"close", close_room},
                                            {NULL, NULL}};
    static const luaL_Reg functions[] = {{"open", open_room},   {"encode", encode},     {"decode", decode},
                                         {"array", mark_array}, {"set_time", set_time}, {"ahead_ms", get_ahead},
                                         {NULL, NULL}};
    luaL_newmetatable(lua, ROOM);
    lua_newtable(lua);
    luaL_register(lua, NULL, room_methods);
    lua_setfield(lua, -2, "__index");
    lua_pushcfunction(lua, close_room);
    lua_setfield(lua, -2, "__gc");
    luaL_newmetatable(lua, CALL);
    lua_pushcfunction(lua, free_call);
    lua_setfield(lua, -2, "__gc");
    lua_newtable(lua);
    lua_setfield(lua, LUA_REGISTRYINDEX, ARRAY);
    lua_pop(lua, 2);
    lua_newtable(lua);
    luaL_register(lua, NULL, functions);
    agents_add_functions(lua);
    lua_pushlightuserdata(lua, NULL);
    lua_setfield(lua, -2, "null");
    return 1;
}
