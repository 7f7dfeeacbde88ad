/* A mutex for what reactors share. With one reactor nobody shares anything, and a lock then costs a predicted branch
 * instead of two atomic operations. */
#ifndef LUADUCT_BASE_LOCK_H
#define LUADUCT_BASE_LOCK_H

#include <pthread.h>
#include <stdbool.h>

struct lock {
    pthread_mutex_t mutex;
};

#define LOCK_INITIALIZER                                                                                               \
    {                                                                                                                  \
        PTHREAD_MUTEX_INITIALIZER                                                                                      \
    }

/* Whether more than one thread takes locks. True until somebody knows better; changed while no other thread runs, and
 * by these. */
extern bool lock_shared;

/* A thread that is no reactor's is about to take locks, and does not any more. With one reactor: on its thread, while
 * it holds none, before the other begins and after it has ended. With several there is nothing to do. */
void lock_admit(void);
void lock_dismiss(void);

static inline void lock_acquire(struct lock *lock)
{
    if (lock_shared)
        pthread_mutex_lock(&lock->mutex);
}

static inline void lock_release(struct lock *lock)
{
    if (lock_shared)
        pthread_mutex_unlock(&lock->mutex);
}

#endif
