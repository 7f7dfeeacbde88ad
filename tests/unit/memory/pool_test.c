#include "../../support/unit.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <unistd.h>

#include "base/clock.h"
#include "memory/buffer.h"
#include "memory/pool.h"

TEST("a block holds what was asked for, at every size around the classes")
{
    for (size_t size = 1; size < 70000; size = size * 9 / 8 + 1) {
        unsigned char *block = pool_acquire(POOL_BUFFERS, size);
        CHECK(block && pool_usable_size(size) >= size && (uintptr_t)block % 16 == 0);
        memset(block, 0xab, pool_usable_size(size));
        pool_release(POOL_BUFFERS, block, size);
    }
    pool_leave_thread();
    pool_trim();
}

enum { EXCHANGED = 20000 };
static void *slots[EXCHANGED];

static void *acquire_all(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < EXCHANGED; i++)
        slots[i] = pool_acquire(POOL_ENVELOPES, 64 + i % 4000);
    pool_leave_thread();
    return NULL;
}

static void *release_all(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < EXCHANGED; i++)
        pool_release(POOL_ENVELOPES, slots[i], 64 + i % 4000);
    pool_leave_thread();
    return NULL;
}

TEST("blocks released on other threads come back, and the figures add up")
{
    for (int round = 0; round < 5; round++) {
        pthread_t thread;
        pthread_create(&thread, NULL, acquire_all, NULL);
        pthread_join(thread, NULL);
        pthread_create(&thread, NULL, release_all, NULL);
        pthread_join(thread, NULL);
    }
    struct pool_statistics figures;
    pool_read_statistics(POOL_ENVELOPES, &figures);
    CHECK(figures.acquired == 5 * EXCHANGED && figures.released == 5 * EXCHANGED);
    CHECK(figures.hits + figures.created == figures.acquired);
    pool_trim();
    pool_read_statistics(POOL_ENVELOPES, &figures);
    CHECK(figures.created == figures.destroyed && figures.bytes == 0);
}

static void *churn(void *seed)
{
    uint64_t state = (uintptr_t)seed;
    void *held[64] = {0};
    size_t sizes[64];
    for (unsigned i = 0; i < 200000; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        unsigned slot = (unsigned)(state >> 58);
        if (held[slot]) {
            CHECK(*(unsigned char *)held[slot] == (unsigned char)(uintptr_t)seed);
            pool_release(POOL_ARRAYS, held[slot], sizes[slot]);
            held[slot] = NULL;
        } else {
            sizes[slot] = 1 + (state >> 40) % 3000;
            held[slot] = pool_acquire(POOL_ARRAYS, sizes[slot]);
            memset(held[slot], (int)(uintptr_t)seed, sizes[slot]);
        }
    }
    for (unsigned i = 0; i < 64; i++)
        if (held[i])
            pool_release(POOL_ARRAYS, held[i], sizes[i]);
    pool_leave_thread();
    return NULL;
}

TEST("no two threads ever hold the same block")
{
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, churn, (void *)(i + 1));
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    struct pool_statistics figures;
    pool_read_statistics(POOL_ARRAYS, &figures);
    CHECK(figures.acquired == figures.released);
    pool_trim();
}

TEST("a buffer keeps its bytes while it grows and gives its block back when it is emptied")
{
    struct buffer buffer = {0};
    for (unsigned i = 0; i < 10000; i++)
        buffer_append_format(&buffer, "%05u,", i);
    CHECK(buffer.length == 60000 && !buffer.failed);
    CHECK(memcmp(buffer.data + 6 * 1234, "01234,", 6) == 0);
    buffer_consume(&buffer, 6 * 9999);
    CHECK_TEXT(buffer.data, buffer.length, "09999,");
    buffer_consume(&buffer, 6);
    CHECK(buffer.data == NULL && buffer.capacity == 0);
    pool_leave_thread();
    pool_trim();
}

/* --- Eviction ------------------------------------------------------------------------------------------------------
 */

#if defined(__SANITIZE_ADDRESS__)
#define POOLED 0 /* every release is a free there */
#else
#define POOLED 1
#endif

static struct pool_statistics figures_of(enum pool pool)
{
    struct pool_statistics figures;
    pool_read_statistics(pool, &figures);
    return figures;
}

static uint64_t available(const struct pool_statistics *figures)
{
    return figures->created - figures->destroyed - (figures->acquired - figures->released);
}

static void **acquire_many(enum pool pool, size_t size, unsigned count)
{
    void **blocks = malloc(count * sizeof *blocks);
    CHECK(blocks);
    for (unsigned i = 0; i < count; i++)
        CHECK((blocks[i] = pool_acquire(pool, size)));
    return blocks;
}

static void release_many(enum pool pool, size_t size, unsigned count, void **blocks)
{
    for (unsigned i = 0; i < count; i++)
        pool_release(pool, blocks[i], size);
    free(blocks);
}

static uint64_t now_ms(void)
{
    return clock_coarse_ns() / 1000000;
}

TEST("pools: a depot that is over its size gives up what was put in first, and counts it as LRU")
{
    release_many(POOL_ENVELOPES, 1024, 10000, acquire_many(POOL_ENVELOPES, 1024, 10000));
    struct pool_statistics figures = figures_of(POOL_ENVELOPES);
    CHECK(figures.released == 10000);
    if (POOLED) {
        CHECK(figures.evicted[POOL_EVICTED_LRU] > 5000 && figures.evicted[POOL_EVICTED_LRU] == figures.destroyed);
        CHECK(figures.bytes <= (4u << 20) + (64u << 10) && figures.bytes > 3u << 20);
        CHECK(figures.bytes == available(&figures) * 1024);
    }
    pool_trim();
}

TEST("pools: what is idle for too long goes, down to what stays warm, and counts as TTL")
{
    struct pool_options options = {.warm = {[POOL_ARRAYS] = 100}, .max_age_ms = 1000};
    pool_configure(&options);
    release_many(POOL_ARRAYS, 256, 1000, acquire_many(POOL_ARRAYS, 256, 1000));
    pool_flush_thread();
    CHECK(pool_age(now_ms()) == 0); /* not yet */
    size_t freed = pool_age(now_ms() + 1001);
    struct pool_statistics figures = figures_of(POOL_ARRAYS);
    if (POOLED) {
        CHECK(freed == figures.evicted[POOL_EVICTED_TTL] * 256);
        CHECK(available(&figures) <= 100 && available(&figures) > 100 - 65); /* whole batches go */
        CHECK(figures.evicted[POOL_EVICTED_TTL] == figures.destroyed && figures.warm == 100);
    }
    pool_trim();
}

TEST("pools: a thread that has used a magazine keeps it, others go to the depot to age")
{
    pool_release(POOL_BUFFERS, pool_acquire(POOL_BUFFERS, 512), 512);
    pool_release(POOL_BUFFERS, pool_acquire(POOL_BUFFERS, 512), 512); /* a hit: the magazine is in use */
    pool_age_thread();
    pool_age(now_ms() + 100000);
    CHECK(!POOLED || figures_of(POOL_BUFFERS).evicted[POOL_EVICTED_TTL] == 0);
    pool_age_thread(); /* not used since */
    pool_age(now_ms() + 100000);
    CHECK(!POOLED || figures_of(POOL_BUFFERS).evicted[POOL_EVICTED_TTL] == 1);
    pool_trim();
}

TEST("pools: pressure takes the coldest first, as many bytes as asked for, warm ones included")
{
    struct pool_options options = {.warm = {100000, 100000, 100000}, .max_age_ms = 1000};
    pool_configure(&options);
    release_many(POOL_ENVELOPES, 512, 1000, acquire_many(POOL_ENVELOPES, 512, 1000));
    pool_flush_thread();
    uint64_t put_ms = now_ms();
    while (now_ms() < put_ms + 10)
        sched_yield();
    release_many(POOL_BUFFERS, 512, 1000, acquire_many(POOL_BUFFERS, 512, 1000));
    pool_flush_thread();
    if (POOLED) {
        CHECK(pool_reclaim(100 * 512) >= 100 * 512);
        CHECK(figures_of(POOL_ENVELOPES).evicted[POOL_EVICTED_PRESSURE] >= 100);
        CHECK(figures_of(POOL_BUFFERS).evicted[POOL_EVICTED_PRESSURE] == 0);
        pool_reclaim(SIZE_MAX);
        CHECK(figures_of(POOL_BUFFERS).evicted[POOL_EVICTED_PRESSURE] == 1000);
        CHECK(pool_reclaim(1) == 0);
    }
    pool_trim();
    CHECK(figures_of(POOL_ENVELOPES).bytes == 0 && figures_of(POOL_BUFFERS).bytes == 0);
}

TEST("pools: switched off, a release is a free, and what was there goes; switched on, they pool again")
{
    void *early = pool_acquire(POOL_ENVELOPES, 100);
    release_many(POOL_ENVELOPES, 100, 500, acquire_many(POOL_ENVELOPES, 100, 500));
    pool_set_enabled(false);
    struct pool_statistics figures = figures_of(POOL_ENVELOPES);
    CHECK(available(&figures) == 0);
    void *late = pool_acquire(POOL_ENVELOPES, 100);
    pool_release(POOL_ENVELOPES, early, 100);
    figures = figures_of(POOL_ENVELOPES);
    CHECK(available(&figures) == 0 && figures.acquired - figures.released == 1);
    pool_set_enabled(true);
    pool_release(POOL_ENVELOPES, late, 100);
    uint64_t hits = figures_of(POOL_ENVELOPES).hits;
    pool_release(POOL_ENVELOPES, pool_acquire(POOL_ENVELOPES, 100), 100);
    CHECK(!POOLED || figures_of(POOL_ENVELOPES).hits == hits + 1);
    pool_trim();
}

/* --- Figures while threads run -------------------------------------------------------------------------------------
 */

static atomic_bool hammer_stops;

static void *hammer(void *unused)
{
    (void)unused;
    for (unsigned i = 0; !atomic_load(&hammer_stops); i++) {
        static _Atomic(void *) shared[64];
        void *fresh = pool_acquire(POOL_ARRAYS, 200);
        void *other = atomic_exchange(&shared[i % 64], fresh); /* released by whichever thread comes next */
        pool_release(POOL_ARRAYS, other, 200);
        if (i % 1000 == 0)
            pool_age_thread();
    }
    pool_leave_thread();
    return NULL;
}

TEST("pools: the figures never contradict each other while threads exchange blocks, and add up when they rest")
{
    pthread_t threads[3];
    for (unsigned i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, hammer, NULL);
    struct pool_statistics before = {0};
    for (unsigned i = 0; i < 2000; i++) {
        struct pool_statistics now = figures_of(POOL_ARRAYS);
        CHECK(now.acquired >= now.released && now.created >= now.destroyed && now.acquired >= now.hits);
        CHECK(now.acquired >= before.acquired && now.released >= before.released && now.created >= before.created);
        if (i % 100 == 0)
            pool_age(now_ms() + 1000000);
        before = now;
    }
    atomic_store(&hammer_stops, true);
    for (unsigned i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    struct pool_statistics figures = figures_of(POOL_ARRAYS);
    CHECK(figures.acquired - figures.released <= 64); /* what lies between the threads */
    CHECK(figures.hits + figures.created == figures.acquired);
    CHECK(figures.bytes == (figures.created - figures.destroyed) * pool_usable_size(200));
    uint64_t evicted = 0;
    for (unsigned cause = 0; cause < POOL_EVICTIONS; cause++)
        evicted += figures.evicted[cause];
    CHECK(!POOLED || evicted == figures.destroyed);
}

/* --- Misuse --------------------------------------------------------------------------------------------------------
 */

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST("pools: a block that is released twice is kept once")
{
    void *first = pool_acquire(POOL_ENVELOPES, 64), *second = pool_acquire(POOL_ENVELOPES, 64);
    pool_release(POOL_ENVELOPES, first, 64);
    pool_release(POOL_ENVELOPES, second, 64);
    pool_release(POOL_ENVELOPES, first, 64);
    CHECK(figures_of(POOL_ENVELOPES).released == 2);
    void *again = pool_acquire(POOL_ENVELOPES, 64), *other = pool_acquire(POOL_ENVELOPES, 64);
    CHECK(again != other && pool_acquire(POOL_ENVELOPES, 64) != again);
}
#endif

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static long resident_kib(void)
{
    long size, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%ld %ld", &size, &resident) == 2);
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

TEST("pools: nine tenths of what a burst of 200,000 blocks took goes back to the system when it has aged")
{
    struct pool_options options = {.warm = {100, 50, 256}, .max_age_ms = 1000};
    pool_configure(&options);
    long before = resident_kib();
    void **blocks = acquire_many(POOL_ENVELOPES, 600, 200000);
    for (unsigned i = 0; i < 200000; i++)
        memset(blocks[i], 1, 600);
    long grown = resident_kib() - before;
    CHECK(grown > 100 * 1024);
    void *kept[200];
    for (unsigned i = 0; i < 200; i++) { /* some stay in use, spread over all of it */
        kept[i] = blocks[i * 1000];
        blocks[i * 1000] = NULL;
    }
    release_many(POOL_ENVELOPES, 600, 200000, blocks);
    pool_age_thread();
    pool_age_thread();
    pool_age(now_ms() + 1001);
    long left = resident_kib() - before;
    printf("grown by %ld KiB, %ld KiB left\n", grown, left);
    CHECK(left * 10 <= grown);
    for (unsigned i = 0; i < 200; i++)
        pool_release(POOL_ENVELOPES, kept[i], 600);
}
#endif
