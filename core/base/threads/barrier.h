/* Two threads that each store, then load what the other stores, where one does so all the time and the other seldom: on
 * Linux the seldom one pays for both, by membarrier(2), which puts a barrier into all other threads at that moment. So
 * the frequent side needs none; elsewhere both have an ordinary one. */
#ifndef LUADUCT_BASE_BARRIER_H
#define LUADUCT_BASE_BARRIER_H

#include <stdatomic.h>
#include <stdbool.h>

/* Once in the process's life, before the others. False: this kernel cannot, so barrier_seldom always fails. */
bool barrier_prepare(void);

static inline void barrier_frequent(void)
{
#ifdef LUADUCT_LINUX
    atomic_signal_fence(memory_order_seq_cst);
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

/* False: nothing is ordered. */
bool barrier_seldom(void);

#endif
