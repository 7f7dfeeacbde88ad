/* Nothing in POSIX waits for a thread with a limit of time, so a second thread waits for it, and is waited for. */
#include "base/threads/thread.h"

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

#define LOOK_NS 2000000

struct join {
    struct join *next;
    pthread_t thread, joiner;
    bool ended, left;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* the list, and what is in it */
static struct join *joins;

static void forget(struct join *gone)
{
    for (struct join **place = &joins; *place; place = &(*place)->next)
        if (*place == gone) {
            *place = gone->next;
            break;
        }
    free(gone);
}

static void *wait_for(void *argument)
{
    struct join *join = argument;
    pthread_join(join->thread, NULL);
    pthread_mutex_lock(&mutex);
    join->ended = true;
    if (join->left)
        forget(join);
    pthread_mutex_unlock(&mutex);
    return NULL;
}

/* With the mutex. NULL: nobody waits for that thread, and there is no memory or thread for it. */
static struct join *join_of(pthread_t thread, bool may_begin)
{
    struct join *join = joins;
    while (join && !pthread_equal(join->thread, thread))
        join = join->next;
    if (join || !may_begin)
        return join;
    join = calloc(1, sizeof *join);
    if (!join)
        return NULL;
    join->thread = thread;
    if (pthread_create(&join->joiner, NULL, wait_for, join) != 0) {
        free(join);
        return NULL;
    }
    join->next = joins;
    return joins = join;
}

bool thread_join_within(pthread_t thread, uint32_t ms)
{
    uint64_t until_ns = clock_steady_ns() + (uint64_t)ms * 1000000;
    for (;;) {
        pthread_mutex_lock(&mutex);
        struct join *join = join_of(thread, true);
        bool ended = join && join->ended;
        pthread_mutex_unlock(&mutex);
        if (ended) {
            pthread_join(join->joiner, NULL);
            pthread_mutex_lock(&mutex);
            forget(join);
            pthread_mutex_unlock(&mutex);
            return true;
        }
        if (clock_steady_ns() >= until_ns)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
    }
}

void thread_leave(pthread_t thread)
{
    pthread_mutex_lock(&mutex);
    struct join *join = join_of(thread, false);
    if (join) {
        pthread_detach(join->joiner);
        if (join->ended)
            forget(join);
        else
            join->left = true;
    } else {
        pthread_detach(thread);
    }
    pthread_mutex_unlock(&mutex);
}

/* A thread's first look may come deep in its calls: half of what each has is taken to be below. */
bool thread_stack(uintptr_t *lowest, size_t *size)
{
    pthread_attr_t attributes;
    char here;
    if (pthread_attr_init(&attributes) != 0)
        return false;
    bool known = pthread_attr_getstacksize(&attributes, size) == 0;
    pthread_attr_destroy(&attributes);
    *size /= 2;
    *lowest = (uintptr_t)&here - *size;
    return known;
}

void thread_be_nice(int nice)
{
    (void)nice;
}
