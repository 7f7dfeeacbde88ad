/* Token buckets, on a clock of numbers. */
#include "../../support/unit.h"

#include "base/rate.h"

#define SECOND 1000000000ull

TEST("rate: a burst passes at once, and then as much as the rate says")
{
    rate_bucket bucket = 0;
    const struct rate rate = {10, 5};
    uint64_t now = 1000 * SECOND;
    for (unsigned i = 0; i < 5; i++)
        CHECK(rate_take(&bucket, &rate, 1, now) == 0);
    CHECK(rate_take(&bucket, &rate, 1, now) == SECOND / 10);
    CHECK(rate_take(&bucket, &rate, 1, now + SECOND / 10 - 1) > 0);
    CHECK(rate_take(&bucket, &rate, 1, now + SECOND / 10) == 0);
    CHECK(rate_take(&bucket, &rate, 1, now + SECOND / 10) > 0);
    unsigned passed = 0;
    for (uint64_t at = 1; at <= 100; at++)
        passed += rate_take(&bucket, &rate, 1, now + SECOND / 10 + at * SECOND / 100) == 0;
    CHECK(passed == 10);
}

TEST("rate: quiet time fills it to the burst and no further")
{
    rate_bucket bucket = 0;
    const struct rate rate = {10, 5};
    uint64_t now = 1000 * SECOND;
    for (unsigned round = 0; round < 3; round++, now += 100 * SECOND) {
        for (unsigned i = 0; i < 5; i++)
            CHECK(rate_take(&bucket, &rate, 1, now) == 0);
        CHECK(rate_take(&bucket, &rate, 1, now) > 0);
    }
}

TEST("rate: one that is larger than the burst passes on a full bucket, and is paid off afterwards")
{
    rate_bucket bucket = 0;
    const struct rate rate = {1000, 1000};
    uint64_t now = 1000 * SECOND;
    CHECK(rate_take(&bucket, &rate, 5000, now) == 0);
    CHECK(rate_take(&bucket, &rate, 1, now + 3 * SECOND) > 0);
    CHECK(rate_take(&bucket, &rate, 500, now + 9 * SECOND / 2) == 0);
    CHECK(rate_take(&bucket, &rate, 5000, now + 9 * SECOND / 2) > 0);
}

TEST("rate: 0 is no limit, and a clock of another thread that is behind gives nothing away")
{
    rate_bucket bucket = 0;
    const struct rate none = {0, 0}, rate = {1, 1};
    for (unsigned i = 0; i < 1000; i++)
        CHECK(rate_take(&bucket, &none, 1000000, 5) == 0);
    CHECK(rate_take(&bucket, &rate, 1, 10 * SECOND) == 0);
    CHECK(rate_take(&bucket, &rate, 1, 10 * SECOND - 1) > 0);
}

TEST("rate: what is charged afterwards is waited for")
{
    rate_bucket bucket = 0;
    const struct rate rate = {1000, 1000};
    uint64_t now = 1000 * SECOND;
    rate_charge(&bucket, &rate, 900, now);
    CHECK(rate_wait(&bucket, &rate, now) == 0);
    rate_charge(&bucket, &rate, 1100, now);
    CHECK(rate_wait(&bucket, &rate, now) == SECOND);
    CHECK(rate_wait(&bucket, &rate, now + SECOND) == 0);
    rate_take(&bucket, &rate, 1, now + 100 * SECOND);
    rate_give_back(&bucket, &rate, 1);
    CHECK(bucket == now + 100 * SECOND);
}
