/* Each thread has one magazine (a small stack of free blocks) per pool and size class. An empty magazine takes half a
 * load from the depot of its class, a full one gives half back, so a thread that only acquires and one that only
 * releases meet at the depot once per half magazine and not once per block. Classes step by a quarter of a power of
 * two: at most a fifth of a block is lost to rounding. Counters are per thread, written by their thread alone and
 * summed by the reader; what a thread counted before it ended stays in `retired`. */
#include "memory/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#define SMALLEST 64u
#define LARGEST (64u * 1024)
#define CLASSES 41 /* 64, 80, 96, 112, 128, 160 … 65536 */

/* A magazine holds at most this many bytes of one class, so that many threads do not hoard; at least MINIMUM blocks. */
#define MAGAZINE_BYTES (32u * 1024)
#define MAGAZINE_MINIMUM 4u
#define MAGAZINE_MAXIMUM 64u
/* The depot keeps at most this many bytes of one class; past it a block goes back to malloc. */
#define DEPOT_BYTES (4u * 1024 * 1024)

struct block {
    struct block *next;
};

struct magazine {
    struct block *top;
    unsigned count;
};

struct counters {
    atomic_ullong acquired, released, hits, created, destroyed, bytes;
};

struct thread_pools {
    struct magazine magazines[POOL_COUNT][CLASSES];
    struct counters counters[POOL_COUNT];
    struct thread_pools *next, **previous;
};

static struct depot {
    pthread_mutex_t mutex;
    struct block *top;
    unsigned count;
} depots[POOL_COUNT][CLASSES];

static pthread_mutex_t threads_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct thread_pools *threads;
static struct counters retired[POOL_COUNT];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static _Thread_local struct thread_pools *mine;

static void start(void)
{
    for (int pool = 0; pool < POOL_COUNT; pool++)
        for (int class = 0; class < CLASSES; class ++)
            pthread_mutex_init(&depots[pool][class].mutex, NULL);
}

static inline unsigned class_of(size_t size)
{
    if (size <= SMALLEST)
        return 0;
    unsigned exponent = 63u - (unsigned)__builtin_clzll(size - 1);
    unsigned quarter = (unsigned)((size - 1) >> (exponent - 2)) & 3u;
    return (exponent - 6) * 4 + quarter + 1;
}

static inline size_t class_size(unsigned class)
{
    if (class == 0)
        return SMALLEST;
    unsigned exponent = (class - 1) / 4 + 6, quarter = (class - 1) % 4;
    return ((size_t)1 << exponent) + ((size_t)(quarter + 1) << (exponent - 2));
}

static inline unsigned magazine_capacity(unsigned class)
{
    size_t fits = MAGAZINE_BYTES / class_size(class);
    return fits < MAGAZINE_MINIMUM ? MAGAZINE_MINIMUM : fits > MAGAZINE_MAXIMUM ? MAGAZINE_MAXIMUM : (unsigned)fits;
}

static inline void count(atomic_ullong *counter, unsigned long long by)
{
    /* Only the owning thread writes, so a plain add made visible by a relaxed store is exact. */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by, memory_order_relaxed);
}

static struct thread_pools *join_thread(void)
{
    pthread_once(&once, start);
    struct thread_pools *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return NULL;
    pthread_mutex_lock(&threads_mutex);
    fresh->next = threads;
    fresh->previous = &threads;
    if (threads)
        threads->previous = &fresh->next;
    threads = fresh;
    pthread_mutex_unlock(&threads_mutex);
    return mine = fresh;
}

static void fill_magazine(enum pool pool, unsigned class, struct magazine *magazine)
{
    struct depot *depot = &depots[pool][class];
    unsigned wanted = magazine_capacity(class) / 2;
    pthread_mutex_lock(&depot->mutex);
    while (depot->count > 0 && magazine->count < wanted) {
        struct block *block = depot->top;
        depot->top = block->next;
        depot->count--;
        block->next = magazine->top;
        magazine->top = block;
        magazine->count++;
    }
    pthread_mutex_unlock(&depot->mutex);
}

static void drain_magazine(enum pool pool, unsigned class, struct magazine *magazine, unsigned keep,
                           struct counters *counters)
{
    struct depot *depot = &depots[pool][class];
    struct block *surplus = NULL;
    size_t size = class_size(class);
    pthread_mutex_lock(&depot->mutex);
    while (magazine->count > keep) {
        struct block *block = magazine->top;
        magazine->top = block->next;
        magazine->count--;
        if (depot->count * size < DEPOT_BYTES) {
            block->next = depot->top;
            depot->top = block;
            depot->count++;
        } else {
            block->next = surplus;
            surplus = block;
        }
    }
    pthread_mutex_unlock(&depot->mutex);
    while (surplus) {
        struct block *next = surplus->next;
        free(surplus);
        count(&counters->destroyed, 1);
        count(&counters->bytes, -(unsigned long long)size);
        surplus = next;
    }
}

size_t pool_usable_size(size_t size)
{
    return size > LARGEST ? size : class_size(class_of(size));
}

#if defined(__SANITIZE_ADDRESS__) || defined(LUADUCT_PLAIN_MALLOC)
#define PLAIN_MALLOC 1 /* so that AddressSanitizer sees every block's own life */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PLAIN_MALLOC 1
#endif
#endif
#ifndef PLAIN_MALLOC
#define PLAIN_MALLOC 0
#endif

void *pool_acquire(enum pool pool, size_t size)
{
    struct thread_pools *thread = mine ? mine : join_thread();
    if (!thread)
        return NULL;
    struct counters *counters = &thread->counters[pool];
    if (!PLAIN_MALLOC && size <= LARGEST) {
        unsigned class = class_of(size);
        struct magazine *magazine = &thread->magazines[pool][class];
        if (!magazine->top)
            fill_magazine(pool, class, magazine);
        struct block *block = magazine->top;
        if (block) {
            magazine->top = block->next;
            magazine->count--;
            count(&counters->acquired, 1);
            count(&counters->hits, 1);
            return block;
        }
        size = class_size(class);
    } else if (size <= LARGEST) {
        size = class_size(class_of(size));
    }
    void *fresh = malloc(size);
    if (!fresh)
        return NULL;
    count(&counters->acquired, 1);
    count(&counters->created, 1);
    count(&counters->bytes, size);
    return fresh;
}

void pool_release(enum pool pool, void *released, size_t size)
{
    struct thread_pools *thread = mine ? mine : join_thread();
    if (!released)
        return;
    if (!thread) {
        free(released);
        return;
    }
    struct counters *counters = &thread->counters[pool];
    count(&counters->released, 1);
    if (PLAIN_MALLOC || size > LARGEST) {
        count(&counters->destroyed, 1);
        count(&counters->bytes, -(unsigned long long)pool_usable_size(size));
        free(released);
        return;
    }
    unsigned class = class_of(size);
    struct magazine *magazine = &thread->magazines[pool][class];
    struct block *block = released;
    block->next = magazine->top;
    magazine->top = block;
    magazine->count++;
    unsigned capacity = magazine_capacity(class);
    if (magazine->count > capacity)
        drain_magazine(pool, class, magazine, capacity / 2, counters);
}

static void add(const struct counters *from, struct pool_statistics *to)
{
    to->acquired += atomic_load_explicit(&from->acquired, memory_order_relaxed);
    to->released += atomic_load_explicit(&from->released, memory_order_relaxed);
    to->hits += atomic_load_explicit(&from->hits, memory_order_relaxed);
    to->created += atomic_load_explicit(&from->created, memory_order_relaxed);
    to->destroyed += atomic_load_explicit(&from->destroyed, memory_order_relaxed);
    to->bytes += atomic_load_explicit(&from->bytes, memory_order_relaxed);
}

void pool_read_statistics(enum pool pool, struct pool_statistics *out)
{
    *out = (struct pool_statistics){0};
    pthread_mutex_lock(&threads_mutex);
    add(&retired[pool], out);
    for (struct thread_pools *thread = threads; thread; thread = thread->next)
        add(&thread->counters[pool], out);
    pthread_mutex_unlock(&threads_mutex);
}

void pool_leave_thread(void)
{
    struct thread_pools *leaving = mine;
    if (!leaving)
        return;
    for (int pool = 0; pool < POOL_COUNT; pool++)
        for (unsigned class = 0; class < CLASSES; class ++)
            drain_magazine((enum pool)pool, class, &leaving->magazines[pool][class], 0, &leaving->counters[pool]);
    pthread_mutex_lock(&threads_mutex);
    for (int pool = 0; pool < POOL_COUNT; pool++) {
        struct counters *from = &leaving->counters[pool], *to = &retired[pool];
        count(&to->acquired, atomic_load(&from->acquired));
        count(&to->released, atomic_load(&from->released));
        count(&to->hits, atomic_load(&from->hits));
        count(&to->created, atomic_load(&from->created));
        count(&to->destroyed, atomic_load(&from->destroyed));
        count(&to->bytes, atomic_load(&from->bytes));
    }
    *leaving->previous = leaving->next;
    if (leaving->next)
        leaving->next->previous = leaving->previous;
    pthread_mutex_unlock(&threads_mutex);
    free(leaving);
    mine = NULL;
}

void pool_trim(void)
{
    pthread_once(&once, start);
    for (int pool = 0; pool < POOL_COUNT; pool++) {
        for (unsigned class = 0; class < CLASSES; class ++) {
            struct depot *depot = &depots[pool][class];
            pthread_mutex_lock(&depot->mutex);
            struct block *block = depot->top;
            unsigned freed = depot->count;
            depot->top = NULL;
            depot->count = 0;
            pthread_mutex_unlock(&depot->mutex);
            while (block) {
                struct block *next = block->next;
                free(block);
                block = next;
            }
            pthread_mutex_lock(&threads_mutex);
            count(&retired[pool].destroyed, freed);
            count(&retired[pool].bytes, -(unsigned long long)freed * class_size(class));
            pthread_mutex_unlock(&threads_mutex);
        }
    }
}
