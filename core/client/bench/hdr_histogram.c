#include "client/bench/hdr_histogram.h"

#include <math.h>

uint64_t hdr_histogram_bucket_top(unsigned bucket)
{
    if (bucket < (2u << HDR_BITS))
        return bucket;
    unsigned shift = (bucket >> HDR_BITS) - 1;
    uint64_t leading = bucket - ((uint64_t)shift << HDR_BITS);
    return ((leading + 1) << shift) - 1; /* of the last bucket: 2^64 - 1, the shift drops the one bit too many */
}

uint64_t hdr_histogram_percentile(const struct hdr_histogram *histogram, double share)
{
    if (histogram->count == 0)
        return 0;
    double wanted = ceil(share * (double)histogram->count);
    uint64_t seen = 0;
    for (unsigned bucket = 0; bucket < HDR_BUCKETS; bucket++) {
        seen += histogram->buckets[bucket];
        if (seen > 0 && (double)seen >= wanted) {
            uint64_t top = hdr_histogram_bucket_top(bucket);
            return top < histogram->maximum ? top : histogram->maximum;
        }
    }
    return histogram->maximum;
}
