#include "author/questions.h"

#include <stdlib.h>

#include <lauxlib.h>

#include "author/plain.h"
#include "protocol/envelope.h"

static void set_number(lua_State *lua, const char *name, double number)
{
    lua_pushnumber(lua, number);
    lua_setfield(lua, -2, name);
}

void questions_push(lua_State *lua, const struct script_request *request)
{
    int count = 0;
    lua_createtable(lua, (int)request->question_count, 0);
    for (const struct script_question *question = request->questions; question; question = question->next) {
        lua_createtable(lua, 0, 5);
        lua_createtable(lua, (int)question->agent_count, 0);
        for (unsigned i = 0; i < question->agent_count; i++) {
            plain_push_text(lua, question->agents[i]);
            lua_rawseti(lua, -2, (int)i + 1);
        }
        lua_setfield(lua, -2, "to");
        plain_push_text(lua, frame_envelope(question->frame));
        lua_setfield(lua, -2, "envelope");
        set_number(lua, "timeoutMs", question->timeout_ms);
        set_number(lua, "retries", question->retries);
        set_number(lua, "backoffMs", question->backoff_ms);
        lua_rawseti(lua, -2, ++count);
    }
    lua_setfield(lua, -2, "questions");
    set_number(lua, "needed", request->needed);
    lua_pushboolean(lua, request->gathers);
    lua_setfield(lua, -2, "gathers");
}

/* NULL: *error says why. */
static struct frame *build_reply(struct slice json, char error[ERROR_TEXT_BYTES])
{
    struct message_rules rules = {.depth = VALUE_DEPTH_MAXIMUM};
    struct text_store store = {0};
    struct envelope envelope;
    char timestamp[CLOCK_ISO_LENGTH];
    struct envelope_defaults defaults = {.timestamp = timestamp};
    struct frame *frame = NULL;
    clock_format_iso(clock_wall_ms(), timestamp);
    if (envelope_scan(json, &rules, &store, &envelope, error) == CODE_OK)
        frame = envelope_build(&envelope, &defaults, FRAME_ENVELOPE);
    text_store_free(&store);
    return frame;
}

static enum code read_code(struct slice name)
{
    for (int code = 0; name.data && code < CODE_COUNT; code++)
        if (slice_equal(slice_from_string(code_name((enum code)code)), name))
            return (enum code)code;
    return CODE_OK;
}

/* The list on top of the stack. */
static void read_missing(lua_State *lua, struct replies *replies)
{
    unsigned count = (unsigned)lua_objlen(lua, -1);
    for (unsigned i = 0; i < count; i++) {
        lua_rawgeti(lua, -1, (int)i + 1);
        int one = lua_gettop(lua);
        replies->missing[i] = (struct script_missing){.agent = plain_text(lua, one, "to"),
                                                      .index = (unsigned)plain_number(lua, one, "index", 1),
                                                      .code = read_code(plain_text(lua, one, "code")),
                                                      .text = plain_text(lua, one, "text")};
        lua_pop(lua, 1);
    }
    replies->answer.missing = replies->missing;
    replies->answer.missing_count = count;
}

struct replies *questions_read_replies(lua_State *lua, int index, const struct script_request *request)
{
    char error[ERROR_TEXT_BYTES] = "not enough memory";
    luaL_checktype(lua, index, LUA_TTABLE);
    lua_getfield(lua, index, "replies");
    lua_getfield(lua, index, "missing");
    luaL_checktype(lua, -2, LUA_TTABLE);
    luaL_checktype(lua, -1, LUA_TTABLE);
    size_t count = lua_objlen(lua, -2), missing = lua_objlen(lua, -1);
    struct replies *replies = calloc(1, sizeof *replies);
    if (replies) {
        replies->frames = calloc(count + 1, sizeof *replies->frames);
        replies->missing = calloc(missing + 1, sizeof *replies->missing);
    }
    bool good = replies && replies->frames && replies->missing;
    for (size_t i = 0; good && i < count; i++) {
        struct slice json;
        lua_rawgeti(lua, -2, (int)i + 1);
        json.data = lua_tolstring(lua, -1, &json.length);
        replies->frames[i] = json.data ? build_reply(json, error) : NULL;
        good = replies->frames[i] != NULL;
        lua_pop(lua, 1);
        replies->answer.count = (unsigned)(i + good);
    }
    if (!good) {
        questions_free_replies(replies);
        luaL_error(lua, "the bridge would refuse this reply: %s", error);
    }
    replies->answer.gathered = request->gathers;
    replies->answer.frames = replies->frames;
    read_missing(lua, replies);
    lua_pop(lua, 2);
    return replies;
}

void questions_free_replies(struct replies *replies)
{
    if (!replies)
        return;
    for (unsigned i = 0; i < replies->answer.count; i++)
        frame_release(replies->frames[i]);
    free(replies->frames);
    free(replies->missing);
    free(replies);
}
