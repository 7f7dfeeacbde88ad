/* What the main thread does while the reactors serve: signals, the watch over scripts, memory, engines. */
#ifndef LUADUCT_RUNTIME_SUPERVISION_H
#define LUADUCT_RUNTIME_SUPERVISION_H

#include "runtime/reactor.h"

/* --- A reactor's thread --- */

/* Says once that this reactor serves, or that it could not start. */
void supervision_report_ready(struct reactor *reactor, bool ready);

/* Says that this reactor's thread is about to return. */
void supervision_report_ended(void);

/* --- Any thread --- */

/* What a script says goes to the log (a script_log). */
void supervision_log_script(void *context, enum script_log_level level, struct slice text);

/* Main looks at what there is to do. */
void supervision_wake(void);

/* Main watches over the hooks of a state (script_watchdog) until it is told to let go. */
void supervision_watch(struct watchdog *watchdog);
void supervision_unwatch(struct watchdog *watchdog);

/* For script_options: how the watchdog of a state wakes main. */
int supervision_wake_fd(void);

/* --- Main --- */

/* Before the reactors start. False: errno says why. */
bool supervision_start(unsigned reactors);
void supervision_stop(void);

/* Waits until every reactor has reported; true when all are ready. */
bool supervision_wait_ready(void);

/* Handles signals, watches the scripts and the memory until SIGTERM or SIGINT came. */
void supervision_run(void);

/* Watches the scripts on until that many reactors have ended: their last hooks may run away too. */
void supervision_wait_ended(unsigned running);

/* The same until `done`, which is asked whenever somebody has called supervision_wake. */
void supervision_wait(bool (*done)(void));

#endif
