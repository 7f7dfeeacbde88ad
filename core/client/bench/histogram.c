#include "client/bench/histogram.h"

#include <math.h>

uint64_t histogram_bucket_top(unsigned bucket)
{
    if (bucket < (2u << HISTOGRAM_BITS))
        return bucket;
    unsigned shift = (bucket >> HISTOGRAM_BITS) - 1;
    uint64_t leading = bucket - ((uint64_t)shift << HISTOGRAM_BITS);
    return ((leading + 1) << shift) - 1; /* of the last bucket: 2^64 - 1, the shift drops the one bit too many */
}

uint64_t histogram_percentile(const struct histogram *histogram, double share)
{
    if (histogram->count == 0)
        return 0;
    double wanted = ceil(share * (double)histogram->count);
    uint64_t seen = 0;
    for (unsigned bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += histogram->buckets[bucket];
        if (seen > 0 && (double)seen >= wanted) {
            uint64_t top = histogram_bucket_top(bucket);
            return top < histogram->maximum ? top : histogram->maximum;
        }
    }
    return histogram->maximum;
}
