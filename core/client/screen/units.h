/* Numbers as people read them. Each writes into `out`, gives it, and fits into UNITS_SIZE bytes. */
#ifndef LUADUCT_CLIENT_UNITS_H
#define LUADUCT_CLIENT_UNITS_H

#include <stdint.h>

#include "base/slice.h"

#define UNITS_SIZE 40

const char *units_count(double count, char out[UNITS_SIZE]);      /* 1234567 as 1,234,567 */
const char *units_bytes(double bytes, char out[UNITS_SIZE]);      /* 41.2 MiB */
const char *units_duration(double seconds, char out[UNITS_SIZE]); /* the two largest units: 3d04h, 12m09s, 8s */
const char *units_latency(double ms, char out[UNITS_SIZE]);       /* 43 us, 1.20 ms, 2.10 s */

/* A JSON value that says when (text of ISO 8601, or milliseconds), in the reader's zone: "14:02:11", with the date
 * where that is not today. Text that is no time stands as it is, cut at the end. */
const char *units_time(struct slice value, char out[UNITS_SIZE]);

/* Milliseconds since the epoch of such a value. False: it is no time. */
bool units_read_time(struct slice value, int64_t *wall_ms);

#endif
