/* Drives the timers of a reactor's scripts (script/wait/timer.h). The reactor's thread. */
#ifndef LUADUCT_RUNTIME_TIMERS_H
#define LUADUCT_RUNTIME_TIMERS_H

struct reactor;

/* Before the loop runs. */
void timers_prepare(struct reactor *reactor);

/* After anything that may have run a script: sees to it that the next timer runs in time. */
void timers_arm(struct reactor *reactor);

#endif
