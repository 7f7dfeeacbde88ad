/* What can be told apart from outside is told: fields, agents, clocks, random numbers, whatever sends, waits or shares.
 * What a script keeps in variables of its own cannot: that it does not change is the author's word. */
#include "script/pure/declaration.h"

#include <ctype.h>
#include <stdio.h>

#include "script/version/kept_state.h"

/* The fields that decisions can be kept by: those with a text that several envelopes share. */
static const enum field eligible[] = {FIELD_TO,      FIELD_INTENT,   FIELD_FROM,    FIELD_ROLE,
                                      FIELD_CHANNEL, FIELD_PRIORITY, FIELD_TASK_ID, FIELD_REPLY_TO};
#define ELIGIBLE_COUNT (sizeof eligible / sizeof *eligible)
#define ELIGIBLE_TEXT "to, intent, from, role, channel, priority, taskId, replyTo or sender"

static const char *const changing[] = {"openTasks", "messageCount", "errorCount", "lastSeen"};

/* --- Reading ------------------------------------------------------------------------------------------------------ */

/* The line of the last `cache =` of the file: 0 when there is none, as where the table is put together elsewhere. */
static int find_line(const struct script *script)
{
    struct slice text;
    const char *problem;
    int line = 1, found = 0;
    if (!sources_text(script->sources, script->path, &text, &problem))
        return 0;
    for (size_t i = 0; i < text.length; i++) {
        static const char word[] = "cache";
        size_t end = i + sizeof word - 1;
        line += text.data[i] == '\n';
        if (end >= text.length || memcmp(text.data + i, word, sizeof word - 1) != 0 ||
            (i > 0 && (isalnum((unsigned char)text.data[i - 1]) || text.data[i - 1] == '_')))
            continue;
        while (end < text.length && (text.data[end] == ' ' || text.data[end] == '\t'))
            end++;
        if (end + 1 < text.length && text.data[end] == '=' && text.data[end + 1] != '=')
            found = line;
    }
    return found;
}

static int refuse(lua_State *lua, const struct script *script, const char *text)
{
    int line = script->path ? find_line(script) : 0;
    const char *path = script->path ? script->path : "the mode";
    if (line > 0)
        return luaL_error(lua, "%s:%d: cache: %s", path, line, text);
    return luaL_error(lua, "%s: cache: %s", path, text);
}

/* Pushes the eligible name that was probably meant, or nil. */
static void push_suggestion(lua_State *lua, int name)
{
    lua_getglobal(lua, "require");
    lua_pushliteral(lua, "luaduct.config.suggest");
    lua_call(lua, 1, 1);
    lua_getfield(lua, -1, "among");
    lua_pushvalue(lua, name);
    lua_newtable(lua);
    for (size_t i = 0; i < ELIGIBLE_COUNT; i++) {
        lua_pushlstring(lua, field_name(eligible[i]).data, field_name(eligible[i]).length);
        lua_rawseti(lua, -2, (int)i + 1);
    }
    lua_pushliteral(lua, "sender");
    lua_rawseti(lua, -2, (int)ELIGIBLE_COUNT + 1);
    lua_call(lua, 2, 1);
    lua_remove(lua, -2);
}

static int refuse_name(lua_State *lua, const struct script *script, int index)
{
    if (lua_type(lua, index) != LUA_TSTRING)
        return refuse(lua, script,
                      lua_pushfstring(lua, "expected names of fields, got %s", state_value_name(lua, index)));
    struct slice name;
    name.data = lua_tolstring(lua, index, &name.length);
    enum field field = field_from_name(name);
    if (field == FIELD_ID || field == FIELD_TIMESTAMP)
        return refuse(lua, script,
                      lua_pushfstring(lua, "\"%s\" is another in each envelope; expected " ELIGIBLE_TEXT, name.data));
    if (field != FIELD_UNKNOWN)
        return refuse(lua, script,
                      lua_pushfstring(lua, "decisions are not kept by \"%s\"; expected " ELIGIBLE_TEXT, name.data));
    push_suggestion(lua, index);
    if (lua_type(lua, -1) == LUA_TSTRING)
        return refuse(lua, script,
                      lua_pushfstring(lua, "an envelope has no field \"%s\", did you mean \"%s\"?", name.data,
                                      lua_tostring(lua, -1)));
    return refuse(lua, script,
                  lua_pushfstring(lua, "an envelope has no field \"%s\"; expected " ELIGIBLE_TEXT, name.data));
}

/* The bit of the name at that index; 0: decisions cannot be kept by it. */
static uint32_t eligible_bit(lua_State *lua, int index)
{
    struct slice name = {NULL, 0};
    if (lua_type(lua, index) == LUA_TSTRING)
        name.data = lua_tolstring(lua, index, &name.length);
    if (slice_equal(name, SLICE("sender")))
        return 1u << CACHE_SENDER;
    for (size_t i = 0; name.data && i < ELIGIBLE_COUNT; i++)
        if (slice_equal(name, field_name(eligible[i])))
            return 1u << eligible[i];
    return 0;
}

void declaration_read(lua_State *lua, struct script_state *state, struct script *script)
{
    lua_pushliteral(lua, "cache");
    lua_rawget(lua, -2);
    if (lua_isnil(lua, -1)) {
        lua_pop(lua, 1);
        return;
    }
    int list = lua_gettop(lua);
    if (script->hooks[HOOK_ROUTE] == LUA_NOREF)
        refuse(lua, script, "there is no route whose decisions could be kept");
    if (!lua_istable(lua, list))
        refuse(lua, script,
               lua_pushfstring(lua, "expected a list of fields, as {\"to\", \"intent\"}, got %s",
                               state_value_name(lua, list)));
    size_t length = lua_objlen(lua, list), count = 0;
    for (lua_pushnil(lua); lua_next(lua, list); lua_pop(lua, 1))
        count++;
    if (count != length)
        refuse(lua, script, "expected a list of fields, as {\"to\", \"intent\"}, got a table with other keys");
    for (size_t i = 1; i <= length; i++) {
        lua_rawgeti(lua, list, (int)i);
        uint32_t bit = eligible_bit(lua, list + 1);
        if (bit == 0)
            refuse_name(lua, script, list + 1);
        script->declared |= bit;
        lua_settop(lua, list);
    }
    lua_pop(lua, 1);
    script->declares = true;
    state->declaring++;
    if (script->path)
        kept_state_guard(lua, script);
}

/* --- While it runs ------------------------------------------------------------------------------------------------ */

/* `{"to", "intent"}`, as it was declared but for the order. */
static void write_declared(const struct script *script, char *out, size_t size)
{
    size_t length = (size_t)snprintf(out, size, "{");
    for (unsigned field = 0; field < CACHE_COUNT; field++)
        if (script->declared >> field & 1)
            length += (size_t)snprintf(out + length, size - length, "%s\"%s\"", length > 1 ? ", " : "",
                                       field == CACHE_SENDER ? "sender" : field_name((enum field)field).data);
    snprintf(out + length, size - length, "}");
}

#define DECLARED_BYTES 128 /* all of them */

int declaration_refuse(lua_State *lua, const struct script_state *state, const char *what)
{
    char declared[DECLARED_BYTES];
    write_declared(state->pure, declared, sizeof declared);
    return luaL_error(lua,
                      "%s: not in a route that declares cache = %s: its decisions are kept, so it may do nothing "
                      "but decide, by these fields",
                      what, declared);
}

int declaration_refuse_field(lua_State *lua, const struct script_state *state, const char *name, bool assigned)
{
    char declared[DECLARED_BYTES];
    write_declared(state->pure, declared, sizeof declared);
    if (assigned)
        return luaL_error(lua,
                          "envelope.%s: a route that declares cache = %s cannot change the envelope, because its "
                          "decisions are kept",
                          name, declared);
    lua_pushstring(lua, name);
    bool could = eligible_bit(lua, -1) != 0;
    return luaL_error(lua,
                      could ? "envelope.%s: this route declares cache = %s: declare \"%s\" too, or no cache"
                            : "envelope.%s: this route declares cache = %s, and decisions cannot be kept by "
                              "\"%s\": leave it alone, or declare no cache",
                      name, declared, name);
}

/* agent, name */
static int read_hidden(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    const char *name = lua_type(lua, 2) == LUA_TSTRING ? lua_tostring(lua, 2) : "";
    for (size_t i = 0; state->pure && i < sizeof changing / sizeof *changing; i++) {
        if (strcmp(name, changing[i]) != 0)
            continue;
        char what[32];
        snprintf(what, sizeof what, "agent.%s", name);
        return declaration_refuse(lua, state, what);
    }
    lua_pushnil(lua);
    return 1;
}

void declaration_hide_counts(lua_State *lua)
{
    for (size_t i = 0; i < sizeof changing / sizeof *changing; i++) {
        lua_pushnil(lua);
        lua_setfield(lua, -2, changing[i]);
    }
    lua_createtable(lua, 0, 2);
    lua_pushcfunction(lua, read_hidden);
    lua_setfield(lua, -2, "__index");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_setmetatable(lua, -2);
}

void declaration_mark_random(const struct script *script, struct random_mark *mark)
{
    if (script->random)
        memcpy(mark->bytes, script->random, sizeof mark->bytes);
}

bool declaration_random_used(const struct script *script, const struct random_mark *mark)
{
    return script->random && memcmp(mark->bytes, script->random, sizeof mark->bytes) != 0;
}
