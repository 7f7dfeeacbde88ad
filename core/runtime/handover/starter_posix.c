/* An upgrade is for Linux: there is no starter, and who asks for one hears that. */
#include "runtime/handover/starter.h"

#include <stdio.h>

bool starter_start(void)
{
    return true;
}

pid_t starter_spawn(int fd, char *error, size_t size)
{
    (void)fd;
    snprintf(error, size, "this build cannot: upgrading without a restart is for Linux, with a build for it");
    return 0;
}

int starter_wait(pid_t pid, int timeout_ms)
{
    (void)pid, (void)timeout_ms;
    return -1;
}

void starter_kill(pid_t pid)
{
    (void)pid;
}

void starter_stop(void) {}
