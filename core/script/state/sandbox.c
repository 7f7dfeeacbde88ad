/* A library is given out as an empty userdata whose metatable reads from the hidden table and refuses writes: rawset,
 * table.insert and setmetatable cannot touch it, and a read costs one table lookup more. Globals are a plain table for
 * each script, so what a script overwrites there only it sees.
 *
 * Replaced, with the reason at each function: xpcall, collectgarbage, rawset, os.time and os.date here; in library/
 * table.sort, coroutine.create, resume, wrap, yield and running, require and print; in pattern/ string.find, match,
 * gmatch and gsub. */
#include "script/state/sandbox.h"

#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "script/binding/bridge.h"
#include "script/json_value.h"
#include "script/library/library.h"
#include "script/pattern/pattern.h"
#include "script/pure/declaration.h"
#include "script/state/state.h"
#include "script/user_operation.h"
#include "script/wait/wait.h"

/* --- Base functions --------------------------------------------------------------------------------------------- */

/* LuaJIT runs an error handler before it unwinds and with hooks off, so a handler that loops could not be stopped. This
 * one runs after unwinding, like any other code; a handler that fails gives its own error as the result. */
static const char xpcall_source[] = "local pcall = ...\n"
                                    "local function finish(handler, ok, ...)\n"
                                    "    if ok then return true, ... end\n"
                                    "    local _, message = pcall(handler, ...)\n"
                                    "    return false, message\n"
                                    "end\n"
                                    "return function(f, handler, ...)\n"
                                    "    return finish(handler, pcall(f, ...))\n"
                                    "end\n";

/* os.time and os.date ask the bridge's clock for the time now, so that a test of a script can set it. */
static const char time_source[] = "local time, date, now = ...\n"
                                  "return function(at) return at == nil and now() or time(at) end,\n"
                                  "    function(format, at) return date(format, at or now()) end\n";

static int wall_seconds(lua_State *lua)
{
    declaration_check(lua, "the time now");
    int64_t seconds = clock_wall_ms() / 1000;
    lua_pushnumber(lua, (lua_Number)seconds);
    return 1;
}

/* os.clock: processor time in seconds */
static int processor_seconds(lua_State *lua)
{
    declaration_check(lua, "os.clock");
    lua_pushnumber(lua, (lua_Number)clock() / CLOCKS_PER_SEC);
    return 1;
}

static int set_raw(lua_State *lua)
{
    if (lua_type(lua, 1) == LUA_TUSERDATA || lua_type(lua, 1) == LUA_TLIGHTUSERDATA)
        return luaL_error(lua, "rawset: %s is read-only", state_value_name(lua, 1));
    luaL_checktype(lua, 1, LUA_TTABLE);
    luaL_checkany(lua, 2);
    luaL_checkany(lua, 3);
    lua_settop(lua, 3);
    lua_rawset(lua, 1);
    return 1;
}

static int count_garbage(lua_State *lua)
{
    if (strcmp(luaL_optstring(lua, 1, ""), "count") != 0)
        return luaL_error(lua,
                          "collectgarbage: only collectgarbage(\"count\") is there; the bridge collects by itself");
    declaration_check(lua, "collectgarbage");
    lua_pushnumber(lua, (double)lua_gc(lua, LUA_GCCOUNT, 0) + (double)lua_gc(lua, LUA_GCCOUNTB, 0) / 1024);
    return 1;
}

/* --- The whole -------------------------------------------------------------------------------------------------- */

static int refuse_write(lua_State *lua)
{
    return luaL_error(lua, "%s is read-only", lua_tostring(lua, lua_upvalueindex(1)));
}

/* Replaces the table on top of the stack by its read-only face. */
static void protect(lua_State *lua, const char *name)
{
    lua_newuserdata(lua, 0);
    lua_createtable(lua, 0, 3);
    lua_pushvalue(lua, -3);
    lua_setfield(lua, -2, "__index");
    lua_pushstring(lua, name);
    lua_pushcclosure(lua, refuse_write, 1);
    lua_setfield(lua, -2, "__newindex");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_setmetatable(lua, -2);
    lua_remove(lua, -2);
}

/* Copies the listed functions of the stock library (a global; NULL: the globals themselves) to the table on top. */
static void copy_functions(lua_State *lua, const char *library, const char *const *names)
{
    lua_getglobal(lua, library ? library : "_G");
    for (; *names; names++) {
        lua_getfield(lua, -1, *names);
        lua_setfield(lua, -3, *names);
    }
    lua_pop(lua, 1);
}

static const char *const base_names[] = {"assert",   "error",        "ipairs",       "next", "pairs",  "pcall",
                                         "select",   "tonumber",     "tostring",     "type", "unpack", "rawget",
                                         "rawequal", "setmetatable", "getmetatable", NULL};
static const luaL_Reg base_functions[] = {
    {"rawset", set_raw}, {"collectgarbage", count_garbage}, {"print", library_print}, {NULL, NULL}};

/* Key in the registry of the table that environments start as. */
#define GLOBALS_KEY "luaduct.globals"

/* luaduct.gc() gives the heap in bytes: a full cycle follows after the hook, at most one a second. */
static int ask_to_collect(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    declaration_check(lua, "luaduct.gc");
    uint64_t now = clock_steady_ns();
    if (state->collector.asked_ns == 0 || now - state->collector.asked_ns >= 1000000000u) {
        state->collector.asked_ns = now;
        script_order_cycle(state, true);
    }
    lua_pushnumber(lua, (lua_Number)atomic_load_explicit(&state->heap_bytes, memory_order_relaxed));
    return 1;
}

static const luaL_Reg worker_functions[] = {
    {"execute", wait_execute}, {"register", user_operation_register}, {NULL, NULL}};
static const luaL_Reg luaduct_functions[] = {{"sleep", wait_sleep},
                                             {"after", timer_after},
                                             {"every", timer_every},
                                             {"pool", object_pool_make},
                                             {"array", json_value_array},
                                             {"gc", ask_to_collect},
                                             {NULL, NULL}};

static void open_luaduct(lua_State *lua)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"}; /* in the order of script_log_level */
    lua_newtable(lua);
    lua_newtable(lua);
    for (int i = 0; i < 4; i++) {
        lua_pushinteger(lua, i);
        lua_pushcclosure(lua, library_log, 1);
        lua_setfield(lua, -2, levels[i]);
    }
    protect(lua, "luaduct.log");
    lua_setfield(lua, -2, "log");
    lua_newtable(lua);
    luaL_register(lua, NULL, worker_functions);
    protect(lua, "luaduct.workers");
    lua_setfield(lua, -2, "workers");
    shared_binding_push(lua);
    protect(lua, "luaduct.shared");
    lua_setfield(lua, -2, "shared");
    luaL_register(lua, NULL, luaduct_functions);
    lua_pushlightuserdata(lua, NULL); /* what lua-cjson gives for null */
    lua_setfield(lua, -2, "null");
}

void sandbox_open(lua_State *lua, struct script_state *state)
{
    static const char *const string_names[] = {"byte", "char",  "format", "len",   "lower",  "rep",  "reverse",
                                               "sub",  "upper", "find",   "match", "gmatch", "gsub", NULL};
    static const char *const table_names[] = {"concat", "insert", "maxn", "remove", NULL};
    static const char *const coroutine_names[] = {"status", NULL};

    lua_getglobal(lua, "tostring");
    lua_setfield(lua, LUA_REGISTRYINDEX, "luaduct.tostring");

    lua_newtable(lua);
    int globals = lua_gettop(lua);
    copy_functions(lua, NULL, base_names);
    luaL_register(lua, NULL, base_functions);
    if (luaL_loadbuffer(lua, xpcall_source, sizeof xpcall_source - 1, "=xpcall") != 0)
        lua_error(lua);
    lua_getglobal(lua, "pcall");
    lua_call(lua, 1, 1);
    lua_setfield(lua, globals, "xpcall");

    lua_newtable(lua);
    copy_functions(lua, "string", string_names);
    pattern_install(lua, lua_gettop(lua), &state->watchdog.stop);
    /* ("x"):rep() finds the same functions, and nobody finds the metatable. */
    lua_pushliteral(lua, "");
    lua_getmetatable(lua, -1);
    lua_pushvalue(lua, -3);
    lua_setfield(lua, -2, "__index");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_pop(lua, 2);
    protect(lua, "string");
    lua_setfield(lua, globals, "string");

    lua_newtable(lua);
    copy_functions(lua, "table", table_names);
    lua_pushcfunction(lua, library_sort);
    lua_setfield(lua, -2, "sort");
    protect(lua, "table");
    lua_setfield(lua, globals, "table");

    lua_newtable(lua);
    lua_pushcfunction(lua, processor_seconds);
    lua_setfield(lua, -2, "clock");
    if (luaL_loadbuffer(lua, time_source, sizeof time_source - 1, "=os") != 0)
        lua_error(lua);
    lua_getglobal(lua, "os");
    lua_getfield(lua, -1, "time");
    lua_getfield(lua, -2, "date");
    lua_remove(lua, -3);
    lua_pushcfunction(lua, wall_seconds);
    lua_call(lua, 3, 2);
    lua_setfield(lua, -3, "date");
    lua_setfield(lua, -2, "time");
    protect(lua, "os");
    lua_setfield(lua, globals, "os");

    lua_newtable(lua);
    copy_functions(lua, "coroutine", coroutine_names);
    luaL_register(lua, NULL, library_coroutines);
    protect(lua, "coroutine");
    lua_setfield(lua, globals, "coroutine");

    lua_getglobal(lua, "bit");
    protect(lua, "bit");
    lua_setfield(lua, globals, "bit");

    object_pool_open(lua, state);
    timer_open(lua);
    open_luaduct(lua);
    protect(lua, "luaduct");
    lua_setfield(lua, globals, "luaduct");

    lua_setfield(lua, LUA_REGISTRYINDEX, GLOBALS_KEY);
}

void sandbox_make_environment(lua_State *lua, struct script_state *state, struct script *script)
{
    lua_newtable(lua);
    int environment = lua_gettop(lua);
    lua_getfield(lua, LUA_REGISTRYINDEX, GLOBALS_KEY);
    lua_pushnil(lua);
    while (lua_next(lua, -2)) {
        lua_pushvalue(lua, -2);
        lua_insert(lua, -2);
        lua_rawset(lua, environment);
    }
    /* Opened anew, because its functions share the state of math.random: a seed is a script's own. */
    lua_pushcfunction(lua, luaopen_math);
    lua_call(lua, 0, 1);
    lua_newtable(lua); /* a copy: the next opening writes over what this one gave */
    for (lua_pushnil(lua); lua_next(lua, -3); lua_pop(lua, 1)) {
        lua_pushvalue(lua, -2);
        lua_pushvalue(lua, -2);
        lua_rawset(lua, -5);
    }
    lua_getfield(lua, -1, "random");
    if (lua_getupvalue(lua, -1, 1)) { /* the generator's state, which all of them share */
        if (lua_type(lua, -1) == LUA_TUSERDATA && lua_objlen(lua, -1) >= SCRIPT_RANDOM_BYTES) {
            script->random = lua_touserdata(lua, -1);
            luaL_ref(lua, LUA_REGISTRYINDEX);
        } else {
            lua_pop(lua, 1);
        }
    }
    lua_pop(lua, 1);
    protect(lua, "math");
    lua_setfield(lua, environment, "math");
    lua_pushinteger(lua, script - state->scripts);
    lua_pushcclosure(lua, library_require, 1);
    lua_setfield(lua, environment, "require");
    lua_settop(lua, environment);
    script->environment = luaL_ref(lua, LUA_REGISTRYINDEX);
    lua_newtable(lua);
    script->modules = luaL_ref(lua, LUA_REGISTRYINDEX);
}

/* --- Names -------------------------------------------------------------------------------------------------------- */

struct listing {
    struct script_state *state;
    void (*found)(void *context, const char *name);
    void *context;
};

/* Of the table on top of the stack, or of the one behind a read-only face; pops it. */
static void list_names(lua_State *lua, const struct listing *listing, const char *prefix)
{
    luaL_checkstack(lua, 8, NULL);
    if (lua_type(lua, -1) == LUA_TUSERDATA && lua_getmetatable(lua, -1)) {
        lua_getfield(lua, -1, "__index");
        lua_replace(lua, -3);
        lua_pop(lua, 1);
    }
    lua_pushnil(lua);
    while (lua_istable(lua, -2) && lua_next(lua, -2)) {
        if (lua_type(lua, -2) == LUA_TSTRING) {
            const char *name = lua_pushfstring(lua, "%s%s", prefix, lua_tostring(lua, -2));
            if (lua_type(lua, -2) == LUA_TUSERDATA) {
                const char *inner = lua_pushfstring(lua, "%s.", name);
                lua_pushvalue(lua, -3);
                list_names(lua, listing, inner);
                lua_pop(lua, 1);
            } else {
                listing->found(listing->context, name);
            }
            lua_pop(lua, 1);
        }
        lua_pop(lua, 1);
    }
    if (lua_istable(lua, -1) && lua_getmetatable(lua, -1)) { /* a script's own `luaduct`, before the one of all */
        lua_getfield(lua, -1, "__index");
        list_names(lua, listing, prefix);
        lua_pop(lua, 1);
    }
    lua_pop(lua, 1);
}

static int list_all(lua_State *lua)
{
    const struct listing *listing = lua_touserdata(lua, 1);
    const struct script *script = &listing->state->scripts[0];
    if (script->path) {
        lua_rawgeti(lua, LUA_REGISTRYINDEX, script->environment);
        list_names(lua, listing, "");
    }
    lua_rawgeti(lua, LUA_REGISTRYINDEX, script->bridge);
    list_names(lua, listing, "bridge.");
    return 0;
}

bool script_list_names(struct script_state *state, void (*found)(void *context, const char *name), void *context)
{
    struct listing listing = {state, found, context};
    bool done = lua_cpcall(state->lua, list_all, &listing) == 0;
    lua_settop(state->lua, 0);
    return done;
}
