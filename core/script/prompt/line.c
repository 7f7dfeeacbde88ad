/* A line runs in a coroutine of its own, as a hook does. route() yields it: calls into Lua do not nest (the watchdog
 * counts them), so the scripts' hooks run between two stretches of the line, and what came of them is what route()
 * returns. */
#include "script/prompt/line.h"

#include "script/binding/bridge.h"
#include "script/call.h"
#include "script/failure.h"
#include "script/prompt/question.h"
#include "workers/value_lua.h"

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
void prompt_hear(void *context, enum script_log_level level, struct slice text)
{
    static const char *const names[] = {
        [SCRIPT_LOG_DEBUG] = "debug: ", [SCRIPT_LOG_INFO] = "", [SCRIPT_LOG_WARN] = "warn: ", [SCRIPT_LOG_ERROR] = ""};
    struct prompt *prompt = context;
    if (!prompt->out)
        return;
    append_clean(prompt, slice_from_string(names[level]));
    append_line(prompt, text);
}

/* --- Lines -------------------------------------------------------------------------------------------------------- */

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
    stretch->answer = NULL;
    buffer_free(&answer);
    return good;
}

/* Runs the function in the line's coroutine to its end. */
static bool run_line(struct prompt *prompt, struct stretch *stretch, struct hook_coroutine *hooks)
{
    struct script_state *state = prompt->state;
    for (;;) {
        bool stopped;
        int status = call_run(state, HOOK_COUNT, stretch->count, &stopped);
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
