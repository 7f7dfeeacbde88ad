/* What POST /admin/repl is given: a line for the repl, whose thread runs it; a call waits for it as it waits for work.
 */
#include <stdio.h>

#include "protocol/json/json.h"
#include "runtime/http/api/api_native.h"
#include "runtime/http/http_session.h"
#include "runtime/repl.h"

static enum code bad_field(char error[ERROR_TEXT_BYTES], const char *text)
{
    snprintf(error, ERROR_TEXT_BYTES, "%s", text);
    return CODE_BAD_FIELD;
}

static enum code read_session(struct slice value, struct repl_line *line, char error[ERROR_TEXT_BYTES])
{
    struct slice inside = json_kind(value) == JSON_STRING ? json_string_inside(value) : slice_from(NULL, 0);
    if (inside.length != UUID_LENGTH || json_has_escape(inside))
        return bad_field(error, "session: expected the text that an earlier answer gave");
    memcpy(line->session, inside.data, inside.length);
    return CODE_OK;
}

static enum code read_text(struct slice value, struct repl_line *line, char error[ERROR_TEXT_BYTES])
{
    struct slice inside = json_kind(value) == JSON_STRING ? json_string_inside(value) : slice_from(NULL, 0);
    char *room = NULL;
    if (!inside.data || inside.length > REPL_LINE_BYTES)
        return bad_field(error, "line: expected a text of at most 64 KiB");
    line->text.length = 0;
    room = buffer_reserve(&line->text, inside.length + 1);
    if (!room)
        return CODE_OVERLOADED;
    line->text.length = json_unescape(inside, room, NULL);
    return CODE_OK;
}

static enum code read_line(struct slice body, unsigned depth, struct repl_line *line, char error[ERROR_TEXT_BYTES])
{
    struct slice key, value;
    bool has_text = false;
    snprintf(error, ERROR_TEXT_BYTES, "out of memory");
    enum code code = json_validate(body, depth, error);
    body = slice_trim_space(body);
    if (code == CODE_OK && json_kind(body) != JSON_OBJECT)
        return bad_field(error, "expected an object such as {\"line\": \"agents()\"}");
    for (struct slice rest = body; code == CODE_OK && json_next_member(&rest, &key, &value);) {
        if (json_inside_equals(key, SLICE("session"))) {
            code = read_session(value, line, error);
        } else if (json_inside_equals(key, SLICE("line"))) {
            code = read_text(value, line, error);
            has_text = true;
        } else if (json_inside_equals(key, SLICE("end")) && json_kind(value) == JSON_TRUE) {
            line->ends = true;
        } else {
            code = bad_field(error, "expected line, session or \"end\": true as a member");
        }
    }
    if (code == CODE_OK && has_text == line->ends)
        return bad_field(error, "expected either line, or session and \"end\": true");
    return code;
}

static void answered_later(struct repl_line *line)
{
    struct api_call *call = line->owner;
    if (call)
        http_session_answered(call->connection);
    else /* whoever asked has gone */
        repl_line_free(line);
}

/* repl(): runs the line that the body says. A table {session, result, output, renewed, version, current}; or nil and
 * the status of a refusal. */
static int native_repl(lua_State *L)
{
    struct api *api = api_of(L);
    char error[ERROR_TEXT_BYTES];
    struct repl_line *line = repl_line_new();
    if (!line)
        return api_push_nil(L, CODE_OVERLOADED, SLICE("out of memory"));
    enum code code = read_line(api->call->body, api->reactor->config->limits.json_depth, line, error);
    if (code != CODE_OK) {
        repl_line_free(line);
        return api_push_nil(L, code, slice_from_string(error));
    }
    line->reactor = api->reactor;
    line->answered = answered_later;
    line->owner = api->call;
    api->call->repl = line;
    api->call->waits = true;
    repl_submit(line);
    return lua_yield(L, 0);
}

int api_repl_push_answer(lua_State *L, struct api_call *call)
{
    static const char *const results[] = {
        [PROMPT_DONE] = "done", [PROMPT_INCOMPLETE] = "incomplete", [PROMPT_FAILED] = "failed"};
    struct repl_line *line = call->repl; /* the call's until api_end: what is pushed may raise */
    if (line->code != CODE_OK)
        return api_push_nil(L, line->code, slice_from_string(line->error));
    lua_newtable(L);
    set_text(L, "session", line->session);
    set_text(L, "result", results[line->result]);
    lua_pushlstring(L, line->output.data ? line->output.data : "", line->output.length);
    lua_setfield(L, -2, "output");
    set_boolean(L, "renewed", line->renewed);
    set_number(L, "version", line->version);
    set_number(L, "current", line->current);
    return 1;
}

void api_repl_forget(struct api_call *call)
{
    if (call->repl && call->waits)
        call->repl->owner = NULL;
    else if (call->repl)
        repl_line_free(call->repl);
    call->repl = NULL;
}

const luaL_Reg api_repl_functions[] = {
    {"repl", native_repl},
    {NULL, NULL},
};
