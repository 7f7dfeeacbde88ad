/* A descriptor by which other threads wake one that sits in poll: an eventfd on Linux, elsewhere a pipe. */
#ifndef LUADUCT_BASE_WAKE_H
#define LUADUCT_BASE_WAKE_H

#include <stdbool.h>

struct wake {
    int fd;     /* readable once somebody has called; -1: not open */
    int caller; /* what callers write to, the same one or the pipe's other end */
};

#define WAKE_NONE ((struct wake){-1, -1})

/* False: errno says why, and it is WAKE_NONE. */
bool wake_open(struct wake *wake);

/* Any thread, also inside a signal's handler; `caller` is that of an open one. Never blocks: one that is full wakes
 * anyway. */
void wake_call(int caller);

/* On the thread that was woken, before it looks at what it was woken for. */
void wake_take(const struct wake *wake);

/* Also what is not open. */
void wake_close(struct wake *wake);

#endif
