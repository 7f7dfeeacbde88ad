/* One call into Lua: what every hook goes through, whatever it is given and returns. Inside of the script room. */
#ifndef LUADUCT_SCRIPT_CALL_H
#define LUADUCT_SCRIPT_CALL_H

#include "script/binding/envelope.h"
#include "script/state/state.h"
#include "script/wait/wait.h"

/* A coroutine to run hooks in is there. False: no memory, which is reported as a failure of that hook. */
bool call_has_coroutine(struct script_state *state, enum script_hook hook);

/* Starts what hook.h calls the state's next call: texts of the last one end here. */
static inline void call_begin(struct script_state *state)
{
    arena_reset(state);
    if (__builtin_expect(state->cached != 0, 0))
        envelope_binding_forget(state);
}

/* Handles of earlier calls into Lua end here. */
static inline uintptr_t call_next_generation(struct script_state *state)
{
    state->last_generation = (state->last_generation + 1) & HANDLE_GENERATION_MASK;
    if (state->last_generation == 0)
        state->last_generation = 1;
    state->generation = state->last_generation;
    state->item_count = 0;
    return (uintptr_t)state->generation << HANDLE_TAG_BITS;
}

/* Runs the function that lies in the coroutine below its arguments, or lets it go on with these as what it waited for.
 * On status 0 its results lie there instead. `hook`: as what its time counts; HOOK_COUNT: as nothing. */
static inline int call_run(struct script_state *state, enum script_hook hook, int arguments, bool *stopped)
{
    state->ceiling = state->memory_limit;
    state->in_hook = true;
    state->stack_base = (uintptr_t)__builtin_frame_address(0);
    watchdog_enter(&state->watchdog);
    uint64_t entered_ns = state_enter_hook(state, hook);
    int status = lua_resume(state->coroutine, arguments);
    state_leave_hook(state, hook, entered_ns);
    *stopped = watchdog_leave(&state->watchdog);
    state->in_hook = false;
    state->ceiling = state->memory_limit + STATE_RESERVE_BYTES;
    return status;
}

/* After a run that did not end well: reports it and throws the coroutine away. Pushes on its stack, which waits or has
 * died. `sender`: who is to blame for an overrun, for the breaker. */
void call_fail(struct script_state *state, const struct script *script, enum script_hook hook, uint64_t sender,
               int status, bool stopped);

/* The same for a function that is no entry of a script's table, and that no breaker switches off. */
void call_fail_function(struct script_state *state, enum script_hook hook, int reference, int status, bool stopped);

/* A run has ended without results. True: the hook waits, and is put aside. */
bool call_put_aside(struct script_state *state, const struct chain_call *call, int status, bool stopped);

/* Throws the coroutine away and leaves the state as a call should find it. */
void call_recover(struct script_state *state, bool out_of_memory);

#endif
