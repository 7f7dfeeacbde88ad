/* Object pools: blocks by size class, kept in per-thread magazines in front of a shared depot. Acquire and release are
 * O(1) and take no lock while the thread's magazine serves them; a block may be released on another thread than the one
 * that acquired it. Blocks above the largest class come from malloc and are counted as misses.
 *
 * What lies unused goes back to the system by one of three rules, the coldest first:
 *   LRU       a depot is over its size: the batch that was put in longest ago goes
 *   TTL       a batch has not been used for `max_age_ms`, and the pool has more than it keeps warm
 *   pressure  somebody asks for bytes (pool_reclaim), warm ones included */
#ifndef LUADUCT_MEMORY_POOL_H
#define LUADUCT_MEMORY_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a block is for. The three share the mechanism and are counted apart. */
enum pool {
    POOL_ENVELOPES, /* outgoing frames */
    POOL_ARRAYS,    /* queues, recipient lists */
    POOL_BUFFERS,   /* bytes that wait for more bytes */
    POOL_COUNT,
};

enum pool_eviction { POOL_EVICTED_LRU, POOL_EVICTED_TTL, POOL_EVICTED_PRESSURE, POOL_EVICTIONS };

/* Gives at least `size` bytes, aligned to 16, uninitialised; NULL when memory is out. The caller owns the block and
 * gives it back with the same pool and size. Any thread. */
void *pool_acquire(enum pool pool, size_t size);

/* NULL is fine. Releasing a block that lies in the pool already is a mistake of the caller's: it is logged and does
 * nothing, unless the block has been acquired again in between, which cannot be told. Builds with LUADUCT_POOL_DEBUG
 * (and those with a sanitizer) abort there, and at a wrong pool or size, and at a block written to after its release.
 */
void pool_release(enum pool pool, void *block, size_t size);

/* How many bytes a request of `size` really gets: growing arrays use the whole block. */
size_t pool_usable_size(size_t size);

struct pool_options {
    uint32_t warm[POOL_COUNT]; /* blocks that stay however long they are idle, in all threads together */
    uint32_t max_age_ms;
};

/* Without a call: nothing is kept warm, and what is unused for a minute goes. Any thread, at any time. */
void pool_configure(const struct pool_options *options);

/* Off: every acquire is a malloc and every release a free; what the depots hold is freed at once, what threads hold
 * when they next call pool_age_thread. On is the start. Any thread. */
void pool_set_enabled(bool on);

/* Whether, since the last call, a thread found no memory for its magazines: it then works with malloc and a lock, and
 * tries again at every call. Any thread. */
bool pool_take_failure(void);

/* TTL: frees what has been idle for too long, and returns what was freed to the system. Call about once a second, from
 * one thread that may take a few milliseconds. now_ms: steady clock. Gives the bytes freed. */
size_t pool_age(uint64_t now_ms);

/* The same for what the calling thread's magazines hold: those it has not used since the last call go to the depots,
 * where they age. Call now and then on threads that live long. */
void pool_age_thread(void);

/* Puts all that the calling thread's magazines hold into the depots. */
void pool_flush_thread(void);

/* Pressure: frees unused blocks in the depots, the coldest first, until that many bytes are free or none is left. Gives
 * the bytes freed. Any thread. */
size_t pool_reclaim(size_t bytes);

/* Sums over all threads, alive and gone, kept exactly: acquired - released = held and created - destroyed = available +
 * held, always once no thread is in the middle of a call. Any thread; no pool thread stops for it. */
struct pool_statistics {
    uint64_t acquired;                /* calls of pool_acquire that gave a block */
    uint64_t released;                /* calls of pool_release */
    uint64_t hits;                    /* acquired without malloc */
    uint64_t created;                 /* blocks taken from malloc */
    uint64_t destroyed;               /* blocks given back with free */
    uint64_t bytes;                   /* held and available, in bytes of their classes */
    uint64_t evicted[POOL_EVICTIONS]; /* of the destroyed ones: unused ones that went by these rules */
    uint64_t warm;                    /* blocks that stay */
};
void pool_read_statistics(enum pool pool, struct pool_statistics *out);

/* Bytes of all pools, held and available. Cheaper than the statistics of each. Any thread. */
uint64_t pool_bytes_in_all(void);

/* Gives the calling thread's magazines back to the depot. Call before a thread ends. */
void pool_leave_thread(void);

/* Frees what the depots hold. For the end of the process, when all other threads are gone (leak checkers). */
void pool_trim(void);

#endif
