/* bridge.request and bridge.gather: a hook asks agents, and waits for what they reply. Scripts' tables become questions
 * here; the runtime puts them and brings the replies. */
#ifndef LUADUCT_SCRIPT_WAIT_ASK_H
#define LUADUCT_SCRIPT_WAIT_ASK_H

#include <stdbool.h>
#include <stdint.h>

#include <lua.h>

#include "base/slice.h"
#include "protocol/code.h"

struct frame;
struct script_state;
struct script_answer;

/* Questions that one call may put, and that the hooks of one state may be waiting for. */
#define QUESTIONS_MAXIMUM 256u
#define QUESTIONS_OUT_MAXIMUM 1024u
/* Agents that one question may go to, one after the other. */
#define QUESTION_AGENTS_MAXIMUM 16u
#define QUESTION_RETRIES_MAXIMUM 100u

struct script_question {
    struct script_question *next;
    struct frame *frame; /* a reference: what is sent, to the first of the agents */
    uint64_t id, task;   /* hashes (base/hash.h) of its id and taskId; task 0: it has none */
    uint32_t timeout_ms; /* for each try */
    uint32_t retries;    /* tries after the first */
    uint32_t backoff_ms; /* before the second try; then twice as long each time */
    unsigned index;      /* in the script's list, from 1 */
    size_t size;         /* of the block */
    unsigned agent_count;
    struct slice agents[]; /* whom, in turn; their texts behind */
};

void script_questions_free(struct script_question *first); /* NULL is fine */

/* What came of the questions: for a request its one reply, or the answer's code and text; for a gathering all of it. */
struct script_missing {
    struct slice agent;
    unsigned index;
    enum code code; /* CODE_OK: enough others have replied */
    struct slice text;
};
struct script_replies {
    bool gathered;
    unsigned count, missing_count;
    struct frame *const *frames; /* in the order in which they came */
    const struct script_missing *missing;
};

/* --- Inside of the script room --- */

/* bridge.request{to =, …, timeoutMs =, retries =, backoffMs =}: the reply, or nil, text and code */
int ask_request(lua_State *lua);

/* bridge.gather{requests = {…} or to = {…}, …, count =, timeoutMs =}: replies and what is missing, two lists */
int ask_gather(lua_State *lua);

/* Pushes what the call returns for these replies. Raises. */
void ask_push_replies(lua_State *lua, struct script_state *state, const struct script_replies *replies);

#endif
