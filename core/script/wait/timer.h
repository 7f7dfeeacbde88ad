/* luaduct.after and luaduct.every: functions of a script that run at their time, each as a hook of its own ("timer").
 * They belong to their state: made while its scripts load or in its hooks, they run from script_start_timers on, and
 * none runs after script_stop_timers. All of it on the state's thread. */
#ifndef LUADUCT_SCRIPT_WAIT_TIMER_H
#define LUADUCT_SCRIPT_WAIT_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include <lua.h>

#include "script/hook.h"

struct chain_call;

/* Timers that one state may have at a time. */
#define TIMERS_MAXIMUM 1000u

/* The state goes live: what was made while it was loaded counts from now on. */
void script_start_timers(struct script_state *state);
void script_stop_timers(struct script_state *state);

/* When the next is due, in milliseconds of the steady clock; UINT64_MAX: there is none. */
uint64_t script_next_timer(const struct script_state *state);

/* Runs the next, which must be due. Its function may wait; the timer's next time comes when it has ended. */
enum script_result script_run_timer(struct script_state *state);

/* --- Inside of the script room --- */

struct script_timer;
struct timer_list {
    struct script_timer *timers; /* TIMERS_MAXIMUM, from the first use on */
    uint16_t *heap;              /* those that are set, the earliest first */
    unsigned heap_count, count;  /* set; in use */
    uint16_t first_free;
    bool allowed, live; /* of a state of hooks; between start and stop */
    uint64_t next_ms;
};

/* luaduct.after(ms, function), luaduct.every(ms, function): a handle with cancel(). */
int timer_after(lua_State *lua);
int timer_every(lua_State *lua);

/* Makes the handles' metatable. Raises. */
void timer_open(lua_State *lua);

/* Goes on with the function of call->index; negative `answers`: begins it. */
enum script_result timer_continue(struct script_state *state, const struct chain_call *call, int answers);

/* The registry's reference to it. */
int timer_reference(const struct script_state *state, const struct chain_call *call);

/* The run has ended, well or not. */
void timer_ended(struct script_state *state, const struct chain_call *call);

/* When the state is closed. */
void timer_close(struct script_state *state);

#endif
