/* Each thread has one magazine (a small stack of free blocks) per pool and size class. An empty magazine takes a batch
 * from the depot of its class, a full one gives half back as a batch, so a thread that only acquires and one that only
 * releases meet at the depot (depot.h) once per batch and not once per block.
 *
 * A block's time is that of its batch: no clock is read while magazines serve. Counters are per thread, written by
 * their thread alone and summed by the reader; what a thread counted before it ended stays in `retired`.
 *
 * A block in the pool carries a mark that depends on its address and on a secret of the process, so that one that is
 * released twice is recognised without a header. */
#include "memory/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "base/system/system.h"
#include "memory/depot.h"
#include "memory/pool_debug.h"

/* A magazine holds at most this many bytes of one class, so that many threads do not hoard; at least MINIMUM blocks. */
#define MAGAZINE_BYTES (32u << 10)
#define MAGAZINE_MINIMUM 4u
#define MAGAZINE_MAXIMUM 64u
/* The size of a depot, in bytes of its class: what a burst leaves beyond it goes at once. */
#define DEPOT_BYTES (4u << 20)

#define MAX_AGE_MS 60000u /* without pool_configure */

/* malloc keeps freed memory to itself until it is told not to; telling it costs milliseconds, so only for this much. */
#define RETURN_BYTES (1u << 20)

struct magazine {
    struct block *top;
    uint32_t count, capacity;
    bool used; /* since the last pool_age_thread */
};

struct counters {
    atomic_ullong acquired, released, created, destroyed, bytes, evicted[POOL_EVICTIONS];
};

struct thread_pools {
    struct magazine magazines[POOL_COUNT][SIZE_CLASSES];
    struct counters counters[POOL_COUNT];
    struct thread_pools *next, **previous;
};

static pthread_mutex_t threads_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct thread_pools *threads;
static struct counters retired[POOL_COUNT];
static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint64_t secret;

static atomic_bool enabled = true;
static atomic_uint warm[POOL_COUNT], max_age_ms = MAX_AGE_MS;
static atomic_ullong freed_bytes; /* since memory was last returned to the system */

static _Thread_local struct thread_pools *mine;

static void start(void)
{
    secret = random_u64();
    depots_init();
}

static inline unsigned magazine_capacity(unsigned class)
{
    size_t fits = MAGAZINE_BYTES / size_class_bytes(class);
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
        for (unsigned class = 0; class < SIZE_CLASSES; class ++)
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
    return size > SIZE_CLASS_LARGEST ? size : size_class_bytes(size_class_of(size));
}

static void *allocate(size_t size)
{
    char *memory = malloc(HEADER_BYTES + size);
    return memory ? memory + HEADER_BYTES : NULL;
}

static void deallocate(void *block)
{
    free((char *)block - HEADER_BYTES);
}

/* --- Magazines and depots ----------------------------------------------------------------------------------------- */

/* Frees a chain of unused blocks. */
static size_t destroy(unsigned class, struct block *block, struct counters *counters, enum pool_eviction cause)
{
    size_t size = size_class_bytes(class), freed = 0;
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

/* All but the `keep` blocks that were released last, as one batch; then what the depot has too many of goes. */
static __attribute__((noinline)) void drain_magazine(enum pool pool, unsigned class, struct magazine *magazine,
                                                     unsigned keep, struct counters *counters)
{
    if (magazine->count <= keep)
        return;
    struct block **place = &magazine->top;
    for (unsigned i = 0; i < keep; i++)
        place = &(*place)->next;
    struct block *rest = *place, *surplus;
    *place = NULL;
    depot_put(pool, class, rest, magazine->count - keep);
    magazine->count = keep;
    size_t most = atomic_load_explicit(&enabled, memory_order_relaxed) ? DEPOT_BYTES : 0;
    while ((surplus = depot_take_surplus(pool, class, most)))
        destroy(class, surplus, counters, POOL_EVICTED_LRU);
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

static inline void *take_from(struct magazine *magazine, struct counters *counters, enum pool pool, unsigned class)
{
    struct block *block = magazine->top;
    magazine->top = block->next;
    magazine->count--;
    magazine->used = true;
    debug_acquired(block, pool, size_class_bytes(class), false);
    block->mark = 0;
    count(&counters->acquired, 1);
    return block;
}

/* The magazine is empty. */
static __attribute__((noinline)) void *acquire_from_depot(struct thread_pools *thread, enum pool pool, size_t size)
{
    unsigned class = size_class_of(size);
    struct magazine *magazine = &thread->magazines[pool][class];
    struct counters *counters = &thread->counters[pool];
    if (atomic_load_explicit(&enabled, memory_order_relaxed))
        magazine->top = depot_take(pool, class, &magazine->count);
    return magazine->top ? take_from(magazine, counters, pool, class) : acquire_fresh(counters, pool, size);
}

void *pool_acquire(enum pool pool, size_t size)
{
    struct thread_pools *thread = mine ? mine : join_thread();
    if (__builtin_expect(!thread, 0))
        return acquire_without_thread(pool, size);
    struct counters *counters = &thread->counters[pool];
    if (PLAIN_MALLOC || __builtin_expect(size > SIZE_CLASS_LARGEST, 0))
        return acquire_fresh(counters, pool, size);
    unsigned class = size_class_of(size);
    struct magazine *magazine = &thread->magazines[pool][class];
    if (__builtin_expect(!magazine->top, 0))
        return acquire_from_depot(thread, pool, size);
    return take_from(magazine, counters, pool, class);
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
    if (PLAIN_MALLOC || __builtin_expect(size > SIZE_CLASS_LARGEST, 0) ||
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
    unsigned class = size_class_of(size);
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
    for (unsigned i = 0; i < POOL_COUNT && thread && age <= now_ms; i++) {
        enum pool pool = (enum pool)i;
        for (unsigned class = 0; class < SIZE_CLASSES; class ++) {
            struct block *old;
            while (depots_count(pool) > atomic_load_explicit(&warm[pool], memory_order_relaxed) &&
                   (old = depot_take_old(pool, class, now_ms - age)))
                freed += destroy(class, old, &thread->counters[pool], POOL_EVICTED_TTL);
        }
    }
    return_to_system();
    return freed;
}

static void flush(bool unused_only)
{
    struct thread_pools *thread = mine;
    for (unsigned pool = 0; pool < POOL_COUNT && thread; pool++) {
        for (unsigned class = 0; class < SIZE_CLASSES; class ++) {
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

size_t pool_reclaim(size_t bytes)
{
    struct thread_pools *thread = mine ? mine : join_thread();
    size_t freed = 0;
    unsigned class;
    enum pool pool;
    struct block *old;
    while (thread && freed < bytes && (old = depots_take_coldest(&pool, &class)))
        freed += destroy(class, old, &thread->counters[pool], POOL_EVICTED_PRESSURE);
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
