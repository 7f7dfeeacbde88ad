/* What pools keep warm, played through on bursts with the real pool. */
#include "../../support/unit.h"

#include "base/clock.h"
#include "memory/pool.h"
#include "runtime/engines/warmth.h"

TEST("warmth: the config's number, or the last burst's, which fades and is bounded")
{
    struct warmth warmth = {0};
    CHECK(warmth_blocks(&warmth, 100, true) == 100);
    warmth_update(&warmth, 900);
    CHECK(warmth_blocks(&warmth, 100, false) == 100);
    CHECK(warmth_blocks(&warmth, 100, true) == 900);
    for (unsigned second = 0; second < (unsigned)WARMTH_HALF_LIFE_S; second++)
        warmth_update(&warmth, 0);
    CHECK(warmth_blocks(&warmth, 100, true) >= 449 && warmth_blocks(&warmth, 100, true) <= 451);
    warmth_update(&warmth, 1000000);
    CHECK(warmth_blocks(&warmth, 100, true) == 1600);
    CHECK(warmth_blocks(&warmth, 0, true) == 0);
}

/* A burst of 1,200 envelopes every 90 seconds, for ten bursts; gives how many blocks were freed and made again. */
static uint64_t evictions(bool predictive)
{
    struct warmth warmth = {0};
    struct pool_statistics before, after;
    static void *blocks[1200];
    uint64_t now_ms = clock_coarse_ns() / 1000000, start_ms = now_ms;
    pool_read_statistics(POOL_ENVELOPES, &before);
    for (unsigned second = 0; second < 900; second++, now_ms += 1000) {
        bool burst = second % 90 == 0;
        for (unsigned i = 0; burst && i < 1200; i++)
            CHECK((blocks[i] = pool_acquire(POOL_ENVELOPES, 500)));
        warmth_update(&warmth, burst ? 1200 : 0);
        for (unsigned i = 0; burst && i < 1200; i++)
            pool_release(POOL_ENVELOPES, blocks[i], 500);
        pool_flush_thread(); /* batches carry the real clock's time, which stands nearly still here */
        struct pool_options options = {.max_age_ms = 60000 + (uint32_t)(now_ms - start_ms) - second % 90 * 1000};
        options.warm[POOL_ENVELOPES] = warmth_blocks(&warmth, 100, predictive);
        pool_configure(&options);
        pool_age(now_ms);
    }
    pool_read_statistics(POOL_ENVELOPES, &after);
    pool_reclaim(SIZE_MAX);
    return after.evicted[POOL_EVICTED_TTL] - before.evicted[POOL_EVICTED_TTL];
}

TEST("warmth: on bursts fewer blocks are freed and made again with the forecast than without")
{
    uint64_t off = evictions(false), on = evictions(true);
    printf("blocks evicted: %llu reactive, %llu with the forecast\n", (unsigned long long)off, (unsigned long long)on);
#if !defined(__SANITIZE_ADDRESS__)
    CHECK(on * 4 < off);
#endif
}
