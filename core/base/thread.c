/* Looks again every few milliseconds: this is for the end of the process. (pthread_clockjoin_np would do, but
 * ThreadSanitizer of gcc 12 does not know it.) */
#include "base/thread.h"

#include <errno.h>
#include <time.h>

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
