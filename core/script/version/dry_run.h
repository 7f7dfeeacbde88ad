/* Trying every hook of fresh scripts once, before anybody relies on them. */
#ifndef LUADUCT_SCRIPT_VERSION_DRY_RUN_H
#define LUADUCT_SCRIPT_VERSION_DRY_RUN_H

#include <stdbool.h>

struct script_state;

/* Calls each hook with a sample: an envelope from the agent "sample" (role "agent", label "sample") to the agent
 * "recipient", its payload {"text": "sample"}; a hook that waits is taken to be good. The state must be inert, and is
 * of no other use afterwards. False: a hook failed, which its log says. */
bool script_dry_run(struct script_state *state);

#endif
