/* The prompt's globals, and what they are made of; line.c runs the lines. */
#include "script/prompt/line.h"

#include <stdio.h>
#include <stdlib.h>

#include "protocol/registration.h"
#include "script/binding/bridge.h"
#include "script/json_value.h"
#include "script/state/sandbox.h"

/* --- What the line calls ------------------------------------------------------------------------------------------ */

static void put_name(lua_State *lua, struct buffer *out, const char *name)
{
    struct slice text = {NULL, 0};
    lua_getfield(lua, 2, name);
    if (lua_type(lua, -1) == LUA_TSTRING)
        text.data = lua_tolstring(lua, -1, &text.length);
    if (!text.data || !identifier_valid(text))
        luaL_error(lua, "sender.%s: expected a name (string), got %s", name,
                   text.data ? "another string" : state_value_name(lua, -1));
    buffer_append_slice(out, text);
    buffer_append(out, "", 1);
    lua_pop(lua, 1);
}

/* route(fields, sender or nil): a table; or nil and why the bridge would refuse the envelope. repl.lua makes more of
 * it.
 */
static int ask_route(lua_State *lua)
{
    struct prompt *prompt = prompt_of(lua);
    struct script_state *state = prompt->state;
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_settop(lua, 2);
    if (lua != prompt->line || !lua_isyieldable(lua))
        return luaL_error(lua, "route: call it in the line itself, not in a coroutine or a callback");
    prompt->asked.json.length = prompt->asked.sender.length = 0;
    buffer_append_slice(&prompt->asked.json, json_value_encode(lua, state, 1, JSON_WANT_ANY, "envelope"));
    prompt->asked.has_sender = lua_istable(lua, 2);
    if (prompt->asked.has_sender) {
        put_name(lua, &prompt->asked.sender, "id");
        put_name(lua, &prompt->asked.sender, "role");
        lua_getfield(lua, 2, "labels");
        if (!lua_istable(lua, -1))
            return luaL_error(lua, "sender.labels: expected a list, got %s", state_value_name(lua, -1));
        buffer_append_slice(&prompt->asked.sender, json_value_encode(lua, state, -1, JSON_WANT_ARRAY, "sender.labels"));
    }
    if (prompt->asked.json.failed || prompt->asked.sender.failed) {
        buffer_free(&prompt->asked.json);
        buffer_free(&prompt->asked.sender);
        return luaL_error(lua, "not enough memory");
    }
    prompt->asked.pending = true;
    return lua_yield(lua, 0);
}

/* describe(value): what a decision of this line says, as a script writes it; nil: it is none */
static int describe(lua_State *lua)
{
    struct script_state *state = state_of(lua);
    uintptr_t handle = lua_type(lua, 1) == LUA_TLIGHTUSERDATA ? (uintptr_t)lua_touserdata(lua, 1) : 0;
    unsigned tag = handle & ((1u << HANDLE_TAG_BITS) - 1);
    if (handle == 0 || handle >> HANDLE_TAG_BITS != state->generation || tag >= state->item_count)
        return 0;
    static _Thread_local struct decision one; /* large, and of this thread alone */
    struct buffer text = {0};
    one.count = 1;
    one.items[0] = state->made.items[tag];
    decision_write(&text, &one);
    size_t length = text.length < 4096 ? text.length : 4096;
    char copy[4096]; /* pushing may raise, and the buffer is not Lua's */
    if (length > 0)
        memcpy(copy, text.data, length);
    buffer_free(&text);
    lua_pushliteral(lua, "bridge.");
    lua_pushlstring(lua, copy, length);
    lua_concat(lua, 2);
    return 1;
}

/* --- Life -----------------------------------------------------------------------------------------------------------
 */

/* A global that the prompt has not: the scripts', the first that has one. Their metatables are not asked. */
static int find_global(lua_State *lua)
{
    const struct script_state *state = state_of(lua);
    lua_settop(lua, 2);
    for (size_t i = 0; i + 1 < state->script_count; i++) {
        lua_rawgeti(lua, LUA_REGISTRYINDEX, state->scripts[i].environment);
        lua_pushvalue(lua, 2);
        lua_rawget(lua, -2);
        if (!lua_isnil(lua, -1))
            return 1;
        lua_pop(lua, 2);
    }
    return 0;
}

/* `environment`: the index of the prompt's globals. */
static void push_native(lua_State *lua, int environment)
{
    static const luaL_Reg functions[] = {
        {"route", ask_route}, {"describe", describe}, {"array", json_value_array}, {NULL, NULL}};
    lua_newtable(lua);
    lua_getfield(lua, environment, "print");
    lua_setfield(lua, -2, "print");
    luaL_register(lua, NULL, functions);
    bridge_binding_push(lua);
    lua_setfield(lua, -2, "bridge");
}

static int install(lua_State *lua)
{
    struct prompt *prompt = lua_touserdata(lua, 1);
    struct script_state *state = prompt->state;
    struct script *own = &state->scripts[state->script_count]; /* the place for one more */
    luaL_checkstack(lua, 40, NULL);
    own->folder = state->scripts[0].folder ? state->scripts[0].folder : (char *)".";
    own->sources = state->sources;
    sandbox_make_environment(lua, state, own);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, own->environment);
    int environment = lua_gettop(lua);
    if (state->script_count > 1) { /* the first script's luaduct has its luaduct.state */
        lua_rawgeti(lua, LUA_REGISTRYINDEX, state->scripts[0].environment);
        lua_pushliteral(lua, "luaduct");
        lua_rawget(lua, -2);
        lua_setfield(lua, environment, "luaduct");
        lua_pop(lua, 1);
    }
    lua_getglobal(lua, "require");
    lua_pushliteral(lua, "luaduct.repl");
    lua_call(lua, 1, 1);
    push_native(lua, environment);
    lua_call(lua, 1, 2); /* the globals, and the function that shows values */
    prompt->show = luaL_ref(lua, LUA_REGISTRYINDEX);
    for (lua_pushnil(lua); lua_next(lua, -2); lua_pop(lua, 1)) {
        lua_pushvalue(lua, -2);
        lua_pushvalue(lua, -2);
        lua_rawset(lua, environment);
    }
    lua_settop(lua, environment);
    lua_createtable(lua, 0, 2);
    lua_pushcfunction(lua, find_global);
    lua_setfield(lua, -2, "__index");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_setmetatable(lua, environment);
    return 0;
}

struct prompt *prompt_open(const struct prompt_options *options, char *error, size_t error_size)
{
    struct prompt *prompt = calloc(1, sizeof *prompt);
    if (!prompt) {
        snprintf(error, error_size, "not enough memory");
        return NULL;
    }
    struct script_options made = options->script;
    made.inert = made.reads_only = true;
    made.jit = false; /* a compiled loop could not be stopped */
    made.switched = NULL;
    made.caching = ROUTE_CACHING_OFF; /* whoever asks wants the script's answer */
    made.breaker = (struct breaker_rules){0};
    made.log = prompt_hear;
    made.log_context = prompt;
    prompt->drops_on_error = options->drops_on_error;
    prompt->rules = (struct message_rules){.depth = options->json_depth, .lenient = options->lenient};
    prompt->state = script_state_new(&made, error, error_size);
    if (!prompt->state) {
        free(prompt);
        return NULL;
    }
    if (lua_cpcall(prompt->state->lua, install, prompt) != 0) {
        const char *message =
            lua_type(prompt->state->lua, -1) == LUA_TSTRING ? lua_tostring(prompt->state->lua, -1) : NULL;
        snprintf(error, error_size, "%s", message ? message : "not enough memory");
        prompt_close(prompt);
        return NULL;
    }
    return prompt;
}

void prompt_close(struct prompt *prompt)
{
    if (!prompt)
        return;
    script_state_free(prompt->state);
    buffer_free(&prompt->asked.json);
    buffer_free(&prompt->asked.sender);
    free(prompt);
}

struct watchdog *prompt_watchdog(struct prompt *prompt)
{
    return script_watchdog(prompt->state);
}
