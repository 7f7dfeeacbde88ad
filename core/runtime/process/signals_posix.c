/* Every thread blocks them, main but while it polls: so the handler runs there, and no other call is interrupted. What
 * comes between unblocking and poll has written to the pipe, and poll returns at once. */
#include "runtime/process/signals.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/threads/wake.h"

#define NUMBERS 64

static struct wake wake = WAKE_NONE;
static sigset_t blocked;
static volatile sig_atomic_t came[NUMBERS];

static void handle(int number)
{
    int error = errno;
    if (number < NUMBERS)
        came[number] = 1;
    wake_call(wake.caller);
    errno = error;
}

bool signals_open(const sigset_t *handled)
{
    struct sigaction action;
    blocked = *handled;
    if (pthread_sigmask(SIG_BLOCK, handled, NULL) != 0 || !wake_open(&wake))
        return false;
    memset(&action, 0, sizeof action);
    action.sa_handler = handle;
    action.sa_mask = *handled;
    for (int number = 1; number < NUMBERS; number++)
        if (sigismember(handled, number) == 1 && sigaction(number, &action, NULL) != 0)
            return false;
    return true;
}

int signals_descriptor(void)
{
    return wake.fd;
}

int signals_poll(struct pollfd *descriptors, unsigned count, int timeout_ms)
{
    pthread_sigmask(SIG_UNBLOCK, &blocked, NULL);
    int ready = poll(descriptors, count, timeout_ms);
    int error = errno;
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    errno = error;
    return ready;
}

int signals_take(void)
{
    wake_take(&wake);
    for (int number = 1; number < NUMBERS; number++)
        if (came[number]) {
            came[number] = 0;
            return number;
        }
    return 0;
}

void signals_close(void)
{
    wake_close(&wake);
}
