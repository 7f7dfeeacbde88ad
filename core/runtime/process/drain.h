/* Going away in order: SIGTERM, SIGINT or POST /admin/drain.
 *
 *   announced ──drain.delayMs──► agents leave ──all gone, or drain.timeoutMs──► over: the process stops
 *
 * From the first moment on no agent is let in and /ready says no, while all else goes on, HTTP to the very end. Then an
 * agent is told to go (1001, with when to come back in the reason) as soon as nothing waits for it. What waits for one
 * that does not read in time returns to its mailbox. */
#ifndef LUADUCT_RUNTIME_DRAIN_H
#define LUADUCT_RUNTIME_DRAIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct config;
struct reactor;

/* --- Any thread --- */

/* Begins to go away; `why` is for the log. True: it had not begun before. */
bool drain_begin(const char *why);

/* Another process has taken over: nothing is left to be told, what is under way ends. True: as above. */
bool drain_end(const char *why);

/* Whether it has: nothing new is let in that would have to be told at once that it cannot stay. */
extern atomic_bool drain_begun_flag; /* written by drain_begin alone */
static inline bool drain_begun(void)
{
    return atomic_load_explicit(&drain_begun_flag, memory_order_acquire);
}

/* --- Main thread --- */

void drain_start(const struct config *config);

/* Moves it on by the steady clock. *due_ms: when to call again at the latest (UINT64_MAX: no need). True: it is over,
 * and the process is to stop. From then on each call only sees to the end being in time: at drain.timeoutMs every
 * connection is cut, and soon after the process ended, with status 0. */
bool drain_tick(uint64_t now_ms, uint64_t *due_ms);

/* --- A reactor's thread, in a pass --- */

/* Something may have changed: begins to tell the agents, or cuts, where main says so. */
void drain_serve(struct reactor *reactor);

/* Before the reactor is released. */
void drain_leave(struct reactor *reactor);

#endif
