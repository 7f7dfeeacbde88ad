/* thread_join_within looks again every few milliseconds: it is for the end of the process. (pthread_clockjoin_np would
 * do, but ThreadSanitizer of gcc 12 does not know it.) */
#include "base/threads/thread.h"

#include <errno.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define LOOK_NS 2000000

bool thread_join_within(pthread_t thread, uint32_t ms)
{
    uint64_t until_ns = clock_steady_ns() + (uint64_t)ms * 1000000;
    while (pthread_tryjoin_np(thread, NULL) == EBUSY) {
        if (clock_steady_ns() >= until_ns)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
    }
    return true;
}

void thread_leave(pthread_t thread)
{
    pthread_detach(thread);
}

bool thread_stack(uintptr_t *lowest, size_t *size)
{
    pthread_attr_t attributes;
    void *bottom;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0)
        return false;
    pthread_attr_getstack(&attributes, &bottom, size);
    pthread_attr_destroy(&attributes);
    *lowest = (uintptr_t)bottom;
    return true;
}

/* Linux takes the number of a thread for that of a process here. */
void thread_be_nice(int nice)
{
    setpriority(PRIO_PROCESS, (id_t)gettid(), nice);
}
