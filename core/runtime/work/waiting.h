/* Hooks that wait, on the reactor whose state they run in: for time, for work, or for replies. Others run meanwhile. */
#ifndef LUADUCT_RUNTIME_WAITING_H
#define LUADUCT_RUNTIME_WAITING_H

#include <ev.h>

#include "script/hook.h"

struct asking;
struct reactor;
struct trace_context;
struct work;

/* Embedded in what goes on after the hook. The reactor's thread only. */
struct waiting {
    struct reactor *reactor;
    struct script_state *script;      /* that the hook runs in; it stays until its last hook has ended */
    struct waiting *next, **previous; /* all of the reactor */
    struct script_wait *wait;
    const struct trace_context *trace; /* the span that its work hangs on; NULL: none */
    struct work *work;                 /* NULL: it sleeps or asks */
    struct asking *asking;             /* NULL: it asks nobody */
    ev_timer timer;                    /* to its end, or to the latest one */
    uint64_t due_ms;   /* steady clock: when it has slept enough, or has to ask again; UINT64_MAX while work is out */
    uint64_t until_ms; /* steady clock: script.suspendMs after its first wait, whatever it waits for */
    enum code refused; /* the work was not taken, and why */
    struct slice refusal;
    bool brief;          /* not waited for when the reactor stops */
    bool cut;            /* it was stopped for what the bridge does, before its time was over */
    struct party *payer; /* whose time its stretches take, the owner's to set after the start and to keep; or NULL */
    void (*ended)(struct waiting *waiting, enum script_result result, const struct script_outcome *outcome);
};

/* After a hook of that state gave SCRIPT_WAITS. `ended` is called once, from the loop, never from in
 * here: with SCRIPT_DECIDED or SCRIPT_FAILED and what the hook came to (script_resume); it may free the waiting. */
void waiting_start(struct reactor *reactor, struct script_state *script, struct waiting *waiting,
                   void (*ended)(struct waiting *, enum script_result, const struct script_outcome *));

/* The same for a hook whose work and questions have spans below `trace` (NULL: none), which has to stay. */
void waiting_start_traced(struct reactor *reactor, struct script_state *script, struct waiting *waiting,
                          const struct trace_context *trace,
                          void (*ended)(struct waiting *, enum script_result, const struct script_outcome *));

/* The same for a hook that nobody waits for, so that a reactor that stops does not either. */
void waiting_start_brief(struct reactor *reactor, struct script_state *script, struct waiting *waiting,
                         void (*ended)(struct waiting *, enum script_result, const struct script_outcome *));

/* Stops the newest of those that wait, as at the end of its time, because another process takes over. In a pass. */
void waiting_give_up(struct reactor *reactor);

/* The hooks of that state (NULL: all of the reactor) may wait for this much longer. */
void waiting_hurry(struct reactor *reactor, const struct script_state *script, uint32_t ms);

#endif
