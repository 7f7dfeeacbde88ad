/* The way of a hook other than route through the scripts of the chain. Inside of the script room. */
#ifndef LUADUCT_SCRIPT_CHAIN_H
#define LUADUCT_SCRIPT_CHAIN_H

#include "script/wait/wait.h"

/* Runs the chain from the script that call->index names on. `answers`: how many values that it waited for lie in its
 * coroutine; negative: it has not begun. *decision is set by on_undeliverable. */
enum script_result chain_run(struct script_state *state, struct chain_call *call, int answers,
                             struct decision **decision);

/* What holds for the end of every call but a plain route that does not wait on; gives the result back. */
enum script_result chain_finish(struct script_state *state, struct chain_call *call, enum script_result result);

/* Runs the chain's on_reload. False: one failed. */
bool chain_on_reload(struct script_state *state, unsigned previous_version);

/* Runs the chain's authenticate or on_identify. False: one failed. */
bool chain_identify(struct script_state *state, enum script_hook hook, struct identify_call *identify);

/* Why on_register refused. */
struct slice chain_refusal_reason(const struct chain_call *call);

#endif
