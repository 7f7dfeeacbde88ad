/* Time, in the two forms the bridge needs: a steady clock for durations, the wall clock for what people read. */
#ifndef LUADUCT_BASE_CLOCK_H
#define LUADUCT_BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* Nanoseconds of CLOCK_MONOTONIC. Any thread. */
uint64_t clock_steady_ns(void);

/* The same clock as of the last tick of the kernel, up to 4 ms ago, at a fraction of the cost. Any thread. */
uint64_t clock_coarse_ns(void);

/* Milliseconds since the epoch (UTC). Any thread. */
int64_t clock_wall_ms(void);

/* What is planned goes by this: the steady clock in milliseconds. Pretended, it stands until the test moves it, so that
 * nothing comes earlier than the test says. Any thread. */
uint64_t clock_planned_ms(void);

/* For tests of scripts, whose time is theirs: the steady clock is this much ahead from now on, and the wall clock
 * stands at `wall_ms` (0: it goes). Any thread, but what others measure meanwhile is off. */
void clock_pretend(uint64_t ahead_ns, int64_t wall_ms);

#define CLOCK_ISO_LENGTH 24

/* Writes "2026-01-31T12:00:00.000Z" (24 bytes, no NUL) for a wall time in milliseconds. Any thread. */
void clock_format_iso(int64_t wall_ms, char out[CLOCK_ISO_LENGTH]);

/* Reads a date and time of ISO 8601 with its zone: "2026-01-31T12:00Z", "2026-01-31T13:00:00.5+01:00"; seconds and
 * their fraction may be left out. False: it is none. Any thread. */
bool clock_parse_iso(struct slice text, int64_t *wall_ms);

#endif
