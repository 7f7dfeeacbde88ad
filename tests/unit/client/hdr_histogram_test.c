#include "../../support/unit.h"

#include "client/bench/hdr_histogram.h"

TEST("HDR histogram: every value lies in its bucket, and no bucket is wider than 1/128 of it")
{
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int step = -1; step <= 1; step++) {
            uint64_t value = (1ull << bit) + (uint64_t)(int64_t)step;
            unsigned bucket = hdr_histogram_bucket(value);
            CHECK(bucket < HDR_BUCKETS);
            CHECK(hdr_histogram_bucket_top(bucket) >= value);
            CHECK(bucket == 0 || hdr_histogram_bucket_top(bucket - 1) < value);
            CHECK(hdr_histogram_bucket_top(bucket) - value <= value / 128);
        }
    }
    CHECK(hdr_histogram_bucket(UINT64_MAX) == HDR_BUCKETS - 1);
    CHECK(hdr_histogram_bucket_top(HDR_BUCKETS - 1) == UINT64_MAX);
}

TEST("HDR histogram: percentiles are those of the values, within a bucket")
{
    static struct hdr_histogram histogram;
    for (uint64_t value = 1; value <= 100000; value++)
        hdr_histogram_record(&histogram, value * 1000);
    static const double shares[] = {0.001, 0.5, 0.9, 0.99, 0.999};
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        double truth = shares[i] * 1e8, found = (double)hdr_histogram_percentile(&histogram, shares[i]);
        CHECK(found >= truth - 1 && found <= truth * 1.008);
    }
    CHECK(histogram.count == 100000);
}

TEST("HDR histogram: no percentile is above the largest value, which is exact")
{
    static struct hdr_histogram histogram;
    hdr_histogram_record(&histogram, 1000001);
    CHECK(histogram.maximum == 1000001);
    CHECK(hdr_histogram_percentile(&histogram, 0.5) == 1000001);
    CHECK(hdr_histogram_percentile(&histogram, 1) == 1000001);
    CHECK(hdr_histogram_percentile(&histogram, 0) == 1000001);
}

TEST("HDR histogram: one value in a thousand shows at p99.9 and not at p99")
{
    static struct hdr_histogram histogram;
    for (int i = 0; i < 998; i++)
        hdr_histogram_record(&histogram, 10);
    hdr_histogram_record(&histogram, 5000000);
    hdr_histogram_record(&histogram, 5000000);
    CHECK(hdr_histogram_percentile(&histogram, 0.99) == 10);
    CHECK(hdr_histogram_percentile(&histogram, 0.999) == 5000000);
}

TEST("HDR histogram: the median of three values is the second")
{
    static struct hdr_histogram histogram;
    hdr_histogram_record(&histogram, 30);
    hdr_histogram_record(&histogram, 10);
    hdr_histogram_record(&histogram, 20);
    CHECK(hdr_histogram_percentile(&histogram, 0.5) == 20);
}

TEST("HDR histogram: an empty one answers 0")
{
    static struct hdr_histogram histogram;
    CHECK(hdr_histogram_percentile(&histogram, 0.99) == 0);
}
