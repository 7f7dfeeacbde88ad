/* Which hooks of scripts are switched off because they kept overrunning, in any reactor; each is an alert
 * ("script.route.moderator.lua"). All functions: any thread. */
#ifndef LUADUCT_RUNTIME_SWITCHES_H
#define LUADUCT_RUNTIME_SWITCHES_H

#include "runtime/engines/alert.h"
#include "script/hook.h"

/* Hooks that are shown at a time; further ones are alerts only while one of these is not. */
#define SWITCHES_MAXIMUM 16

struct switch_view {
    char name[ALERT_NAME_BYTES];
    char reason[ALERT_TEXT_BYTES];
};

/* The script room tells it of each: a script_switched. */
void switches_note(void *context, const struct script_switch *what);

unsigned switches_list(struct switch_view out[SWITCHES_MAXIMUM]);

#endif
