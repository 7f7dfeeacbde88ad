/* What the files of the prompt share. */
#ifndef LUADUCT_SCRIPT_PROMPT_LINE_H
#define LUADUCT_SCRIPT_PROMPT_LINE_H

#include "protocol/envelope.h"
#include "script/prompt/prompt.h"
#include "script/state/state.h"

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

static inline struct prompt *prompt_of(lua_State *lua)
{
    return state_of(lua)->log_context;
}

/* A script_log: print, luaduct.log, and how hooks fail, for whoever reads the line's output. */
void prompt_hear(void *context, enum script_log_level level, struct slice text);

#endif
