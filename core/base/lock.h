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

/* Whether more than one thread takes locks. True until somebody knows better; changed only while no other thread runs.
 */
extern bool lock_shared;

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
