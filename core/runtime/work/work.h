/* Work that a reactor hands to the worker pool and gets back on its own thread. */
#ifndef LUADUCT_RUNTIME_WORK_H
#define LUADUCT_RUNTIME_WORK_H

#include <pthread.h>

#include "workers/worker_pool.h"

struct reactor;

struct work {
    struct task task; /* first: a task's address is its work's */
    struct reactor *reactor;
    struct work *next;
    char operation[64];
    uint64_t began_ns;                   /* steady clock, of a work that has a span */
    size_t bytes;                        /* of a peer's data, for execute.c's account */
    void (*finished)(struct work *work); /* on the reactor's thread, inside a pass; it owns the work then */
    void *owner;                         /* whoever `finished` tells */
};

/* A reactor's: what came back and waits for its thread. */
struct work_inbox {
    pthread_mutex_t mutex;
    struct work *first, **last; /* with the mutex */
    unsigned out;               /* handed over and not yet taken back; the reactor's thread only */
};

void work_inbox_start(struct work_inbox *inbox);

/* All zero but for reactor; NULL when memory is out. */
struct work *work_new(struct reactor *reactor);

/* Frees it with what its task holds. NULL is fine. */
void work_free(struct work *work);

/* Hands it over, with operation, data, format, priority, timeout and finished set. CODE_OK: `finished` is called once,
 * later. Otherwise it stays the caller's: CODE_UNKNOWN_OPERATION, CODE_OVERLOADED; *text says why, in static words. */
enum code work_submit(struct work *work, struct slice *text);

/* Nobody waits for it any more: it is cancelled, and `finished` (work_free, where nothing else is to do) called when it
 * comes back. */
void work_forget(struct work *work, void (*finished)(struct work *));

/* Any thread: puts it into its reactor's inbox, which counts it as out already. */
void work_come_back(struct work *work);

/* Calls `finished` for all that came back. On the reactor's thread, inside a pass. */
void work_take_back(struct reactor *reactor);

/* The code that tells whoever asked how a finished task went: CODE_OK, CODE_TASK_FAILED, CODE_TASK_TIMEOUT, or
 * CODE_OVERLOADED for one that was cancelled. */
enum code work_code(const struct work *work);

#endif
