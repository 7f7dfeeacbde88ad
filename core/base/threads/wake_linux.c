#include "base/threads/wake.h"

#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

bool wake_open(struct wake *wake)
{
    wake->fd = wake->caller = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return wake->fd >= 0;
}

void wake_call(int caller)
{
    uint64_t one = 1;
    /* It refuses only when its counter is full. */
    (void)!write(caller, &one, sizeof one);
}

void wake_take(const struct wake *wake)
{
    uint64_t ignored;
    (void)!read(wake->fd, &ignored, sizeof ignored);
}

void wake_close(struct wake *wake)
{
    if (wake->fd >= 0)
        close(wake->fd);
    *wake = WAKE_NONE;
}
