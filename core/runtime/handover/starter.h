/* A process beside the bridge that can do one thing: start the bridge's program again, with the arguments, environment
 * and working folder that it was started with. The bridge itself may have given up the right to execute anything, or to
 * be root (runtime/confinement/); the starter is forked before that, and can be told nothing else. It ends when the
 * bridge does. */
#ifndef LUADUCT_RUNTIME_STARTER_H
#define LUADUCT_RUNTIME_STARTER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Forks it. Main thread, before any other is started and before anything is given up. False: errno says why. */
bool starter_start(void);

/* The rest: one thread at a time. */

/* Starts the program with this descriptor, whose number it finds in the environment variable HANDOVER_VARIABLE. One
 * that was started before and runs is ended. 0: *error says why not. */
pid_t starter_spawn(int fd, char *error, size_t size);

/* How that process ended, as waitpid says it; -1: it runs, after waiting for as long. */
int starter_wait(pid_t pid, int timeout_ms);

void starter_kill(pid_t pid);

/* Ends it. */
void starter_stop(void);

#endif
