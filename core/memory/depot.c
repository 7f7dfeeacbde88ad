#include "memory/depot.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"

static struct depot {
    pthread_mutex_t mutex;
    struct batch *warmest, *coldest;
    uint32_t count; /* blocks */
} depots[POOL_COUNT][SIZE_CLASSES];

static atomic_uint in_depots[POOL_COUNT];

void depots_init(void)
{
    for (int pool = 0; pool < POOL_COUNT; pool++)
        for (int class = 0; class < SIZE_CLASSES; class ++)
            pthread_mutex_init(&depots[pool][class].mutex, NULL);
}

unsigned depots_count(enum pool pool)
{
    return atomic_load_explicit(&in_depots[pool], memory_order_relaxed);
}

void depot_put(enum pool pool, unsigned class, struct block *chain, uint32_t count)
{
    struct depot *depot = &depots[pool][class];
    struct batch *batch = (struct batch *)(void *)chain;
    batch->count = count;
    batch->put_ms = clock_coarse_ns() / 1000000;
    batch->warmer = NULL;
    pthread_mutex_lock(&depot->mutex);
    batch->colder = depot->warmest;
    if (batch->colder)
        batch->colder->warmer = batch;
    else
        depot->coldest = batch;
    depot->warmest = batch;
    depot->count += count;
    atomic_fetch_add_explicit(&in_depots[pool], count, memory_order_relaxed);
    pthread_mutex_unlock(&depot->mutex);
}

/* Mutex held, as below. */
static void count_taken(enum pool pool, struct depot *depot, const struct batch *batch)
{
    depot->count -= batch->count;
    atomic_fetch_sub_explicit(&in_depots[pool], batch->count, memory_order_relaxed);
}

struct block *depot_take(enum pool pool, unsigned class, uint32_t *count)
{
    struct depot *depot = &depots[pool][class];
    pthread_mutex_lock(&depot->mutex);
    struct batch *batch = depot->warmest;
    if (batch) {
        depot->warmest = batch->colder;
        if (batch->colder)
            batch->colder->warmer = NULL;
        else
            depot->coldest = NULL;
        count_taken(pool, depot, batch);
        *count = batch->count;
    }
    pthread_mutex_unlock(&depot->mutex);
    return batch ? &batch->block : NULL;
}

static struct block *take_coldest(enum pool pool, struct depot *depot)
{
    struct batch *batch = depot->coldest;
    depot->coldest = batch->warmer;
    if (batch->warmer)
        batch->warmer->colder = NULL;
    else
        depot->warmest = NULL;
    count_taken(pool, depot, batch);
    return &batch->block;
}

struct block *depot_take_surplus(enum pool pool, unsigned class, size_t most)
{
    struct depot *depot = &depots[pool][class];
    struct block *surplus = NULL;
    pthread_mutex_lock(&depot->mutex);
    if (depot->count * size_class_bytes(class) > most)
        surplus = take_coldest(pool, depot);
    pthread_mutex_unlock(&depot->mutex);
    return surplus;
}

struct block *depot_take_old(enum pool pool, unsigned class, uint64_t put_ms)
{
    struct depot *depot = &depots[pool][class];
    struct block *old = NULL;
    pthread_mutex_lock(&depot->mutex);
    if (depot->coldest && depot->coldest->put_ms <= put_ms)
        old = take_coldest(pool, depot);
    pthread_mutex_unlock(&depot->mutex);
    return old;
}

/* A look without their locks would race, so each is locked for a moment. False: all are empty. */
static bool find_coldest(enum pool *of_pool, unsigned *of_class)
{
    uint64_t oldest = UINT64_MAX;
    for (unsigned pool = 0; pool < POOL_COUNT; pool++) {
        for (unsigned class = 0; class < SIZE_CLASSES; class ++) {
            struct depot *depot = &depots[pool][class];
            pthread_mutex_lock(&depot->mutex);
            if (depot->coldest && depot->coldest->put_ms < oldest) {
                oldest = depot->coldest->put_ms;
                *of_pool = (enum pool)pool;
                *of_class = class;
            }
            pthread_mutex_unlock(&depot->mutex);
        }
    }
    return oldest != UINT64_MAX;
}

struct block *depots_take_coldest(enum pool *pool, unsigned *class)
{
    struct block *coldest = NULL;
    while (!coldest && find_coldest(pool, class))
        coldest = depot_take_surplus(*pool, *class, 0); /* another thread may have been faster */
    return coldest;
}
