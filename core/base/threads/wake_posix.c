#include "base/threads/wake.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

bool wake_open(struct wake *wake)
{
    int ends[2];
    *wake = WAKE_NONE;
    if (pipe(ends) != 0)
        return false;
    for (int i = 0; i < 2; i++)
        if (fcntl(ends[i], F_SETFD, FD_CLOEXEC) != 0 || fcntl(ends[i], F_SETFL, O_NONBLOCK) != 0) {
            int error = errno;
            close(ends[0]);
            close(ends[1]);
            errno = error;
            return false;
        }
    *wake = (struct wake){.fd = ends[0], .caller = ends[1]};
    return true;
}

void wake_call(int caller)
{
    (void)!write(caller, "", 1);
}

void wake_take(const struct wake *wake)
{
    char ignored[256];
    while (read(wake->fd, ignored, sizeof ignored) == (ssize_t)sizeof ignored)
        continue;
}

void wake_close(struct wake *wake)
{
    if (wake->fd >= 0)
        close(wake->fd);
    if (wake->caller >= 0)
        close(wake->caller);
    *wake = WAKE_NONE;
}
