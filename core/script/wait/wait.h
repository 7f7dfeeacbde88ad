/* Hooks that wait: what a call leaves behind while others run in its state, and the functions by which scripts wait. */
#ifndef LUADUCT_SCRIPT_WAIT_WAIT_H
#define LUADUCT_SCRIPT_WAIT_WAIT_H

#include "script/state/state.h"

struct identify_call;

/* Where a call stands in the chain of scripts. */
struct chain_call {
    enum script_hook hook;
    int index;     /* route: of the route functions; timer: of the timers; else: of the scripts */
    int first;     /* where the function's results will lie in the coroutine; not for route */
    int arguments; /* of the call being made; not for route */
    struct slice reason, recipient;
    struct agent_view agent; /* held while `has_agent` */
    bool has_agent;
    struct script_registration *registration;
    bool refused;
    unsigned previous_version;      /* on_reload */
    struct identify_call *identify; /* authenticate, on_identify */
};

struct script_wait {
    struct script_wait *next, **previous; /* all of the state */
    struct script_request request;
    struct chain_call call;
    uint32_t generation;
    uintptr_t envelope_handle;
    struct envelope *envelope;
    const struct script_sender *sender;
    const struct envelope_defaults *defaults;
    lua_State *coroutine;
    int coroutine_reference;
    struct arena_chunk *arena; /* the call's texts; NULL: it has none */
    char *arena_at, *arena_end, *arena_start;
    unsigned item_count;
    struct {
        struct decision_item item;
        struct slice single_id;
    } items[]; /* decisions made before it waited */
};

/* A state keeps at most this many, each with a coroutine: some 4 MiB of its memory. */
#define WAITS_MAXIMUM 4096

/* Sets the call under way aside, and with it what it asks for; *call is copied. NULL: memory is out, and the call is
 * still under way. */
struct script_wait *wait_save(struct script_state *state, const struct chain_call *call);

/* Makes it the call under way again, and frees the wait; *call is what was saved. Texts of earlier calls end here. */
void wait_restore(struct script_state *state, struct script_wait *wait, struct chain_call *call);

void wait_forget_request(struct script_request *request);

/* Forgets what the last function that waits asked for, and gives the place for what the next one asks. */
struct script_request *wait_new_request(struct script_state *state);

/* Raises, beginning with `what`, when this call cannot wait. */
void wait_check_may(lua_State *lua, struct script_state *state, const char *what);

/* A whole number of milliseconds; more than the 24 days that a timer holds are these. Raises. */
uint32_t wait_check_ms(lua_State *lua, int index, double least, const char *what);

/* When the state is closed. */
void wait_free_all(struct script_state *state);

/* luaduct.sleep(ms) */
int wait_sleep(lua_State *lua);

/* luaduct.workers.execute{operation =, data =, priority =, timeoutMs =}: the result, or nil, text and code. */
int wait_execute(lua_State *lua);

#endif
