/* What POSIX has no call for: waiting for the end of a thread, but not for ever; how much stack it has; giving way. */
#ifndef LUADUCT_BASE_THREAD_H
#define LUADUCT_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Joins the thread if it ends within that time, by the steady clock: pthread_timedjoin_np goes by the wall clock, which
 * may be set back meanwhile. False: it still runs, and this is to be called again, or thread_leave. Any thread. */
bool thread_join_within(pthread_t thread, uint32_t ms);

/* Instead of joining one that still runs: it ends with the process, or by itself. */
void thread_leave(pthread_t thread);

/* The lowest address of the calling thread's stack and its size, or a part of that which is surely free. False: the
 * system does not say. */
bool thread_stack(uintptr_t *lowest, size_t *size);

/* The kernel prefers other threads to the calling one by this much, from 0 to 19; where it knows only processes,
 * nothing happens. */
void thread_be_nice(int nice);

#endif
