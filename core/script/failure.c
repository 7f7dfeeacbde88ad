/* Everything here writes into fixed buffers: after a script has used up its memory there is no Lua string to be had. */
#include "script/failure.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "script/state/state.h"

/* Failures of one state that are logged in a second; the others are counted. A script that fails on each of 100,000
 * messages a second must not fill a disk. */
#define FAILURES_PER_SECOND 10

/* Frames of a traceback: what an endless recursion looks like is clear from these. */
#define TRACEBACK_LEVELS 20

struct text {
    char *data;
    size_t length, size;
};

static __attribute__((format(printf, 2, 3))) void put(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text->data + text->length, text->size - text->length, format, arguments);
    va_end(arguments);
    if (length > 0)
        text->length += (size_t)length < text->size - text->length ? (size_t)length : text->size - text->length - 1;
}

/* `script.lua:12: ` of the innermost Lua function; where a tail call has left none on the stack, of the hook's first
 * line. */
static void put_place(struct text *text, lua_State *lua, const struct script_state *state, int hook_reference)
{
    lua_Debug record;
    for (int level = 0; level < TRACEBACK_LEVELS && lua_getstack(lua, level, &record); level++) {
        lua_getinfo(lua, "Sl", &record);
        if (record.currentline > 0) {
            put(text, "%s:%d: ", record.short_src, record.currentline);
            return;
        }
    }
    if (hook_reference == LUA_NOREF)
        return;
    lua_rawgeti(state->lua, LUA_REGISTRYINDEX, hook_reference);
    lua_getinfo(state->lua, ">S", &record);
    put(text, "%s:%d: ", record.short_src, record.linedefined);
}

/* Whether the first line names a place already: `:12:` somewhere in it. */
static bool has_place(const char *message)
{
    for (; *message && *message != '\n'; message++) {
        if (*message != ':')
            continue;
        size_t digits = strspn(message + 1, "0123456789");
        if (digits > 0 && message[1 + digits] == ':')
            return true;
    }
    return false;
}

static void put_traceback(struct text *text, lua_State *lua)
{
    lua_Debug record;
    put(text, "\nstack traceback:");
    int level = 0;
    for (; level < TRACEBACK_LEVELS && lua_getstack(lua, level, &record); level++) {
        lua_getinfo(lua, "Snl", &record);
        put(text, "\n\t%s:", record.short_src);
        if (record.currentline > 0)
            put(text, "%d:", record.currentline);
        if (record.name && *record.name)
            put(text, " in function '%s'", record.name);
        else if (*record.what == 'm')
            put(text, " in main chunk");
        else if (*record.what != 'C')
            put(text, " in function <%s:%d>", record.short_src, record.linedefined);
    }
    if (level == TRACEBACK_LEVELS && lua_getstack(lua, level, &record))
        put(text, "\n\t...");
}

static struct text begin(enum script_hook hook, char *buffer, size_t size)
{
    struct text text = {buffer, 0, size};
    put(&text, "%s failed: ", script_hook_name(hook));
    return text;
}

static void log_failure(struct script_state *state, enum script_hook hook, const struct text *text)
{
    count_up(&state->counts[hook].errors);
    state->overran = false;
    uint64_t now = clock_steady_ns();
    if (now - state->failure_window_ns >= 1000000000u) {
        state->failure_window_ns = now;
        state->failures_logged = 0;
        if (state->failures_unlogged > 0) {
            char note[96];
            int length = snprintf(note, sizeof note, "%llu more failures of hooks were not logged",
                                  (unsigned long long)state->failures_unlogged);
            state->failures_unlogged = 0;
            state->log(state->log_context, SCRIPT_LOG_ERROR, slice_from(note, (size_t)length));
        }
    }
    if (state->failures_logged < FAILURES_PER_SECOND) {
        state->failures_logged++;
        state->log(state->log_context, SCRIPT_LOG_ERROR, slice_from(text->data, text->length));
    } else {
        state->failures_unlogged++;
    }
}

void failure_stop(lua_State *lua, lua_Debug *record)
{
    struct script_state *state = state_of(lua);
    if (!state->stop_noted) {
        state->stop_noted = true;
        struct text text = {state->stop_text, 0, sizeof state->stop_text};
        put_place(&text, lua, state, LUA_NOREF);
        put(&text, "stopped: it ran longer than %u ms", state->budget_ms);
        put_traceback(&text, lua);
    }
    lua_getinfo(lua, "Sl", record);
    luaL_error(lua, "%s:%d: stopped: it ran longer than %d ms", record->short_src, record->currentline,
               (int)state->budget_ms);
}

static void put_failure(struct text *text, const struct script_state *state, int hook_reference, lua_State *lua,
                        bool stopped)
{
    const char *message = NULL;
    if (stopped && state->stop_noted) {
        put(text, "%s", state->stop_text);
        return;
    }
    if (lua_gettop(lua) > 0 && lua_type(lua, -1) == LUA_TSTRING)
        message = lua_tostring(lua, -1);
    if (stopped && (!message || !strstr(message, "stopped"))) { /* it came to its end in that very moment */
        put_place(text, lua, state, hook_reference);
        put(text, "stopped: it ran longer than %u ms", state->budget_ms);
    } else {
        if (!message || !has_place(message))
            put_place(text, lua, state, hook_reference);
        if (message)
            put(text, "%.1024s", message);
        else if (lua == state->lua) /* not the script's own error: there was no memory to begin with */
            put(text, "not enough memory");
        else
            put(text, "an error that is %s", lua_gettop(lua) > 0 ? state_value_name(lua, -1) : "nil");
    }
    put_traceback(text, lua);
}

void failure_describe(const struct script_state *state, lua_State *lua, bool stopped, char *out, size_t size)
{
    struct text text = {out, 0, size};
    put_failure(&text, state, LUA_NOREF, lua, stopped);
}

void failure_report(struct script_state *state, enum script_hook hook, int hook_reference, lua_State *lua, bool stopped)
{
    char buffer[FAILURE_TEXT_BYTES];
    struct text text = begin(hook, buffer, sizeof buffer);
    if (stopped)
        count_up(&state->counts[hook].overruns);
    put_failure(&text, state, hook_reference, lua, stopped);
    log_failure(state, hook, &text);
    state->overran = stopped;
}

void failure_report_waiting(struct script_state *state, enum script_hook hook, int hook_reference, lua_State *coroutine,
                            const char *why)
{
    char buffer[FAILURE_TEXT_BYTES];
    struct text text = begin(hook, buffer, sizeof buffer);
    put_place(&text, coroutine, state, hook_reference);
    put(&text, "%s", why);
    put_traceback(&text, coroutine);
    log_failure(state, hook, &text);
}

void failure_report_mistake(struct script_state *state, enum script_hook hook, lua_State *lua, int function,
                            const char *mistake)
{
    char buffer[FAILURE_TEXT_BYTES];
    struct text text = begin(hook, buffer, sizeof buffer);
    lua_Debug record;
    lua_pushvalue(lua, function);
    lua_getinfo(lua, ">S", &record);
    put(&text, "%s:%d: %s", record.short_src, record.linedefined, mistake);
    put(&text, "\nstack traceback:\n\t%s:%d: in function '%s'", record.short_src, record.linedefined,
        script_hook_name(hook));
    log_failure(state, hook, &text);
}
