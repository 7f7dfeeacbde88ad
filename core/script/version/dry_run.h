/* Trying every hook of fresh scripts once, before anybody relies on them. */
#ifndef LUADUCT_SCRIPT_VERSION_DRY_RUN_H
#define LUADUCT_SCRIPT_VERSION_DRY_RUN_H

#include <stdbool.h>
#include <stddef.h>

#include "script/hook.h"

/* Where a trial call leaves what failed, in one line: `FILE:LINE: reason (in a trial call of HOOK)`. */
struct dry_run_failure {
    char *text;
    size_t size;
};

/* The log of a state that is to be tried; its context is a struct dry_run_failure. The rest of what it says is lost. */
void dry_run_log(void *context, enum script_log_level level, struct slice text);

/* Calls each hook with a sample: an envelope from the agent "sample" (role "agent", label "sample") to the agent
 * "recipient", its payload {"text": "sample"}; a hook that waits is taken to be good. The state must be inert, and is
 * of no other use afterwards. False: a hook failed, which its log says. */
bool script_dry_run(struct script_state *state);

#endif
