/* What a hook asks agents (bridge.request, bridge.gather), for a spec to answer. */
#ifndef LUADUCT_AUTHOR_QUESTIONS_H
#define LUADUCT_AUTHOR_QUESTIONS_H

#include <lua.h>

#include "script/hook.h"
#include "script/wait/ask.h"

/* Sets in the table on top of the stack: questions (a list of {to = ids, envelope = JSON, timeoutMs =, retries =,
 * backoffMs =}), needed, gathers. Raises. */
void questions_push(lua_State *lua, const struct script_request *request);

/* Replies as the script gets them. */
struct replies {
    struct script_replies answer;
    struct frame **frames;
    struct script_missing *missing;
};

/* Reads {replies = {JSON, …}, missing = {{to =, index =, code =, text =}, …}} at `index`, whose texts are borrowed.
 * Raises. */
struct replies *questions_read_replies(lua_State *lua, int index, const struct script_request *request);
void questions_free_replies(struct replies *replies); /* NULL is fine */

#endif
