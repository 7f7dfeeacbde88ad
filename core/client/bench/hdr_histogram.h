/* A histogram of durations in nanoseconds with a high dynamic range, as HdrHistogram's: its buckets grow with the
 * value, 128 of them to each power of two, so a percentile is at most 0.8 % above the truth, in 58 KiB, whatever the
 * range. One thread. (base/histogram.h is the one of scrapers: few buckets, with fixed edges, read while they are
 * counted.) */
#ifndef LUADUCT_CLIENT_HDR_HISTOGRAM_H
#define LUADUCT_CLIENT_HDR_HISTOGRAM_H

#include <stdint.h>

#define HDR_BITS 7
#define HDR_BUCKETS ((64 - HDR_BITS + 1) << HDR_BITS)

/* All zero is an empty histogram. */
struct hdr_histogram {
    uint64_t count;
    uint64_t maximum; /* exact */
    uint64_t buckets[HDR_BUCKETS];
};

/* Values under 128 have a bucket each; above, the leading 1 and the 7 bits below it choose. */
static inline unsigned hdr_histogram_bucket(uint64_t ns)
{
    if (ns < (1u << HDR_BITS))
        return (unsigned)ns;
    unsigned shift = 63 - (unsigned)__builtin_clzll(ns) - HDR_BITS;
    return (shift << HDR_BITS) + (unsigned)(ns >> shift);
}

static inline void hdr_histogram_record(struct hdr_histogram *histogram, uint64_t ns)
{
    histogram->count++;
    histogram->buckets[hdr_histogram_bucket(ns)]++;
    if (ns > histogram->maximum)
        histogram->maximum = ns;
}

/* The largest value of a bucket. */
uint64_t hdr_histogram_bucket_top(unsigned bucket);

/* The least duration that at least share (0 to 1) of the values do not exceed, rounded up to its bucket's top but not
 * past the maximum; 0 when empty. */
uint64_t hdr_histogram_percentile(const struct hdr_histogram *histogram, double share);

#endif
