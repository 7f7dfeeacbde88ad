/* Object pools: blocks by size class, kept in per-thread magazines in front of a shared depot. Acquire and release are
 * O(1) and take no lock while the thread's magazine serves them; a block may be released on another thread than the one
 * that acquired it. Blocks above the largest class come from malloc and are counted as misses. */
#ifndef LUADUCT_MEMORY_POOL_H
#define LUADUCT_MEMORY_POOL_H

#include <stddef.h>
#include <stdint.h>

/* What a block is for. The three share the mechanism and are counted apart. */
enum pool {
    POOL_ENVELOPES, /* outgoing frames */
    POOL_ARRAYS,    /* queues, recipient lists */
    POOL_BUFFERS,   /* bytes that wait for more bytes */
    POOL_COUNT,
};

/* Gives at least `size` bytes, aligned to 16, uninitialised; NULL when memory is out. The caller owns the block and
 * gives it back with the same pool and size. Any thread. */
void *pool_acquire(enum pool pool, size_t size);
void pool_release(enum pool pool, void *block, size_t size);

/* How many bytes a request of `size` really gets: growing arrays use the whole block. */
size_t pool_usable_size(size_t size);

/* Exact sums over all threads, alive and gone. Any thread; no pool thread stops for it. */
struct pool_statistics {
    uint64_t acquired;  /* calls of pool_acquire that gave a block */
    uint64_t released;  /* calls of pool_release */
    uint64_t hits;      /* acquired without malloc */
    uint64_t created;   /* blocks taken from malloc */
    uint64_t destroyed; /* blocks given back with free */
    uint64_t bytes;     /* held and available, in bytes of their classes */
};
void pool_read_statistics(enum pool pool, struct pool_statistics *out);

/* Gives the calling thread's magazines back to the depot. Call before a thread ends. */
void pool_leave_thread(void);

/* Frees what the depot holds. Call when all other threads are gone (leak checkers), or to return memory. Any thread. */
void pool_trim(void);

#endif
