/* A line runs in a coroutine of its own, as a hook does. route() yields it: calls into Lua do not nest (the watchdog
 * counts them), so the scripts' hooks run between two stretches of the line, and what came of them is what route()
 * returns. */
#include "script/prompt/prompt.h"

#include <stdio.h>
#include <stdlib.h>

#include "protocol/registration.h"
#include "script/binding/bridge.h"
#include "script/call.h"
#include "script/failure.h"
#include "script/json_value.h"
#include "script/load.h"
#include "script/prompt/question.h"
#include "script/sandbox.h"
#include "script/state.h"
#include "workers/value_lua.h"

struct prompt {
    struct script_state *state;
    bool drops_on_error;
    struct message_rules rules;
    int show; /* registry reference: makes text of values */

    /* While a line runs. */
    struct buffer *out;
    size_t out_limit; /* out->length may reach it */
    bool cut;
    lua_State *line;
    uint64_t deadline_ns;
    struct {
        bool pending;
        struct buffer json, sender; /* the envelope's fields; id, role and labels with NUL behind each */
        bool has_sender;
    } asked;
};

static struct prompt *prompt_of(lua_State *lua)
{
    return state_of(lua)->log_context;
}

/* --- Output ------------------------------------------------------------------------------------------------------- */

/* Control characters, of C1 too, as a reader of Lua knows them. */
static void append_clean(struct prompt *prompt, struct slice text)
{
    const unsigned char *data = (const unsigned char *)text.data;
    for (size_t at = 0; at < text.length && !prompt->cut; at++) {
        unsigned char byte = data[at];
        bool c1 = byte == 0xc2 && at + 1 < text.length && data[at + 1] >= 0x80 && data[at + 1] < 0xa0;
        if (prompt->out->length + 16 > prompt->out_limit) {
            buffer_append_slice(prompt->out, SLICE("… (cut)"));
            prompt->cut = true;
        } else if (byte == '\t') {
            buffer_append_slice(prompt->out, SLICE("    "));
        } else if ((byte < 0x20 && byte != '\n') || byte == 0x7f) {
            buffer_append_format(prompt->out, "\\%03u", byte);
        } else if (c1) {
            buffer_append_format(prompt->out, "\\%03u\\%03u", byte, data[++at]);
        } else {
            buffer_append(prompt->out, data + at, 1);
        }
    }
}

static void append_line(struct prompt *prompt, struct slice text)
{
    append_clean(prompt, text);
    append_clean(prompt, SLICE("\n"));
}

/* print, luaduct.log, and how hooks fail. */
static void hear(void *context, enum script_log_level level, struct slice text)
{
    static const char *const names[] = {
        [SCRIPT_LOG_DEBUG] = "debug: ", [SCRIPT_LOG_INFO] = "", [SCRIPT_LOG_WARN] = "warn: ", [SCRIPT_LOG_ERROR] = ""};
    struct prompt *prompt = context;
    if (!prompt->out)
        return;
    append_clean(prompt, slice_from_string(names[level]));
    append_line(prompt, text);
}

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

/* --- Lines ---------------------------------------------------------------------------------------------------------
 */

struct stretch {
    struct prompt *prompt;
    struct slice text;
    const struct buffer *answer;
    int reference; /* of the coroutine; LUA_NOREF: none */
    bool incomplete;
    int count; /* values pushed to it */
};

static bool ends_early(lua_State *lua)
{
    size_t length;
    const char *message = lua_tolstring(lua, -1, &length);
    static const char end[] = "'<eof>'";
    return message && length >= sizeof end - 1 && strcmp(message + length - (sizeof end - 1), end) == 0;
}

static int pass_values(lua_State *lua)
{
    return lua_gettop(lua);
}

/* As text only: bytecode is not verified. */
static int compile(lua_State *lua, const char *before, struct slice text, const char *behind)
{
    size_t length;
    lua_pushstring(lua, before);
    lua_pushlstring(lua, text.data, text.length);
    lua_pushstring(lua, behind);
    lua_concat(lua, 3);
    const char *source = lua_tolstring(lua, -1, &length);
    int status = luaL_loadbufferx(lua, source, length, "=repl", "t");
    lua_remove(lua, -2);
    return status;
}

/* On the main stack, protected: the line's function, moved to a coroutine of its own. */
static int load_line(lua_State *lua)
{
    struct stretch *stretch = lua_touserdata(lua, 1);
    struct prompt *prompt = stretch->prompt;
    struct slice text = stretch->text;
    bool expression = text.length > 0 && text.data[0] == '=';
    if (expression)
        text = slice_from(text.data + 1, text.length - 1);
    luaL_checkstack(lua, 20, NULL);
    int status = compile(lua, "return ", text, "");
    if (status == 0) {
        expression = true; /* but `return f()` would leave no trace of the line where f fails */
        const char *end = memmem(text.data, text.length, "--", 2) ? "\n)" : ")"; /* errors name the last line */
        status = compile(lua, "local values = ... return values(", text, end);
    } else if (status == LUA_ERRSYNTAX && !expression && !ends_early(lua)) {
        lua_pop(lua, 1);
        status = compile(lua, "", text, "");
    }
    stretch->incomplete = status == LUA_ERRSYNTAX && ends_early(lua);
    if (stretch->incomplete)
        return 0;
    if (status != 0)
        lua_error(lua);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, prompt->state->scripts[prompt->state->script_count].environment);
    lua_setfenv(lua, -2);
    lua_State *line = lua_newthread(lua);
    lua_insert(lua, -2);
    lua_xmove(lua, line, 1);
    if (expression) {
        lua_pushcfunction(lua, pass_values);
        lua_xmove(lua, line, 1);
        stretch->count = 1;
    }
    stretch->reference = luaL_ref(lua, LUA_REGISTRYINDEX);
    prompt->line = line;
    return 0;
}

/* On the main stack, protected: what route() returns, moved to the line. */
static int push_answer(lua_State *lua)
{
    struct stretch *stretch = lua_touserdata(lua, 1);
    const struct value *value = (const struct value *)(const void *)stretch->answer->data;
    lua_settop(lua, 0);
    luaL_checkstack(lua, 20, NULL);
    if (stretch->answer->failed)
        luaL_error(lua, "not enough memory");
    lua_rawgeti(lua, LUA_REGISTRYINDEX, stretch->prompt->state->array_reference);
    if (value->kind == VALUE_STRING)
        lua_pushnil(lua);
    value_to_lua(lua, value, 1);
    stretch->count = lua_gettop(lua) - 1;
    if (!lua_checkstack(stretch->prompt->line, stretch->count + LUA_MINSTACK))
        luaL_error(lua, "not enough memory");
    lua_xmove(lua, stretch->prompt->line, stretch->count);
    return 0;
}

/* On the main stack, protected: the function that shows values, put before those that the line gave. */
static int push_show(lua_State *lua)
{
    struct prompt *prompt = prompt_of(lua);
    if (!lua_checkstack(prompt->line, LUA_MINSTACK))
        luaL_error(lua, "not enough memory");
    lua_rawgeti(lua, LUA_REGISTRYINDEX, prompt->show);
    lua_xmove(lua, prompt->line, 1);
    lua_insert(prompt->line, 1);
    return 0;
}

static void say_failure(struct prompt *prompt, lua_State *lua, bool stopped)
{
    char text[FAILURE_TEXT_BYTES];
    failure_describe(prompt->state, lua, stopped, text, sizeof text);
    append_line(prompt, slice_from_string(text));
}

/* An error on the main stack, where no line of Lua has run. */
static void say_problem(struct prompt *prompt)
{
    lua_State *lua = prompt->state->lua;
    bool is_text = lua_gettop(lua) > 0 && lua_type(lua, -1) == LUA_TSTRING;
    append_line(prompt, is_text ? slice_from_string(lua_tostring(lua, -1)) : SLICE("not enough memory"));
}

static bool protect(struct prompt *prompt, lua_CFunction function, void *context)
{
    struct script_state *state = prompt->state;
    state->ceiling = state->memory_limit;
    bool good = lua_cpcall(state->lua, function, context) == 0;
    state->ceiling = state->memory_limit + STATE_RESERVE_BYTES;
    if (!good)
        say_problem(prompt);
    lua_settop(state->lua, 0);
    return good;
}

struct hook_coroutine {
    lua_State *coroutine;
    int reference;
};

static struct hook_coroutine exchange(struct script_state *state, struct hook_coroutine with)
{
    struct hook_coroutine before = {state->coroutine, state->coroutine_reference};
    state->coroutine = with.coroutine;
    state->coroutine_reference = with.reference;
    return before;
}

static void answer_question(struct prompt *prompt, struct buffer *out)
{
    struct script_sender sender = {0};
    struct question question = {.state = prompt->state,
                                .envelope = slice_from(prompt->asked.json.data, prompt->asked.json.length),
                                .rules = prompt->rules,
                                .drops_on_error = prompt->drops_on_error,
                                .deadline_ns = prompt->deadline_ns};
    if (prompt->asked.has_sender) {
        const char *id = prompt->asked.sender.data, *role = id + strlen(id) + 1, *labels = role + strlen(role) + 1;
        const char *end = prompt->asked.sender.data + prompt->asked.sender.length;
        sender.id = slice_from_string(id);
        sender.role = slice_from_string(role);
        sender.labels = slice_from(labels, (size_t)(end - labels));
        question.sender = &sender;
    }
    question_answer(&question, out);
}

/* Between two stretches of the line: false when it cannot go on, and why is said. */
static bool answer_line(struct prompt *prompt, struct stretch *stretch)
{
    struct script_state *state = prompt->state;
    struct buffer answer = {0};
    bool good = true;
    stretch->count = 0;
    if (clock_steady_ns() > prompt->deadline_ns) {
        append_line(prompt, SLICE("repl: stopped: the line took longer than five seconds"));
        return false;
    }
    if (!prompt->asked.pending) { /* luaduct.sleep takes no time here */
        state->asks = false;
        wait_forget_request(&state->asked);
        return true;
    }
    prompt->asked.pending = false;
    answer_question(prompt, &answer);
    call_next_generation(state);
    stretch->answer = &answer;
    good = protect(prompt, push_answer, stretch);
    buffer_free(&answer);
    return good;
}

/* Runs the function in the line's coroutine to its end. */
static bool run_line(struct prompt *prompt, struct stretch *stretch, struct hook_coroutine *hooks)
{
    struct script_state *state = prompt->state;
    for (;;) {
        bool stopped;
        int status = call_run(state, stretch->count, &stopped);
        if (status == 0 && !stopped)
            return true;
        if (status != LUA_YIELD || stopped || !(prompt->asked.pending || state->asks)) {
            if (status == LUA_YIELD) {
                lua_settop(prompt->line, 0);
                lua_pushliteral(prompt->line, "not enough memory");
            }
            say_failure(prompt, prompt->line, stopped);
            return false;
        }
        struct hook_coroutine line = exchange(state, *hooks);
        bool good = answer_line(prompt, stretch);
        *hooks = exchange(state, line);
        if (!good)
            return false;
    }
}

/* What the line gave, as text. */
static bool show_values(struct prompt *prompt, struct stretch *stretch, struct hook_coroutine *hooks)
{
    int count = lua_gettop(prompt->line);
    if (count == 0)
        return true;
    if (!protect(prompt, push_show, NULL))
        return false;
    stretch->count = count;
    if (!run_line(prompt, stretch, hooks))
        return false;
    if (lua_type(prompt->line, 1) == LUA_TSTRING) {
        struct slice text;
        text.data = lua_tolstring(prompt->line, 1, &text.length);
        append_line(prompt, text);
    }
    return true;
}

static int collect(lua_State *lua)
{
    lua_gc(lua, LUA_GCCOLLECT, 0);
    return 0;
}

static void end_line(struct prompt *prompt, struct stretch *stretch)
{
    struct script_state *state = prompt->state;
    luaL_unref(state->lua, LUA_REGISTRYINDEX, stretch->reference);
    prompt->line = NULL;
    prompt->asked.pending = false;
    state->asks = state->stop_noted = false;
    wait_forget_request(&state->asked);
    bridge_release_views(state);
    lua_settop(state->lua, 0);
    lua_cpcall(state->lua, collect, NULL); /* a line that filled the memory leaves the next one what it needs */
    lua_settop(state->lua, 0);
}

enum prompt_result prompt_run(struct prompt *prompt, struct slice text, struct buffer *out)
{
    struct script_state *state = prompt->state;
    struct stretch stretch = {.prompt = prompt, .text = text, .reference = LUA_NOREF};
    prompt->out = out;
    prompt->out_limit = out->length + PROMPT_OUTPUT_BYTES;
    prompt->cut = false;
    prompt->deadline_ns = clock_steady_ns() + PROMPT_LINE_MS * UINT64_C(1000000);
    call_begin(state);
    state->envelope = NULL;
    state->envelope_handle = 0;
    bool good = protect(prompt, load_line, &stretch);
    if (good && !stretch.incomplete) {
        struct hook_coroutine hooks = exchange(state, (struct hook_coroutine){prompt->line, LUA_NOREF});
        call_next_generation(state);
        good = run_line(prompt, &stretch, &hooks) && show_values(prompt, &stretch, &hooks);
        exchange(state, hooks);
    }
    end_line(prompt, &stretch);
    prompt->out = NULL;
    return stretch.incomplete ? PROMPT_INCOMPLETE : good ? PROMPT_DONE : PROMPT_FAILED;
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
    lua_newtable(lua);
    lua_getfield(lua, environment, "print");
    lua_setfield(lua, -2, "print");
    lua_pushcfunction(lua, ask_route);
    lua_setfield(lua, -2, "route");
    lua_pushcfunction(lua, describe);
    lua_setfield(lua, -2, "describe");
    lua_pushcfunction(lua, json_value_array);
    lua_setfield(lua, -2, "array");
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
    made.switched = NULL;
    made.breaker = (struct breaker_rules){0};
    made.log = hear;
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
