#include "../support/unit.h"

#include <pthread.h>
#include <stdint.h>

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
