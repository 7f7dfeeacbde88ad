/* Signals for main, which sits in poll: on Linux by a signalfd, elsewhere by a handler that writes to a pipe. Main
 * alone. */
#ifndef LUADUCT_RUNTIME_SIGNALS_H
#define LUADUCT_RUNTIME_SIGNALS_H

#include <poll.h>
#include <signal.h>
#include <stdbool.h>

/* From now on these come by signals_take and otherwise to no thread; before other threads are started, for they take
 * over who may be disturbed. False: errno says why, and signals_close is in order. */
bool signals_open(const sigset_t *handled);

/* Readable while there is one to take; -1: not open. */
int signals_descriptor(void);

/* As poll(2), with signals_descriptor among the descriptors: while it waits, signals come. */
int signals_poll(struct pollfd *descriptors, unsigned count, int timeout_ms);

/* The number of one that came, 0 when there is none. */
int signals_take(void);

void signals_close(void);

#endif
