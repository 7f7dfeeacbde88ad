#include "base/threads/lock.h"

bool lock_shared = true;

static unsigned guests; /* of the one thread that the locks are for otherwise */

void lock_admit(void)
{
    if (lock_shared && guests == 0)
        return;
    guests++;
    lock_shared = true;
}

void lock_dismiss(void)
{
    if (guests > 0 && --guests == 0)
        lock_shared = false;
}
