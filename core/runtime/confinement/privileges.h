/* What the process may do by whom it runs as. */
#ifndef LUADUCT_RUNTIME_PRIVILEGES_H
#define LUADUCT_RUNTIME_PRIVILEGES_H

#include <stdbool.h>
#include <stddef.h>

struct config;

/* Becomes the configured user and group for good: every thread, no supplementary groups, no capabilities left. Gives it
 * the log file and the administration socket, which root has made. Without a configured user it only says in the log
 * that the process runs as root, when it does. Main thread, after the ports are bound. False: *error says why. */
bool privileges_drop(const struct config *config, char *error, size_t size);

/* Nothing that this process or its children execute can gain privileges from now on (no_new_privs). Main thread, before
 * any other is started. */
void privileges_freeze(void);

/* Where the configuration has keys or tokens: no core dump and no debugger of the same user sees the memory of the
 * process from now on. After the last change of user, which would undo it. */
void privileges_hide_memory(const struct config *config);

#endif
