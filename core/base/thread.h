/* Waiting for the end of a thread, but not for ever. */
#ifndef LUADUCT_BASE_THREAD_H
#define LUADUCT_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Joins the thread if it ends within that time, by the steady clock: pthread_timedjoin_np goes by the wall clock, which
 * may be set back meanwhile. False: it still runs, and is still to be joined. Any thread. */
bool thread_join_within(pthread_t thread, uint32_t ms);

#endif
