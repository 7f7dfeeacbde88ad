/* The new process's thread that listens to the old one: its end, for handover.c. Main. */
#ifndef LUADUCT_RUNTIME_SUCCESSOR_H
#define LUADUCT_RUNTIME_SUCCESSOR_H

#include <stdbool.h>

/* It is to end; main is woken when it has. */
void successor_unfollow(void);
bool successor_listens(void);

/* Waits for it. */
void successor_stop(void);

#endif
