/* Between the main thread and the reactors: scripts are loaded on the reactor's thread and watched from main. */
#ifndef LUADUCT_RUNTIME_SUPERVISION_H
#define LUADUCT_RUNTIME_SUPERVISION_H

#include "runtime/reactor.h"

/* --- A reactor's thread --- */

/* Loads the scripts into a state of this reactor and puts it under watch. False: logged, and reactor->script is NULL.
 */
bool supervision_start_scripts(struct reactor *reactor);
void supervision_stop_scripts(struct reactor *reactor);

/* Says once that this reactor serves, or that it could not start. */
void supervision_report_ready(struct reactor *reactor, bool ready);

/* Says that this reactor's thread is about to return. */
void supervision_report_ended(void);

/* --- Any thread --- */

/* What a script says goes to the log (a script_log). */
void supervision_log_script(void *context, enum script_log_level level, struct slice text);

/* Main looks at what there is to do. */
void supervision_wake(void);

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

#endif
