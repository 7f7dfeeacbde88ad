#include "runtime/process/signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

static int descriptor = -1;

bool signals_open(const sigset_t *handled)
{
    if (pthread_sigmask(SIG_BLOCK, handled, NULL) != 0)
        return false;
    descriptor = signalfd(-1, handled, SFD_CLOEXEC | SFD_NONBLOCK);
    return descriptor >= 0;
}

int signals_descriptor(void)
{
    return descriptor;
}

int signals_poll(struct pollfd *descriptors, unsigned count, int timeout_ms)
{
    return poll(descriptors, count, timeout_ms);
}

int signals_take(void)
{
    struct signalfd_siginfo info;
    return read(descriptor, &info, sizeof info) == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

void signals_close(void)
{
    if (descriptor >= 0)
        close(descriptor);
    descriptor = -1;
}
