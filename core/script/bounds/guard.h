/* The breakers of a state's hooks: who caused an overrun, and what is said when one opens or closes. They belong to the
 * state, so a state with a new version of the scripts begins with all of them closed. */
#ifndef LUADUCT_SCRIPT_BOUNDS_GUARD_H
#define LUADUCT_SCRIPT_BOUNDS_GUARD_H

#include "script/state/state.h"

/* Only while state->open_breakers is not 0. False: that hook is switched off, and the call has failed; it is counted.
 */
bool guard_admits(struct script_state *state, const struct script *script, enum script_hook hook);

/* A call ended within its budget, while some breaker is open. */
void guard_went_well(struct script_state *state, const struct script *script, enum script_hook hook);

/* A call was stopped. `sender`: a hash of who caused it. */
void guard_overran(struct script_state *state, const struct script *script, enum script_hook hook, uint64_t sender);

/* Who sent the envelope of the call under way; all without an identity are one. */
uint64_t guard_sender(const struct script_state *state);

/* The state ends: what was switched off is no more. */
void guard_close(struct script_state *state);

#endif
