/* A version's Lua state for one reactor. The loader makes it and frees it; in between it is the reactor's alone, but
 * for its figures, which anybody may read. */
#ifndef LUADUCT_RUNTIME_SLOT_H
#define LUADUCT_RUNTIME_SLOT_H

#include <stddef.h>

#include "runtime/reload/version.h"

struct script_slot {
    struct script_slot *next;                       /* whoever has it: the reactor's retired ones, the loader's list */
    struct script_slot *list_next, **list_previous; /* all there are */
    struct script_state *state;
    struct version *version; /* a reference */
    bool watched;
    bool on_trial; /* or it was, and did not come into use */
};

/* Fills in the options by which every state of that version is made. */
struct script_options slot_options(const struct version *version);

/* Loads the version's scripts. `judged_by`: of the standing that they meet (auth.hook). NULL: `error` says why in one
 * line. */
struct script_slot *slot_new(struct version *version, const struct config *judged_by, char *error, size_t error_size);

/* No reactor uses it any more, and it is not watched. NULL is fine. */
void slot_free(struct script_slot *slot);

/* Calls `visit` for each state there is, and holds on to all of them meanwhile. Any thread. */
void slots_each(void (*visit)(void *context, const struct script_slot *slot), void *context);

/* Adds up all states that there are and were, of one version or (NULL) of all; heap_bytes counts those that are. */
void slots_sum(const struct version *version, struct script_totals *out);

#endif
