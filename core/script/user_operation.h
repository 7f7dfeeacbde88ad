/* Operations that users wrote: a Lua file in the script folder that returns a function of one value. A script names
 * them while it is loaded; a worker runs them in a sandboxed state of its own, with the JIT compiler off, so that a
 * task can be stopped whatever it does. Which there are is said by the version of the scripts (version/sources.h). */
#ifndef LUADUCT_SCRIPT_USER_OPERATION_H
#define LUADUCT_SCRIPT_USER_OPERATION_H

#include <stdbool.h>
#include <stdint.h>

#include <lua.h>

#include "script/hook.h"

struct script_sources;

/* Names of the letters a to z, digits, _, - and dots, at most this long. */
#define USER_OPERATION_NAME_MAXIMUM 63

/* luaduct.workers.register(name, file) */
int user_operation_register(lua_State *lua);

/* From which versions of the scripts operations come from now on: the one in use, and beside it the one on trial (NULL:
 * none); where both have a name the first counts. A run that is under way ends in the version it began in. Retains
 * both; user_operation_use(NULL, NULL) forgets all. Any thread. */
void user_operation_use(struct script_sources *current, struct script_sources *trial);

/* Whether a script in use has registered that name. Any thread. */
bool user_operation_exists(struct slice name);

/* What the states of workers are made by. Borrowed for as long as workers run; before the first. */
struct user_operation_options {
    uint64_t memory_limit; /* of each worker's state */
    script_log *log;       /* any worker's thread */
};
void user_operation_start(const struct user_operation_options *options);

/* A worker's state, for its thread alone; NULL: error says why. */
void *user_operation_open(char *error, size_t size);
void user_operation_close(void *state);

/* As an operation_function, for the operation of that name, which exists. OPERATION_STOPPED after an interrupt. */
enum operation_status user_operation_run(void *state, struct slice name, struct operation_call *call);

/* Any thread, while the state is open: ends the run that is under way. */
void user_operation_interrupt(void *state);

#endif
