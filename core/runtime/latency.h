/* How long messages spend here, from the read that brought them to the write that passed them on: a histogram with
 * buckets an eighth of a power of two wide, so that a percentile is right to about 6 %. One thread writes, any reads.
 */
#ifndef LUADUCT_RUNTIME_LATENCY_H
#define LUADUCT_RUNTIME_LATENCY_H

#include <stdatomic.h>
#include <stdint.h>

#define LATENCY_BUCKETS 256 /* up to 2^35 ns: half a minute */

struct latency {
    atomic_ullong buckets[LATENCY_BUCKETS];
};

void latency_record(struct latency *latency, uint64_t nanoseconds, uint32_t count);

/* Adds one histogram's counts to plain sums. */
void latency_add(const struct latency *latency, uint64_t sums[LATENCY_BUCKETS]);

/* The nanoseconds that this share (0 to 1) of the messages stayed within; 0 when there are none. */
uint64_t latency_percentile(const uint64_t sums[LATENCY_BUCKETS], double share);

#endif
