#include "runtime/latency.h"

static unsigned bucket_of(uint64_t value)
{
    if (value < 8)
        return (unsigned)value;
    unsigned exponent = 63u - (unsigned)__builtin_clzll(value);
    unsigned bucket = (exponent - 2) * 8 + (unsigned)((value >> (exponent - 3)) & 7);
    return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

/* In nanoseconds. */
static uint64_t bucket_end(unsigned bucket)
{
    if (bucket < 8)
        return bucket;
    unsigned exponent = bucket / 8 + 2;
    return ((uint64_t)1 << exponent) + ((uint64_t)(bucket % 8 + 1) << (exponent - 3)) - 1;
}

void latency_record(struct latency *latency, uint64_t nanoseconds, uint32_t count)
{
    atomic_ullong *bucket = &latency->buckets[bucket_of(nanoseconds)];
    atomic_store_explicit(bucket, atomic_load_explicit(bucket, memory_order_relaxed) + count, memory_order_relaxed);
}

void latency_add(const struct latency *latency, uint64_t sums[LATENCY_BUCKETS])
{
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
        sums[i] += atomic_load_explicit(&latency->buckets[i], memory_order_relaxed);
}

uint64_t latency_percentile(const uint64_t sums[LATENCY_BUCKETS], double share)
{
    uint64_t total = 0, seen = 0;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
        total += sums[i];
    if (total == 0)
        return 0;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        seen += sums[i];
        if ((double)seen >= share * (double)total)
            return bucket_end(i);
    }
    return bucket_end(LATENCY_BUCKETS - 1);
}
