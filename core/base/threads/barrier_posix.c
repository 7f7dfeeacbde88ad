#include "base/threads/barrier.h"

bool barrier_prepare(void)
{
    return true;
}

bool barrier_seldom(void)
{
    atomic_thread_fence(memory_order_seq_cst);
    return true;
}
