/* A library is given out as an empty userdata whose metatable reads from the hidden table and refuses writes: rawset,
 * table.insert and setmetatable cannot touch it, and a read costs one table lookup more. Globals are a plain table for
 * each script, so what a script overwrites there only it sees.
 *
 * Replaced, with the reason at each function: xpcall, sort, coroutine.resume, wrap, yield and running, require, print,
 * collectgarbage, rawset; and string.find, match, gmatch, gsub by pattern.h. */
#include "script/sandbox.h"

#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

#include "script/binding/bridge.h"
#include "script/json_value.h"
#include "script/pattern/pattern.h"
#include "script/state.h"
#include "script/user_operation.h"
#include "script/wait/wait.h"

/* One log line of a script; the rest is cut. */
#define LOG_TEXT_BYTES 4096

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
    lua_pushnumber(lua, (lua_Number)(clock_wall_ms() / 1000));
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
    lua_pushnumber(lua, (double)lua_gc(lua, LUA_GCCOUNT, 0) + (double)lua_gc(lua, LUA_GCCOUNTB, 0) / 1024);
    return 1;
}

/* --- Log -------------------------------------------------------------------------------------------------------- */

/* Apart from what converts, so that a __tostring that logs does not pile up such buffers on the C stack. */
static __attribute__((noinline)) void write_log(lua_State *lua, struct script_state *state, enum script_log_level level,
                                                int count, char separator)
{
    char text[LOG_TEXT_BYTES];
    size_t length = 0;
    for (int i = 1; i <= count && length < sizeof text; i++) {
        size_t piece_length;
        const char *piece = lua_tolstring(lua, i, &piece_length);
        if (i > 1)
            text[length++] = separator;
        if (piece_length > sizeof text - length)
            piece_length = sizeof text - length;
        memcpy(text + length, piece, piece_length);
        length += piece_length;
    }
    state->log(state->log_context, level, slice_from(text, length));
}

/* tostring of every argument, joined. The values are converted first: a __tostring may call log functions itself. */
static void log_arguments(lua_State *lua, enum script_log_level level, char separator)
{
    struct script_state *state = state_of(lua);
    state_check_depth(lua, state);
    if (state->inert && (state->loading || !state->reads_only))
        return;
    int count = lua_gettop(lua);
    luaL_checkstack(lua, count + 4, "too many arguments");
    for (int i = 1; i <= count; i++) {
        if (lua_type(lua, i) == LUA_TSTRING)
            continue;
        lua_getfield(lua, LUA_REGISTRYINDEX, "luaduct.tostring");
        lua_pushvalue(lua, i);
        lua_call(lua, 1, 1);
        if (lua_type(lua, -1) != LUA_TSTRING)
            luaL_error(lua, "tostring must give a string");
        lua_replace(lua, i);
    }
    write_log(lua, state, level, count, separator);
}

static int print_to_log(lua_State *lua)
{
    log_arguments(lua, SCRIPT_LOG_INFO, '\t');
    return 0;
}

static int log_at_level(lua_State *lua)
{
    log_arguments(lua, (enum script_log_level)lua_tointeger(lua, lua_upvalueindex(1)), ' ');
    return 0;
}

/* --- Sorting ---------------------------------------------------------------------------------------------------- */

/* Heap sort: never quadratic whatever the data or a wrong comparison, no recursion, and it looks at the stop flag,
 * which LuaJIT's own sort of numbers (all in C) does not. */
static bool sorts_before(lua_State *lua, struct script_state *state, int a, int b)
{
    state_check_stop(lua, state);
    if (lua_isnil(lua, 2))
        return lua_lessthan(lua, a, b);
    lua_pushvalue(lua, 2);
    lua_pushvalue(lua, a);
    lua_pushvalue(lua, b);
    lua_call(lua, 2, 1);
    bool before = lua_toboolean(lua, -1);
    lua_pop(lua, 1);
    return before;
}

/* Lets the value on top of the stack sink from `root` in the heap t[1..count], and pops it. */
static void sift_down(lua_State *lua, struct script_state *state, int root, int count)
{
    int value = lua_gettop(lua);
    for (int child; (child = 2 * root) <= count; root = child) {
        lua_rawgeti(lua, 1, child);
        if (child < count) {
            lua_rawgeti(lua, 1, child + 1);
            if (sorts_before(lua, state, value + 1, value + 2)) {
                child++;
                lua_remove(lua, value + 1);
            } else {
                lua_pop(lua, 1);
            }
        }
        if (!sorts_before(lua, state, value, value + 1)) {
            lua_pop(lua, 1);
            break;
        }
        lua_rawseti(lua, 1, root);
    }
    lua_rawseti(lua, 1, root);
}

static int sort_table(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    state_check_depth(lua, state);
    luaL_checktype(lua, 1, LUA_TTABLE);
    if (!lua_isnoneornil(lua, 2))
        luaL_checktype(lua, 2, LUA_TFUNCTION);
    lua_settop(lua, 2);
    luaL_checkstack(lua, 8, NULL);
    if (lua_objlen(lua, 1) > INT32_MAX / 2)
        return luaL_error(lua, "the table is too big to sort");
    int count = (int)lua_objlen(lua, 1);
    for (int root = count / 2; root >= 1; root--) {
        lua_rawgeti(lua, 1, root);
        sift_down(lua, state, root, count);
    }
    for (int last = count; last > 1; last--) {
        lua_rawgeti(lua, 1, last);
        lua_rawgeti(lua, 1, 1);
        lua_rawseti(lua, 1, last);
        sift_down(lua, state, 1, last - 1);
    }
    return 0;
}

/* --- Coroutines ------------------------------------------------------------------------------------------------- */

/* Resumes the coroutine at stack index 1 with all above it. Leaves its results (or its error) above index 1 and returns
 * their number, negative when it failed. LuaJIT counts no depth here: without the count, coroutines that make
 * coroutines overflow the C stack. */
static int resume(lua_State *lua, lua_State *coroutine)
{
    state_check_depth(lua, state_of(lua));
    int arguments = lua_gettop(lua) - 1;
    const char *refusal = NULL;
    lua_Debug record;
    if (coroutine == lua)
        refusal = "cannot resume running coroutine";
    else if (lua_status(coroutine) == 0 && lua_getstack(coroutine, 0, &record) > 0)
        refusal = "cannot resume non-suspended coroutine";
    else if (lua_status(coroutine) == 0 && lua_gettop(coroutine) == 0)
        refusal = "cannot resume dead coroutine";
    else if (lua_status(coroutine) > LUA_YIELD)
        refusal = "cannot resume dead coroutine";
    else if (!lua_checkstack(coroutine, arguments + 1))
        refusal = "too many arguments to resume";
    if (refusal) {
        lua_settop(lua, 1);
        lua_pushstring(lua, refusal);
        return -1;
    }
    lua_xmove(lua, coroutine, arguments);
    int status = lua_resume(coroutine, arguments);
    if (status != 0 && status != LUA_YIELD) {
        lua_xmove(coroutine, lua, 1);
        return -1;
    }
    int results = lua_gettop(coroutine);
    if (!lua_checkstack(lua, results + 2)) {
        lua_settop(coroutine, 0);
        lua_pushliteral(lua, "too many results to resume");
        return -1;
    }
    lua_xmove(coroutine, lua, results);
    return results;
}

static int coroutine_resume(lua_State *lua)
{
    lua_State *coroutine = lua_tothread(lua, 1);
    luaL_argcheck(lua, coroutine, 1, "coroutine expected");
    int results = resume(lua, coroutine);
    lua_pushboolean(lua, results >= 0);
    lua_replace(lua, 1);
    return lua_gettop(lua);
}

static int coroutine_wrapped(lua_State *lua)
{
    lua_State *coroutine = lua_tothread(lua, lua_upvalueindex(1));
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_insert(lua, 1);
    if (resume(lua, coroutine) < 0) {
        if (lua_type(lua, -1) == LUA_TSTRING) { /* say where it was called, as the stock one does */
            luaL_where(lua, 1);
            lua_insert(lua, -2);
            lua_concat(lua, 2);
        }
        return lua_error(lua);
    }
    return lua_gettop(lua) - 1;
}

static int coroutine_create(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TFUNCTION);
    lua_State *coroutine = lua_newthread(lua);
    lua_pushvalue(lua, 1);
    lua_xmove(lua, coroutine, 1);
    return 1;
}

static int coroutine_wrap(lua_State *lua)
{
    coroutine_create(lua);
    lua_pushcclosure(lua, coroutine_wrapped, 1);
    return 1;
}

static int coroutine_yield(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    if (lua == state->coroutine || lua == state->lua)
        return luaL_error(lua, "coroutine.yield: a hook cannot yield; only a coroutine that it made itself can");
    return lua_yield(lua, lua_gettop(lua));
}

/* The hook's own coroutine is the bridge's: scripts see it as the main thread, which is nil in Lua 5.1. */
static int coroutine_running(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    if (lua == state->coroutine || lua == state->lua || lua_pushthread(lua))
        lua_pushnil(lua);
    return 1;
}

/* --- Modules ---------------------------------------------------------------------------------------------------- */

/* Names are words of letters, digits, _ and - joined by dots, so that none leads out of the folder. */
static bool module_name_valid(const char *name, size_t length)
{
    bool word_open = false;
    for (size_t i = 0; i < length; i++) {
        char byte = name[i];
        bool word = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
                    byte == '_' || byte == '-';
        if (!word && (byte != '.' || !word_open))
            return false;
        word_open = word;
    }
    return word_open;
}

/* Upvalue 1: the script's number. Files are read only while scripts are loaded, because a hook must not wait for a
 * disk; what is loaded then is there later. */
static int require_module(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    state_check_depth(lua, state);
    const struct script *script = &state->scripts[lua_tointeger(lua, lua_upvalueindex(1))];
    size_t length;
    const char *name = luaL_checklstring(lua, 1, &length);
    lua_settop(lua, 1);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, script->modules);
    lua_getfield(lua, 2, name);
    if (lua_type(lua, 3) == LUA_TLIGHTUSERDATA)
        return luaL_error(lua, "require: \"%s\" requires itself", name);
    if (!lua_isnil(lua, 3))
        return 1;
    if (!module_name_valid(name, length))
        return luaL_error(lua, "require: \"%s\" is no module name: letters, digits, _ and -, joined by dots", name);
    if (!state->loading)
        return luaL_error(lua, "require: \"%s\" must be loaded when the script is: call require at the top of the file",
                          name);
    luaL_gsub(lua, name, ".", "/");
    lua_pushfstring(lua, "%s/%s.lua", script->folder, lua_tostring(lua, -1));
    lua_pushlightuserdata(lua, state); /* marks it as being loaded */
    lua_setfield(lua, 2, name);
    sandbox_load_file(lua, script, lua_tostring(lua, -1));
    lua_pushvalue(lua, 1);
    lua_call(lua, 1, 1);
    if (lua_isnil(lua, -1)) {
        lua_pop(lua, 1);
        lua_pushboolean(lua, 1);
    }
    lua_pushvalue(lua, -1);
    lua_setfield(lua, 2, name);
    return 1;
}

void sandbox_load_file(lua_State *lua, const struct script *script, const char *path)
{
    struct slice text;
    const char *problem;
    if (!sources_text(script->sources, path, &text, &problem))
        luaL_error(lua, "%s: %s", path, problem);
    lua_pushfstring(lua, "@%s", path);
    /* As text only: bytecode is not verified. */
    int status = luaL_loadbufferx(lua, text.data, text.length, lua_tostring(lua, -1), "t");
    /* The second: behind a first line that begins with #. */
    if (status != 0 &&
        (strstr(lua_tostring(lua, -1), "wrong mode") || strstr(lua_tostring(lua, -1), "malformed bytecode")))
        luaL_error(lua, "%s: this is bytecode; a script is text", path);
    if (status != 0)
        lua_error(lua);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, script->environment);
    lua_setfenv(lua, -2);
    lua_remove(lua, -2);
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

static void set_functions(lua_State *lua, const luaL_Reg *functions)
{
    for (; functions->name; functions++) {
        lua_pushcfunction(lua, functions->func);
        lua_setfield(lua, -2, functions->name);
    }
}

static const char *const base_names[] = {"assert",   "error",        "ipairs",       "next", "pairs",  "pcall",
                                         "select",   "tonumber",     "tostring",     "type", "unpack", "rawget",
                                         "rawequal", "setmetatable", "getmetatable", NULL};
static const luaL_Reg base_functions[] = {
    {"rawset", set_raw}, {"collectgarbage", count_garbage}, {"print", print_to_log}, {NULL, NULL}};

static const luaL_Reg coroutine_functions[] = {{"create", coroutine_create},   {"resume", coroutine_resume},
                                               {"wrap", coroutine_wrap},       {"yield", coroutine_yield},
                                               {"running", coroutine_running}, {NULL, NULL}};

/* Key in the registry of the table that environments start as. */
#define GLOBALS_KEY "luaduct.globals"

/* luaduct.gc() gives the heap in bytes: a full cycle follows after the hook, at most one a second. */
static int ask_to_collect(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    uint64_t now = clock_steady_ns();
    if (state->collector.asked_ns == 0 || now - state->collector.asked_ns >= 1000000000u) {
        state->collector.asked_ns = now;
        script_order_cycle(state, true);
    }
    lua_pushnumber(lua, (lua_Number)atomic_load_explicit(&state->heap_bytes, memory_order_relaxed));
    return 1;
}

static void open_luaduct(lua_State *lua)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"}; /* in the order of script_log_level */
    lua_newtable(lua);
    lua_newtable(lua);
    for (int i = 0; i < 4; i++) {
        lua_pushinteger(lua, i);
        lua_pushcclosure(lua, log_at_level, 1);
        lua_setfield(lua, -2, levels[i]);
    }
    protect(lua, "luaduct.log");
    lua_setfield(lua, -2, "log");
    lua_newtable(lua);
    lua_pushcfunction(lua, wait_execute);
    lua_setfield(lua, -2, "execute");
    lua_pushcfunction(lua, user_operation_register);
    lua_setfield(lua, -2, "register");
    protect(lua, "luaduct.workers");
    lua_setfield(lua, -2, "workers");
    shared_binding_push(lua);
    protect(lua, "luaduct.shared");
    lua_setfield(lua, -2, "shared");
    lua_pushcfunction(lua, wait_sleep);
    lua_setfield(lua, -2, "sleep");
    lua_pushcfunction(lua, timer_after);
    lua_setfield(lua, -2, "after");
    lua_pushcfunction(lua, timer_every);
    lua_setfield(lua, -2, "every");
    lua_pushcfunction(lua, object_pool_make);
    lua_setfield(lua, -2, "pool");
    lua_pushcfunction(lua, json_value_array);
    lua_setfield(lua, -2, "array");
    lua_pushlightuserdata(lua, NULL); /* what lua-cjson gives for null */
    lua_setfield(lua, -2, "null");
    lua_pushcfunction(lua, ask_to_collect);
    lua_setfield(lua, -2, "gc");
}

void sandbox_open(lua_State *lua, struct script_state *state)
{
    static const char *const string_names[] = {"byte", "char",  "format", "len",   "lower",  "rep",  "reverse",
                                               "sub",  "upper", "find",   "match", "gmatch", "gsub", NULL};
    static const char *const table_names[] = {"concat", "insert", "maxn", "remove", NULL};
    static const char *const os_names[] = {"clock", NULL};
    static const char *const coroutine_names[] = {"status", NULL};

    lua_getglobal(lua, "tostring");
    lua_setfield(lua, LUA_REGISTRYINDEX, "luaduct.tostring");

    lua_newtable(lua);
    int globals = lua_gettop(lua);
    copy_functions(lua, NULL, base_names);
    set_functions(lua, base_functions);
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
    lua_pushcfunction(lua, sort_table);
    lua_setfield(lua, -2, "sort");
    protect(lua, "table");
    lua_setfield(lua, globals, "table");

    lua_newtable(lua);
    copy_functions(lua, "os", os_names);
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
    set_functions(lua, coroutine_functions);
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
    protect(lua, "math");
    lua_setfield(lua, environment, "math");
    lua_pushinteger(lua, script - state->scripts);
    lua_pushcclosure(lua, require_module, 1);
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
