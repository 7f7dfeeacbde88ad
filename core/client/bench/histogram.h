/* A histogram of durations in nanoseconds with buckets that grow with the value, as HdrHistogram's do: 128 of them to
 * each power of two, so a percentile is at most 0.8 % above the truth, in 58 KiB, whatever the range. One thread. */
#ifndef LUADUCT_CLIENT_HISTOGRAM_H
#define LUADUCT_CLIENT_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BITS 7
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS)

/* All zero is an empty histogram. */
struct histogram {
    uint64_t count;
    uint64_t maximum; /* exact */
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* Values under 128 have a bucket each; above, the leading 1 and the 7 bits below it choose. */
static inline unsigned histogram_bucket(uint64_t ns)
{
    if (ns < (1u << HISTOGRAM_BITS))
        return (unsigned)ns;
    unsigned shift = 63 - (unsigned)__builtin_clzll(ns) - HISTOGRAM_BITS;
    return (shift << HISTOGRAM_BITS) + (unsigned)(ns >> shift);
}

static inline void histogram_record(struct histogram *histogram, uint64_t ns)
{
    histogram->count++;
    histogram->buckets[histogram_bucket(ns)]++;
    if (ns > histogram->maximum)
        histogram->maximum = ns;
}

/* The largest value of a bucket. */
uint64_t histogram_bucket_top(unsigned bucket);

/* The least duration that at least share (0 to 1) of the values do not exceed, rounded up to its bucket's top but not
 * past the maximum; 0 when empty. */
uint64_t histogram_percentile(const struct histogram *histogram, double share);

#endif
