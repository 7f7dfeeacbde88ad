/* Each thread has one magazine (a small stack of free blocks) per pool and size class. An empty magazine takes a batch
 * from the depot of its class, a full one gives half back as a batch, so a thread that only acquires and one that only
 * releases meet at the depot once per batch and not once per block. A depot is a list of batches in the order in which
 * they came; they are taken from its warm end and evicted from its cold one.
 *
 * Classes step by a quarter of a power of two: at most a fifth of a block is lost to rounding. A block's time is that
 * of its batch: no clock is read while magazines serve. Counters are per thread, written by their thread alone and
 * summed by the reader; what a thread counted before it ended stays in `retired`.
 *
 * A block in the pool carries a mark that depends on its address and on a secret of the process, so that one that is
 * released twice is recognised without a header. */
#include "memory/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "base/system.h"

#define SMALLEST 64u
#define LARGEST (64u << 10)
#define CLASSES 41 /* 64, 80, 96, 112, 128, 160 … 65536 */

/* A magazine holds at most this many bytes of one class, so that many threads do not hoard; at least MINIMUM blocks. */
#define MAGAZINE_BYTES (32u << 10)
#define MAGAZINE_MINIMUM 4u
#define MAGAZINE_MAXIMUM 64u
/* The size of a depot, in bytes of its class: what a burst leaves beyond it goes at once. */
#define DEPOT_BYTES (4u << 20)

#define MAX_AGE_MS 60000u /* without pool_configure */

/* malloc keeps freed memory to itself until it is told not to; telling it costs milliseconds, so only for this much. */
#define RETURN_BYTES (1u << 20)

#if defined(__SANITIZE_ADDRESS__)
#define PLAIN_MALLOC 1 /* so that AddressSanitizer sees every block's own life */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PLAIN_MALLOC 1
#endif
#endif
#ifndef PLAIN_MALLOC
#define PLAIN_MALLOC 0
#endif
#if PLAIN_MALLOC || defined(__SANITIZE_THREAD__)
#define LUADUCT_POOL_DEBUG 1
#endif

struct block {
    struct block *next;
    uint64_t mark; /* while it is in the pool */
};

/* The first block of a batch, in the depot. */
struct batch {
    struct block block;
    struct batch *colder, *warmer;
    uint64_t put_ms;
    uint32_t count;
};
_Static_assert(sizeof(struct batch) <= SMALLEST, "it lies in a block of the smallest class");

struct magazine {
    struct block *top;
    uint32_t count, capacity;
    bool used; /* since the last pool_age_thread */
};

struct counters {
    atomic_ullong acquired, released, created, destroyed, bytes, evicted[POOL_EVICTIONS];
};

struct thread_pools {
    struct magazine magazines[POOL_COUNT][CLASSES];
    struct counters counters[POOL_COUNT];
    struct thread_pools *next, **previous;
};

static struct depot {
    pthread_mutex_t mutex;
    struct batch *warmest, *coldest;
    uint32_t count; /* blocks */
} depots[POOL_COUNT][CLASSES];

static pthread_mutex_t threads_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct thread_pools *threads;
static struct counters retired[POOL_COUNT];
static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint64_t secret;

static atomic_bool enabled = true;
static atomic_uint warm[POOL_COUNT], in_depots[POOL_COUNT], max_age_ms = MAX_AGE_MS;
static atomic_ullong freed_bytes; /* since memory was last returned to the system */

static _Thread_local struct thread_pools *mine;

static void start(void)
{
    secret = random_u64();
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
    /* Only the owning thread writes, so a plain add is exact; released, so that whoever sees a block's release counted
     * sees its acquire counted too. */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by, memory_order_release);
}

static inline uint64_t mark_of(const void *block)
{
    return secret ^ (uint64_t)(uintptr_t)block;
}

static struct thread_pools *join_thread(void)
{
    pthread_once(&once, start);
    struct thread_pools *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return NULL;
    for (unsigned pool = 0; pool < POOL_COUNT; pool++)
        for (unsigned class = 0; class < CLASSES; class ++)
            fresh->magazines[pool][class].capacity = magazine_capacity(class);
    pthread_mutex_lock(&threads_mutex);
    fresh->next = threads;
    fresh->previous = &threads;
    if (threads)
        threads->previous = &fresh->next;
    threads = fresh;
    pthread_mutex_unlock(&threads_mutex);
    return mine = fresh;
}

size_t pool_usable_size(size_t size)
{
    return size > LARGEST ? size : class_size(class_of(size));
}

/* --- Debug builds: a header before each block, poison in it while it is unused --------------------------------------
 */

#ifdef LUADUCT_POOL_DEBUG

#define POISON 0xdb
enum { IN_USE = 0x5a5e0001, UNUSED = 0x5a5e0002 };

struct header {
    uint32_t state, pool;
    uint64_t size; /* pool_usable_size */
};
_Static_assert(sizeof(struct header) == 16, "blocks stay aligned to 16");
#define HEADER_BYTES sizeof(struct header)

static struct header *header_of(void *block)
{
    return (struct header *)block - 1;
}

static _Noreturn void misuse(const char *what, const void *block, const struct header *header)
{
    fprintf(stderr, "pool: %s: block %p of pool %u, %llu bytes\n", what, block, header->pool,
            (unsigned long long)header->size);
    abort();
}

/* What a batch uses of a block in the depot is not poisoned. */
static void poison(void *block, size_t size)
{
    if (!PLAIN_MALLOC && size <= LARGEST)
        memset((char *)block + sizeof(struct batch), POISON, size - sizeof(struct batch));
}

static void debug_acquired(void *block, enum pool pool, size_t size, bool fresh)
{
    struct header *header = header_of(block);
    if (!fresh) {
        if (header->state != UNUSED)
            misuse("given out twice", block, header);
        for (size_t i = sizeof(struct batch); i < size; i++)
            if (((unsigned char *)block)[i] != POISON)
                misuse("written to after its release", block, header);
    }
    *header = (struct header){IN_USE, pool, size};
}

static void debug_released(void *block, enum pool pool, size_t size)
{
    struct header *header = header_of(block);
    if (header->state == UNUSED)
        misuse("released twice", block, header);
    if (header->state != IN_USE)
        misuse("released, and it is none of the pool's", block, &(struct header){.pool = pool, .size = size});
    if (header->pool != (uint32_t)pool)
        misuse("released to another pool than it came from", block, header);
    if (header->size != pool_usable_size(size))
        misuse("released with another size than it was acquired with", block, header);
    header->state = UNUSED;
    poison(block, header->size);
}

#else
#define HEADER_BYTES 0u
#define debug_acquired(block, pool, size, fresh) ((void)(pool))
#define debug_released(block, pool, size) ((void)(pool))
#endif

static void *allocate(size_t size)
{
    char *memory = malloc(HEADER_BYTES + size);
    return memory ? memory + HEADER_BYTES : NULL;
}

static void deallocate(void *block)
{
    free((char *)block - HEADER_BYTES);
}

/* --- Depots ------------------------------------------------------------------------------------------------------- */

/* Frees a chain of unused blocks. */
static size_t destroy(unsigned class, struct block *block, struct counters *counters, enum pool_eviction cause)
{
    size_t size = class_size(class), freed = 0;
    uint32_t blocks = 0;
    while (block) {
        struct block *next = block->next;
        block->mark = 0;
        deallocate(block);
        blocks++;
        freed += size;
        block = next;
    }
    count(&counters->destroyed, blocks);
    count(&counters->evicted[cause], blocks);
    count(&counters->bytes, -(unsigned long long)freed);
    atomic_fetch_add_explicit(&freed_bytes, freed, memory_order_relaxed);
    return freed;
}

/* Takes the batch at the cold end out. Mutex held. */
static struct block *take_coldest(enum pool pool, struct depot *depot)
{
    struct batch *batch = depot->coldest;
    depot->coldest = batch->warmer;
    if (batch->warmer)
        batch->warmer->colder = NULL;
    else
        depot->warmest = NULL;
    depot->count -= batch->count;
    atomic_fetch_sub_explicit(&in_depots[pool], batch->count, memory_order_relaxed);
    return &batch->block;
}

static void fill_magazine(enum pool pool, unsigned class, struct magazine *magazine)
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
        depot->count -= batch->count;
        atomic_fetch_sub_explicit(&in_depots[pool], batch->count, memory_order_relaxed);
        magazine->top = &batch->block;
        magazine->count = batch->count;
    }
    pthread_mutex_unlock(&depot->mutex);
}

/* All but the `keep` blocks that were released last, as one batch; then what the depot has too many of goes. */
static void drain_magazine(enum pool pool, unsigned class, struct magazine *magazine, unsigned keep,
                           struct counters *counters)
{
    if (magazine->count <= keep)
        return;
    struct block **place = &magazine->top;
    for (unsigned i = 0; i < keep; i++)
        place = &(*place)->next;
    struct batch *batch = (struct batch *)(void *)*place;
    *place = NULL;
    batch->count = magazine->count - keep;
    batch->put_ms = clock_coarse_ns() / 1000000;
    batch->warmer = NULL;
    magazine->count = keep;

    struct depot *depot = &depots[pool][class];
    size_t size = class_size(class);
    size_t most = atomic_load_explicit(&enabled, memory_order_relaxed) ? DEPOT_BYTES : 0;
    struct block *surplus;
    pthread_mutex_lock(&depot->mutex);
    batch->colder = depot->warmest;
    if (batch->colder)
        batch->colder->warmer = batch;
    else
        depot->coldest = batch;
    depot->warmest = batch;
    depot->count += batch->count;
    atomic_fetch_add_explicit(&in_depots[pool], batch->count, memory_order_relaxed);
    pthread_mutex_unlock(&depot->mutex);
    do {
        surplus = NULL;
        pthread_mutex_lock(&depot->mutex);
        if (depot->count * size > most)
            surplus = take_coldest(pool, depot);
        pthread_mutex_unlock(&depot->mutex);
        if (surplus)
            destroy(class, surplus, counters, POOL_EVICTED_LRU);
    } while (surplus);
}

/* --- Without magazines: the thread found no memory for them ------------------------------------------------------- */

static atomic_bool starved;

static void *acquire_without_thread(enum pool pool, size_t size)
{
    atomic_store_explicit(&starved, true, memory_order_relaxed);
    size = pool_usable_size(size);
    void *block = allocate(size);
    if (!block)
        return NULL;
    debug_acquired(block, pool, size, true);
    ((struct block *)block)->mark = 0;
    pthread_mutex_lock(&threads_mutex);
    count(&retired[pool].created, 1);
    count(&retired[pool].bytes, size);
    count(&retired[pool].acquired, 1);
    pthread_mutex_unlock(&threads_mutex);
    return block;
}

static void release_without_thread(enum pool pool, void *block, size_t size)
{
    pthread_mutex_lock(&threads_mutex);
    count(&retired[pool].released, 1);
    count(&retired[pool].destroyed, 1);
    count(&retired[pool].bytes, -(unsigned long long)pool_usable_size(size));
    pthread_mutex_unlock(&threads_mutex);
    deallocate(block);
}

bool pool_take_failure(void)
{
    return atomic_exchange_explicit(&starved, false, memory_order_relaxed);
}

/* --- Acquire and release ------------------------------------------------------------------------------------------ */

static __attribute__((noinline)) void *acquire_fresh(struct counters *counters, enum pool pool, size_t size)
{
    size = pool_usable_size(size);
    void *fresh = allocate(size);
    if (!fresh)
        return NULL;
    debug_acquired(fresh, pool, size, true);
    ((struct block *)fresh)->mark = 0;
    count(&counters->acquired, 1); /* first: whoever reads `created` before it finds no fewer here */
    count(&counters->created, 1);
    count(&counters->bytes, size);
    return fresh;
}

void *pool_acquire(enum pool pool, size_t size)
{
    struct thread_pools *thread = mine ? mine : join_thread();
    if (__builtin_expect(!thread, 0))
        return acquire_without_thread(pool, size);
    struct counters *counters = &thread->counters[pool];
    if (PLAIN_MALLOC || __builtin_expect(size > LARGEST, 0))
        return acquire_fresh(counters, pool, size);
    unsigned class = class_of(size);
    struct magazine *magazine = &thread->magazines[pool][class];
    if (__builtin_expect(!magazine->top, 0) && atomic_load_explicit(&enabled, memory_order_relaxed))
        fill_magazine(pool, class, magazine);
    struct block *block = magazine->top;
    if (__builtin_expect(!block, 0))
        return acquire_fresh(counters, pool, size);
    magazine->top = block->next;
    magazine->count--;
    magazine->used = true;
    debug_acquired(block, pool, class_size(class), false);
    block->mark = 0;
    count(&counters->acquired, 1);
    return block;
}

static __attribute__((noinline)) void release_to_system(struct counters *counters, void *block, size_t size)
{
    count(&counters->released, 1);
    count(&counters->destroyed, 1);
    count(&counters->bytes, -(unsigned long long)pool_usable_size(size));
    deallocate(block);
}

void pool_release(enum pool pool, void *released, size_t size)
{
    struct thread_pools *thread = mine ? mine : join_thread();
    if (!released)
        return;
    debug_released(released, pool, size);
    struct block *block = released;
    if (__builtin_expect(!thread, 0)) {
        release_without_thread(pool, released, size);
        return;
    }
    struct counters *counters = &thread->counters[pool];
    if (PLAIN_MALLOC || __builtin_expect(size > LARGEST, 0) ||
        __builtin_expect(!atomic_load_explicit(&enabled, memory_order_relaxed), 0)) {
        release_to_system(counters, released, size);
        return;
    }
    uint64_t mark = mark_of(block);
    if (__builtin_expect(block->mark == mark, 0)) {
        log_error(MEMORY, "released_twice",
                  "a block of %zu bytes was released twice: a defect of the bridge's; the second time does nothing",
                  size);
        return;
    }
    count(&counters->released, 1);
    unsigned class = class_of(size);
    struct magazine *magazine = &thread->magazines[pool][class];
    block->mark = mark;
    block->next = magazine->top;
    magazine->top = block;
    magazine->count++;
    if (__builtin_expect(magazine->count > magazine->capacity, 0))
        drain_magazine(pool, class, magazine, magazine->capacity / 2, counters);
}

/* --- Eviction ----------------------------------------------------------------------------------------------------- */

static void return_to_system(void)
{
    if (atomic_load_explicit(&freed_bytes, memory_order_relaxed) < RETURN_BYTES)
        return;
    atomic_store_explicit(&freed_bytes, 0, memory_order_relaxed);
    system_trim_heap();
}

void pool_configure(const struct pool_options *options)
{
    for (unsigned pool = 0; pool < POOL_COUNT; pool++)
        atomic_store_explicit(&warm[pool], options->warm[pool], memory_order_relaxed);
    atomic_store_explicit(&max_age_ms, options->max_age_ms, memory_order_relaxed);
}

size_t pool_age(uint64_t now_ms)
{
    struct thread_pools *thread = mine ? mine : join_thread();
    uint64_t age = atomic_load_explicit(&max_age_ms, memory_order_relaxed);
    size_t freed = 0;
    for (unsigned pool = 0; pool < POOL_COUNT && thread; pool++) {
        for (unsigned class = 0; class < CLASSES; class ++) {
            struct depot *depot = &depots[pool][class];
            struct block *old = (struct block *)depot; /* anything but NULL */
            while (old && atomic_load_explicit(&in_depots[pool], memory_order_relaxed) >
                              atomic_load_explicit(&warm[pool], memory_order_relaxed)) {
                old = NULL;
                pthread_mutex_lock(&depot->mutex);
                if (depot->coldest && depot->coldest->put_ms + age <= now_ms)
                    old = take_coldest((enum pool)pool, depot);
                pthread_mutex_unlock(&depot->mutex);
                if (old)
                    freed += destroy(class, old, &thread->counters[pool], POOL_EVICTED_TTL);
            }
        }
    }
    return_to_system();
    return freed;
}

static void flush(bool unused_only)
{
    struct thread_pools *thread = mine;
    for (unsigned pool = 0; pool < POOL_COUNT && thread; pool++) {
        for (unsigned class = 0; class < CLASSES; class ++) {
            struct magazine *magazine = &thread->magazines[pool][class];
            if (!unused_only || !magazine->used || !atomic_load_explicit(&enabled, memory_order_relaxed))
                drain_magazine((enum pool)pool, class, magazine, 0, &thread->counters[pool]);
            magazine->used = false;
        }
    }
}

void pool_age_thread(void)
{
    flush(true);
}

void pool_flush_thread(void)
{
    flush(false);
}

/* The depot whose coldest batch has lain there longest; NULL: all are empty. A look without their locks would race, so
 * each is locked for a moment. */
static struct depot *find_coldest(unsigned *of_pool, unsigned *of_class)
{
    struct depot *found = NULL;
    uint64_t oldest = UINT64_MAX;
    for (unsigned pool = 0; pool < POOL_COUNT; pool++) {
        for (unsigned class = 0; class < CLASSES; class ++) {
            struct depot *depot = &depots[pool][class];
            pthread_mutex_lock(&depot->mutex);
            if (depot->coldest && depot->coldest->put_ms < oldest) {
                oldest = depot->coldest->put_ms;
                found = depot;
                *of_pool = pool;
                *of_class = class;
            }
            pthread_mutex_unlock(&depot->mutex);
        }
    }
    return found;
}

size_t pool_reclaim(size_t bytes)
{
    struct thread_pools *thread = mine ? mine : join_thread();
    size_t freed = 0;
    unsigned pool, class;
    struct depot *depot;
    while (thread && freed < bytes && (depot = find_coldest(&pool, &class))) {
        struct block *old = NULL;
        pthread_mutex_lock(&depot->mutex);
        if (depot->coldest)
            old = take_coldest((enum pool)pool, depot);
        pthread_mutex_unlock(&depot->mutex);
        if (old)
            freed += destroy(class, old, &thread->counters[pool], POOL_EVICTED_PRESSURE);
    }
    return_to_system();
    return freed;
}

void pool_set_enabled(bool on)
{
    atomic_store_explicit(&enabled, on, memory_order_relaxed);
    if (!on) {
        pool_flush_thread();
        pool_reclaim(SIZE_MAX);
    }
}

/* --- Statistics --------------------------------------------------------------------------------------------------- */

static unsigned long long read_counter(const atomic_ullong *counter)
{
    return atomic_load_explicit(counter, memory_order_acquire);
}

/* What undoes is read before what it undoes, in all threads, so that no sum is short of its counterpart. */
static void add_undone(const struct counters *from, struct pool_statistics *to)
{
    to->released += read_counter(&from->released);
    to->destroyed += read_counter(&from->destroyed);
    for (unsigned cause = 0; cause < POOL_EVICTIONS; cause++)
        to->evicted[cause] += read_counter(&from->evicted[cause]);
}

static void add_done(const struct counters *from, struct pool_statistics *to)
{
    to->created += read_counter(&from->created); /* before `acquired`, as it is counted after it */
    to->acquired += read_counter(&from->acquired);
    to->bytes += read_counter(&from->bytes);
}

void pool_read_statistics(enum pool pool, struct pool_statistics *out)
{
    *out = (struct pool_statistics){.warm = atomic_load_explicit(&warm[pool], memory_order_relaxed)};
    pthread_mutex_lock(&threads_mutex);
    add_undone(&retired[pool], out);
    for (struct thread_pools *thread = threads; thread; thread = thread->next)
        add_undone(&thread->counters[pool], out);
    add_done(&retired[pool], out);
    for (struct thread_pools *thread = threads; thread; thread = thread->next)
        add_done(&thread->counters[pool], out);
    pthread_mutex_unlock(&threads_mutex);
    out->hits = out->acquired - out->created;
}

uint64_t pool_bytes_in_all(void)
{
    uint64_t bytes = 0;
    pthread_mutex_lock(&threads_mutex);
    for (unsigned pool = 0; pool < POOL_COUNT; pool++) {
        bytes += read_counter(&retired[pool].bytes);
        for (struct thread_pools *thread = threads; thread; thread = thread->next)
            bytes += read_counter(&thread->counters[pool].bytes);
    }
    pthread_mutex_unlock(&threads_mutex);
    return bytes;
}

/* --- Ends --------------------------------------------------------------------------------------------------------- */

void pool_leave_thread(void)
{
    struct thread_pools *leaving = mine;
    if (!leaving)
        return;
    pool_flush_thread();
    pthread_mutex_lock(&threads_mutex);
    for (int pool = 0; pool < POOL_COUNT; pool++) {
        struct counters *from = &leaving->counters[pool], *to = &retired[pool];
        count(&to->acquired, atomic_load(&from->acquired));
        count(&to->released, atomic_load(&from->released));
        count(&to->created, atomic_load(&from->created));
        count(&to->destroyed, atomic_load(&from->destroyed));
        count(&to->bytes, atomic_load(&from->bytes));
        for (unsigned cause = 0; cause < POOL_EVICTIONS; cause++)
            count(&to->evicted[cause], atomic_load(&from->evicted[cause]));
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
    pool_reclaim(SIZE_MAX);
    pool_leave_thread();
}
