/* The trial that runs, from its begin to its end. The loader's thread, but for loader_canary (loader.h). */
#ifndef LUADUCT_RUNTIME_TRIAL_RUN_H
#define LUADUCT_RUNTIME_TRIAL_RUN_H

#include "runtime/reload/in_use.h"
#include "runtime/reload/trial/canary.h"
#include "runtime/reload/trial/trial.h"

/* Puts a version on trial beside the one in use. The parts have a slot of it each. */
void trial_begin(const struct trial *rule, struct version *version, struct part *parts);

/* Compares the figures of both, and ends the trial when they say so. */
void trial_look(void);

/* Ends it: CANARY_PROMOTED, or what else became of it. `cause` is for the log. False: it goes on, and *problem says
 * why: no memory, or tokens, keys or access rules that the version would bring into use are not good any more. */
bool trial_end(enum canary_state state, const char *why, const char *cause, char *problem, size_t size);

#endif
