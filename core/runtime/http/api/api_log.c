/* What endpoints show and change of the log. */
#include <pthread.h>
#include <stdio.h>

#include "base/log.h"
#include "protocol/json/json.h"
#include "runtime/http/api/api_native.h"
#include "runtime/identity/identity.h"
#include "runtime/reactor.h"

/* Two that change at the same time: none is lost. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* log_view(): {level, rooms = a table of names and {level, own}, access, lost}. */
static int native_log_view(lua_State *L)
{
    struct log_levels levels;
    log_read_levels(&levels);
    lua_newtable(L);
    set_text(L, "level", log_level_name(levels.general));
    lua_newtable(L);
    for (unsigned room = 0; room < LOG_ROOM_COUNT; room++) {
        bool own = levels.rooms[room] != LOG_AS_GENERAL;
        lua_newtable(L);
        set_text(L, "level", log_level_name(own ? (enum log_level)levels.rooms[room] : levels.general));
        set_boolean(L, "own", own);
        lua_setfield(L, -2, log_room_name((enum log_room)room));
    }
    lua_setfield(L, -2, "rooms");
    set_boolean(L, "access", api_of(L)->reactor->config->log.access);
    set_number(L, "lost", (double)log_lost());
    return 1;
}

/* --- Changes --- */

struct change {
    struct log_levels levels;
    bool rooms[LOG_ROOM_COUNT], general; /* is changed */
};

#define LEVELS "\"debug\", \"info\", \"warn\" or \"error\""

static int shown(struct slice text)
{
    return (int)(text.length < 64 ? text.length : 64);
}

static bool read_level(struct slice value, enum log_level *out)
{
    return json_kind(value) == JSON_STRING && log_level_find(slice_from(value.data + 1, value.length - 2), out);
}

static enum code read_room(struct slice key, struct slice value, struct change *change, char error[ERROR_TEXT_BYTES])
{
    enum log_room room;
    enum log_level level = LOG_LEVEL_DEBUG;
    if (!log_room_find(key, &room)) {
        snprintf(error, ERROR_TEXT_BYTES, "rooms: there is no room \"%.*s\"; GET /admin/log shows them", shown(key),
                 key.data);
        return CODE_BAD_FIELD;
    }
    bool own = json_kind(value) != JSON_NULL;
    if (own && !read_level(value, &level)) {
        snprintf(error, ERROR_TEXT_BYTES, "rooms.%s: expected " LEVELS ", or null for the general level, got %.*s",
                 log_room_name(room), shown(value), value.data);
        return CODE_BAD_FIELD;
    }
    if (change->rooms[room]) {
        snprintf(error, ERROR_TEXT_BYTES, "rooms.%s is there twice", log_room_name(room));
        return CODE_DUPLICATE_FIELD;
    }
    change->rooms[room] = true;
    change->levels.rooms[room] = own ? (int8_t)level : LOG_AS_GENERAL;
    return CODE_OK;
}

static enum code read_rooms(struct slice json, struct change *change, char error[ERROR_TEXT_BYTES])
{
    struct slice key, value;
    enum code code = CODE_OK;
    if (json_kind(json) != JSON_OBJECT) {
        snprintf(error, ERROR_TEXT_BYTES, "rooms: expected an object such as {\"tls\": \"debug\"}, got %s",
                 json_kind_name(json_kind(json)));
        return CODE_BAD_FIELD;
    }
    for (struct slice rest = json; code == CODE_OK && json_next_member(&rest, &key, &value);)
        code = read_room(key, value, change, error);
    return code;
}

static enum code read_general(struct slice value, struct change *change, char error[ERROR_TEXT_BYTES])
{
    if (change->general) {
        snprintf(error, ERROR_TEXT_BYTES, "level is there twice");
        return CODE_DUPLICATE_FIELD;
    }
    change->general = true;
    if (read_level(value, &change->levels.general))
        return CODE_OK;
    snprintf(error, ERROR_TEXT_BYTES, "level: expected " LEVELS ", got %.*s", shown(value), value.data);
    return CODE_BAD_FIELD;
}

static enum code read_change(struct slice json, unsigned depth, struct change *change, char error[ERROR_TEXT_BYTES])
{
    struct slice key, value;
    bool rooms = false;
    enum code code = json_validate(json, depth, error);
    if (code != CODE_OK)
        return code;
    json = slice_trim_space(json);
    if (json_kind(json) != JSON_OBJECT) {
        snprintf(error, ERROR_TEXT_BYTES,
                 "expected an object such as {\"level\": \"info\", \"rooms\": {\"tls\": \"debug\"}}, got %s",
                 json_kind_name(json_kind(json)));
        return CODE_BAD_FIELD;
    }
    for (struct slice rest = json; code == CODE_OK && json_next_member(&rest, &key, &value);) {
        if (json_inside_equals(key, SLICE("level"))) {
            code = read_general(value, change, error);
        } else if (json_inside_equals(key, SLICE("rooms")) && !rooms) {
            rooms = true;
            code = read_rooms(value, change, error);
        } else {
            snprintf(error, ERROR_TEXT_BYTES,
                     rooms && json_inside_equals(key, SLICE("rooms"))
                         ? "%.*s is there twice"
                         : "expected level or rooms as a key, got \"%.*s\"",
                     shown(key), key.data);
            code = CODE_BAD_FIELD;
        }
    }
    return code;
}

static void change_levels(const struct change *change)
{
    struct log_levels levels;
    pthread_mutex_lock(&mutex);
    log_read_levels(&levels);
    if (change->general)
        levels.general = change->levels.general;
    for (unsigned room = 0; room < LOG_ROOM_COUNT; room++)
        if (change->rooms[room])
            levels.rooms[room] = change->levels.rooms[room];
    log_set_levels(&levels);
    pthread_mutex_unlock(&mutex);
}

static void tell_of_change(const struct identity *identity)
{
    struct slice who = identity ? identity->owner : SLICE("an administrator");
    log_warn(LOG, "levels_changed", "%.*s changes the levels of the log, until the next reload", (int)who.length,
             who.data);
}

/* order_log(): does what the body says, all of it or nothing. Nothing, or the status of a refusal. */
static int native_order_log(lua_State *L)
{
    struct api *api = api_of(L);
    struct change change = {0};
    char error[ERROR_TEXT_BYTES];
    enum code code = read_change(api->call->body, api->reactor->config->limits.json_depth, &change, error);
    if (code != CODE_OK)
        return api_push_status(L, code, slice_from_string(error));
    bool told = log_enabled(LOG_ROOM_LOG, LOG_LEVEL_WARN);
    if (told) /* whoever makes the log silent is seen to do it */
        tell_of_change(api->call->identity);
    change_levels(&change);
    if (!told)
        tell_of_change(api->call->identity);
    return 0;
}

const luaL_Reg api_log_functions[] = {
    {"log_view", native_log_view},
    {"order_log", native_order_log},
    {NULL, NULL},
};
