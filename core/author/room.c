/* A room is a userdata with a script's state, and a thread beside it that watches over the one whose hook runs. */
#include "author/room.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include <lauxlib.h>

#include "author/call.h"
#include "author/plain.h"
#include "base/clock.h"
#include "runtime/config/bundle.h"
#include "script/bounds/watchdog.h"
#include "script/hook.h"
#include "script/shared.h"
#include "script/wait/timer.h"

#define ROOM "luaduct.test.room"

/* Of luaduct.shared: the default of the config. */
#define SHARED_BYTES (16u << 20)

struct log_line {
    struct log_line *next;
    enum script_log_level level;
    size_t length;
    char text[];
};

/* One thread stops hooks that run over their budget, as the bridge's main thread does. */
static struct {
    pthread_t thread;
    pthread_mutex_t mutex;
    struct script_state *running; /* the state whose hook runs; NULL: none */
    bool started;
    atomic_bool ending;
} supervisor = {.mutex = PTHREAD_MUTEX_INITIALIZER};

struct room *room_check(lua_State *lua, int index)
{
    return luaL_checkudata(lua, index, ROOM);
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
    struct room *room = room_check(lua, 1);
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
    const struct timespec tick = {0, WATCHDOG_TICK_MS * 1000000L};
    while (!atomic_load(&supervisor.ending)) {
        pthread_mutex_lock(&supervisor.mutex);
        if (supervisor.running)
            watchdog_check(script_watchdog(supervisor.running), clock_steady_ns());
        pthread_mutex_unlock(&supervisor.mutex);
        nanosleep(&tick, NULL);
    }
    return NULL;
}

bool room_supervise(void)
{
    if (!supervisor.started) {
        atomic_store(&supervisor.ending, false);
        supervisor.started = watchdog_install() && pthread_create(&supervisor.thread, NULL, supervise, NULL) == 0;
    }
    return supervisor.started;
}

void room_watch(struct script_state *state)
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
    struct room *room = room_check(lua, 1);
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
                                           .folder = plain_text(lua, 1, "folder").data,
                                           .mode = mode,
                                           .budget_ms = (uint32_t)plain_number(lua, 1, "budgetMs", 50),
                                           .memory_limit = (uint64_t)plain_number(lua, 1, "memoryLimit", 64 << 20),
                                           .caching = ROUTE_CACHING_CHECKED,
                                           .log = keep_log,
                                           .log_context = room,
                                           .wake_fd = -1,
                                           .open_bundle = bundle_install};
    /* The collector sees a few bytes where a whole state is: those of earlier tests go now and then. */
    static unsigned opened;
    if (++opened % 16 == 0)
        lua_gc(lua, LUA_GCCOLLECT, 0);
    /* Each script begins with an empty luaduct.shared, so that no test depends on another. */
    shared_stop();
    bool shares = shared_start(SHARED_BYTES);
    char problem[4096] = "cannot watch over scripts";
    room->state = room_supervise() && shares ? script_state_new(&options, problem, sizeof problem) : NULL;
    if (!room->state) {
        lua_pushnil(lua);
        lua_pushstring(lua, problem);
        return 2;
    }
    script_start_timers(room->state);
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
    struct room *room = room_check(lua, 1);
    struct buffer list = {0};
    if (!room->state || !script_list_names(room->state, add_name, &list) || list.failed) {
        buffer_free(&list);
        return luaL_error(lua, "not enough memory");
    }
    lua_pushlstring(lua, list.data, list.length);
    buffer_free(&list);
    return 1;
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
    static const luaL_Reg methods[] = {
        {"take_log", take_log}, {"names", list_names}, {"close", close_room}, {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"open", open_room}, {"set_time", set_time}, {"ahead_ms", get_ahead}, {NULL, NULL}};
    luaL_newmetatable(lua, ROOM);
    lua_newtable(lua);
    luaL_register(lua, NULL, methods);
    call_add_methods(lua);
    lua_setfield(lua, -2, "__index");
    lua_pushcfunction(lua, close_room);
    lua_setfield(lua, -2, "__gc");
    lua_pop(lua, 1);
    lua_newtable(lua);
    luaL_register(lua, NULL, functions);
    plain_add_functions(lua);
    agents_add_functions(lua);
    return 1;
}
