/* The script states of one reactor: the one in use, one on trial, and those whose hooks still wait. The reactor's
 * thread only. */
#ifndef LUADUCT_RUNTIME_SCRIPTS_H
#define LUADUCT_RUNTIME_SCRIPTS_H

#include <stdbool.h>
#include <stddef.h>

#include "memory/buffer.h"
#include "runtime/reload/trial/slot.h"
#include "runtime/reload/trial/trial.h"
#include "script/binding/send.h"

struct reactor;

/* Hooks that wait in a state that is not in use any more may wait this much longer. */
#define SCRIPTS_RETIRE_MS 5000u

/* What routes decided, by kind; written by the reactor while there is a trial, read by all. */
struct decision_counts {
    atomic_ullong kinds[DECISION_DROP + 1];
    atomic_ullong refused; /* nobody took the envelope */
    atomic_ullong routed, failed;
};

struct reactor_scripts {
    struct script_slot *current;
    struct script_slot *previous;     /* replaced, and not settled yet */
    struct script_slot *trial;        /* NULL: none */
    struct script_slot *retired;      /* their last hooks wait */
    bool several;                     /* there are others than the current one */
    struct trial rule;                /* while there is a trial */
    struct decision_counts counts[2]; /* since the trial began: of the current one, of the one on trial */
};

/* When the thread begins, with scripts.current set, and when it ends. */
void scripts_begin(struct reactor *reactor);
void scripts_end(struct reactor *reactor);

/* Takes a slot into use, with what the scripts keep (script_save_kept). False: *error says why, and all is as it was.
 * Afterwards it is undone or settled. */
bool scripts_switch(struct reactor *reactor, struct script_slot *next, char *error, size_t error_size);
void scripts_undo(struct reactor *reactor);
void scripts_settle(struct reactor *reactor);

/* Puts a slot on trial beside the one in use. */
void scripts_begin_trial(struct reactor *reactor, struct script_slot *slot, const struct trial *rule);

/* Ends the trial: what is on trial goes, or comes into use with what it has kept itself. */
void scripts_end_trial(struct reactor *reactor, bool promote);

/* The state that this agent's hooks run in. `labels`: a JSON array. */
static inline struct script_state *scripts_pick(const struct reactor_scripts *scripts, struct slice id,
                                                struct slice labels)
{
    if (__builtin_expect(!scripts->trial, 1) || scripts->rule.shadow || !trial_takes(&scripts->rule, id, labels))
        return scripts->current->state;
    return scripts->trial->state;
}

/* Whether a version in the shadow is asked beside it for what this agent sends. */
static inline bool scripts_shadow(const struct reactor_scripts *scripts, struct slice id, struct slice labels)
{
    return scripts->trial && scripts->rule.shadow && trial_takes(&scripts->rule, id, labels);
}

/* Whether new calls go to that state. */
static inline bool scripts_in_use(const struct reactor_scripts *scripts, const struct script_state *state)
{
    return scripts->current->state == state || (scripts->trial && scripts->trial->state == state);
}

/* The slot of a state of this reactor's. */
const struct script_slot *scripts_slot_of(const struct reactor_scripts *scripts, const struct script_state *state);

/* What is to be done for states at the end of each pass; true: a collection goes on, call again soon. */
bool scripts_end_pass(struct reactor *reactor);

/* For each state of the reactor. */
void scripts_each(struct reactor *reactor, void (*visit)(struct reactor *reactor, struct script_state *state));

/* Whether an envelope that a hook has made (script/binding/send.h) is to be delivered. */
bool scripts_have_sends_slowly(const struct reactor_scripts *scripts);
static inline bool scripts_have_sends(const struct reactor_scripts *scripts, const struct script_state *current)
{
    return script_has_sends(current) || (__builtin_expect(scripts->several, 0) && scripts_have_sends_slowly(scripts));
}

#endif
